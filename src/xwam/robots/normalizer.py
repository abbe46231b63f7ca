"""Map physical quantities to the model's [-1, 1] range and back."""

from dataclasses import dataclass

import torch

from xwam.robots.spec import SMALLEST_RANGE


@dataclass(frozen=True, eq=False)
class QuantileNormalizer:
    r"""Affine map that sends the 1 % quantile to -1 and the 99 % quantile to +1.

    \(y = 2\,(x - low) / \max(high - low, 10^{-6}) - 1\). `denormalize` is the exact inverse of `normalize` with the same
    guard, unless `clip` is set: then it is the inverse inside [-1, 1]. A channel that must pass through unchanged, such as
    a quaternion, has `low = -1` and `high = 1`.

    Args:
        low (`torch.Tensor` of shape `(channels,)`): 1 % quantile of each channel, in physical units.
        high (`torch.Tensor` of shape `(channels,)`): 99 % quantile of each channel, in physical units.
        clip (`bool`, *optional*, defaults to `False`): Whether `normalize` holds its result to [-1, 1].

    Raises:
        ValueError: If shapes differ, a quantile is not finite or `high` is below `low`.
    """

    low: torch.Tensor
    high: torch.Tensor
    clip: bool = False

    def __post_init__(self) -> None:
        if self.low.ndim != 1 or self.low.shape != self.high.shape:
            raise ValueError(
                f"`low` and `high` must have one shape (channels), but have {tuple(self.low.shape)} and {tuple(self.high.shape)}."
            )
        if not bool((torch.isfinite(self.low) & torch.isfinite(self.high)).all()):
            raise ValueError("`low` and `high` must be finite, but hold NaN or infinity.")
        if bool((self.high < self.low).any()):
            wrong = torch.nonzero(self.high < self.low).flatten().tolist()
            raise ValueError(f"`high` must not be below `low`, but it is in channels {wrong}.")

    @property
    def _range(self) -> torch.Tensor:
        return (self.high - self.low).clamp(min=SMALLEST_RANGE)

    def normalize(self, physical: torch.Tensor) -> torch.Tensor:
        """Map physical units `(..., channels)` to the model's range."""
        normalized = 2 * (physical - self.low) / self._range - 1
        return normalized.clamp(-1, 1) if self.clip else normalized

    def denormalize(self, normalized: torch.Tensor) -> torch.Tensor:
        """Map the model's range `(..., channels)` to physical units."""
        return (normalized + 1) / 2 * self._range + self.low
