"""Frames into mp4 files, one after the other, and many such files into one without decoding them.

One thread per encoder and no B-frames: the same frames give the same bytes everywhere, and a packet is a frame.
"""

import contextlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np

GOP = 2  # frames from one key frame to the next, as LeRobot: random access costs at most two frames
RGB_PRESET = "superfast"
RGB_CRF = 14  # H.264's constant rate factor; with full chroma about 41 dB on the embedded world
DEPTH_PRESET = "superfast"
LEAST_DEPTH_SIDE = 16  # pixels; x265 encodes nothing smaller
# x265 opens its groups of pictures by default; decoders that begin at such a key frame may lose frames after a join.
# The hash is an MD5 of each frame, in 26 bytes: without it no decoder notices damage.
_DEPTH_OPTIONS = "lossless=1:bframes=0:open-gop=0:pools=none:frame-threads=1:log-level=none:info=0:hash=1"


class VideoWriter:
    """An mp4 file that takes frames one by one. Use it in a `with` statement; an error inside leaves a broken file.

    Args:
        path (`Path`): File to make.
        size (`tuple[int, int]`): Height and width, in pixels.
        fps (`int`): Frames per second.
        is_depth (`bool`, *optional*, defaults to `False`): Lossless HEVC of 12-bit codes, else H.264.
        pixel_format (`str`, *optional*, defaults to `"yuv444p"`): Of H.264: `"yuv420p"` plays in every browser but smears
            colours over two pixels, about 34 dB at 128×160.
        crf (`int`, *optional*, defaults to `RGB_CRF`): Of H.264; lower is better.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: int,
        *,
        is_depth: bool = False,
        pixel_format: str = "yuv444p",
        crf: int = RGB_CRF,
    ) -> None:
        self._format, self._rate, self._num_frames = ("gray12le" if is_depth else "rgb24"), fps, 0
        self._container = av.open(str(path), "w", options={"movflags": "+faststart", "fflags": "+bitexact"})
        self._stream = self._container.add_stream("libx265" if is_depth else "libx264", rate=fps)
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = self._format if is_depth else pixel_format
        self._stream.codec_context.thread_count = 1
        self._stream.options = dict(depth_options() if is_depth else rgb_options(crf))

    def add(self, frame: np.ndarray) -> None:
        """Encode the next frame.

        Args:
            frame (`np.ndarray`): RGB `uint8` of shape `(H, W, 3)`, or codes `uint16` of shape `(H, W)`.
        """
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=self._format)
        picture.pts, picture.time_base = self._num_frames, Fraction(1, self._rate)
        self._num_frames += 1
        self._container.mux(self._stream.encode(picture))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(is_complete=kind is None)

    def close(self, *, is_complete: bool = True) -> None:
        """Finish the file, or only give back what the encoder holds.

        Args:
            is_complete (`bool`, *optional*, defaults to `True`): Whether the file is wanted; if not, nothing can fail.
        """
        if is_complete and self._num_frames:
            self._container.mux(self._stream.encode(None))
        with contextlib.nullcontext() if is_complete else contextlib.suppress(av.FFmpegError):
            self._container.close()


def rgb_options(crf: int = RGB_CRF) -> dict[str, Any]:
    """Options of the H.264 encoder.

    Args:
        crf (`int`, *optional*, defaults to `RGB_CRF`): Constant rate factor.
    """
    return {"crf": str(crf), "preset": RGB_PRESET, "g": str(GOP), "bf": "0", "threads": "1"}


def depth_options() -> dict[str, Any]:
    """Options of the HEVC encoder."""
    return {"preset": DEPTH_PRESET, "g": str(GOP), "bf": "0", "x265-params": _DEPTH_OPTIONS}


def join_videos(paths: Iterable[Path], target: Path) -> None:
    """Put videos of one encoder one behind the other, copying packets: no pixel changes.

    Args:
        paths (`Iterable[Path]`): Files of `VideoWriter` with equal size, rate and options; at least one.
        target (`Path`): File to make.

    Raises:
        ValueError: If a file was made by another encoder or with other options.
    """
    header: bytes | None = None
    ticks = 0  # end of what was written, in the time base of all files
    with av.open(str(target), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as joined:
        stream: Any = None
        for path in paths:
            with av.open(str(path)) as single:
                source = single.streams.video[0]
                if stream is None:
                    stream, header = joined.add_stream_from_template(source), source.codec_context.extradata
                    stream.time_base = source.time_base
                if source.codec_context.extradata != header:
                    raise ValueError(f"{path} was encoded with other settings than the episodes before it.")
                end = 0
                for packet in single.demux(source):
                    if packet.dts is None:  # the demuxer's word for the end
                        continue
                    end = packet.pts + packet.duration
                    packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, stream
                    joined.mux(packet)
                ticks += end
