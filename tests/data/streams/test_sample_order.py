"""The order is a permutation in every pass, looks like chance, and is known at any place without the places before it."""

import copy
import time

import numpy as np
import pytest
from scipy.stats import spearmanr

from xwam.data.streams.sample_order import EPISODES_AT_ONCE, MixtureOrder, WindowOrder, shuffled_place

COUNTS = [8, 0, 18, 5, 1] * 12  # 60 episodes, 384 windows


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 17, 64, 65, 1000, 4097])
def test_every_place_is_taken_once(size: int):
    for key in (0, 1, 2**62):
        assert sorted(shuffled_place(place, size, key) for place in range(size)) == list(range(size))


def test_shuffling_is_real():
    places = np.arange(20000)
    for key in (1, 2, 3):
        shuffled = [shuffled_place(int(place), len(places), key) for place in places]
        assert abs(spearmanr(places, shuffled).statistic) < 0.03  # chance alone: 0.007
        steps = np.diff(shuffled)
        assert np.mean(np.abs(steps) < 20) < 0.005  # chance alone: 0.002
    assert abs(spearmanr(shuffled, [shuffled_place(int(p), len(places), 4) for p in places]).statistic) < 0.03


def test_small_sets_come_in_all_orders():
    orders = {tuple(shuffled_place(place, 4, key) for place in range(4)) for key in range(1000)}
    assert len(orders) == 24


@pytest.mark.parametrize("shuffle", ["windows", "episodes", "none"])
def test_each_pass_holds_every_window_once_in_its_own_order(shuffle: str):
    order = WindowOrder(COUNTS, 5, shuffle)
    size = len(order)
    passes = [[order[number * size + place] for place in range(size)] for number in range(3)]
    for windows in passes:
        assert sorted(windows) == list(range(size))
    assert (passes[0] == passes[1]) == (shuffle == "none")
    again = WindowOrder(COUNTS, 5, shuffle)
    assert [again[2 * size + place] for place in reversed(range(size))] == passes[2][::-1]
    assert (shuffle == "none") == ([WindowOrder(COUNTS, 6, shuffle)[n] for n in range(size)] == passes[0])


def test_whole_episodes_are_read_a_few_at_a_time():
    order, ends = WindowOrder(COUNTS, 5, "episodes"), np.cumsum(COUNTS)
    episodes = [int(np.searchsorted(ends, order[place], side="right")) for place in range(len(order))]
    first, last = {}, {}
    for place, episode in enumerate(episodes):
        first.setdefault(episode, place)
        last[episode] = place
    open_at = [sum(first[e] <= place <= last[e] for e in first) for place in range(len(order))]
    assert max(open_at) <= EPISODES_AT_ONCE
    assert abs(spearmanr(range(len(order)), episodes).statistic) < 0.5
    assert np.mean(np.diff(episodes) == 0) < 0.3  # the windows of an episode are not read one after the other


def test_any_place_is_as_near_as_the_first():
    windows, mixed = WindowOrder([10**9, 7], 3), MixtureOrder([1.0, 2.0, 0.01], 3)
    start = time.perf_counter()
    for place in (10**7, 10**12, 10**15):
        windows[place], mixed[place]
    assert time.perf_counter() - start < 2  # to count up to there would take days


def test_shares_hold_in_every_block_and_never_drift():
    shares = np.array([0.5, 0.3, 0.2 - 1 / 300, 1 / 300])
    order = MixtureOrder(shares, 9)
    owners = np.array([order[number][0] for number in range(10240)])
    for stop in (1024, 5120, 10240):
        assert np.abs(np.bincount(owners[:stop], minlength=4) - shares * stop).max() <= 1
    assert abs(spearmanr(range(1024), owners[:1024]).statistic) < 0.1
    assert (owners[:1024] != owners[1024:2048]).any()


def test_each_data_set_is_counted_without_a_gap():
    order, seen = MixtureOrder([3, 1, 2], 1), [0, 0, 0]
    for number in range(5000):
        owner, before = order[number]
        assert before == seen[owner]
        seen[owner] += 1


def test_an_order_travels_to_another_process():
    order = MixtureOrder([0.1, 0.7, 0.3], 1)
    order[5000]
    again = copy.copy(order)  # by `__reduce__`, as pickle does
    assert [again[n] for n in range(9000, 9100)] == [order[n] for n in range(9000, 9100)]


def test_one_data_set_needs_no_share():
    assert [MixtureOrder([42.0], 0)[number] for number in (0, 5, 10**9)] == [(0, 0), (0, 5), (0, 10**9)]


@pytest.mark.parametrize("shares", [[], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")], [1.0, 1e-9]])
def test_shares_that_are_none_are_refused(shares: list[float]):
    with pytest.raises(ValueError, match=r"[Ss]hares? of a mixture must be"):
        MixtureOrder(shares, 0)


def test_orders_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"`shuffle` must be one of .* but is 'some'"):
        WindowOrder([3], 0, "some")
    with pytest.raises(ValueError, match="must hold a window, but all are 0"):
        WindowOrder([0, 0], 0)
