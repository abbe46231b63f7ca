"""Futures of one scene on one sheet: what was imagined beside what came."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from xwam.export.images import colour_depth, contact_sheet, depth_ends, resize_frames
from xwam.futures.future import Future


def future_sheet(
    futures: Mapping[str, Future],
    *,
    cameras: Mapping[str, str] | None = None,
    kinds: Sequence[Literal["frames", "depths"]] = ("frames", "depths"),
    frames: Sequence[int] | None = None,
    cell: tuple[int, int] | None = None,
    title: str = "",
) -> np.ndarray:
    """Lay out futures as a labelled table: time to the right; for every camera the colours of each, then the depth of each.

    Depth is coloured with one scale for each camera (`depth_ends` of what is shown). A future without depth of a camera has no such row.

    Args:
        futures (`Mapping[str, Future]`): Futures by label, from top to bottom.
        cameras (`Mapping[str, str]`, *optional*): Labels of the cameras that are shown, by name; all of the first future by
            default, under their names.
        kinds (`Sequence[str]`, *optional*): What is shown, of `"frames"` and `"depths"`.
        frames (`Sequence[int]`, *optional*): Numbers of the frames that are shown; all by default.
        cell (`tuple[int, int]`, *optional*): Rows and columns (H, W) of a picture; their own size by default.
        title (`str`, *optional*, defaults to `""`): Line above the table.

    Returns:
        `np.ndarray` of shape `(H', W', 3)`: The sheet, RGB `uint8`.

    Raises:
        ValueError: If there is nothing to show, or pictures differ in number or, without `cell`, in size.
    """
    if not futures:
        raise ValueError("`futures` must hold at least one future but is empty.")
    first = next(iter(futures.values()))
    shown = list(range(first.num_frames) if frames is None else frames)
    rows: dict[str, np.ndarray] = {}
    for camera, label in (cameras or {name: name for name in first.cameras}).items():
        for kind in kinds:
            own = {
                name: getattr(future, kind)[camera][shown]
                for name, future in futures.items()
                if camera in getattr(future, kind)
            }
            if kind == "depths" and own:
                near, far = depth_ends(*own.values())
                own = {name: colour_depth(depth, near=near, far=far) for name, depth in own.items()}
            word = f"{label} depth" if kind == "depths" else label
            rows |= {
                f"{word}, {name}": resize_frames(pictures, cell) if cell else pictures
                for name, pictures in own.items()
            }
    labels = [f"{number * first.frame_period:.2g} s" for number in shown]
    return contact_sheet(rows, column_labels=labels, title=title)
