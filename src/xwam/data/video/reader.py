"""Any frames of a video, found by their number, and whether the decoder could make sense of all that they need.

Decoders do not stop at damaged bytes: they invent pixels and say so in a flag of the frame. That flag is looked at here for
every frame that was decoded on the way, because all frames up to the next key frame may be predicted from it.

Decoding is PyAV's, in one thread: a loader has processes. torchcodec is faster at short groups of pictures but hides the flag.
"""

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import av
import numpy as np

from xwam.data.video.decoding_order import DecodedFrame, DecodingOrder
from xwam.data.video.opening import VideoSource, name_of, open_container
from xwam.data.video.packet_table import PacketTable
from xwam.data.video.pixels import PictureArrays
from xwam.errors import DamagedVideoError

# HEVC: compare the MD5 that an encoder may leave with each frame. AV1: look whether every tile was read to its end.
_DECODER_OPTIONS = {"hevc": {"err_detect": "crccheck+explode"}, "av1": {"strict": "strict"}}


@dataclass(frozen=True)
class VideoReport:
    """What decoding a whole video found.

    Args:
        num_frames (`int`): Frames that the file declares.
        fps (`float`): Frames per second.
        size (`tuple[int, int]`): Height and width, in pixels.
        codec (`str`): Name of the codec, as FFmpeg has it.
        pixel_format (`str`): Name of the pixel format, as FFmpeg has it.
        damaged (`tuple[int, ...]`): Numbers of the frames that are missing, damaged, or predicted from such a frame.
    """

    num_frames: int
    fps: float
    size: tuple[int, int]
    codec: str
    pixel_format: str
    damaged: tuple[int, ...]


def read_frames(
    file: VideoSource,
    frames: Sequence[int],
    *,
    is_depth: bool = False,
    dataset: str | None = None,
    episode: str | None = None,
    feature: str | None = None,
) -> np.ndarray:
    """Frames of a video by their numbers from 0; timestamps do not matter.

    Args:
        file (`str`, `Path` or `BinaryIO`): Local file, or an open binary file that can seek.
        frames (`Sequence[int]`): Numbers of the frames, in any order; increasing is fastest.
        is_depth (`bool`, *optional*, defaults to `False`): Whether brightness alone is wanted, as it is stored.
        dataset (`str`, *optional*): For messages: name of the data set.
        episode (`str`, *optional*): For messages: key of the episode.
        feature (`str`, *optional*): For messages: the camera.

    Returns:
        `np.ndarray`: RGB `uint8` of shape `(n, H, W, 3)`; for depth of shape `(n, H, W)`: `uint16` codes of 12-bit videos, `uint8`
        levels from 0 to 255 of others.

    Raises:
        DamagedVideoError: If the file is no video, has no such frame, or frames cannot be decoded without inventing pixels.
    """
    with Video(file, dataset=dataset, episode=episode, feature=feature) as video:
        return video.read(frames, is_depth=is_depth)


def scan_video(file: VideoSource) -> VideoReport:
    """Decode everything and report which frames are damaged.

    Args:
        file (`str`, `Path` or `BinaryIO`): Local file, or an open binary file that can seek.

    Raises:
        DamagedVideoError: If the file is no video at all.
    """
    with Video(file) as video:
        sound = {frame.index for frame in video.walk() if not frame.is_damaged}
        return VideoReport(
            num_frames=video.num_frames,
            fps=video.fps,
            size=video.size,
            codec=video.codec,
            pixel_format=video.pixel_format,
            damaged=tuple(index for index in range(video.num_frames) if index not in sound),
        )


class Video:
    """An open video. Use it in a `with` statement, and in one thread at a time.

    Args:
        file (`str`, `Path` or `BinaryIO`): Local file, or an open binary file that can seek; the latter is not closed.
        dataset (`str`, *optional*): For messages: name of the data set.
        episode (`str`, *optional*): For messages: key of the episode.
        feature (`str`, *optional*): For messages: the camera.

    Raises:
        DamagedVideoError: If the file is no video.
    """

    def __init__(
        self,
        file: VideoSource,
        *,
        dataset: str | None = None,
        episode: str | None = None,
        feature: str | None = None,
    ) -> None:
        self._places = {"dataset": dataset, "episode": episode, "feature": feature, "path": name_of(file)}
        try:
            self._container = open_container(file)
        except ValueError as error:
            raise self._error(str(error)) from error
        self._stream = self._container.streams.video[0]
        self._stream.codec_context.thread_count = 1
        self._stream.codec_context.options = dict(_DECODER_OPTIONS.get(self.codec, {}))
        has_table = self._container.format.name.startswith("mov") and self._stream.frames > 0
        self._table = PacketTable(self._stream.index_entries if has_table else ())
        self._size = self._stream.codec_context.height, self._stream.codec_context.width
        self._position = -1  # of the last packet that was decoded
        self._counted: int | None = None

    @property
    def num_frames(self) -> int:
        """Frames that the file declares; where it does not say, its packets are counted."""
        if self._counted is None:
            self._counted = self._table.num_frames if len(self._table) else sum(1 for _ in self._packets(0))
            if self._counted == 0:
                raise self._error("The file holds no frame of its video; it may be cut off.")
        return self._counted

    @property
    def fps(self) -> float:
        """Frames per second, on average."""
        return float(self._stream.average_rate or 0)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self._size

    @property
    def codec(self) -> str:
        """Name of the codec, as FFmpeg has it."""
        return str(self._stream.codec_context.codec.canonical_name)

    @property
    def pixel_format(self) -> str:
        """Name of the pixel format, as FFmpeg has it."""
        return str(self._stream.codec_context.pix_fmt)

    def read(self, frames: Sequence[int], *, is_depth: bool = False) -> np.ndarray:
        """Frames by their numbers, see `read_frames`.

        Args:
            frames (`Sequence[int]`): Numbers of the frames.
            is_depth (`bool`, *optional*, defaults to `False`): Whether brightness alone is wanted, as it is stored.

        Raises:
            DamagedVideoError: If there is no such frame, or it cannot be decoded without inventing pixels.
        """
        numbers, places = np.unique(np.asarray(frames, dtype=np.int64), return_inverse=True)
        arrays = PictureArrays(self.size, self.pixel_format, is_depth, len(numbers))
        for number, frame in enumerate(self._find(numbers.tolist())):
            try:
                arrays.fill(number, frame.picture)
            except ValueError as error:
                raise self._error(str(error), frame.index) from error
        return arrays.array if len(numbers) == len(frames) and (np.diff(places) > 0).all() else arrays.array[places]

    def walk(self, start: int = 0) -> Iterator[DecodedFrame]:
        """Decode from a key frame to the end.

        Args:
            start (`int`, *optional*, defaults to `0`): Position of its packet.

        Returns:
            `Iterator[DecodedFrame]`: Frames in the order of showing.
        """
        key: int | None = start
        while key is not None:
            key = yield from self._walk_to_refusal(key)

    def close(self) -> None:
        """Give back what is open."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _find(self, numbers: Sequence[int]) -> Iterator[DecodedFrame]:
        """Frames by increasing numbers, decoding on or from a later key frame, whichever is shorter."""
        walk: Iterator[DecodedFrame] | None = None
        for number in numbers:
            if not 0 <= number < self.num_frames:
                raise self._error(f"The video has {self.num_frames} frames, but this one was asked for.", number)
            if walk is None or self._table.key_before(number + 1) > self._position + 1:
                walk, frame = self._walk_to(number)
            else:
                frame = _first_from(walk, number)
            if frame is None or frame.index > number:
                raise self._error("The frame cannot be decoded.", number)
            if frame.is_damaged:
                raise self._error("The frame is damaged: its decoder had to invent pixels.", number)
            yield frame

    def _walk_to(self, number: int) -> tuple[Iterator[DecodedFrame], DecodedFrame | None]:
        """The frame of this number, or the next one that is left, and what follows it."""
        key = self._table.key_before(number + 1)
        while True:
            walk = self.walk(key)
            frame = _first_from(walk, number)
            if key == 0 or frame is None or frame.index <= number or frame.position > key:
                return walk, frame
            key = self._table.key_before(key)  # the frame is shown before the key frame, but decoded after it

    def _walk_to_refusal(self, start: int) -> Generator[DecodedFrame, None, int | None]:
        """Decode up to a packet that the decoder refuses; the next key frame after it, if any, is where it can begin anew.

        After a refusal FFmpeg's HEVC decoder does not compare the checksums of the frames that follow.
        """
        order: DecodingOrder | None = None
        key: int | None = None
        for position, packet in self._packets(start):
            order = order or DecodingOrder(self._table.num_shown(position))
            self._position = position
            order.send(position, packet.pts, is_hidden=packet.is_discard)
            packet.pts = packet.dts = position  # comes out with the frame
            try:
                _receive(order, packet.decode())
            except av.FFmpegError:
                order.fail(position)
                key = self._table.key_after(max(position, start))
                if key is not None:
                    break
            yield from order.ready()
        if order is not None:
            with contextlib.suppress(av.FFmpegError):
                _receive(order, self._stream.codec_context.decode(None))
            yield from order.finish()
        return key

    def _packets(self, start: int) -> Iterator[tuple[int, Any]]:
        """Packets with their positions, from the key frame at `start`; a seek may find one before it."""
        time = self._table.time(start)
        position: int | None = None
        with contextlib.suppress(av.FFmpegError):  # a file that ends too early: the frames are missing
            self._container.seek(time if time is not None else self._stream.start_time or 0, stream=self._stream)
            for packet in self._container.demux(self._stream):
                if packet.size:
                    position = self._table.find(packet.pos, start) if position is None else position + 1
                    yield position, packet

    def _error(self, problem: str, frame: int | None = None) -> DamagedVideoError:
        return DamagedVideoError(problem, row=frame, **self._places)


def _receive(order: DecodingOrder, pictures: Sequence[Any]) -> None:
    for picture in pictures:
        if picture.pts is not None:
            order.receive(picture.pts, picture, is_key=picture.key_frame, is_corrupt=picture.is_corrupt)


def _first_from(walk: Iterator[DecodedFrame], number: int) -> DecodedFrame | None:
    return next((frame for frame in walk if frame.index >= number), None)
