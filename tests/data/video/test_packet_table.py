from types import SimpleNamespace
from typing import Any

import pytest

from xwam.data.video.packet_table import PacketTable


def entries(count: int, keys: tuple[int, ...], hidden: tuple[int, ...] = ()) -> list[Any]:
    return [
        SimpleNamespace(timestamp=10 * n - 5, pos=100 * n + 48, is_keyframe=n in keys, is_discard=n in hidden)
        for n in range(count)
    ]


def test_key_frames_around_a_place_are_found():
    table = PacketTable(entries(10, (0, 4, 8)))
    assert [table.key_before(end) for end in (1, 4, 5, 9, 10, 30)] == [0, 0, 4, 8, 8, 8]
    assert [table.key_after(position) for position in (0, 3, 4, 8)] == [4, 4, 8, None]
    assert (table.time(3), table.num_frames, len(table)) == (25, 10, 10)


def test_a_packet_is_found_by_its_byte_backwards():
    table = PacketTable(entries(10, (0, 4, 8)))
    assert [table.find(place, 8) for place in (848, 448, 48, 7, None)] == [8, 4, 0, 0, 0]


@pytest.mark.parametrize("hidden", [(0, 1, 2), (0, 2, 3)])  # decoded out of order, hidden ones need not be neighbours
def test_hidden_packets_do_not_count(hidden: tuple[int, ...]):
    table = PacketTable(entries(60, (0, 12), hidden))
    assert table.num_frames == 57
    assert [table.num_shown(position) for position in (0, 12)] == [0, 9]


def test_a_table_is_not_walked_through_for_hidden_packets():
    class Watched(list[Any]):
        def __iter__(self) -> Any:
            for number, entry in enumerate(super().__iter__()):
                assert number < 40, "a recording of an hour has 100,000"
                yield entry

    assert PacketTable(Watched(entries(1000, (0,), (0, 1)))).num_frames == 998


def test_without_a_table_everything_is_decoded_from_the_beginning():
    table = PacketTable(())
    assert (len(table), table.key_before(70), table.key_after(3), table.time(0), table.find(48, 0)) == (
        0,
        0,
        None,
        None,
        0,
    )
