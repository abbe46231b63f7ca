import pytest

from xwam.data.video.decoding_order import DecodedFrame, DecodingOrder


def run(
    packets: list[tuple[int, int, str]],
    out: dict[int, list[int]],
    first_index: int = 0,
    *,
    corrupt: tuple[int, ...] = (),
    refused: tuple[int, ...] = (),
    hidden: tuple[int, ...] = (),
) -> list[tuple[int, int, bool]]:
    """Index, position and damage of what comes out.

    `packets` are (position, time, "k" for a key frame); `out` says which positions leave the decoder after which packet,
    those under -1 at the end.
    """
    order = DecodingOrder(first_index)
    kinds = {position: kind for position, _, kind in packets}
    found: list[DecodedFrame] = []

    def receive(positions: list[int]) -> None:
        for position in positions:
            order.receive(position, None, is_key=kinds[position] == "k", is_corrupt=position in corrupt)

    for position, time, _ in packets:
        order.send(position, time, is_hidden=position in hidden)
        if position in refused:
            order.fail(position)
        receive(out.get(position, []))
        found += order.ready()
    receive(out.get(-1, []))
    found += order.finish()
    return [(frame.index, frame.position, frame.is_damaged) for frame in found]


PLAIN = [(0, 10, "k"), (1, 20, ""), (2, 30, ""), (3, 40, "k"), (4, 50, "")]
AT_ONCE = {position: [position] for position in range(5)}


def sound(pairs: list[tuple[int, int]]) -> list[tuple[int, int, bool]]:
    return [(index, position, False) for index, position in pairs]


def test_without_reordering_every_frame_is_ready_at_once():
    order = DecodingOrder(0)
    for position, time, kind in PLAIN:
        order.send(position, time)
        order.receive(position, "picture", is_key=kind == "k", is_corrupt=False)
        assert [(frame.index, frame.picture) for frame in order.ready()] == [(position, "picture")]


def test_damage_lasts_up_to_the_next_key_frame():
    assert run(PLAIN, AT_ONCE, corrupt=(1,)) == [
        (0, 0, False),
        (1, 1, True),
        (2, 2, True),
        (3, 3, False),
        (4, 4, False),
    ]
    assert [damaged for _, _, damaged in run(PLAIN, AT_ONCE, corrupt=(3,))] == [False, False, False, True, True]


def test_a_packet_that_is_refused_or_whose_frame_never_comes_damages_too():
    without = {position: [position] for position in (0, 2, 3, 4)}
    for refused in ((1,), ()):
        # What was lost without a word is known when the next key frame is there.
        assert run(PLAIN, without, refused=refused) == [(0, 0, False), (2, 2, True), (3, 3, False), (4, 4, False)]


def test_the_order_of_showing_is_that_of_the_times():
    packets = [(0, 10, "k"), (1, 40, ""), (2, 20, ""), (3, 30, "")]
    assert run(packets, {1: [0], 2: [2], 3: [3], -1: [1]}) == sound([(0, 0), (1, 2), (2, 3), (3, 1)])


def test_a_frame_waits_for_those_it_may_be_made_from():
    packets = [(0, 10, "k"), (1, 40, ""), (2, 20, ""), (3, 30, "")]
    out = {1: [0], 2: [2], 3: [3], -1: [1]}
    assert run(packets, out, corrupt=(1,)) == [(0, 0, False), (1, 2, True), (2, 3, True), (3, 1, True)]
    assert run(packets, out, corrupt=(2,)) == [(0, 0, False), (1, 2, True), (2, 3, True), (3, 1, False)]


def test_equal_times_follow_the_order_of_decoding():
    packets = [(position, 10, "k" if position == 0 else "") for position in range(3)]
    assert run(packets, {position: [position] for position in range(3)}) == sound([(0, 0), (1, 1), (2, 2)])


def test_frames_shown_before_the_first_key_frame_count_but_do_not_come():
    packets = [(6, 60, "k"), (7, 40, ""), (8, 50, ""), (9, 70, "")]
    out = {6: [], 8: [7, 8, 6], 9: [9]}
    assert run(packets, out, first_index=4, corrupt=(7, 8)) == sound([(6, 6), (7, 9)])
    assert run(packets, out, first_index=4, refused=(7, 8)) == sound([(6, 6), (7, 9)])


def test_frames_that_lean_on_the_group_before_a_key_frame_take_its_damage():
    packets = [(0, 10, "k"), (1, 20, ""), (2, 50, "k"), (3, 30, ""), (4, 40, ""), (5, 60, "")]
    out = {0: [0], 1: [1], 3: [3], 4: [4, 2], 5: [5]}
    assert run(packets, out, corrupt=(1,)) == [
        (0, 0, False),
        (1, 1, True),
        (2, 3, True),
        (3, 4, True),
        (4, 2, False),
        (5, 5, False),
    ]


def test_hidden_frames_do_not_count():
    assert run(PLAIN, {2: [2], 3: [3], 4: [4]}, hidden=(0, 1)) == sound([(0, 2), (1, 3), (2, 4)])


@pytest.mark.parametrize("time", [None, 7])
def test_without_times_the_order_is_that_of_decoding(time: int | None):
    order = DecodingOrder(3)
    for position in (3, 4):
        order.send(position, time)
        order.receive(position, None, is_key=position == 3, is_corrupt=False)
    assert [frame.index for frame in order.ready()] == [3, 4]
