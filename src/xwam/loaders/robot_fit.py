"""Whether what was read of a robot fits a base, found out before anything of the base changes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from xwam.checkpoints.safetensors_check import TensorInfo, compare_tensors
from xwam.errors import CheckpointMismatchError
from xwam.loaders.lora import fitting_lora
from xwam.loaders.robot_files import RobotAdapter
from xwam.models.embodiment import Embodiment, empty_embodiment
from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.robots.spec import RobotSpec


def dimensions(robot: RobotSpec) -> dict[str, int]:
    """Sizes of a robot's networks, as `xwam.models.embodiment` takes them.

    Args:
        robot (`RobotSpec`): The robot.
    """
    return {
        "action_dim": robot.action_dim,
        "state_dim": robot.state_dim,
        "num_views": len(robot.cameras),
        "actions_per_frame": robot.actions_per_frame,
    }


def fitting_layers(
    adapter: RobotAdapter, transformer: XWAMTransformer3DModel, where: Path
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """LoRA tensors that the transformer has layers for, and a configuration that names exactly those layers.

    Args:
        adapter (`RobotAdapter`): What was read.
        transformer (`XWAMTransformer3DModel`): The base.
        where (`Path`): Where it was read from, for messages.

    Raises:
        CheckpointMismatchError: If a tensor belongs to no layer, is misshapen or lacks its other half.
    """
    lora = fitting_lora(adapter.lora, transformer)
    modules = dict(transformer.named_modules())
    layers = sorted({name.rpartition(".lora_")[0] for name in lora})
    strangers = [layer for layer in layers if not hasattr(modules[layer], "in_features")]
    if strangers:
        raise CheckpointMismatchError(str(where), unexpected=strangers)
    config = {**adapter.lora_config, "target_modules": layers}
    _check_halves(lora, None if config.get("rank_pattern") else config["r"])
    return lora, config


def fitting_embodiment(adapter: RobotAdapter, transformer: XWAMTransformer3DModel, where: Path) -> Embodiment:
    """The robot's networks with the weights that were read.

    Args:
        adapter (`RobotAdapter`): What was read.
        transformer (`XWAMTransformer3DModel`): The base.
        where (`Path`): Where it was read from, for messages.

    Raises:
        CheckpointMismatchError: If a tensor is missing, unexpected or misshapen.
    """
    embodiment = empty_embodiment(transformer, **dimensions(adapter.processor.spec))
    expected = {name: TensorInfo(tuple(tensor.shape)) for name, tensor in embodiment.state_dict().items()}
    found = {name: TensorInfo(tuple(tensor.shape)) for name, tensor in adapter.embodiment.items()}
    compare_tensors(expected, found, where=f"the networks of the robot in {where}")
    for module in embodiment.modules.values():
        module.to_empty(device="cpu")
    embodiment.load_state_dict(adapter.embodiment)
    return embodiment


def _check_halves(lora: Mapping[str, torch.Tensor], rank: int | None) -> None:
    """Compare the two halves of every LoRA layer.

    Raises:
        CheckpointMismatchError: If one is missing, or their ranks differ from each other or from the configuration's.
    """
    missing, misshapen = [], []
    for name, tensor in lora.items():
        is_first = name.endswith("lora_A.weight")
        partner = name.replace("lora_A", "lora_B") if is_first else name.replace("lora_B", "lora_A")
        if partner not in lora:
            missing.append(partner)
            continue
        if tensor.ndim != 2 or lora[partner].ndim != 2:
            misshapen.append(f"{name} {tuple(tensor.shape)} instead of a matrix")
            continue
        own, other = (
            (tensor.shape[0], lora[partner].shape[1]) if is_first else (tensor.shape[1], lora[partner].shape[0])
        )
        wanted = other if rank is None else rank
        if own != wanted:
            misshapen.append(f"{name} of rank {own} instead of {wanted}")
    if missing or misshapen:
        raise CheckpointMismatchError("the robot's LoRA", missing=missing, misshapen=misshapen)
