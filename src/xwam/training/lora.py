"""A new robot on a frozen base: which layers are adapted, which parameters are trained, and what they come to."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.training_utils import cast_training_params
from peft import LoraConfig

from xwam.errors import TrainingError
from xwam.models.embodiment import MODULES
from xwam.pipelines.model_card import ModelCard
from xwam.pipelines.pipeline_xwam import XWAMPipeline
from xwam.robots.spec import RobotSpec
from xwam.training.ranks import is_sharded

ATTENTION = r"(attn1|attn2)\.(to_q|to_k|to_v|to_out\.0)"
FEED_FORWARD = r"ffn\.net\.(0\.proj|2)"
LORA_DROPOUT = "lora_dropout"


@dataclass(frozen=True)
class LoraSettings:
    """How the layers of a base are adapted to a robot.

    Args:
        rank (`int`, *optional*, defaults to `16`): Rank r of every adapted layer.
        alpha (`float`, *optional*): Numerator of the scale alpha / r; r where not given.
        is_rank_stabilized (`bool`, *optional*, defaults to `False`): Scale by alpha / √r instead.
        dropout (`float`, *optional*, defaults to `0.0`): Of the input of LoRA layers, while training.
        adapts_feed_forward (`bool`, *optional*, defaults to `True`): Adapt the feed-forward layers too, not attention alone.
        adapts_depth (`bool`, *optional*): Adapt the blocks of an interleaved depth branch too; by default where a camera of
            the robot measures depth.

    Raises:
        ValueError: If a number is out of its range.
    """

    rank: int = 16
    alpha: float | None = None
    is_rank_stabilized: bool = False
    dropout: float = 0.0
    adapts_feed_forward: bool = True
    adapts_depth: bool | None = None

    def __post_init__(self) -> None:
        if type(self.rank) is not int or self.rank < 1:
            raise ValueError(f"`rank` must be a positive whole number, but is {self.rank!r}.")
        if self.alpha is not None and not self.alpha > 0:
            raise ValueError(f"`alpha` must be positive, but is {self.alpha!r}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must lie in [0, 1), but is {self.dropout!r}.")


@dataclass(frozen=True)
class TrainedParameters:
    """What is trained, in numbers of parameters.

    Args:
        lora (`int`): Of LoRA layers.
        robot (`int`): Of the robot's own networks.
        base (`int`): Of the base, which are frozen, without the networks that the robot's stand in for.
        names (`tuple[str, ...]`): Names in the transformer of what is trained.
    """

    lora: int
    robot: int
    base: int
    names: tuple[str, ...]

    @property
    def trained(self) -> int:
        """LoRA and the robot's networks."""
        return self.lora + self.robot

    @property
    def share(self) -> float:
        """Trained parameters over all."""
        return self.trained / (self.trained + self.base)

    def megabytes(self, bytes_per_parameter: int = 4) -> float:
        """Size of the robot's file in 10^6 bytes.

        Args:
            bytes_per_parameter (`int`, *optional*, defaults to `4`): float32 where not given.
        """
        return self.trained * bytes_per_parameter / 1e6

    def __str__(self) -> str:
        return (
            f"{self.trained:,} of {self.trained + self.base:,} parameters are trained ({100 * self.share:.2f} %): "
            f"{self.lora:,} of LoRA, {self.robot:,} of the robot's own networks; {self.megabytes():.1f} MB in float32"
        )


def lora_config(robot: RobotSpec, settings: LoraSettings) -> LoraConfig:
    """Adapters on attention and feed-forward of the trunk, and of the depth branch where the robot has depth.

    Args:
        robot (`RobotSpec`): The robot.
        settings (`LoraSettings`): How.
    """
    has_depth = any(camera.depth_range is not None for camera in robot.cameras)
    with_depth = has_depth if settings.adapts_depth is None else settings.adapts_depth
    layers = f"({ATTENTION}|{FEED_FORWARD})" if settings.adapts_feed_forward else ATTENTION
    alpha = settings.rank if settings.alpha is None else settings.alpha
    return LoraConfig(
        r=settings.rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # peft divides by it, whole or not
        use_rslora=settings.is_rank_stabilized,
        lora_dropout=settings.dropout,
        target_modules=rf"{'(depth_)?' if with_depth else ''}blocks\.\d+\.{layers}",
    )


def prepare_lora(
    pipeline: XWAMPipeline,
    robot: RobotSpec,
    settings: LoraSettings | None = None,
    *,
    adapter_name: str | None = None,
    seed: int = 0,
) -> TrainedParameters:
    """Put a new robot on the base of a pipeline and let only what belongs to it be trained.

    Args:
        pipeline (`XWAMPipeline`): With the base, in any dtype or quantized; it acts as the new robot afterwards.
        robot (`RobotSpec`): The robot, with the quantiles of its recordings.
        settings (`LoraSettings`, *optional*): How; the defaults where not given.
        adapter_name (`str`, *optional*): Name to select it by; that of the robot where not given.
        seed (`int`, *optional*, defaults to `0`): Seed of the start values.

    Raises:
        ValueError: If the robot does not fit, or its quantiles are unknown; nothing has changed then.
    """
    robot.require("quantiles", "command_kind", "model_from_base", "arms", purpose="train on recordings")
    name = pipeline.add_robot(
        robot, lora_config(robot, settings or LoraSettings()), adapter_name=adapter_name, seed=seed
    )
    return train_robot(pipeline, name)


def train_robot(pipeline: XWAMPipeline, adapter_name: str) -> TrainedParameters:
    """Let only what belongs to one loaded robot be trained, in float32: to go on with a robot that was trained before.

    Args:
        pipeline (`XWAMPipeline`): It acts as that robot afterwards.
        adapter_name (`str`): Name of the robot.

    Raises:
        ValueError: If there is no such robot.
    """
    pipeline.set_robot(adapter_name)
    transformer: Any = pipeline.transformer
    own = re.compile(rf".+\.lora_[AB]\.{re.escape(adapter_name)}\.weight|({'|'.join(MODULES)})\..+")
    transformer.requires_grad_(False)
    for name, parameter in transformer.named_parameters():
        if own.fullmatch(name):
            parameter.requires_grad_(True)
    cast_training_params(transformer, dtype=torch.float32)
    return trained_parameters(transformer)


def trained_parameters(transformer: Any) -> TrainedParameters:
    """Count what requires a gradient.

    Args:
        transformer (`XWAMTransformer3DModel`): Of a pipeline, also on the meta device.
    """
    counts = {"lora": 0, "robot": 0, "base": 0}
    names = []
    for name, parameter in transformer.named_parameters():
        is_lora = ".lora_" in name
        if parameter.requires_grad:
            names.append(name)
            counts["lora" if is_lora else "robot"] += parameter.numel()
        elif not is_lora:
            counts["base"] += parameter.numel()
    return TrainedParameters(**counts, names=tuple(names))


def lora_options(transformer: Any) -> dict[str, Any]:
    """What the LoRA that is trained looks like, by the options of `train_xwam_lora.py`.

    Its tensors alone do not say how strongly they act.

    Args:
        transformer (`XWAMTransformer3DModel`): Of a pipeline.

    Returns:
        `dict[str, Any]`: Empty where not exactly one LoRA is trained.
    """
    found = [
        name.split(".lora_A.") for name, p in transformer.named_parameters() if p.requires_grad and ".lora_A." in name
    ]
    adapters = {adapter.removesuffix(".weight") for _, adapter in found}
    if len(adapters) != 1:
        return {}
    config = transformer.peft_config[adapters.pop()]
    return {
        "rank": config.r,
        "alpha": float(config.lora_alpha),
        "rslora": config.use_rslora,
        LORA_DROPOUT: float(config.lora_dropout),
        "attention_only": not any(".ffn." in layer for layer, _ in found),
    }


def robot_export(card: ModelCard | None = None) -> Callable[[XWAMPipeline, Path], None]:
    """What a `Trainer` calls to write the active robot in place of the whole pipeline.

    Args:
        card (`ModelCard`, *optional*): What only the author knows.
    """

    def export(pipeline: XWAMPipeline, folder: Path) -> None:
        pipeline.save_robot(folder, card=card)

    return export


def check_lora_launch(accelerator: Accelerator) -> None:
    """Refuse to shard: a robot is written from whole tensors, and what is trained fits onto every device.

    Args:
        accelerator (`Accelerator`): Of the run.

    Raises:
        TrainingError: If the weights would be spread over processes.
    """
    if is_sharded(accelerator):
        raise TrainingError(
            f"LoRA is trained by one process or by several with DDP, not with {accelerator.distributed_type.value}: the base is "
            "frozen and can be quantized (--quantize), and what is trained is small. Use examples/train/accelerate/ddp.yaml."
        )
