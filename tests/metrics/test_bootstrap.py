"""Intervals are SciPy's with the same draws, they hold the truth as often as they say, and they draw episodes."""

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from xwam.metrics.bootstrap import confidence_interval, ratio_interval

SCIPY_NAMES = {"percentile": "percentile", "bca": "BCa"}


def skewed(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(size=shape)


@pytest.mark.parametrize("method", SCIPY_NAMES)
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_are_those_of_scipy(method: str, level: float):
    values = skewed(0, 23, 3)
    found = confidence_interval(values, level=level, method=method, num_resamples=999, seed=5)
    options = {"confidence_level": level, "n_resamples": 999, "method": SCIPY_NAMES[method]}
    for place in range(3):
        rng = np.random.default_rng(5)
        theirs = stats.bootstrap((values[:, place],), np.mean, rng=rng, **options).confidence_interval
        assert found.mean[place] == pytest.approx(values[:, place].mean())
        assert (found.low[place], found.high[place]) == pytest.approx(tuple(theirs), rel=1e-9)
    assert found.num_episodes == 23


@pytest.mark.parametrize("method", SCIPY_NAMES)
def test_intervals_hold_the_truth_about_as_often_as_they_say(method: str):
    values = np.random.default_rng(0).normal(loc=3, size=(40, 1000))  # a thousand experiments of forty episodes
    found = confidence_interval(values, level=0.9, method=method, num_resamples=500)
    share = ((found.low <= 3) & (found.high >= 3)).mean()
    assert 0.86 < share < 0.92


def test_clips_of_one_episode_are_drawn_together():
    """Ten equal clips per episode bring nothing: the interval is that of the episodes, not √10 narrower."""
    values = skewed(1, 20)
    clips, episodes = np.repeat(values, 10), np.repeat(np.arange(20), 10).tolist()
    alone, together = confidence_interval(values), confidence_interval(clips, episodes=episodes)
    assert float(together.mean) == pytest.approx(float(alone.mean))
    np.testing.assert_allclose([together.low, together.high], [alone.low, alone.high])
    assert together.num_episodes == 20
    naive = confidence_interval(clips)
    assert naive.high - naive.low < 0.5 * (together.high - together.low)


def test_episodes_of_more_clips_weigh_more():
    found = confidence_interval(np.array([1.0, 1.0, 1.0, 5.0]), episodes=["a", "a", "a", "b"], num_resamples=4000)
    assert float(found.mean) == 2
    assert (float(found.low), float(found.high)) == (1, 5)


@pytest.mark.parametrize("method", SCIPY_NAMES)
def test_intervals_of_unequal_episodes_are_those_of_a_ratio_in_scipy(method: str):
    rng = np.random.default_rng(0)
    numbers = rng.integers(1, 9, 15)
    values, episodes = rng.lognormal(size=numbers.sum()), np.repeat(np.arange(15), numbers)
    sums = np.bincount(episodes, weights=values)
    found = confidence_interval(values, episodes=episodes.tolist(), method=method, num_resamples=999, seed=5)
    theirs = stats.bootstrap(
        (sums, numbers), lambda s, n, axis: s.sum(axis) / n.sum(axis), paired=True, n_resamples=999,
        method=SCIPY_NAMES[method], rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    assert (float(found.low), float(found.high)) == pytest.approx(tuple(theirs), rel=1e-9)


def test_every_view_and_frame_has_its_interval():
    values = skewed(2, 12, 3, 9)
    found = confidence_interval(values)
    assert found.mean.shape == found.low.shape == found.high.shape == (3, 9)
    alone = confidence_interval(values[:, 1, 4])
    assert (found.low[1, 4], found.high[1, 4]) == pytest.approx((float(alone.low), float(alone.high)))
    assert (found.low < found.mean).all()
    assert (found.mean < found.high).all()


def test_the_seed_decides():
    values = skewed(3, 15)
    first, second, other = (confidence_interval(values, seed=seed) for seed in (1, 1, 2))
    assert (first.low, first.high) == (second.low, second.high)
    assert first.low != other.low


@pytest.mark.parametrize("method", SCIPY_NAMES)
def test_values_that_are_missing_are_left_out(method: str):
    values = skewed(4, 30, 2)
    values[20:, 0] = np.nan
    found = confidence_interval(values, method=method)
    assert found.mean[0] == pytest.approx(values[:20, 0].mean())
    assert found.low[0] < found.mean[0] < found.high[0]
    values[1:, 0] = np.nan
    one = confidence_interval(values, method=method)
    assert one.mean[0] == values[0, 0]
    assert np.isnan(one.low[0])
    assert np.isnan(one.high[0])
    values[:, 0] = np.nan
    assert np.isnan(confidence_interval(values, method=method).mean[0])


@pytest.mark.parametrize("method", SCIPY_NAMES)
def test_equal_episodes_have_an_interval_without_width(method: str):
    found = confidence_interval(np.full(8, 0.25), method=method)
    assert (float(found.low), float(found.mean), float(found.high)) == (0.25, 0.25, 0.25)


def test_one_episode_has_no_interval():
    found = confidence_interval(np.array([0.5]))
    assert float(found.mean) == 0.5
    assert np.isnan(found.low)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.zeros((0, 3)), {}, r"at least one row but has shape \(0, 3\)"),
        (np.float64(3), {}, r"must have shape \(N, \.\.\.\)"),
        (np.array([1.0, np.inf]), {}, "must not be infinite; PSNR is"),
        (np.ones(3), {"episodes": ["a"]}, "each of the 3 rows but has 1"),
        (np.ones(3), {"level": 1.0}, "`level` must lie between 0 and 1"),
        (np.ones(3), {"method": "basic"}, "`method` must be one of"),
        (np.ones(3), {"num_resamples": 0}, "`num_resamples` must be at least 1"),
    ],
)
def test_what_cannot_be_resampled_is_refused(values, options, message):
    with pytest.raises(ValueError, match=message):
        confidence_interval(values, **options)


def test_a_huge_folder_of_single_windows_fits_into_memory():
    values = np.random.default_rng(0).normal(size=(20_000, 1))
    tracemalloc.start()
    try:
        found = confidence_interval(values, episodes=range(len(values)), num_resamples=20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.num_episodes == len(values)
    assert peak < 100e6, "an array of episodes × rows has 3.2 GB"


def test_a_ratio_is_that_of_the_sums_with_scipys_interval():
    rng = np.random.default_rng(0)
    denominators = skewed(2, 30)
    numerators = 0.4 * denominators + 0.05 * rng.normal(size=30)
    found = ratio_interval(numerators, denominators, num_resamples=999, seed=5)
    theirs = stats.bootstrap(
        (numerators, denominators), lambda n, d: n.sum(axis=-1) / d.sum(axis=-1), paired=True, vectorized=False,
        n_resamples=999, method="percentile", rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    assert float(found.mean) == pytest.approx(numerators.sum() / denominators.sum())
    assert (float(found.low), float(found.high)) == pytest.approx(tuple(theirs), rel=1e-9)
    assert found.low < 0.4 < found.high


def test_a_ratio_draws_whole_episodes_and_leaves_out_what_is_unknown_on_either_side():
    one, other, names = np.array([1.0, 3.0, np.nan, 8.0]), np.array([2.0, 2.0, 5.0, 4.0]), ["a", "a", "b", "c"]
    found = ratio_interval(one, other, episodes=names)
    assert float(found.mean) == pytest.approx(12 / 8)
    assert (float(found.low), float(found.high)) == (1, 2), "episode a is 4 / 4, c is 8 / 4"
    assert np.isnan(ratio_interval(one[:2], other[:2], episodes=["a", "a"]).low)
    assert np.isnan(ratio_interval(np.ones(2), np.zeros(2)).mean)


def test_a_ratio_without_a_meaning_is_refused():
    with pytest.raises(ValueError, match="no denominator negative"):
        ratio_interval(np.ones(2), np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match="one number per row"):
        ratio_interval(np.ones((2, 2)), np.ones((2, 2)))
