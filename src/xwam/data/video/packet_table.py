"""Where the packets of a video are, as far as the file tells before it is decoded."""

import bisect
from collections.abc import Sequence
from typing import Any

_MAX_REORDERING = 16  # frames by which the orders of showing and decoding may differ


class PacketTable:
    """Packets in the order of decoding. Only mp4 files bring a whole table; of others everything has to be decoded.

    Args:
        entries (`Sequence[Any]`): PyAV's `IndexEntry` of every packet; empty where there is no table.
    """

    def __init__(self, entries: Sequence[Any]) -> None:
        self._entries = entries
        self._hidden: list[int] = []  # positions that an edit list at the beginning wants decoded but not shown
        for position, entry in enumerate(entries):
            if entry.is_discard:
                self._hidden.append(position)
            elif position >= (self._hidden[-1] if self._hidden else 0) + _MAX_REORDERING:
                break

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def num_frames(self) -> int:
        """Frames that are shown."""
        return len(self._entries) - len(self._hidden)

    def num_shown(self, position: int) -> int:
        """Packets before a position whose frames are shown.

        Args:
            position (`int`): Number of a packet.
        """
        return position - bisect.bisect_left(self._hidden, position)

    def time(self, position: int) -> int | None:
        """When a packet is decoded, in the file's unit; `None` where there is no table."""
        return int(self._entries[position].timestamp) if self._entries else None

    def key_before(self, end: int) -> int:
        """Position of the last key frame before a position."""
        position = min(end, len(self._entries)) - 1
        while position > 0 and not self._entries[position].is_keyframe:
            position -= 1
        return max(position, 0)

    def key_after(self, position: int) -> int | None:
        """Position of the first key frame after a position, where the table has one."""
        following = range(position + 1, len(self._entries))
        return next((number for number in following if self._entries[number].is_keyframe), None)

    def find(self, place: int | None, end: int) -> int:
        """Position of the packet at a place in the file, the last one up to `end`; 0 where there is none.

        Args:
            place (`int` or `None`): Byte at which it begins.
            end (`int`): Position to begin at, backwards.
        """
        if not self._entries:
            return 0
        return next((position for position in range(end, -1, -1) if self._entries[position].pos == place), 0)
