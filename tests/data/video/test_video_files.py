from pathlib import Path

import av
import numpy as np
import pytest

from xwam.data.video.writer import VideoWriter, join_videos

rng = np.random.default_rng(0)


def write(path: Path, frames: np.ndarray, **options: object) -> bytes:
    with VideoWriter(path, frames.shape[1:3], 20, **options) as video:
        for frame in frames:
            video.add(frame)
    return path.read_bytes()


def read(path: Path, pixel_format: str) -> np.ndarray:
    with av.open(str(path)) as container:
        frames = [
            (frame.pts * frame.time_base, frame.to_ndarray(format=pixel_format)) for frame in container.decode(video=0)
        ]
    assert [round(float(time) * 20, 6) for time, _ in frames] == list(range(len(frames)))
    return np.stack([frame for _, frame in frames])


def codes(count: int) -> np.ndarray:
    return rng.integers(0, 4096, size=(count, 40, 56)).astype(np.uint16)


def pictures(count: int) -> np.ndarray:
    rows, columns = np.mgrid[:40, :56]
    blank = np.stack([5 * rows, 4 * columns, 3 * rows + columns], axis=-1)
    return np.stack([np.roll(blank, number, axis=1) for number in range(count)]).astype(np.uint8)


def test_depth_comes_back_exactly(tmp_path: Path):
    frames = codes(5)
    write(tmp_path / "depth.mp4", frames, is_depth=True)
    np.testing.assert_array_equal(read(tmp_path / "depth.mp4", "gray12le"), frames)


def test_pictures_come_back_nearly_and_full_chroma_is_better(tmp_path: Path):
    frames = pictures(6)
    errors = {}
    for pixel_format in ("yuv444p", "yuv420p"):
        write(tmp_path / "rgb.mp4", frames, pixel_format=pixel_format)
        back = read(tmp_path / "rgb.mp4", "rgb24").astype(float)
        errors[pixel_format] = np.mean((back - frames) ** 2)
    assert 10 * np.log10(255**2 / errors["yuv444p"]) > 38
    assert errors["yuv444p"] < errors["yuv420p"]


@pytest.mark.parametrize("is_depth", [False, True])
def test_same_frames_give_same_bytes_and_a_key_frame_comes_every_second(tmp_path: Path, is_depth: bool):
    frames = codes(5) if is_depth else pictures(5)
    assert write(tmp_path / "a.mp4", frames, is_depth=is_depth) == write(tmp_path / "b.mp4", frames, is_depth=is_depth)
    with av.open(str(tmp_path / "a.mp4")) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.dts is not None]
    assert keys == [True, False, True, False, True]


@pytest.mark.parametrize("is_depth", [False, True])
def test_joining_changes_no_pixel(tmp_path: Path, is_depth: bool):
    pixel_format = "gray12le" if is_depth else "rgb24"
    paths, single = [], []
    for number, count in enumerate((1, 4, 3)):
        paths.append(tmp_path / f"{number}.mp4")
        write(paths[-1], codes(count) if is_depth else pictures(count), is_depth=is_depth)
        single.append(read(paths[-1], pixel_format))
    join_videos(paths, tmp_path / "all.mp4")
    np.testing.assert_array_equal(read(tmp_path / "all.mp4", pixel_format), np.concatenate(single))
    join_videos(paths, tmp_path / "again.mp4")
    assert (tmp_path / "all.mp4").read_bytes() == (tmp_path / "again.mp4").read_bytes()


@pytest.mark.parametrize("is_depth", [False, True])
def test_from_any_time_on_no_frame_of_a_joined_video_is_missing(tmp_path: Path, is_depth: bool):
    """Players and LeRobot seek to the key frame before a time and decode from there, also into the next episode."""
    paths = [tmp_path / f"{number}.mp4" for number in range(4)]
    for path, count in zip(paths, (3, 4, 5, 1), strict=True):
        write(path, codes(count) if is_depth else pictures(count), is_depth=is_depth)
    join_videos(paths, tmp_path / "all.mp4")
    pixel_format = "gray12le" if is_depth else "rgb24"
    frames = read(tmp_path / "all.mp4", pixel_format)
    for wanted in range(len(frames)):
        with av.open(str(tmp_path / "all.mp4")) as container:
            stream = container.streams.video[0]
            container.seek(round(wanted / 20 / stream.time_base) - 1, stream=stream)  # as if rounded down
            found = [
                (round(frame.time * 20), frame.to_ndarray(format=pixel_format)) for frame in container.decode(stream)
            ]
        first = found[0][0]
        assert max(wanted - 2, 0) <= first <= wanted
        assert [number for number, _ in found] == list(range(first, len(frames)))
        np.testing.assert_array_equal(np.stack([frame for _, frame in found]), frames[first:])


def test_other_settings_cannot_be_joined(tmp_path: Path):
    write(tmp_path / "a.mp4", pictures(2))
    write(tmp_path / "b.mp4", pictures(2), pixel_format="yuv420p")
    with pytest.raises(ValueError, match="other settings"):
        join_videos([tmp_path / "a.mp4", tmp_path / "b.mp4"], tmp_path / "all.mp4")
