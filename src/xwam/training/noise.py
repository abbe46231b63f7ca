"""Noise and text dropout of training: a pure function of the seed and the number of the sample, of nothing else."""

from collections.abc import Sequence

import torch

from xwam.models.joint_latents import JointLatents
from xwam.schedulers.noise_pairs import NoisePairs
from xwam.schedulers.scheduling_xwam import XWAMScheduler
from xwam.utils.seeding import seed_from

_SEED_RANGE = 2.0**63


def noise_for(
    indices: torch.Tensor | Sequence[int],
    seed: int,
    scheduler: XWAMScheduler,
    clean: JointLatents,
    mode: str = "ans",
    *,
    with_depth: bool = False,
) -> tuple[NoisePairs, JointLatents]:
    """Noise levels and noise of a batch, each example's from a generator of its own.

    They depend on no batch, rank or worker: training needs no random state to be resumed, and processes that share a batch
    draw what one process would.

    Args:
        indices (`torch.LongTensor` of shape `(B,)` or `Sequence[int]`): Number of each sample in the stream.
        seed (`int`): Seed of the training.
        scheduler (`XWAMScheduler`): Its shift is applied to the levels.
        clean (`JointLatents`): Only its sizes, dtypes and device are read.
        mode (`str`, *optional*, defaults to `"ans"`): `"ans"`, `"decoupled"` or `"sync"`; see
            `xwam.schedulers.noise_pairs`.
        with_depth (`bool`, *optional*, defaults to `False`): Whether depth is denoised, as in the branches `"sequence"` and
            `"channel"`.

    Returns:
        `tuple[NoisePairs, JointLatents]`: Levels `(B,)` and standard normal noise shaped like `clean`, on its device.

    Raises:
        ValueError: If the mode is unknown, there is not one index per example, or depth is to be denoised and there is none.
    """
    numbers = [int(index) for index in indices]
    if len(numbers) != len(clean.video):
        raise ValueError(f"`indices` must name {len(clean.video)} samples, one per example, but names {len(numbers)}.")
    if with_depth and clean.depth is None:
        raise ValueError("`with_depth` needs depth latents in `clean`.")
    depth = clean.depth if with_depth else None
    like = {"video": clean.video, "actions": clean.actions, "states": clean.states, "depth": depth}
    pairs: list[NoisePairs] = []
    drawn: dict[str, list[torch.Tensor]] = {name: [] for name, part in like.items() if part is not None}
    for number in numbers:
        generator = torch.Generator().manual_seed(seed_from(seed, "noise", number))
        pairs.append(scheduler.sample_noise_pairs(mode, 1, generator))
        for name, parts in drawn.items():
            parts.append(torch.randn(like[name].shape[1:], generator=generator))  # type: ignore[union-attr]
    noise = {name: torch.stack(parts).to(like[name]) for name, parts in drawn.items()}
    levels = {name: torch.cat([vars(pair)[name] for pair in pairs]) for name in vars(pairs[0])}
    return NoisePairs(**levels).to(clean.video.device), JointLatents(**noise)


def dropped_prompts(indices: torch.Tensor | Sequence[int], seed: int, probability: float = 0.1) -> torch.Tensor:
    """Which examples are trained with the empty prompt.

    Args:
        indices (`torch.LongTensor` of shape `(B,)` or `Sequence[int]`): Number of each sample in the stream.
        seed (`int`): Seed of the training.
        probability (`float`, *optional*, defaults to `0.1`): Share of the examples.

    Returns:
        `torch.BoolTensor` of shape `(B,)`: On the CPU.

    Raises:
        ValueError: If the probability does not lie in [0, 1].
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"`probability` must lie in [0, 1], but is {probability}.")
    draws = [seed_from(seed, "text", int(index)) / _SEED_RANGE for index in indices]
    return torch.tensor([draw < probability for draw in draws], dtype=torch.bool)
