"""How far predicted depth is from measured depth, in metres or in shares: one value per depth map.

Depth is the distance along the optical axis in metres, and 0 where it is unknown, as in a `Future`. A pixel counts where the truth
is known, the prediction is known and the mask, where one is given, is true; `coverage` tells which share of the known truth
that is, so that a prediction cannot win unseen by leaving pixels out. A map without any counted pixel scores NaN.
"""

import numpy as np

from xwam.metrics.arrays import check_floats, check_pair, reduced

ALIGNMENTS = ("none", "median", "scale_shift")
DELTA_BASE = 1.25  # Eigen et al. 2014, arXiv 1406.2283


def abs_rel(
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    alignment: str = "none",
    reduce: str | None = None,
) -> np.ndarray:
    r"""Mean of \(|p - t| / t\) over the counted pixels. The truth divides: order matters.

    Args:
        prediction (`np.ndarray` of shape `(..., H, W)`): Metres, floating point; 0 where unknown.
        truth (`np.ndarray` of shape `(..., H, W)`): Metres, floating point; 0 where unknown.
        mask (`np.ndarray` of shape `(..., H, W)`, *optional*): bool; pixels to count, all where not given.
        alignment (`str`, *optional*, defaults to `'none'`): What is done to the prediction of each map first; see `aligned`.
        reduce (`str`, *optional*): `None` keeps one value per map, `"mean"` gives the mean of those that are not NaN.

    Returns:
        `np.ndarray` of shape `(...)`: Share, 0 is perfect; NaN where no pixel counts.

    Raises:
        TypeError: If depth is not floating point or the mask is not bool.
        ValueError: If shapes differ, depth is negative or not finite, or there is no such alignment.
    """
    return reduced(depth_errors(prediction, truth, mask=mask, alignment=alignment)["abs_rel"], reduce)


def delta(
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    power: int = 1,
    mask: np.ndarray | None = None,
    alignment: str = "none",
    reduce: str | None = None,
) -> np.ndarray:
    r"""Share of the counted pixels with \(\max(p/t, t/p) < 1.25^{power}\). Without alignment order does not matter.

    Args:
        prediction (`np.ndarray` of shape `(..., H, W)`): Metres, floating point; 0 where unknown.
        truth (`np.ndarray` of shape `(..., H, W)`): Metres, floating point; 0 where unknown.
        power (`int`, *optional*, defaults to `1`): 1, 2 or 3, for δ1, δ2, δ3.
        mask (`np.ndarray` of shape `(..., H, W)`, *optional*): bool; pixels to count, all where not given.
        alignment (`str`, *optional*, defaults to `'none'`): What is done to the prediction of each map first; see `aligned`.
        reduce (`str`, *optional*): `None` keeps one value per map, `"mean"` gives the mean of those that are not NaN.

    Returns:
        `np.ndarray` of shape `(...)`: Share, 1 is perfect; NaN where no pixel counts.

    Raises:
        TypeError: If depth is not floating point or the mask is not bool.
        ValueError: If shapes differ, depth is negative or not finite, or there is no such alignment or power.
    """
    if power not in (1, 2, 3):
        raise ValueError(f"`power` must be 1, 2 or 3 but is {power!r}.")
    return reduced(depth_errors(prediction, truth, mask=mask, alignment=alignment)[f"delta{power}"], reduce)


def rmse(
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    alignment: str = "none",
    reduce: str | None = None,
) -> np.ndarray:
    r"""Root of the mean of \((p - t)^2\) over the counted pixels, in metres. Without alignment order does not matter.

    Args:
        prediction (`np.ndarray` of shape `(..., H, W)`): Metres, floating point; 0 where unknown.
        truth (`np.ndarray` of shape `(..., H, W)`): Metres, floating point; 0 where unknown.
        mask (`np.ndarray` of shape `(..., H, W)`, *optional*): bool; pixels to count, all where not given.
        alignment (`str`, *optional*, defaults to `'none'`): What is done to the prediction of each map first; see `aligned`.
        reduce (`str`, *optional*): `None` keeps one value per map, `"mean"` gives the mean of those that are not NaN.

    Returns:
        `np.ndarray` of shape `(...)`: Metres, 0 is perfect; NaN where no pixel counts.

    Raises:
        TypeError: If depth is not floating point or the mask is not bool.
        ValueError: If shapes differ, depth is negative or not finite, or there is no such alignment.
    """
    return reduced(depth_errors(prediction, truth, mask=mask, alignment=alignment)["rmse"], reduce)


def coverage(prediction: np.ndarray, truth: np.ndarray, *, mask: np.ndarray | None = None) -> np.ndarray:
    """Share of the pixels with known truth for which a depth was predicted. Order matters.

    Args:
        prediction (`np.ndarray` of shape `(..., H, W)`): Metres, floating point; 0 where unknown.
        truth (`np.ndarray` of shape `(..., H, W)`): Metres, floating point; 0 where unknown.
        mask (`np.ndarray` of shape `(..., H, W)`, *optional*): bool; pixels to look at, all where not given.

    Returns:
        `np.ndarray` of shape `(...)`: Share, 1 where every known pixel was predicted; NaN where none is known.

    Raises:
        TypeError: If depth is not floating point or the mask is not bool.
        ValueError: If shapes differ, or depth is negative or not finite.
    """
    return depth_errors(prediction, truth, mask=mask)["coverage"]


def depth_errors(
    prediction: np.ndarray, truth: np.ndarray, *, mask: np.ndarray | None = None, alignment: str = "none"
) -> dict[str, np.ndarray]:
    """All of the above in one pass: `abs_rel`, `delta1`, `delta2`, `delta3`, `rmse` (metres) and `coverage`.

    Args:
        prediction (`np.ndarray` of shape `(..., H, W)`): Metres, floating point; 0 where unknown.
        truth (`np.ndarray` of shape `(..., H, W)`): Metres, floating point; 0 where unknown.
        mask (`np.ndarray` of shape `(..., H, W)`, *optional*): bool; pixels to count, all where not given.
        alignment (`str`, *optional*, defaults to `'none'`): What is done to the prediction of each map first; see `aligned`.

    Returns:
        `dict[str, np.ndarray]`: Arrays of shape `(...)` by name; NaN where no pixel counts.

    Raises:
        TypeError: If depth is not floating point or the mask is not bool.
        ValueError: If shapes differ, depth is negative or not finite, or there is no such alignment.
    """
    known = _known_truth(prediction, truth, mask)
    counted = known & (prediction > 0)
    p, t = aligned(prediction, truth, counted, alignment), truth.astype(np.float64)
    safe_t, safe_p = np.where(counted, t, 1), np.where(counted & (p > 0), p, np.finfo(np.float64).tiny)
    error = np.where(counted, p - t, 0)
    with np.errstate(over="ignore"):
        ratio = np.maximum(safe_p / safe_t, safe_t / safe_p)  # infinite where alignment made depth negative
    errors = {
        "abs_rel": _mean(np.abs(error) / safe_t, counted),
        **{f"delta{power}": _mean(ratio < DELTA_BASE**power, counted) for power in (1, 2, 3)},
        "rmse": np.sqrt(_mean(np.square(error), counted)),
        "coverage": _mean(counted, known),
    }
    return errors


def aligned(prediction: np.ndarray, truth: np.ndarray, counted: np.ndarray, alignment: str) -> np.ndarray:
    r"""The prediction in float64, fitted to the truth over the counted pixels of each map.

    `"none"`: as it is. `"median"`: times \(\mathrm{median}(t) / \mathrm{median}(p)\). `"scale_shift"`: \(s\,p + b\) with the
    \(s\) and \(b\) of least squares in depth (not in inverse depth). The fit uses the truth: an aligned score says how good the
    shape is, not how good the metres are.

    Args:
        prediction (`np.ndarray` of shape `(..., H, W)`): Metres, or any unit where it is aligned.
        truth (`np.ndarray` of shape `(..., H, W)`): Metres.
        counted (`np.ndarray` of shape `(..., H, W)`): bool; pixels to fit over. A map without any is left as it is.
        alignment (`str`): One of `ALIGNMENTS`.

    Raises:
        ValueError: If there is no such alignment.
    """
    p = prediction.astype(np.float64)
    if alignment == "none":
        return p
    if alignment not in ALIGNMENTS:
        raise ValueError(f"`alignment` must be one of {ALIGNMENTS} but is {alignment!r}.")
    fit = _median_fit if alignment == "median" else _least_squares_fit
    for index in np.ndindex(p.shape[:-2]):
        own = counted[index]
        if own.any():
            scale, shift = fit(p[index][own], truth[index][own].astype(np.float64))
            p[index] = scale * p[index] + shift
    return p


def _median_fit(p: np.ndarray, t: np.ndarray) -> tuple[float, float]:
    return float(np.median(t) / np.median(p)), 0.0


def _least_squares_fit(p: np.ndarray, t: np.ndarray) -> tuple[float, float]:
    """Slope and intercept; a constant prediction becomes the mean of the truth."""
    centred = p - p.mean()
    variance = np.square(centred).sum()
    # Both centred: of a constant, the mean leaves a variance of rounding, and the mean of the truth would count in it.
    scale = float((centred * (t - t.mean())).sum() / variance) if variance > 0 else 0.0
    return scale, float(t.mean() - scale * p.mean())


def _known_truth(prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    check_pair(prediction, truth)
    for name, depth in (("prediction", prediction), ("truth", truth)):
        if np.issubdtype(depth.dtype, np.integer):
            raise TypeError(f"`{name}` must be metres in floating point but is {depth.dtype}; are these millimetres?")
        check_floats(name, depth)
        if depth.ndim < 2:
            raise ValueError(f"`{name}` must have shape (..., H, W) but has shape {depth.shape}.")
        if (depth < 0).any():
            raise ValueError(
                f"`{name}` must not be negative but is from {depth.min():.3g} m on; 0 marks unknown depth."
            )
    if mask is None:
        return truth > 0
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"`mask` must be a NumPy array of bool but is {getattr(mask, 'dtype', type(mask).__name__)}.")
    if mask.shape != truth.shape:
        raise ValueError(f"`mask` must have the shape of the depth, {truth.shape}, but has {mask.shape}.")
    return (truth > 0) & mask


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean over the counted pixels of each map; NaN where there are none."""
    total = np.where(counted, values, 0).sum(axis=(-2, -1), dtype=np.float64)
    number = counted.sum(axis=(-2, -1))
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
