"""The state of a run as files without code: tensors as safetensors, the rest as JSON.

run.json                  step, samples, number of processes, configuration, data, counters
transformer.safetensors   trained weights
average.safetensors       their moving average, where there is one
optimizer.safetensors     `<parameter>/<quantity>`
random.safetensors        states of all generators, `<process>/<generator>`
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from xwam.checkpoints.json_files import read_json
from xwam.checkpoints.safetensors_check import check_safetensors
from xwam.errors import CheckpointError
from xwam.training.checkpoint_store import check_checkpoint

FORMAT_VERSION = 1

Tensors = dict[str, torch.Tensor]

_RUN, _WEIGHTS, _AVERAGE = "run.json", "transformer.safetensors", "average.safetensors"
_OPTIMIZER, _RANDOM = "optimizer.safetensors", "random.safetensors"
_MAX_RUN_BYTES = 16 << 20


@dataclass(frozen=True)
class RunFacts:
    """What a checkpoint knows besides tensors.

    Args:
        step (`int`): Updates that were done, skipped ones included.
        samples (`int`): Windows of the stream that were used; the next is this one.
        num_processes (`int`): Processes that trained.
        config (`dict[str, Any]`): `TrainConfig.to_dict`.
        data (`dict[str, Any]`): What was trained on, as the caller names it.
        frozen (`str`): Fingerprint of what is not trained and therefore not here.
        counters (`dict[str, int]`): Skipped steps and samples, and how many skipped steps stand at the end in a row.
        best (`float`, *optional*): Lowest validation loss so far.
        lora (`dict[str, Any]`): `lora_options` of what is trained; empty without LoRA, and in checkpoints that do not tell.
    """

    step: int
    samples: int
    num_processes: int
    config: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)
    frozen: str = ""
    counters: dict[str, int] = field(default_factory=dict)
    best: float | None = None
    lora: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunState:
    """Everything that goes on where it stopped.

    Args:
        facts (`RunFacts`): Numbers and words.
        weights (`dict[str, torch.Tensor]`): Trained weights by name, on the CPU.
        average (`dict[str, torch.Tensor]` or `None`): Their moving average.
        optimizer (`dict[str, dict[str, torch.Tensor]]`): State of the optimizer by parameter and quantity.
        random (`list[dict[str, torch.Tensor]]`): States of the generators of every process.
    """

    facts: RunFacts
    weights: Tensors
    average: Tensors | None
    optimizer: dict[str, Tensors]
    random: list[Tensors]


def write_state(state: RunState, folder: Path) -> None:
    """Write the files of a checkpoint; the manifest is somebody else's.

    Args:
        state (`RunState`): What to write.
        folder (`Path`): An empty folder.
    """
    _save(state.weights, folder / _WEIGHTS)
    if state.average is not None:
        _save(state.average, folder / _AVERAGE)
    _save(_joined(state.optimizer), folder / _OPTIMIZER)
    _save(_joined({str(rank): own for rank, own in enumerate(state.random)}), folder / _RANDOM)
    content = {"version": FORMAT_VERSION, **vars(state.facts)}
    (folder / _RUN).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_state(folder: Path, *, with_tensors: bool = True) -> RunState:
    """Read a checkpoint, once it was compared with its manifest.

    Args:
        folder (`Path`): The checkpoint.
        with_tensors (`bool`, *optional*, defaults to `True`): Read the large files too; a process that gets the tensors from
            another one needs only the facts and the random states.

    Raises:
        CheckpointError: If it is damaged, unsafe or of another version.
    """
    if with_tensors:
        check_checkpoint(folder)
    facts = read_facts(folder)
    random = _parted(_load(folder / _RANDOM))
    if not with_tensors:
        return RunState(facts, {}, {} if (folder / _AVERAGE).exists() else None, {}, _in_order(random))
    average = _load(folder / _AVERAGE) if (folder / _AVERAGE).exists() else None
    return RunState(facts, _load(folder / _WEIGHTS), average, _parted(_load(folder / _OPTIMIZER)), _in_order(random))


def read_facts(folder: Path) -> RunFacts:
    """Read what a checkpoint knows besides tensors.

    Args:
        folder (`Path`): The checkpoint.

    Raises:
        CheckpointError: If it is not one, or of another version.
    """
    content = read_json(folder / _RUN, max_bytes=_MAX_RUN_BYTES)
    if content.pop("version", None) != FORMAT_VERSION:
        raise CheckpointError(f"{folder} is not a checkpoint of version {FORMAT_VERSION} of a training run.")
    try:
        return RunFacts(**content)
    except TypeError as error:
        raise CheckpointError(f"{folder / _RUN} is not complete: {error}.") from error


def _save(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def _load(path: Path) -> Tensors:
    check_safetensors(path)
    return load_file(path)


def _joined(nested: Mapping[str, Tensors]) -> Tensors:
    return {f"{outer}/{inner}": tensor for outer, own in nested.items() for inner, tensor in own.items()}


def _parted(flat: Tensors) -> dict[str, Tensors]:
    nested: dict[str, Tensors] = {}
    for name, tensor in flat.items():
        outer, _, inner = name.rpartition("/")
        nested.setdefault(outer, {})[inner] = tensor
    return nested


def _in_order(by_rank: Mapping[str, Tensors]) -> list[Tensors]:
    return [by_rank[rank] for rank in sorted(by_rank, key=int)]
