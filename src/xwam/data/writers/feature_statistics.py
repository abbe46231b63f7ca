"""Statistics of features as LeRobot keeps them in `stats.json`: per episode, and over episodes by its rule of aggregation.

Those of videos come from counts of pixel values, so that they are exact and a whole episode fits into a few kilobytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

Statistics = dict[str, np.ndarray]  # name of the statistic to its values, one per channel


def column_statistics(values: np.ndarray) -> Statistics:
    """Statistics of one column of numbers over the frames of an episode.

    Args:
        values (`np.ndarray` of shape `(frames,)` or `(frames, channels)`): At least one frame.

    Returns:
        `Statistics`: `min`, `max`, `mean`, `std`, `count` and quantiles, each of shape `(channels,)`; `count` is `(1,)`.
    """
    table = values.reshape(len(values), -1).astype(np.float64)
    found = {"min": table.min(0), "max": table.max(0), "mean": table.mean(0), "std": table.std(0)}
    found["count"] = np.array([len(table)])
    ordered = np.sort(table, axis=0)
    return found | {name: ordered[_rank(share, len(table))] for name, share in QUANTILES.items()}


class PixelCounts:
    """How often each pixel value was seen in a video.

    Args:
        values (`np.ndarray` of shape `(values,)`): What each pixel value stands for, such as metres or shares of 255.
        channels (`int`): Channels of the frames.
    """

    def __init__(self, values: np.ndarray, channels: int) -> None:
        self._values = np.asarray(values, dtype=np.float64)
        self._counts = np.zeros((channels, len(values)), dtype=np.int64)
        self._num_frames = 0

    def add(self, frame: np.ndarray) -> None:
        """Count a frame.

        Args:
            frame (`np.ndarray` of shape `(H, W, channels)` or `(H, W)`): Pixel values, whole numbers.
        """
        self._num_frames += 1
        for channel, pixels in enumerate(frame.reshape(-1, len(self._counts)).T):
            self._counts[channel] += np.bincount(pixels, minlength=len(self._values))

    def statistics(self, *, ignored: int | None = None) -> Statistics:
        """Statistics per channel, each of shape `(channels, 1, 1)`; `count` is the number of frames.

        Args:
            ignored (`int`, *optional*): Pixel value that means nothing; all zeros if a channel has no other.
        """
        per_channel = [self._statistics_of(counts.copy(), ignored) for counts in self._counts]
        stacked = {name: np.array([own[name] for own in per_channel]).reshape(-1, 1, 1) for name in per_channel[0]}
        return stacked | {"count": np.array([self._num_frames])}

    def _statistics_of(self, counts: np.ndarray, ignored: int | None) -> dict[str, float]:
        if ignored is not None:
            counts[ignored] = 0
        seen = np.flatnonzero(counts)
        if not len(seen):
            return dict.fromkeys(("min", "max", "mean", "std", *QUANTILES), 0.0)
        values, weights = self._values[seen], counts[seen]
        total, mean = weights.sum(), np.average(values, weights=weights)
        found = {"min": values[0], "max": values[-1], "mean": mean}
        found["std"] = np.sqrt(np.average((values - mean) ** 2, weights=weights))
        places = np.cumsum(weights)
        return found | {
            name: values[np.searchsorted(places, _rank(share, total), side="right")]
            for name, share in QUANTILES.items()
        }


def aggregate(episodes: Sequence[Mapping[str, Statistics]]) -> dict[str, Statistics]:
    """Statistics of many episodes, or of datasets, as LeRobot aggregates them.

    Means are weighted by counts and deviations pooled. Quantiles cannot be had from quantiles: those up to the median are the
    smallest of the episodes' and those above are the largest, which makes them bounds and not estimates.

    Args:
        episodes (`Sequence[Mapping[str, Statistics]]`): Statistics by feature, at least one; all have the same features.
    """
    return {feature: _aggregate_feature([episode[feature] for episode in episodes]) for feature in episodes[0]}


def statistics_to_json(statistics: Mapping[str, Statistics]) -> dict[str, dict[str, Any]]:
    """Plain lists, as `stats.json` holds them."""
    return {feature: {name: value.tolist() for name, value in own.items()} for feature, own in statistics.items()}


def statistics_from_json(plain: Mapping[str, Mapping[str, Any]]) -> dict[str, Statistics]:
    """Inverse of `statistics_to_json`."""
    return {feature: {name: np.asarray(value) for name, value in own.items()} for feature, own in plain.items()}


def _aggregate_feature(episodes: Sequence[Statistics]) -> Statistics:
    stacked = {name: np.stack([episode[name] for episode in episodes]) for name in episodes[0]}
    weights = stacked["count"].reshape(-1, *[1] * (stacked["mean"].ndim - 1))
    total = stacked["count"].sum(0)
    mean = (stacked["mean"] * weights).sum(0) / total
    variance = ((stacked["std"] ** 2 + (stacked["mean"] - mean) ** 2) * weights).sum(0) / total
    found = {"min": stacked["min"].min(0), "max": stacked["max"].max(0), "mean": mean, "std": np.sqrt(variance)}
    found["count"] = total
    for name, share in QUANTILES.items():
        found[name] = stacked[name].min(0) if share <= 0.5 else stacked[name].max(0)
    return found


def _rank(share: float, count: int) -> int:
    """Place of a quantile among `count` values in order: the first with at least this share of them up to it."""
    return min(max(int(np.ceil(share * count)) - 1, 0), int(count) - 1)
