"""Errors of a future where something happens: on the pixels that move, and on all of them in the same way.

A pixel of a frame moves where a colour channel of the truth differs from that of frame 0 by more than `MOTION_THRESHOLD`, the
definition of `xwam.training.validation`. All views of a frame are one picture here, so a view in which nothing moves is no
special case.
"""

import numpy as np

from xwam.futures.future import Future
from xwam.metrics.depth import depth_errors
from xwam.training.validation import MOTION_THRESHOLD

SMALLEST_SQUARED_ERROR = 1e-10  # of colours in [0, 1]: equal pictures have 100 dB instead of infinitely many


def moved_pixels(future: Future) -> np.ndarray:
    """Where a future differs from its first frame, bool `(F, V · H, W)`: the views below each other.

    Args:
        future (`Future`): What came.
    """
    frames = _stacked(future, "frames", future.cameras).astype(np.int16)
    return np.abs(frames - frames[:1]).max(axis=-1) > 255 * MOTION_THRESHOLD


def pooled_errors(prediction: Future, truth: Future, *, only_moved: bool = False) -> dict[str, np.ndarray]:
    """Errors of every frame over the pixels of all views together.

    Args:
        prediction (`Future`): What was imagined.
        truth (`Future`): What came, with at least its cameras, of the same size and time.
        only_moved (`bool`, *optional*, defaults to `False`): Whether only pixels count that move in the truth.

    Returns:
        `dict[str, np.ndarray]`: Arrays `(F,)`: `"squared_error"` of colours in [0, 1], mean over pixels and channels; `"psnr"`, its
        decibels, at most 100; and of the cameras with depth in both, where there are any, `"abs_rel"` and `"delta1"`. NaN in frames
        where no pixel counts.
    """
    names = prediction.cameras
    counted = moved_pixels(truth.with_cameras(names))
    if not only_moved:
        counted = np.ones_like(counted)
    own, other = (_stacked(future, "frames", names).astype(np.float64) / 255 for future in (prediction, truth))
    squared = _mean_where(np.square(own - other).mean(axis=-1), counted)
    errors = {"squared_error": squared, "psnr": -10 * np.log10(np.maximum(squared, SMALLEST_SQUARED_ERROR))}
    if measured := tuple(name for name in names if name in prediction.depths and name in truth.depths):
        depths = [_stacked(future, "depths", measured) for future in (prediction, truth)]
        seen = moved_pixels(truth.with_cameras(measured))
        found = depth_errors(*depths, mask=seen if only_moved else np.ones_like(seen))
        errors |= {name: found[name] for name in ("abs_rel", "delta1")}
    return errors


def _stacked(future: Future, field: str, names: tuple[str, ...]) -> np.ndarray:
    """Frames `(F, V · H, W, 3)` or depth maps `(F, V · H, W)` of some cameras, below each other."""
    return np.concatenate([getattr(future, field)[name] for name in names], axis=1)


def _mean_where(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean over the counted pixels of each frame `(F,)`; NaN where there are none."""
    number = counted.sum(axis=(1, 2))
    total = np.where(counted, values, 0).sum(axis=(1, 2))
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
