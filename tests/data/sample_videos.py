"""Small videos of every codec, and copies of them with wrong bytes."""

import random
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

SIZE = (64, 96)
RATE = 20

# Name: encoder, container, options. "b" has frames that are shown out of order, "open" groups that lean on the one before.
FORMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "h264 gop 2": ("libx264", "mp4", {"g": "2", "bf": "0", "preset": "superfast"}),
    "h264 gop 250": ("libx264", "mp4", {"g": "250", "bf": "0", "preset": "superfast"}),
    "h264 gop 12 b": ("libx264", "mp4", {"g": "12", "bf": "3", "preset": "medium"}),
    "h264 gop 12 b open": (
        "libx264",
        "mp4",
        {"g": "12", "bf": "3", "preset": "medium", "x264-params": "open-gop=1:b-pyramid=normal"},
    ),
    "h264 mkv": ("libx264", "mkv", {"g": "12", "bf": "3"}),
    "hevc gop 12 b open": (
        "libx265",
        "mp4",
        {"g": "12", "bf": "3", "preset": "superfast", "x265-params": "open-gop=1:log-level=none:pools=none"},
    ),
    "mpeg4 gop 12": ("mpeg4", "mp4", {"g": "12", "bf": "0", "qscale": "3"}),
    "mpeg4 gop 12 b": ("mpeg4", "mp4", {"g": "12", "bf": "2"}),
    "av1 gop 8": ("libsvtav1", "mp4", {"g": "8", "preset": "12"}),
}


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """RGB frames in which something moves, with noise so that they need bytes."""
    height, width = SIZE
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    base = np.stack([2 * columns, 3 * rows, rows + columns], axis=-1) + rng.integers(0, 20, (height, width, 3))
    frames = np.repeat(base[None], count, axis=0).astype(np.uint8)
    for number, frame in enumerate(frames):
        top, left = (3 * number) % (height - 12), (5 * number) % (width - 16)
        frame[top : top + 12, left : left + 16] = (number % 256, 255 - number % 256, 100)
    return frames


def write_video(path: Path, form: str, count: int = 40, times: Sequence[int] | None = None, rate: int = RATE) -> Path:
    """Write a video; `times` are in units of 1 / rate."""
    encoder, container, options = FORMS[form]
    with av.open(str(path), "w", format={"mkv": "matroska"}.get(container, container)) as file:
        stream = file.add_stream(encoder, rate=RATE)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, rate)
        stream.options = dict(options)
        for number, frame in enumerate(pictures(count)):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = (number if times is None else times[number]), Fraction(1, rate)
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    return path


def decode_all(path: Path, form: str = "rgb24") -> np.ndarray:
    """Every frame, the plain way."""
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format=form) for frame in file.decode(video=0)])


def packets(path: Path) -> list[tuple[int, int]]:
    """Place and size of every packet."""
    with av.open(str(path)) as file:
        return [(entry.pos, entry.size) for entry in file.streams.video[0].index_entries]


def flipped(path: Path, target: Path, places: Iterable[tuple[int, int]], count: int, seed: int) -> Path:
    """A copy with `count` wrong bytes inside of packets."""
    rng, content = random.Random(seed), bytearray(path.read_bytes())
    inside = [place + offset for place, size in places for offset in range(size)]
    for place in rng.sample(inside, count):
        content[place] ^= rng.randrange(1, 256)
    target.write_bytes(content)
    return target


def zeroed(path: Path, target: Path, packet: tuple[int, int]) -> Path:
    """A copy in which all but the first 16 bytes of a packet are zero."""
    content = bytearray(path.read_bytes())
    place, size = packet
    content[place + 16 : place + size] = bytes(size - 16)
    target.write_bytes(content)
    return target
