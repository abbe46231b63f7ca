import io
import os
import pickle
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from recorded_folder import RECORDED, needs_recorded
from sample_videos import FORMS, SIZE, decode_all, flipped, packets, write_video, zeroed

from xwam.data.video.reader import Video, VideoReport, read_frames, scan_video
from xwam.data.video.writer import VideoWriter
from xwam.errors import DamagedVideoError

DROID = RECORDED / "data" / "droid_3view"
CLIPS = ([3, 7, 11, 15, 19, 23, 27, 31, 35], [0], [39], [5, 6, 7], [11, 12, 13, 24, 36], list(range(40)))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    return {form: write_video(folder / f"{number}.{FORMS[form][1]}", form) for number, form in enumerate(FORMS)}


@pytest.fixture(scope="module")
def depth_video(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    codes = np.random.default_rng(0).integers(0, 4096, size=(12, *SIZE)).astype(np.uint16)
    path = tmp_path_factory.mktemp("depth") / "depth.mp4"
    with VideoWriter(path, SIZE, 20, is_depth=True) as writer:
        for frame in codes:
            writer.add(frame)
    return path, codes


@pytest.mark.parametrize("form", FORMS)
def test_frames_are_those_of_a_plain_decoder_wherever_one_begins(videos: dict[str, Path], form: str):
    frames = decode_all(videos[form])
    assert len(frames) == 40
    for clip in CLIPS:
        np.testing.assert_array_equal(read_frames(videos[form], clip), frames[clip])
    report = scan_video(videos[form])
    assert (report.num_frames, report.size, report.damaged) == (40, SIZE, ())
    assert report.fps == pytest.approx(20)


def test_order_and_repetition_are_as_asked(videos: dict[str, Path]):
    frames = decode_all(videos["h264 gop 12 b"])
    np.testing.assert_array_equal(read_frames(videos["h264 gop 12 b"], [30, 2, 30, 5]), frames[[30, 2, 30, 5]])


def test_depth_codes_come_back_exactly(depth_video: tuple[Path, np.ndarray]):
    path, codes = depth_video
    read = read_frames(path, [1, 4, 11], is_depth=True)
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, codes[[1, 4, 11]])
    report = scan_video(path)
    assert report == VideoReport(12, 20.0, SIZE, "hevc", "gray12le", ())


def test_depth_of_eight_bits_comes_as_levels_of_the_whole_range(videos: dict[str, Path]):
    levels = read_frames(videos["h264 gop 2"], [8], is_depth=True)
    assert (levels.dtype, levels.shape) == (np.uint8, (1, *SIZE))
    np.testing.assert_array_equal(levels, decode_all(videos["h264 gop 2"])[[8], ..., 0])


def test_frames_are_found_by_number_where_timestamps_jitter_and_begin_late(tmp_path: Path):
    gaps = np.random.default_rng(0).integers(5, 140, size=40)  # milliseconds; 50 would be right
    path = write_video(tmp_path / "jitter.mp4", "h264 gop 12 b", times=(2000 + np.cumsum(gaps)).tolist(), rate=1000)
    with av.open(str(path)) as file:
        assert file.streams.video[0].start_time > 0
    frames = decode_all(path)
    for clip in CLIPS:
        np.testing.assert_array_equal(read_frames(path, clip), frames[clip])
    assert scan_video(path).damaged == ()


@pytest.mark.parametrize("cut", [5, 15])
def test_frames_that_an_edit_list_hides_are_not_counted(videos: dict[str, Path], tmp_path: Path, cut: int):
    path = tmp_path / "cut.mp4"
    with av.open(str(videos["h264 gop 12 b"])) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        shift = int(cut / 20 / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copied
                target.mux(packet)
    frames = decode_all(path)
    assert len(frames) == 40 - cut
    np.testing.assert_array_equal(read_frames(path, [0, 1, 9, 24]), frames[[0, 1, 9, 24]])
    report = scan_video(path)
    assert (report.num_frames, report.damaged) == (40 - cut, ())


class CountingFile(io.BytesIO):
    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_a_binary_file_is_read_where_the_clip_lies_and_left_open(tmp_path: Path):
    path = write_video(tmp_path / "long.mp4", "h264 gop 2", count=400)
    file = CountingFile(path.read_bytes())
    read = read_frames(file, range(300, 333, 4))
    np.testing.assert_array_equal(read, decode_all(path)[300:333:4])
    assert not file.closed
    assert file.count < 0.4 * len(file.getvalue())


def test_only_what_a_clip_needs_is_decoded(videos: dict[str, Path]):
    for form, most in (("h264 gop 2", 2 * 4), ("h264 gop 250", 30)):
        with Video(videos[form]) as video:
            decoded = []
            walk = video.walk
            video.walk = lambda start=0, walk=walk, decoded=decoded: (  # type: ignore[method-assign]
                decoded.append(frame.index) or frame for frame in walk(start)
            )
            video.read([5, 13, 21, 29])
        assert len(decoded) <= most


@pytest.mark.parametrize("packet", [12, 14])
def test_a_damaged_frame_damages_what_follows_up_to_the_next_key_frame(
    videos: dict[str, Path], tmp_path: Path, packet: int
):
    path = videos["mpeg4 gop 12"]
    frames, broken = decode_all(path), zeroed(path, tmp_path / "broken.mp4", packets(path)[packet])
    assert scan_video(broken).damaged == tuple(range(packet, 24))
    for clip in ([0, 5, packet - 1], [24, 30, 39], [2, 25]):
        np.testing.assert_array_equal(read_frames(broken, clip), frames[clip])
    for clip in ([packet], [packet + 3], [23], [0, 23, 30]):
        with pytest.raises(DamagedVideoError, match=r"row \d+, file .*broken.mp4: The frame"):
            read_frames(broken, clip)


def test_a_frame_shown_before_a_damaged_one_that_it_is_made_from_is_damaged_too(
    videos: dict[str, Path], tmp_path: Path
):
    path = videos["h264 gop 12 b"]
    with Video(path) as video:
        order = [(frame.position, frame.index) for frame in video.walk()]
    position, index = next((p, i) for p, i in order if i > 13 and p < i)  # decoded before it is its turn
    earlier = [i for p, i in order if p > position and i < index]
    assert earlier
    broken = zeroed(path, tmp_path / "broken.mp4", packets(path)[position])
    damaged = scan_video(broken).damaged
    assert set(earlier) | {index} <= set(damaged)
    assert set(damaged) <= {i for p, i in order if p >= position and i < 24}


@pytest.mark.parametrize(("form", "count"), [("h264 gop 2", 20), ("mpeg4 gop 12", 20), ("av1 gop 8", 1)])
def test_wrong_bytes_are_found(videos: dict[str, Path], tmp_path: Path, form: str, count: int):
    path = videos[form]
    places = packets(path)
    for seed in range(12):
        assert scan_video(flipped(path, tmp_path / "flipped.mp4", places, count, seed)).damaged, seed


def test_one_wrong_byte_of_our_depth_is_found(depth_video: tuple[Path, np.ndarray], tmp_path: Path):
    path, codes = depth_video
    for seed in range(20):
        broken = flipped(path, tmp_path / "flipped.mp4", packets(path), 1, seed)
        damaged = scan_video(broken).damaged
        assert 1 <= len(damaged) <= 2
        sound = [frame for frame in range(12) if frame not in damaged]
        np.testing.assert_array_equal(read_frames(broken, sound, is_depth=True), codes[sound])


def test_damage_in_one_group_after_the_other_is_found(depth_video: tuple[Path, np.ndarray], tmp_path: Path):
    path, codes = depth_video
    places, broken = packets(path), tmp_path / "flipped.mp4"
    shutil.copy(path, broken)
    for packet in (2, 4, 6, 7):  # key frames are the even ones
        flipped(broken, broken, [(places[packet][0] + 40, places[packet][1] - 60)], 3, packet)
    assert scan_video(broken).damaged == (2, 3, 4, 5, 6, 7)
    sound = [0, 1, 8, 11]
    np.testing.assert_array_equal(read_frames(broken, sound, is_depth=True), codes[sound])
    with pytest.raises(DamagedVideoError, match=r"row 4, .*cannot be decoded"):
        read_frames(broken, [0, 4, 9], is_depth=True)


@needs_recorded("data", "droid_3view")
def test_real_videos_are_sound_and_their_damaged_copies_are_not(tmp_path: Path):
    for path in sorted(DROID.glob("*.mp4")):
        report = scan_video(path)
        assert (report.num_frames, report.damaged) == (419, ())
        places = packets(path)
        for seed in range(4):
            assert scan_video(flipped(path, tmp_path / "flipped.mp4", places, 20, seed)).damaged


def test_a_cut_off_file_gives_the_frames_that_are_left(tmp_path: Path):
    codes = np.random.default_rng(0).integers(0, 256, size=(40, *SIZE, 3)).astype(np.uint8)
    path = tmp_path / "whole.mp4"
    with VideoWriter(path, SIZE, 20) as writer:  # its table comes first
        for frame in codes:
            writer.add(frame)
    frames, content = decode_all(path), path.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) // 2])
    np.testing.assert_array_equal(read_frames(cut, [0, 7]), frames[[0, 7]])
    with pytest.raises(DamagedVideoError, match=r"cannot be decoded|damaged"):
        read_frames(cut, [0, 39])
    assert set(scan_video(cut).damaged) >= set(range(22, 40))


def test_fewer_frames_than_asked_for_are_named(videos: dict[str, Path]):
    with pytest.raises(DamagedVideoError, match="has 40 frames, but this one was asked for") as caught:
        read_frames(videos["h264 gop 2"], [38, 40], dataset="kitchen", episode="7", feature="wrist")
    error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
    assert (error.dataset, error.episode, error.feature, error.row) == ("kitchen", "7", "wrist", 40)
    assert error.path == str(videos["h264 gop 2"])
    with pytest.raises(DamagedVideoError):
        read_frames(videos["h264 mkv"], [40])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells its memory this way")
def test_reading_leaves_no_memory_and_no_file_behind(videos: dict[str, Path], tmp_path: Path):
    broken = zeroed(videos["h264 gop 2"], tmp_path / "broken.mp4", packets(videos["h264 gop 2"])[20])

    def read(times: int) -> None:
        for number in range(times):
            read_frames(videos["h264 gop 12 b"], range(number % 8, number % 8 + 32, 4))
            with pytest.raises(DamagedVideoError):
                read_frames(broken, [21])
            with pytest.raises(DamagedVideoError):
                read_frames(tmp_path / "missing.mp4", [0])

    def state() -> tuple[float, int]:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd"))

    read(20)
    memory, files = state()
    read(120)
    grown, still = state()
    assert grown - memory < 8
    assert still == files
