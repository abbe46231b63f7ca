"""Frames leave a decoder in the order of showing, but depend on each other in the order of decoding: both orders at once."""

import bisect
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """One frame.

    Args:
        index (`int`): Its number in the order of showing.
        position (`int`): Its number in the order of decoding.
        picture (`Any`): What the decoder gave.
        is_damaged (`bool`): Whether it, or a frame it may be predicted from, is damaged or missing.
    """

    index: int
    position: int
    picture: Any
    is_damaged: bool = False


class DecodingOrder:
    """Numbers frames and spreads damage to all that may be predicted from it.

    A frame may be predicted from any frame that was decoded before it, back to the last key frame. So it is held back until
    those have come out or are known to be lost; without frames that are shown out of order this never waits.

    Args:
        first_index (`int`): Number, in the order of showing, of the frame that is shown first of those from the first packet
            on. That packet holds a key frame.
    """

    def __init__(self, first_index: int) -> None:
        self._first_index = first_index
        self._shown: list[tuple[int, int]] = []  # time and position of every packet, sorted
        self._first_time: int | None = None
        self._waiting: dict[int, int] = {}  # positions that were sent and may still come out, and their times
        self._held: deque[DecodedFrame] = deque()
        self._damaged: list[int] = []  # positions, sorted
        self._keys: list[tuple[int, int]] = []  # position and index of key frames without damage

    def send(self, position: int, time: int | None, *, is_hidden: bool = False) -> None:
        """Note a packet that goes to the decoder.

        Args:
            position (`int`): Its number.
            time (`int` or `None`): When it is shown; by its position where the file does not say.
            is_hidden (`bool`, *optional*, defaults to `False`): Whether the file wants it decoded but not shown.
        """
        when = position if time is None else time
        if self._first_time is None:
            self._first_time = when
        if is_hidden:
            return
        bisect.insort(self._shown, (when, position))
        if (
            when >= self._first_time
        ):  # what is shown before the first key frame needs frames that were decoded before it
            self._waiting[position] = when

    def fail(self, position: int) -> None:
        """Note a packet that the decoder refused."""
        if self._waiting.pop(position, None) is not None:  # else nothing that is shown depends on it
            bisect.insort(self._damaged, position)

    def receive(self, position: int, picture: Any, *, is_key: bool, is_corrupt: bool) -> None:
        """Note a frame that came out.

        Args:
            position (`int`): Number of its packet.
            picture (`Any`): The frame.
            is_key (`bool`): Whether it depends on no other frame.
            is_corrupt (`bool`): Whether the decoder had to invent pixels.
        """
        if position not in self._waiting:
            return
        index = self._first_index + bisect.bisect_left(self._shown, (self._waiting.pop(position), position))
        if is_corrupt:
            bisect.insort(self._damaged, position)
        elif is_key:
            self._keys.append((position, index))
        if is_key:  # nothing that was decoded before it is shown after it
            for lost in [other for other in self._waiting if other < position]:
                self.fail(lost)
        self._held.append(DecodedFrame(index, position, picture))

    def ready(self) -> Iterator[DecodedFrame]:
        """Frames of which all is known, in the order of showing."""
        while self._held and not any(other < self._held[0].position for other in self._waiting):
            frame = self._held.popleft()
            yield replace(frame, is_damaged=self._is_damaged(frame))

    def finish(self) -> Iterator[DecodedFrame]:
        """The rest, after the end of the video."""
        for lost in sorted(self._waiting):
            self.fail(lost)
        yield from self.ready()

    def _is_damaged(self, frame: DecodedFrame) -> bool:
        before = bisect.bisect_right(self._damaged, frame.position)
        if before == 0:
            return False
        last = self._damaged[before - 1]
        return not any(
            last < position <= frame.position and index <= frame.index for position, index in self._keys[-3:]
        )
