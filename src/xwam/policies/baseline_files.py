"""Fitted baselines on disk: `policy.json`, which says what it is, and `policy.safetensors`, which was fitted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from xwam.checkpoints.json_files import read_json
from xwam.checkpoints.safetensors_check import TensorInfo, check_safetensors, compare_tensors, dtype_name
from xwam.errors import CheckpointConfigError, CorruptFileError
from xwam.export.files import replacing
from xwam.policies.trained_baselines import ClonedPolicy, MeanActionPolicy, TrainedBaseline
from xwam.robots.spec import RobotSpec

CONFIG_NAME, WEIGHTS_NAME = "policy.json", "policy.safetensors"
FORMAT = "xwam.baseline"
KINDS: Mapping[str, type[TrainedBaseline]] = {own.name: own for own in (MeanActionPolicy, ClonedPolicy)}


def save_baseline(folder: str | Path, policy: TrainedBaseline, *, notes: Mapping[str, Any] | None = None) -> None:
    """Write a fitted baseline; `policy.json` comes last, so that a folder with it is complete.

    Args:
        folder (`str` or `Path`): Where to; made where it does not exist.
        policy (`TrainedBaseline`): What was fitted.
        notes (`Mapping[str, Any]`, *optional*): What it was fitted to, JSON-able, for people.
    """
    folder = Path(folder)
    tensors = {name: tensor.contiguous() for name, tensor in policy.module.state_dict().items()}
    with replacing(folder / WEIGHTS_NAME) as temporary:
        save_file(tensors, temporary)
    facts = {
        "format": FORMAT,
        "kind": policy.name,
        "robot": policy.robot.to_dict(),
        "settings": policy.settings,
        "notes": dict(notes or {}),
    }
    with replacing(folder / CONFIG_NAME) as temporary:
        temporary.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_baseline(folder: str | Path, kind: str) -> TrainedBaseline:
    """Read what `save_baseline` wrote.

    Args:
        folder (`str` or `Path`): The folder.
        kind (`str`): One of `KINDS`: what is expected there.

    Raises:
        CheckpointError: If there is no such folder, it holds something else, or a file is damaged.
    """
    path = Path(folder) / CONFIG_NAME
    if not path.is_file():
        raise CheckpointConfigError(f"There is no {kind} policy in {str(folder)!r}: it holds no {CONFIG_NAME}.")
    facts = read_json(path)
    if (facts.get("format"), facts.get("kind")) != (FORMAT, kind):
        raise CheckpointConfigError(
            f"{path} must be of format {FORMAT!r} and kind {kind!r}, but says {facts.get('format')!r} and "
            f"{facts.get('kind')!r}."
        )
    try:
        policy = KINDS[kind](RobotSpec.from_dict(facts["robot"]), **facts["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointConfigError(f"{path} does not describe a {kind} policy: {error}.") from error
    _load_weights(policy, path.with_name(WEIGHTS_NAME))
    return policy


def _load_weights(policy: TrainedBaseline, path: Path) -> None:
    own = policy.module.state_dict()
    expected = {name: TensorInfo(tuple(tensor.shape), dtype_name(tensor.dtype)) for name, tensor in own.items()}
    compare_tensors(expected, check_safetensors(path), where=path)
    tensors = load_file(path)
    if broken := [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]:
        raise CorruptFileError(f"{path} must hold finite numbers, but {broken} do not.")
    policy.module.load_state_dict(tensors)
