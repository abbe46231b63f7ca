"""The folder of one robot: LoRA and the robot's networks in one safetensors file, the robot itself beside it.

pytorch_lora_weights.safetensors   `transformer.<LoRA>` and `embodiment.<network>`; its metadata hold the LoRA's configuration
                                   and which base it belongs to
robot_processor_config.json        `RobotSpec` with its quantiles, as in the folder `robot_processor` of a pipeline
README.md, manifest.json           model card; hashes
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from xwam.checkpoints.json_files import parse_json
from xwam.checkpoints.safetensors_check import check_safetensors
from xwam.checkpoints.saved_files import replacing_files
from xwam.checkpoints.sources import ADAPTER_WEIGHTS_NAME
from xwam.errors import CheckpointConfigError, CheckpointError, CheckpointMismatchError
from xwam.loaders.base_identity import BaseIdentity
from xwam.loaders.lora_config import lora_config_fields
from xwam.models import embodiment as embodiments
from xwam.robots.processor import RobotProcessor

METADATA_KEY = "lora_adapter_metadata"  # the key under which diffusers keeps the configuration of a LoRA
FORMAT_VERSION = 1
_LORA, _EMBODIMENT = "transformer.", "embodiment."
_FLOATS = frozenset({"F32", "BF16", "F16"})


@dataclass(frozen=True, eq=False)
class RobotAdapter:
    """Everything that turns a base into one for a robot.

    Args:
        processor (`RobotProcessor`): The robot with its normalisation.
        lora (`Mapping[str, torch.Tensor]`): LoRA tensors by their names in the transformer.
        lora_config (`Mapping[str, Any]`): Fields of `peft.LoraConfig`.
        embodiment (`Mapping[str, torch.Tensor]`): Tensors of the robot's own networks by their names in the transformer.
        base (`BaseIdentity`): What it was trained on.
    """

    processor: RobotProcessor
    lora: Mapping[str, torch.Tensor]
    lora_config: Mapping[str, Any]
    embodiment: Mapping[str, torch.Tensor]
    base: BaseIdentity


def write_robot_adapter(folder: Path, adapter: RobotAdapter, card: str, *, replaces_card: bool = False) -> None:
    """Write the folder of a robot; if anything fails, the folder is as before.

    Args:
        folder (`Path`): Made where it does not exist; files of a robot that are there are replaced.
        adapter (`RobotAdapter`): What to write.
        card (`str`): Text of the model card.
        replaces_card (`bool`, *optional*, defaults to `False`): Write the card over one that is there.
    """
    tensors = {_LORA + name: tensor for name, tensor in adapter.lora.items()}
    tensors |= {_EMBODIMENT + name: tensor for name, tensor in adapter.embodiment.items()}
    metadata = {_LORA + name: _plain(value) for name, value in adapter.lora_config.items()}
    metadata |= {f"{_EMBODIMENT}format": FORMAT_VERSION, f"{_EMBODIMENT}base": adapter.base.to_dict()}
    written = {name: tensor.detach().to("cpu").contiguous() for name, tensor in sorted(tensors.items())}
    told = {"format": "pt", METADATA_KEY: json.dumps(metadata, sort_keys=True)}
    with replacing_files(folder, stale=()) as new:
        save_file(written, new / ADAPTER_WEIGHTS_NAME, metadata=told)
        adapter.processor.save_pretrained(new)
        if replaces_card or not (folder / "README.md").exists():
            (new / "README.md").write_text(card, encoding="utf-8")


def read_robot_adapter(folder: Path) -> RobotAdapter:
    """Read the folder of a robot that has been verified.

    Args:
        folder (`Path`): The folder.

    Raises:
        CheckpointError: If a file is absent, or holds anything but what belongs to one robot.
        CheckpointMismatchError: If it has other tensors than LoRA and the robot's networks.
    """
    path = folder / ADAPTER_WEIGHTS_NAME
    for needed in (path, folder / RobotProcessor.config_name):
        if not needed.is_file():
            raise CheckpointError(f"{folder} is not the folder of a robot: it holds no {needed.name}.")
    found = check_safetensors(path)
    foreign = [name for name in found if not _belongs(name)]
    misshapen = [f"{name} {info.dtype}" for name, info in found.items() if info.dtype not in _FLOATS]
    if foreign or misshapen:
        raise CheckpointMismatchError(str(path), unexpected=foreign, misshapen=misshapen)
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(METADATA_KEY)
    if text is None:
        raise CheckpointConfigError(f"{path} has no metadata `{METADATA_KEY}`: alpha and the base would be lost.")
    metadata = parse_json(text, f"{path}: {METADATA_KEY}")
    strangers = [name for name in metadata if not name.startswith((_LORA, _EMBODIMENT))]
    version = metadata.get(f"{_EMBODIMENT}format")
    if strangers or version != FORMAT_VERSION:
        raise CheckpointConfigError(
            f"{path}: the metadata must be of format {FORMAT_VERSION}, but are of {version!r} with foreign fields {strangers}."
        )
    try:
        config = lora_config_fields(_below(metadata, _LORA))
    except ValueError as error:
        raise CheckpointConfigError(f"{path}: {error}") from error
    tensors = load_file(path)
    return RobotAdapter(
        processor=RobotProcessor.from_pretrained(folder),
        lora=_below(tensors, _LORA),
        lora_config=config,
        embodiment=_below(tensors, _EMBODIMENT),
        base=BaseIdentity.from_dict(metadata.get(f"{_EMBODIMENT}base"), path),
    )


def _belongs(name: str) -> bool:
    if name.startswith(_LORA):
        return name.endswith((".lora_A.weight", ".lora_B.weight"))
    return name.startswith(tuple(f"{_EMBODIMENT}{module}." for module in embodiments.MODULES))


def _below(entries: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): entry for name, entry in entries.items() if name.startswith(prefix)}


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value
