"""Futures below each other: every picture in its place, one scale of depth for a camera."""

import numpy as np
import pytest
from future_samples import CAMERAS, SIZE, make_future

from xwam.export.future_sheet import future_sheet
from xwam.export.images import colour_depth, resize_frames


def places(sheet: np.ndarray, picture: np.ndarray) -> list[tuple[int, int]]:
    """Where a picture stands on a sheet, row and column."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, picture.shape)[:, :, 0]
    first = (windows[:, :, 0, 0] == picture[0, 0]).all(-1)
    return [(r, c) for r, c in np.argwhere(first).tolist() if (windows[r, c] == picture).all()]


def test_every_picture_stands_where_its_future_and_time_are():
    futures = {"real": make_future(1), "dream": make_future(2)}
    sheet = future_sheet(futures, kinds=("frames",), frames=(0, 3), title="lift")
    rows, columns = [], []
    for camera in CAMERAS:
        for future in futures.values():
            ((row, left),), ((same, right),) = (places(sheet, future.frames[camera][frame]) for frame in (0, 3))
            assert row == same
            rows.append(row)
            columns.append((left, right))
    assert rows == sorted(rows)
    assert len(set(rows)) == len(rows)
    assert len(set(columns)) == 1
    assert columns[0][0] < columns[0][1]
    assert places(sheet, futures["dream"].frames["left"][1]) == []


def test_depth_has_one_scale_for_a_camera_and_a_row_only_where_it_is_known():
    near, far = make_future(1), make_future(2)
    far = make_future(2, depths={"left": 3 * far.depths["left"]})
    sheet = future_sheet({"real": near, "dream": far}, cameras={"left": "left", "wrist": "wrist"}, kinds=("depths",))
    both = np.concatenate([near.depths["left"].ravel(), far.depths["left"].ravel()])
    ends = dict(zip(("near", "far"), np.quantile(both, (0.05, 0.95)), strict=True))
    for future in (near, far):
        assert len(places(sheet, colour_depth(future.depths["left"], **ends)[1])) == 1
    height, gap = SIZE[0], 4
    assert 3 * (height + gap) <= sheet.shape[0] < 4 * (height + gap) + 20, (
        "two rows of the left camera, one of the wrist's"
    )


def test_pictures_are_drawn_at_the_size_that_is_asked_for():
    small, large = make_future(1), make_future(2)
    large = make_future(
        2, frames={name: own.repeat(2, 1).repeat(2, 2) for name, own in large.frames.items()}, depths={}
    )
    with pytest.raises(ValueError, match="must"):
        future_sheet({"real": small, "dream": large}, kinds=("frames",))
    cell = (36, 40)
    sheet = future_sheet({"real": small, "dream": large}, kinds=("frames",), cell=cell)
    for future in (small, large):
        assert len(places(sheet, resize_frames(future.frames["wrist"], cell)[2])) == 1


def test_nothing_to_show_is_refused():
    with pytest.raises(ValueError, match="`futures` must hold at least one future"):
        future_sheet({})
    with pytest.raises(ValueError, match="at least one row"):
        future_sheet({"dream": make_future(depths={})}, kinds=("depths",))
