"""All frames of one camera of an episode, each as a few numbers and some as small pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from xwam.data.checks.findings import Finding, finding_of
from xwam.errors import DataError

BLOCKS, LEAST_PIXELS = 16, 8  # fields per side, and pixels per side of a field
CHUNK = 32  # frames read at once
PICTURE_HEIGHT = 96

Read = Callable[[Sequence[int]], np.ndarray]


@dataclass(eq=False)
class Trace:
    """What is kept of the frames of one camera.

    Args:
        feature (`str`): Name of the camera.
        rows (`list[int]`): Rows whose frames could be read.
        blocks (`list[np.ndarray]`): What `block_means` gives of every frame.
        pictures (`dict[int, np.ndarray]`): Some frames, made small, by row.
        findings (`list[Finding]`): What could not be read.
        size (`tuple[int, int]`, *optional*): Height and width of the frames.
        shares (`list[np.ndarray]`): For depth, of every frame: share of pixels that were measured, of these at the near end,
            and their median.
    """

    feature: str
    rows: list[int] = field(default_factory=list)
    blocks: list[np.ndarray] = field(default_factory=list)
    pictures: dict[int, np.ndarray] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    size: tuple[int, int] | None = None
    shares: list[np.ndarray] = field(default_factory=list)


def trace_frames(
    feature: str, read: Read, rows: Sequence[int], pictured: Sequence[int], near: float | None = None
) -> Trace:
    """Go through the frames of one camera.

    Args:
        feature (`str`): Name of the camera.
        read (`Callable`): Gives frames at rows.
        rows (`Sequence[int]`): Rows to read, increasing.
        pictured (`Sequence[int]`): Rows of which to keep a picture.
        near (`float`, *optional*): For depth: the near end of its range.
    """
    trace = Trace(feature)
    damaged: list[tuple[int, DataError]] = []
    for start in range(0, len(rows), CHUNK):
        for row, frame in _frames(read, rows[start : start + CHUNK], damaged):
            trace.rows.append(row)
            trace.size = frame.shape[:2]
            if frame.ndim == 2:
                trace.shares.append(_depth_shares(frame, near))
            trace.blocks.append(block_means(frame))
            if row in pictured:
                trace.pictures[row] = smaller(frame)
    if damaged:
        trace.findings.append(_damage(feature, damaged, len(rows)))
    return trace


def block_means(frame: np.ndarray) -> np.ndarray:
    """Mean of each of 16 × 16 fields, `float32`, fewer for small frames; a border that is less than a field is left out.

    Args:
        frame (`np.ndarray` of shape `(H, W)` or `(H, W, 3)`): A frame.
    """
    rows, columns = (min(max(side // LEAST_PIXELS, 1), BLOCKS) for side in frame.shape[:2])
    height, width = frame.shape[0] // rows, frame.shape[1] // columns
    kept = frame[: height * rows, : width * columns]
    fields = kept.reshape(rows, height, columns, width, *frame.shape[2:])
    return fields.mean(axis=(1, 3), dtype=np.float32)


def smaller(frame: np.ndarray) -> np.ndarray:
    """Every n-th pixel, so that the picture is about 96 pixels high."""
    step = max(round(frame.shape[0] / PICTURE_HEIGHT), 1)
    return frame[::step, ::step].copy()


def _frames(read: Read, rows: Sequence[int], damaged: list[tuple[int, DataError]]) -> Iterator[tuple[int, np.ndarray]]:
    """Frames that can be read; one by one where not all of them can."""
    try:
        yield from zip(rows, read(rows), strict=True)
        return
    except DataError as error:
        if len(rows) == 1:
            damaged.append((rows[0], error))
            return
    for row in rows:
        yield from _frames(read, [row], damaged)


def _damage(feature: str, damaged: list[tuple[int, DataError]], total: int) -> Finding:
    row, error = damaged[0]
    first = finding_of(error, feature=feature, row=row)
    others = f" ({len(damaged)} of {total} frames)" if len(damaged) > 1 else ""
    return Finding(first.kind, first.expected, f"{first.came}{others}", feature, row)


def _depth_shares(depth: np.ndarray, near: float | None) -> np.ndarray:
    measured = depth[np.isfinite(depth) & (depth > 0)]
    if not len(measured):
        return np.zeros(3)
    at_near = 0.0 if near is None else float((measured <= 1.01 * near).mean())
    return np.array([len(measured) / depth.size, at_near, float(np.median(measured))])
