"""One number to minimize: the weighted sum of the losses."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch


@dataclass(frozen=True)
class LossWeights:
    r"""How much each loss counts.

    \(L = \lambda_v L_{video} + \lambda_a L_{action} + \lambda_s L_{state} + \lambda_D L_{depth} + \lambda_f L_{spectral}\)

    Source: X-WAM, arXiv 2604.26694, section 3.4; the values are those of the release.

    Args:
        video (`float`, *optional*, defaults to `1.0`): Of the video.
        actions (`float`, *optional*, defaults to `1.0`): Of the actions.
        states (`float`, *optional*, defaults to `1.0`): Of the robot states.
        depth (`float`, *optional*, defaults to `1.0`): Of the depth.
        spectral (`float`, *optional*, defaults to `0.0`): Of the spectrum of the action velocities over time.

    Raises:
        ValueError: If a weight is negative or not finite.
    """

    video: float = 1.0
    actions: float = 1.0
    states: float = 1.0
    depth: float = 1.0
    spectral: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            weight = getattr(self, field.name)
            if not 0 <= weight < math.inf:
                raise ValueError(f"The weight `{field.name}` must be finite and not negative, but is {weight}.")


def weighted_sum(losses: Mapping[str, torch.Tensor], weights: LossWeights) -> torch.Tensor:
    """Sum of the losses that there are, each with its weight; losses of weight 0 are left out.

    Args:
        losses (`Mapping[str, torch.Tensor]`): Scalars by name, from `training_losses`.
        weights (`LossWeights`): Their weights.

    Raises:
        ValueError: If a loss has no weight, or none is left.
    """
    known = {field.name for field in fields(weights)}
    if unknown := sorted(set(losses) - known):
        raise ValueError(f"There is no weight for the losses {unknown}; known are {sorted(known)}.")
    counted = [getattr(weights, name) * loss for name, loss in losses.items() if getattr(weights, name) > 0]
    if not counted:
        raise ValueError(f"No loss of {sorted(losses)} has a weight above 0.")
    return torch.stack(counted).sum()
