"""The processes of a run: started as asked or not at all, and of one mind about what they saw. accelerate does the rest."""

import math
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DataLoaderConfiguration,
    DistributedDataParallelKwargs,
    DistributedType,
    InitProcessGroupKwargs,
    ProjectConfiguration,
)

from xwam.errors import TrainingError
from xwam.training.config import TrainConfig
from xwam.utils.optional import require


def make_accelerator(config: TrainConfig, output: Path) -> Accelerator:
    """The accelerator of a run, in the way that `accelerate launch` and its configuration ask for.

    Args:
        config (`TrainConfig`): Precision, accumulation, tracker.
        output (`Path`): Where the tracker writes.

    Raises:
        TrainingError: If what was asked for, such as FSDP on a CPU, is not what accelerate would do.
        ImportError: If DeepSpeed or the tracker is not installed.
    """
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        require(
            "deepspeed", extra="deepspeed", needed_for="this accelerate configuration (ZeRO); FSDP2 needs nothing more"
        )
    if config.tracker == "tensorboard":
        require("tensorboard", extra="train", needed_for="the curves; without them train with --tracker none")
    unused = 0 in (config.video_weight, config.action_weight, config.state_weight, config.depth_weight)
    accelerator = Accelerator(
        mixed_precision=config.precision,
        gradient_accumulation_steps=config.accumulation,
        log_with=None if config.tracker == "none" else config.tracker,
        project_config=ProjectConfiguration(project_dir=str(output), logging_dir=str(output / "logs")),
        dataloader_config=DataLoaderConfiguration(),
        kwargs_handlers=[
            InitProcessGroupKwargs(backend=None, timeout=timedelta(seconds=config.rank_timeout)),
            DistributedDataParallelKwargs(find_unused_parameters=unused),
        ],
        step_scheduler_with_optimizer=False,
    )
    check_launch(accelerator)
    if is_deepspeed(
        accelerator
    ):  # which cuts gradients itself, and would ask a loader of accelerate's for its batch size
        settings = accelerator.state.deepspeed_plugin.deepspeed_config
        settings["train_micro_batch_size_per_gpu"] = config.batch_size
        settings["gradient_clipping"] = config.max_gradient_norm if math.isfinite(config.max_gradient_norm) else 0.0
    return accelerator


def check_launch(accelerator: Accelerator) -> None:
    """Refuse to train in another way than was asked for: accelerate falls back in silence where it cannot.

    Args:
        accelerator (`Accelerator`): As it came to be.

    Raises:
        TrainingError: If processes would train each for itself, or sharding was asked for and there is none.
    """
    asked = int(os.environ.get("WORLD_SIZE", "1"))
    if asked != accelerator.num_processes:
        raise TrainingError(
            f"{asked} processes were launched, but each would train for itself: accelerate found no device for this. On a "
            "machine without GPU, set ACCELERATE_USE_CPU=true."
        )
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        if accelerator.distributed_type != DistributedType.FSDP:
            raise TrainingError(
                f"FSDP was asked for, but accelerate would train with {accelerator.distributed_type.value}: it shards on "
                "accelerators only, and with more than one process. Use examples/train/accelerate/ddp.yaml."
            )
        if not accelerator.is_fsdp2:
            raise TrainingError("FSDP version 1 was asked for; X-WAM is trained with version 2 (fsdp_version: 2).")


def check_accelerator(accelerator: Accelerator, config: TrainConfig) -> None:
    """Refuse an accelerator that would accumulate or compute in another way than the configuration says.

    Args:
        accelerator (`Accelerator`): Once it has prepared the model: DeepSpeed and `ACCELERATE_GRADIENT_ACCUMULATION_STEPS`
            have a word in it.
        config (`TrainConfig`): Of the run.

    Raises:
        ValueError: If accumulation or precision differ.
    """
    for name, wanted, found in (
        ("accumulation", config.accumulation, accelerator.gradient_accumulation_steps),
        ("precision", config.precision, accelerator.mixed_precision),
    ):
        if wanted != found:
            raise ValueError(
                f"`{name}` is {wanted!r} in the training configuration but {found!r} in the accelerator, which `make_accelerator` "
                "and the files of accelerate must not contradict."
            )


def is_deepspeed(accelerator: Accelerator) -> bool:
    """Whether DeepSpeed trains, which owns optimizer and accumulation."""
    return accelerator.distributed_type == DistributedType.DEEPSPEED


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether a process holds only a part of the weights."""
    return accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)


def sum_over_ranks(accelerator: Accelerator, values: Mapping[str, float | torch.Tensor]) -> dict[str, float]:
    """Sums of numbers over all processes, in one message.

    Args:
        accelerator (`Accelerator`): Of the run.
        values (`Mapping[str, float | torch.Tensor]`): Scalars; the same names in every process.
    """
    total = torch.stack([torch.as_tensor(value).detach().cpu().double() for value in values.values()])
    if accelerator.num_processes > 1:  # alone it stays on the CPU: not every device knows float64
        total = accelerator.reduce(total.to(accelerator.device), reduction="sum")
    return dict(zip(values, total.tolist(), strict=True))


def gather_states(accelerator: Accelerator, state: Mapping[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """The tensors of every process, in order.

    Args:
        accelerator (`Accelerator`): Of the run.
        state (`Mapping[str, torch.Tensor]`): Tensors of the same names and shapes in every process.
    """
    if accelerator.num_processes == 1:
        return [{name: own.clone() for name, own in state.items()}]
    gathered = {name: accelerator.gather(own[None].to(accelerator.device)).cpu() for name, own in state.items()}
    return [
        {name: tensors[rank].clone() for name, tensors in gathered.items()}
        for rank in range(accelerator.num_processes)
    ]


def raise_together(accelerator: Accelerator, error: Exception | None, doing: str) -> None:
    """Raise in all processes if one of them failed, so that none waits for it.

    Args:
        accelerator (`Accelerator`): Of the run.
        error (`Exception` or `None`): What went wrong in this process.
        doing (`str`): In words, for the processes in which nothing did.

    Raises:
        TrainingError: In processes in which nothing went wrong.
    """
    failed = sum_over_ranks(accelerator, {"failed": float(error is not None)})["failed"]
    if error is not None:
        raise error
    if failed:
        raise TrainingError(f"Another process failed while {doing}; its message says why.")
