import io
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from sample_videos import write_video

from xwam.data.video.opening import open_container
from xwam.data.video.reader import read_frames
from xwam.errors import DamagedVideoError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


# What is left of a video whose table of frames is at its end, and what is said.
FAULTS: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {
    "missing": (lambda _: None, "no such file"),
    "empty": (lambda _: b"", "is empty"),
    "random": (lambda video: np.random.default_rng(0).bytes(len(video)), "no video"),
    "pointer": (lambda _: POINTER, "Git LFS pointer.*git lfs pull"),
    "no codec": (lambda video: video.replace(b"avc1", b"avq1"), "names a codec that nothing here decodes"),
    "cut at 99 %": (lambda video: video[: len(video) * 99 // 100], "no frame of its video; it may be cut off"),
    "cut at 50 %": (lambda video: video[: len(video) // 2], "cut off"),
    "cut at 1 %": (lambda video: video[: len(video) // 100], "cut off"),
}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("sound") / "sound.mp4", "h264 gop 2").read_bytes()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_no_video_is_named_with_its_place(video: bytes, tmp_path: Path, fault: str):
    change, words = FAULTS[fault]
    path, content = tmp_path / "broken.mp4", change(video)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DamagedVideoError, match=f"data set kitchen, episode 3, feature wrist, .*{words}") as caught:
        read_frames(path, [0], dataset="kitchen", episode="3", feature="wrist")
    assert caught.value.path == str(path)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "missing"])
def test_so_is_a_stream(video: bytes, fault: str):
    change, words = FAULTS[fault]
    with pytest.raises(DamagedVideoError, match=f"feature wrist, .*file a stream: .*{words}"):
        read_frames(io.BytesIO(change(video) or b""), [0], feature="wrist")


def test_a_list_of_other_files_is_no_video(tmp_path: Path):
    write_video(tmp_path / "other.mp4", "h264 gop 2")
    path = tmp_path / "list.mp4"
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")
    with av.open(str(path)) as followed:  # what a plain decoder does
        assert followed.streams.video[0].codec_context.width
    with pytest.raises(ValueError, match="no video"):
        open_container(path)


def test_a_name_is_a_file_and_never_a_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    video = write_video(tmp_path / "sound.mp4", "h264 gop 2")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no such file"):
        open_container(f"concat:{video.name}")
    open_container(video.name).close()


def test_sound_alone_is_no_video(tmp_path: Path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    with pytest.raises(ValueError, match="holds no video"):
        open_container(path)
