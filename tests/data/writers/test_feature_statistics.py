import numpy as np
import pytest

from xwam.data.writers.feature_statistics import (
    QUANTILES,
    PixelCounts,
    aggregate,
    column_statistics,
    statistics_from_json,
    statistics_to_json,
)

rng = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(1,), (37,), (250, 3)])
def test_columns_agree_with_numpy(shape: tuple[int, ...]):
    values = rng.normal(size=shape).astype(np.float32)
    table = values.reshape(len(values), -1).astype(np.float64)
    found = column_statistics(values)
    for name in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(found[name], getattr(np, name)(table, axis=0), atol=1e-12)
    assert found["count"].tolist() == [len(values)]
    for name, share in QUANTILES.items():
        np.testing.assert_array_equal(found[name], np.quantile(table, share, axis=0, method="inverted_cdf"))


def test_pixels_are_counted_exactly():
    frames = rng.integers(0, 256, size=(5, 6, 7, 3)).astype(np.uint8)
    counts = PixelCounts(np.arange(256) / 255, 3)
    for frame in frames:
        counts.add(frame)
    found = counts.statistics()
    pixels = frames.reshape(-1, 3) / 255
    assert found["count"].tolist() == [5]
    assert found["mean"].shape == (3, 1, 1)
    np.testing.assert_allclose(found["mean"].ravel(), pixels.mean(0))
    np.testing.assert_allclose(found["std"].ravel(), pixels.std(0))
    for name, share in QUANTILES.items():
        expected = np.quantile(pixels, share, axis=0, method="inverted_cdf")
        np.testing.assert_allclose(found[name].ravel(), expected)


def test_pixels_without_meaning_are_left_out():
    counts = PixelCounts(np.array([99.0, 1.0, 2.0]), 1)
    counts.add(np.array([[0, 0], [1, 2]]))
    found = counts.statistics(ignored=0)
    assert found["max"].item() == 2.0
    assert found["mean"].item() == 1.5
    nothing = PixelCounts(np.array([99.0, 1.0]), 1)
    nothing.add(np.zeros((2, 2), dtype=np.uint16))
    assert nothing.statistics(ignored=0)["mean"].item() == 0.0


def test_aggregates_are_those_of_all_frames_together():
    parts = [rng.normal(size=(n, 2)) for n in (5, 40, 13)]
    total = aggregate([{"x": column_statistics(part)} for part in parts])["x"]
    together = column_statistics(np.concatenate(parts))
    for name in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(total[name], together[name])
    assert (total["q10"] <= together["q10"]).all(), "bounds"
    assert (total["q90"] >= together["q90"]).all(), "bounds"
    stepwise = aggregate(
        [aggregate([{"x": column_statistics(p)} for p in parts[:2]]), {"x": column_statistics(parts[2])}]
    )
    for name in total:
        np.testing.assert_allclose(stepwise["x"][name], total[name])


def test_json_keeps_everything():
    statistics = {"x": column_statistics(rng.normal(size=(5, 2)))}
    back = statistics_from_json(statistics_to_json(statistics))
    for name, value in statistics["x"].items():
        np.testing.assert_array_equal(back["x"][name], value)
