"""Depth without a unit becomes metres: one scale and one shift of inverse depth per view, found where some depth is measured.

The measured pixels may hold many outliers: edges, holes that were filled, things that the model dreamt differently. Lines
through pairs of pixels are tried first; what the best of them explains is then fitted by reweighted least squares.
"""

from typing import NamedTuple

import torch

from xwam.errors import DepthCalibrationError

MIN_PIXELS = 50  # measured and usable ones; fewer are a matter of luck
MIN_INLIER_SHARE = 0.5  # the search is sure to find the truth only where it is in the majority
MIN_SPREAD = 0.2  # of inverse depth, relative to its median: a wall seen from the front tells no scale
MIN_SIGNAL = 4.0  # spread of the fitted inverse depth, in standard deviations of what is left; of pure noise below 1
MAX_INLIER_ERROR = 0.25  # of depth, however noisy the rest is

NUM_PAIRS = 512  # lines that are tried: with 60 % good pixels, 184 of them go through two good ones
NUM_SCORED = 1024  # pixels against which they are tried
NUM_REWEIGHTINGS = 30  # at most
SETTLED = 1e-9  # relative change of the scale after which nothing moves
TUKEY = 2.7  # standard deviations beyond which a pixel has no weight; at 4.7 outliers near the noise pull twice as far
INLIER_DEVIATIONS = 2.5
MEDIAN_TO_DEVIATION = 1.4826  # of the absolute values of Gaussian numbers
LEAST_DEVIATION = 1e-3  # of the median inverse depth: no sensor and no model is better


class AffineDepth(NamedTuple):
    """What fits: 1/metres = scale · level + shift.

    Args:
        scale (`float`): Per metre and unit of the level, positive.
        shift (`float`): Per metre.
        residual (`float`): Median of |fitted − measured| / measured over the inliers.
        inlier_share (`float`): Share of the measured pixels that the fit explains, from 0 to 1.
        num_pixels (`int`): Measured pixels that were looked at.
    """

    scale: float
    shift: float
    residual: float
    inlier_share: float
    num_pixels: int


def calibrate_affine(levels: torch.Tensor, measured: torch.Tensor, mask: torch.Tensor | None = None) -> AffineDepth:
    r"""Fit \(1/d = scale \cdot level + shift\) to pixels of which up to 40 % may be anything.

    The same pixels give the same numbers: the pairs are drawn with a fixed seed. Noise is taken to be in \(1/d\).

    Args:
        levels (`torch.Tensor` of shape `(...)`): Inverse depth in any unit, such as levels of a depth image: greater is nearer.
        measured (`torch.Tensor` of shape `(...)`): Metres; zero, negative, NaN and infinity mark a missing measurement.
        mask (`torch.Tensor` of shape `(...)`, *optional*): bool, pixels that may be used.

    Raises:
        ValueError: If the shapes differ or the mask is not bool.
        DepthCalibrationError: If there are too few pixels, their depth is almost the same everywhere, greater levels are
            farther, or the levels do not explain the depth of most of them.
    """
    level, inverse = _usable(levels.detach(), measured.detach(), mask)
    scale, shift, deviation = _search(level, inverse)
    for _ in range(NUM_REWEIGHTINGS):
        before = scale
        scale, shift, deviation = _reweighted(level, inverse, scale, shift, deviation)
        if (scale - before).abs() <= SETTLED * scale.abs():
            break
    error = scale * level + shift - inverse
    # |fitted − measured| / measured = |error| / fitted inverse depth
    relative = error.abs() / (scale * level + shift).clamp(min=torch.finfo(error.dtype).tiny)
    is_inlier = (error.abs() <= INLIER_DEVIATIONS * deviation) & (relative <= MAX_INLIER_ERROR)
    _check_fit(level, inverse, is_inlier, float(scale), float(deviation))
    share = float(is_inlier.double().mean())
    return AffineDepth(float(scale), float(shift), float(relative[is_inlier].median()), share, len(level))


def affine_to_depth(levels: torch.Tensor, scale: float, shift: float, farthest: float | None = None) -> torch.Tensor:
    r"""Metres \(1 / (scale \cdot level + shift)\), of the shape of the levels.

    Zero stands for what has no depth: where the inverse depth is not positive, beyond `farthest`, and for NaN. Gradients
    are zero there.

    Args:
        levels (`torch.Tensor` of shape `(...)`): As for `calibrate_affine`.
        scale (`float`): Per metre and unit of the level.
        shift (`float`): Per metre.
        farthest (`float`, *optional*): Metres beyond which a depth is not told.
    """
    inverse = scale * levels + shift
    is_known = (inverse > (0 if farthest is None else 1 / farthest)) & inverse.isfinite()
    return torch.where(is_known, 1 / torch.where(is_known, inverse, 1), 0)


def _usable(
    levels: torch.Tensor, measured: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Levels and inverse depth of the usable pixels, float64 `(N,)` each."""
    mask = torch.ones_like(measured, dtype=torch.bool) if mask is None else mask
    if not levels.shape == measured.shape == mask.shape:
        shapes = [tuple(each.shape) for each in (levels, measured, mask)]
        raise ValueError(f"`levels`, `measured` and `mask` must have the same shape, but have {shapes}.")
    if mask.dtype != torch.bool:
        raise ValueError(f"`mask` must be bool, but is {mask.dtype}.")
    is_usable = mask & (measured > 0) & measured.isfinite() & levels.isfinite()
    level, inverse = levels[is_usable].double(), 1 / measured[is_usable].double()
    if len(level) < MIN_PIXELS:
        raise DepthCalibrationError(f"it needs {MIN_PIXELS} measured pixels at least, and there are {len(level)}")
    if not _spread(inverse) > MIN_SPREAD * float(inverse.median()):
        raise DepthCalibrationError("the measured depth is almost the same everywhere, so no scale can be seen")
    if not float(level.max()) > float(level.min()):
        raise DepthCalibrationError("the depth image is the same everywhere")
    return level, inverse


def _search(level: torch.Tensor, inverse: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scale and shift of the line with the least median error, and the standard deviation of its noise."""
    device, random = level.device, torch.Generator().manual_seed(0)
    level, inverse = level.cpu(), inverse.cpu()
    chosen = torch.randperm(len(level), generator=random)[:NUM_SCORED]
    level, order = level[chosen].sort()
    inverse = inverse[chosen][order]
    first = torch.randint(len(level), (NUM_PAIRS,), generator=random)
    goal = level[0] + torch.rand(NUM_PAIRS, generator=random, dtype=level.dtype) * (level[-1] - level[0])
    second = torch.searchsorted(level, goal).clamp(max=len(level) - 1)  # even in level: long lines are good lines
    rise = level[second] - level[first]
    scale = (inverse[second] - inverse[first]) / torch.where(rise == 0, torch.inf, rise)  # flat where there is no rise
    shift = inverse[first] - scale * level[first]
    error = (scale[:, None] * level + shift[:, None] - inverse).abs()  # (pairs, pixels)
    medians = error.median(dim=1).values
    best = medians.argmin()
    found = scale[best], shift[best], _deviation(medians[best], inverse)
    return found[0].to(device), found[1].to(device), found[2].to(device)


def _reweighted(
    level: torch.Tensor, inverse: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, deviation: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One step of least squares with Tukey's weights."""
    error = scale * level + shift - inverse
    weight = (1 - (error / (TUKEY * deviation)).square()).clamp(min=0).square()
    total = weight.sum()
    level_mean, inverse_mean = (weight * level).sum() / total, (weight * inverse).sum() / total
    centred = level - level_mean
    variance = (weight * centred.square()).sum()
    if total <= 0 or variance <= 0:
        return scale, shift, deviation
    scale = (weight * centred * (inverse - inverse_mean)).sum() / variance
    shift = inverse_mean - scale * level_mean
    error = (scale * level + shift - inverse).abs()
    near = error[error <= INLIER_DEVIATIONS * deviation]
    return scale, shift, _deviation(near.median(), inverse) if len(near) else deviation


def _check_fit(
    level: torch.Tensor, inverse: torch.Tensor, is_inlier: torch.Tensor, scale: float, deviation: float
) -> None:
    share = float(is_inlier.double().mean())
    if abs(scale) * _spread(level) < MIN_SIGNAL * deviation:
        raise DepthCalibrationError("the levels have too little to do with the measured depth")
    if scale <= 0:
        raise DepthCalibrationError(f"greater levels are farther away: the scale would be {scale:.3g} per metre")
    if share < MIN_INLIER_SHARE:
        raise DepthCalibrationError(
            f"scale and shift explain {share:.0%} of the pixels only, and {MIN_INLIER_SHARE:.0%} are needed"
        )
    explained = _spread(inverse[is_inlier])
    if explained < max(MIN_SPREAD * float(inverse[is_inlier].median()), MIN_SIGNAL * deviation):
        raise DepthCalibrationError(
            "what scale and shift explain is at almost the same depth, so no scale can be seen"
        )


def _deviation(median: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    return torch.maximum(MEDIAN_TO_DEVIATION * median, LEAST_DEVIATION * inverse.median())


def _spread(values: torch.Tensor) -> float:
    """Between the 1 % and the 99 % quantile."""
    ordered = values.sort().values
    low, high = (round(share * (len(ordered) - 1)) for share in (0.01, 0.99))
    return float(ordered[high] - ordered[low])
