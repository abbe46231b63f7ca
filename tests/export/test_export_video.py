"""A written video is read back by an independent decoder: size, rate, codec and pictures."""

import av
import numpy as np
import pytest

from xwam.export.images import UNKNOWN_COLOUR
from xwam.export.video import side_by_side, write_video


def _frames(count: int = 9, height: int = 64, width: int = 80) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    frames = np.empty((count, height, width, 3), np.uint8)
    for index in range(count):
        frames[index] = np.stack([rows * 3, columns * 3, np.full_like(rows, 20 * index)], axis=-1)
    return frames


def test_the_frames_come_back(tmp_path):
    frames = _frames()
    write_video(tmp_path / "new" / "clip.mp4", frames, fps=5)
    with av.open(str(tmp_path / "new" / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (80, 64)
        assert stream.average_rate == 5
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - frames).mean() < 3
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["clip.mp4"]


def test_fractional_rates_are_kept(tmp_path):
    write_video(tmp_path / "clip.mp4", _frames(3), fps=12.5)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].average_rate == 12.5


@pytest.mark.parametrize(
    ("frames", "fps", "name", "message"),
    [
        (_frames(height=63), 5, "a.mp4", "even height and width but has shape"),
        (_frames(width=79), 5, "a.mp4", "even height and width but has shape"),
        (_frames(0), 5, "a.mp4", "at least one frame"),
        (_frames()[0], 5, "a.mp4", r"`frames` must have shape \(F H W 3\)"),
        (_frames().astype(np.float32), 5, "a.mp4", "`frames` must be uint8 but is float32"),
        (_frames(), 0, "a.mp4", "`fps` must be positive but is 0"),
        (_frames(), float("nan"), "a.mp4", "`fps` must be positive but is nan"),
        (_frames(), 5, "a.avi", r"`path` must end in .mp4"),
    ],
)
def test_what_cannot_be_a_video_is_refused(tmp_path, frames, fps, name, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / name, frames, fps=fps)
    assert not list(tmp_path.iterdir())


def test_views_stand_beside_each_other_with_depth_below():
    views = {name: _frames(2) + np.uint8(index) for index, name in enumerate("abc")}
    depths = {"b": 255 - _frames(2)}
    picture = side_by_side(views, depths)
    assert picture.shape == (2, 128, 240, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[:, :64, 160:], views["c"])
    np.testing.assert_array_equal(picture[:, 64:, 80:160], depths["b"])
    assert (picture[:, 64:, :80] == UNKNOWN_COLOUR).all()
    np.testing.assert_array_equal(side_by_side(views, {}), picture[:, :64])


@pytest.mark.parametrize(
    ("frames", "depths", "message"),
    [
        ({}, {}, "at least one camera, but is empty"),
        ({"a": _frames()}, {"b": _frames()}, r"`depths` holds \['b'\], but the cameras are \['a'\]"),
        ({"a": _frames(), "b": _frames(8)}, {}, r"`frames\['b'\]` must have F = 9"),
        ({"a": _frames()}, {"a": _frames()[..., 0]}, r"`depths\['a'\]` must have shape \(F H W 3\)"),
    ],
)
def test_what_does_not_fit_beside_each_other_is_refused(frames, depths, message):
    with pytest.raises(ValueError, match=message):
        side_by_side(frames, depths)
