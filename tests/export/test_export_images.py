"""Pictures hold what they were given, in the place where they belong."""

import numpy as np
import pytest
from PIL import Image

from xwam.export.images import UNKNOWN_COLOUR, colour_depth, contact_sheet, resize_frames, write_image


def _views(seed: int, shape: tuple[int, ...] = (3, 16, 20, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def test_an_image_comes_back_exactly(tmp_path):
    image = _views(0)[0]
    write_image(tmp_path / "a" / "image.png", image)
    with Image.open(tmp_path / "a" / "image.png") as opened:
        np.testing.assert_array_equal(np.array(opened), image)


@pytest.mark.parametrize(
    ("image", "name", "message"),
    [
        (_views(0), "a.png", r"`image` must have shape \(H W 3\)"),
        (_views(0)[0] / 255, "a.png", "`image` must be uint8 but is float64"),
        (_views(0)[0], "a.jpg", r"`path` must end in .png"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, image, name, message):
    with pytest.raises(ValueError, match=message):
        write_image(tmp_path / name, image)


def test_frames_are_resized_one_by_one_and_left_alone_where_they_fit():
    frames = _views(1, (2, 3, 16, 20, 3))
    assert resize_frames(frames, (16, 20)) is frames
    larger = resize_frames(frames, (32, 60))
    assert (larger.shape, larger.dtype) == ((2, 3, 32, 60, 3), np.uint8)
    alone = Image.fromarray(frames[1, 2]).resize((60, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(larger[1, 2], np.asarray(alone))


def test_near_is_brighter_than_far_and_the_ends_are_the_map_s_ends():
    import matplotlib

    depth = np.array([[0.5, 0.7, 1.0, 2.0, 4.0, 0.1, 9.0]])
    colours = colour_depth(depth, near=0.5, far=4.0)
    assert (colours.shape, colours.dtype) == ((1, 7, 3), np.uint8)
    brightness = colours[0].astype(int) @ [299, 587, 114]
    assert (np.diff(brightness[:5]) < 0).all()
    ends = matplotlib.colormaps["viridis_r"]([0.0, 1.0], bytes=True)[:, :3]
    np.testing.assert_array_equal(colours[0, [0, 4]], ends)
    np.testing.assert_array_equal(colours[0, [5, 6]], ends)
    middle = np.sqrt(0.5 * 4.0)  # half way in ratios
    np.testing.assert_array_equal(
        colour_depth(np.array([[middle]]), near=0.5, far=4.0)[0, 0],
        matplotlib.colormaps["viridis_r"](0.5, bytes=True)[:3],
    )


def test_unknown_depth_is_grey_and_does_not_move_the_scale():
    depth = np.linspace(0.5, 2.0, 200).reshape(1, 10, 20)
    holes = depth.copy()
    holes[0, 0, :4] = 0, -1, np.nan, np.inf
    colours = colour_depth(holes, near=0.5, far=2.0)
    np.testing.assert_array_equal(colours[0, 0, :4], np.tile(UNKNOWN_COLOUR, (4, 1)))
    np.testing.assert_array_equal(colours[0, 0, 4:], colour_depth(depth, near=0.5, far=2.0)[0, 0, 4:])
    assert (colour_depth(np.zeros((4, 4))) == UNKNOWN_COLOUR).all()


def test_without_a_range_the_frames_share_one_scale():
    frames = np.stack([np.full((4, 4), value) for value in (1.0, 1.5, 2.0)])
    colours = colour_depth(frames)
    assert len({tuple(frame[0, 0]) for frame in colours}) == 3
    assert len(np.unique(colour_depth(np.full((4, 4), 1.0)).reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize(("near", "far"), [(0.0, 1.0), (2.0, 1.0), (1.0, 1.0), (1.0, np.inf), (1.0, np.nan)])
def test_an_impossible_range_is_refused(near, far):
    with pytest.raises(ValueError, match="0 < near < far"):
        colour_depth(np.ones((2, 2)), near=near, far=far)


def test_a_sheet_has_every_frame_in_its_cell_row_by_row(tmp_path):
    rows = {"left": _views(1), "left depth": _views(2)}
    sheet = contact_sheet(rows, column_labels=["0.0 s", "0.2 s", "0.4 s"], title="a title")
    write_image(tmp_path / "sheet.png", sheet)
    with Image.open(tmp_path / "sheet.png") as opened:
        found = np.array(opened)
    corners = {}
    for name, frames in rows.items():
        for column, frame in enumerate(frames):
            places = [
                (y, x)
                for y in range(found.shape[0] - 15)
                for x in range(found.shape[1] - 19)
                if (found[y, x] == frame[0, 0]).all() and (found[y : y + 16, x : x + 20] == frame).all()
            ]
            assert len(places) == 1
            corners[name, column] = places[0]
    for name in rows:
        assert len({corners[name, column][0] for column in range(3)}) == 1
        assert corners[name, 0][1] < corners[name, 1][1] < corners[name, 2][1]
    assert corners["left", 0][0] < corners["left depth", 0][0]
    assert corners["left", 0][1] == corners["left depth", 0][1]
    assert (found[:, : corners["left", 0][1]] < 100).any(), "the row labels leave ink"
    assert (found[: corners["left", 0][0]] < 100).any(), "the column labels leave ink"


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ({}, [], "`rows` must have at least one row"),
        ({"a": _views(1), "b": _views(1)[:2]}, [], r"rows\['b'\]"),
        ({"a": _views(1).astype(float)}, [], r"`rows\['a'\]` must be uint8"),
        ({"a": _views(1)}, ["0 s"], "`column_labels` must have 3 labels but has 1"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, labels, message):
    with pytest.raises(ValueError, match=message):
        contact_sheet(rows, column_labels=labels)
