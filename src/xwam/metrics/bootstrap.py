"""How far a mean over episodes can be from the true one: bootstrap intervals that draw whole episodes, never pixels or frames."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

METHODS = ("percentile", "bca")


@dataclass(frozen=True, eq=False)
class ConfidenceInterval:
    """A mean and the interval around it.

    Args:
        mean (`np.ndarray` of shape `(...)`): Mean over all rows.
        low (`np.ndarray` of shape `(...)`): Lower bound.
        high (`np.ndarray` of shape `(...)`): Upper bound.
        level (`float`): How often such an interval holds the true mean.
        num_episodes (`int`): Episodes that were drawn from.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float
    num_episodes: int


def confidence_interval(
    values: np.ndarray,
    *,
    episodes: Sequence[Hashable] | None = None,
    level: float = 0.95,
    method: str = "percentile",
    num_resamples: int = 2000,
    seed: int = 0,
) -> ConfidenceInterval:
    """Mean over the first axis with its bootstrap interval, for every place of the other axes on its own.

    Frames of one clip, and clips of one episode, resemble each other: drawn one by one they would feign far narrower intervals.
    So every resample draws as many episodes as there are, with replacement, and takes all rows of each. All places see the
    same draws.

    Source: B. Efron, "Better bootstrap confidence intervals", JASA 82 (1987), for `"bca"`.

    Args:
        values (`np.ndarray` of shape `(N, ...)`): One row per episode, or per clip where `episodes` is given: for example
            `(N, V, F)`, a value per view and frame. NaN is left out of the means; infinity is refused.
        episodes (`Sequence[Hashable]`, *optional*): Episode of each row; by default every row is an episode of its own.
        level (`float`, *optional*, defaults to `0.95`): Between 0 and 1.
        method (`str`, *optional*, defaults to `'percentile'`): `"percentile"`, or `"bca"` for bias-corrected and accelerated,
            which is better for few or skewed episodes.
        num_resamples (`int`, *optional*, defaults to `2000`): Resamples.
        seed (`int`, *optional*, defaults to `0`): Equal seeds draw equally.

    Returns:
        `ConfidenceInterval`: Arrays of shape `(...)`. The bounds are NaN where fewer than two episodes have a value.

    Raises:
        ValueError: If there is no row, a value is infinite, the labels do not fit, or an option is out of range.
    """
    values = np.asarray(values, dtype=np.float64)
    _check_options(values, level, method, num_resamples)
    sums, counts = _by_episode(values.reshape(len(values), -1), episodes)
    mean = _ratio(sums.sum(axis=0), counts.sum(axis=0))
    draws = np.random.default_rng(seed).integers(0, len(sums), (num_resamples, len(sums)))
    times_drawn = np.stack([np.bincount(draw, minlength=len(sums)) for draw in draws]).astype(np.float64)
    resampled = _ratio(times_drawn @ sums, times_drawn @ counts)  # (resamples, places)
    tails = np.broadcast_to(np.array([[(1 - level) / 2], [(1 + level) / 2]]), (2, mean.size))
    if method == "bca":
        tails = _corrected_tails(tails, resampled, mean, _ratio(sums.sum(axis=0) - sums, counts.sum(axis=0) - counts))
    low, high = _quantiles(resampled, tails, (counts > 0).sum(axis=0) >= 2)
    shape = values.shape[1:]
    return ConfidenceInterval(mean.reshape(shape), low.reshape(shape), high.reshape(shape), level, len(sums))


def ratio_interval(
    numerators: np.ndarray,
    denominators: np.ndarray,
    *,
    episodes: Sequence[Hashable] | None = None,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> ConfidenceInterval:
    r"""\(\sum n / \sum d\) over all rows with its percentile interval: how large one error is as a part of another.

    Both are of the same rows, and every resample draws whole episodes of both.

    Args:
        numerators (`np.ndarray` of shape `(N,)`): For example the error of a forecast for each clip.
        denominators (`np.ndarray` of shape `(N,)`): That of another forecast; not negative.
        episodes (`Sequence[Hashable]`, *optional*): Episode of each row; by default every row is an episode of its own.
        level (`float`, *optional*, defaults to `0.95`): Between 0 and 1.
        num_resamples (`int`, *optional*, defaults to `2000`): Resamples.
        seed (`int`, *optional*, defaults to `0`): Equal seeds draw equally.

    Returns:
        `ConfidenceInterval`: Arrays of shape `()`; `mean` is the ratio, NaN where the denominators are all zero. A row with NaN
        on either side counts on neither.

    Raises:
        ValueError: If there is no row, shapes or labels do not fit, a value is infinite, a denominator is negative, or an option
            is out of range.
    """
    rows = np.stack([np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)], axis=1)
    if rows.ndim != 2 or (rows[:, 1] < 0).any():
        raise ValueError("`numerators` and `denominators` must be one number per row, and no denominator negative.")
    _check_options(rows, level, "percentile", num_resamples)
    known = ~np.isnan(rows).any(axis=1, keepdims=True)
    sums, _ = _by_episode(np.where(known, rows, 0), episodes)
    draws = np.random.default_rng(seed).integers(0, len(sums), (num_resamples, len(sums)))
    drawn = sums[draws].sum(axis=1)  # (resamples, 2)
    tails = np.array([[(1 - level) / 2], [(1 + level) / 2]])
    has_two = np.array([np.count_nonzero(sums[:, 1]) >= 2])
    low, high = _quantiles(_ratio(drawn[:, :1], drawn[:, 1:]), tails, has_two)
    total = sums.sum(axis=0)
    ratio = _ratio(total[:1], total[1:])
    return ConfidenceInterval(ratio.reshape(()), low.reshape(()), high.reshape(()), level, len(sums))


def _check_options(values: np.ndarray, level: float, method: str, num_resamples: int) -> None:
    if values.ndim < 1 or not values.size:
        raise ValueError(f"`values` must have shape (N, ...) with at least one row but has shape {values.shape}.")
    if np.isinf(values).any():
        raise ValueError(
            "`values` must not be infinite; PSNR is where two images are equal, as an observed frame 0 often is."
        )
    if not 0 < level < 1:
        raise ValueError(f"`level` must lie between 0 and 1 but is {level}.")
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS} but is {method!r}.")
    if num_resamples < 1:
        raise ValueError(f"`num_resamples` must be at least 1 but is {num_resamples}.")


def _by_episode(rows: np.ndarray, episodes: Sequence[Hashable] | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the known values of each episode, both `(episodes, places)`."""
    known = ~np.isnan(rows)
    sums, counts = np.where(known, rows, 0), known.astype(np.float64)
    if episodes is None:
        return sums, counts
    if len(episodes) != len(rows):
        raise ValueError(
            f"`episodes` must name the episode of each of the {len(rows)} rows but has {len(episodes)} names."
        )
    number_of = {name: number for number, name in enumerate(dict.fromkeys(episodes))}
    places = [number_of[name] for name in episodes]
    by_episode = np.zeros((2, len(number_of), rows.shape[1]))
    for total, values in zip(by_episode, (sums, counts), strict=True):
        np.add.at(total, places, values)
    return by_episode[0], by_episode[1]


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _quantiles(resampled: np.ndarray, tails: np.ndarray, is_bounded: np.ndarray) -> np.ndarray:
    """Lower and upper quantile `(2, places)` of each place at its own tails."""
    bounds = np.full((2, resampled.shape[1]), np.nan)
    for place in np.flatnonzero(is_bounded):
        bounds[:, place] = np.nanquantile(resampled[:, place], tails[:, place])
    return bounds


def _corrected_tails(tails: np.ndarray, resampled: np.ndarray, mean: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """Tails shifted by the bias of the resamples and by the skewness of the means that leave one episode out."""
    normal = NormalDist()
    corrected = tails.copy()
    for place in range(mean.size):
        own, jackknife = resampled[:, place], left_out[:, place]
        own, jackknife = own[~np.isnan(own)], jackknife[~np.isnan(jackknife)]
        if not own.size or np.ptp(own) == 0 or not jackknife.size:
            continue
        below = ((own < mean[place]).sum() + (own <= mean[place]).sum()) / (2 * own.size)
        bias = normal.inv_cdf(float(np.clip(below, 0.5 / own.size, 1 - 0.5 / own.size)))
        away = jackknife.mean() - jackknife
        spread = np.square(away).sum()
        acceleration = (away**3).sum() / (6 * spread**1.5) if spread > 0 else 0.0
        for side, tail in enumerate(tails[:, place]):
            shifted = bias + normal.inv_cdf(float(tail))
            corrected[side, place] = normal.cdf(bias + shifted / (1 - acceleration * shifted))
    return corrected
