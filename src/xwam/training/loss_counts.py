"""What a forward pass is made of, and how many elements each of its losses is a mean over."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch

from xwam.models.input_checks import DENOISED_BRANCHES
from xwam.models.joint_latents import JointLatents
from xwam.schedulers.noise_pairs import NoisePairs
from xwam.schedulers.scheduling_xwam import XWAMScheduler
from xwam.training.config import TrainConfig
from xwam.training.noise import noise_for
from xwam.training.objective import LossWeights, weighted_sum
from xwam.training.step import MASK_EPSILON, EncodedBatch, loss_masks


@dataclass(frozen=True)
class NoisyExamples:
    """What one forward pass is made of.

    Args:
        batch (`EncodedBatch`): Targets and text.
        pairs (`NoisePairs`): Noise levels.
        noise (`JointLatents`): Standard normal.
    """

    batch: EncodedBatch
    pairs: NoisePairs
    noise: JointLatents


def with_noise(batch: EncodedBatch, scheduler: XWAMScheduler, depth_branch: str, config: TrainConfig) -> NoisyExamples:
    """Draw the noise of every sample from its number.

    Args:
        batch (`EncodedBatch`): With `indices`.
        scheduler (`XWAMScheduler`): Draws the noise levels.
        depth_branch (`str`): The transformer's: two of them denoise depth, too, and `"none"` leaves it out.
        config (`TrainConfig`): Seed and noise mode.

    Raises:
        ValueError: If the batch has no indices.
    """
    if depth_branch == "none":  # what was encoded ahead may hold depth
        batch = replace(batch, clean=replace(batch.clean, depth=None), depth_mask=None)
    if batch.indices is None:
        raise ValueError("A batch to train on must have `indices`, from which its noise is drawn.")
    with_depth = depth_branch in DENOISED_BRANCHES and batch.clean.depth is not None
    pairs, noise = noise_for(
        batch.indices.cpu(), config.seed, scheduler, batch.clean, config.noise_mode, with_depth=with_depth
    )
    return NoisyExamples(batch, pairs, noise)


def numbers_of(examples: Iterable[NoisyExamples]) -> list[int]:
    """Numbers of the samples of several forward passes in the stream."""
    return [
        int(number) for example in examples if example.batch.indices is not None for number in example.batch.indices
    ]


def loss_counts(examples: Iterable[NoisyExamples], *, with_spectral: bool = False) -> dict[str, float]:
    """Counts of all `LossTerm`s of several forward passes together.

    A step divides its sums by these, so that its loss is a mean over all its windows, however they are spread over forward
    passes and processes.

    Args:
        examples (`Iterable[NoisyExamples]`): The forward passes.
        with_spectral (`bool`, *optional*, defaults to `False`): Whether the spectral loss is among them.
    """
    counts: dict[str, float] = {}
    for example in examples:
        for name, count in _counts(example, with_spectral).items():
            counts[name] = counts.get(name, 0.0) + count
    return counts


def mean_losses(sums: Mapping[str, float], counts: Mapping[str, float], weights: LossWeights) -> dict[str, float]:
    """Losses of a step by name, and their weighted sum as `loss`.

    Args:
        sums (`Mapping[str, float]`): Sums over all forward passes and processes.
        counts (`Mapping[str, float]`): From `loss_counts`, of the same.
        weights (`LossWeights`): Of the sum.
    """
    losses = {name: sums[name] / (count + MASK_EPSILON) for name, count in counts.items()}
    as_tensors = {name: torch.tensor(loss, dtype=torch.float64) for name, loss in losses.items()}
    return {"loss": float(weighted_sum(as_tensors, weights)), **losses}


def _counts(example: NoisyExamples, with_spectral: bool) -> dict[str, float]:
    clean = example.batch.clean
    masks = loss_masks(example.batch, example.pairs)
    targets: Mapping[str, torch.Tensor | None] = vars(clean)
    counts = {}
    for name, mask in masks.items():
        target = targets[name]
        assert target is not None, "a mask has its target"
        counts[name] = float(mask.cpu().sum(dtype=torch.float64)) * math.prod(target.shape) / math.prod(mask.shape)
    if with_spectral:
        whole = (masks["actions"] > 0).any(dim=-1).all(dim=-1)  # (B,)
        num_actions, channels = clean.actions.shape[1:]
        counts["spectral"] = float(whole.sum()) * (num_actions // 2 + 1) * channels
    return counts
