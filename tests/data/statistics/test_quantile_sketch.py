"""Quantiles are NumPy's while everything fits, and off by no more than is said beyond that."""

import numpy as np
import pytest

from xwam.data.statistics.quantile_sketch import MotionSketch, QuantileSketch

SHARES = np.array([0.01, 0.5, 0.99])


def blocks(rng: np.random.Generator, num_rows: int, size: int = 700) -> list[np.ndarray]:
    rows = rng.standard_t(3, size=(num_rows, 2)) * (1.0, 40.0)  # heavy tails, two scales
    return [rows[start : start + size] for start in range(0, num_rows, size)]


def test_below_the_limit_quantiles_are_numpys():
    parts = blocks(np.random.default_rng(0), 5000)
    sketch = QuantileSketch(2, exact_rows=5000, block_rows=512)
    for part in parts:
        sketch.add(part)
    rows = np.concatenate(parts)
    np.testing.assert_array_equal(sketch.quantiles(SHARES), np.quantile(rows, SHARES, axis=0))
    np.testing.assert_array_equal(np.stack([sketch.lowest, sketch.highest]), [rows.min(axis=0), rows.max(axis=0)])
    assert sketch.is_exact
    assert sketch.rank_error == 0


@pytest.mark.parametrize("order", ["mixed", "sorted"])
def test_beyond_the_limit_ranks_are_off_by_no_more_than_is_said(order):
    parts = blocks(np.random.default_rng(1), 200_000)
    rows = np.concatenate(parts)
    if order == "sorted":
        rows = np.sort(rows, axis=0)
    sketch = QuantileSketch(2, exact_rows=8192, block_rows=2048)
    for start in range(0, len(rows), 1000):
        sketch.add(rows[start : start + 1000])

    assert not sketch.is_exact
    assert 0 < sketch.rank_error < 0.5 * np.log2(200_000 / 2048) / 2048 * 1.1
    assert len(sketch.weighted_values()[0]) < 20_000, "memory is bounded"
    for column, found in enumerate(sketch.quantiles(SHARES).T):
        ranks = np.searchsorted(np.sort(rows[:, column]), found) / len(rows)
        assert np.abs(ranks - SHARES).max() <= sketch.rank_error + 1e-5


def test_weights_add_up_to_the_rows():
    sketch = QuantileSketch(1, exact_rows=100, block_rows=64)
    for number in range(57):
        sketch.add(np.full((13, 1), float(number)))
    assert sketch.weighted_values()[1].sum() == sketch.num_rows == 57 * 13


def test_motions_are_chosen_by_a_threshold_that_comes_last():
    rng = np.random.default_rng(2)
    values = np.where(rng.uniform(size=50_000) < 0.97, rng.normal(scale=1e-4, size=50_000), rng.normal(size=50_000))
    values[::3] = 0
    exact, bounded = MotionSketch(5e-9), MotionSketch(5e-9, exact_rows=256, block_rows=128)
    for start in range(0, len(values), 500):
        exact.add(values[start : start + 500])
        bounded.add(values[start : start + 500])
    expected = np.sort(values[np.abs(values) >= 0.003])

    kept, weights = exact.select(lambda numbers: np.abs(numbers) >= 0.003)
    np.testing.assert_array_equal(np.sort(kept), expected)
    assert (weights == 1).all()
    kept, weights = bounded.select(lambda numbers: np.abs(numbers) >= 0.003)
    assert len(kept) < len(expected)
    assert weights.sum() == pytest.approx(len(expected), rel=0.02)
    assert exact.rank_error == 0
    order = np.argsort(kept)
    ranks = np.cumsum(weights[order]) / weights.sum()
    true = np.searchsorted(expected, kept[order], side="right") / len(expected)
    worst = float(np.abs(ranks - true).max())
    assert 0 < worst <= bounded.rank_error < 0.2


def test_without_rows_there_are_no_quantiles():
    with pytest.raises(ValueError, match="no rows"):
        QuantileSketch(2).quantiles(SHARES)
