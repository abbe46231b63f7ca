"""Depth metrics are those of torchmetrics and of their formulas, with holes, masks and alignment."""

import numpy as np
import pytest
import torch
from real_frames import APC, apc_depth
from recorded_folder import needs_recorded
from torchmetrics.functional.regression import mean_absolute_percentage_error, mean_squared_error

from xwam.metrics.depth import abs_rel, coverage, delta, depth_errors, rmse

ERRORS = ("abs_rel", "delta1", "delta2", "delta3", "rmse")


def maps(seed: int, shape: tuple[int, ...] = (2, 3, 20, 30)) -> np.ndarray:
    """Depth with a quarter of holes."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.3, 3, shape)
    return np.where(rng.random(shape) < 0.25, 0, depth).astype(np.float32)


def compare_with_torchmetrics(prediction: np.ndarray, truth: np.ndarray) -> None:
    found = depth_errors(prediction, truth)
    for index in np.ndindex(prediction.shape[:-2]):
        own = (prediction[index] > 0) & (truth[index] > 0)
        p, t = (torch.from_numpy(depth[index][own]) for depth in (prediction, truth))
        assert found["abs_rel"][index] == pytest.approx(float(mean_absolute_percentage_error(p, t)), abs=1e-4)
        assert found["rmse"][index] == pytest.approx(float(mean_squared_error(p, t, squared=False)), abs=1e-4)
        for power in (1, 2, 3):
            share = (torch.maximum(p / t, t / p) < 1.25**power).double().mean()
            assert found[f"delta{power}"][index] == pytest.approx(float(share), abs=1e-4)


def test_all_are_those_of_torchmetrics_on_noise():
    compare_with_torchmetrics(maps(0), maps(1))


@needs_recorded(*APC)
def test_all_are_those_of_torchmetrics_on_real_depth_with_holes():
    compare_with_torchmetrics(apc_depth([1, 2]), apc_depth([0, 3]))


def test_the_single_functions_are_the_common_one():
    p, t = maps(0), maps(1)
    found = depth_errors(p, t)
    np.testing.assert_array_equal(abs_rel(p, t), found["abs_rel"])
    np.testing.assert_array_equal(rmse(p, t), found["rmse"])
    np.testing.assert_array_equal(coverage(p, t), found["coverage"])
    for power in (1, 2, 3):
        np.testing.assert_array_equal(delta(p, t, power=power), found[f"delta{power}"])
    assert float(abs_rel(p, t, reduce="mean")) == pytest.approx(found["abs_rel"].mean())
    assert found["abs_rel"].shape == (2, 3)


def test_swapping_prediction_and_truth_shows():
    """Half of the truth is 1/2 too small; half of the other, taken as truth, is 1 too large."""
    truth = np.full((4, 4), 2.0, dtype=np.float32)
    assert float(abs_rel(truth / 2, truth)) == pytest.approx(0.5)
    assert float(abs_rel(truth, truth / 2)) == pytest.approx(1.0)
    holes = truth.copy()
    holes[:2] = 0
    assert float(coverage(holes, truth)) == pytest.approx(0.5)
    assert float(coverage(truth, holes)) == pytest.approx(1.0)
    assert (np.abs(abs_rel(maps(0), maps(1)) - abs_rel(maps(1), maps(0))) > 1e-3).all()


def test_delta_and_rmse_do_not_care_for_order():
    p, t = maps(0), maps(1)
    np.testing.assert_allclose(delta(p, t), delta(t, p))
    np.testing.assert_allclose(rmse(p, t), rmse(t, p))


def test_delta_counts_below_the_threshold_only():
    truth = np.ones((1, 4), dtype=np.float64)
    prediction = np.array([[1.24, 1.25, 1 / 1.24, 1.6]])
    assert float(delta(prediction, truth)) == 0.5
    assert float(delta(prediction, truth, power=3)) == 1.0


def test_only_pixels_that_are_known_twice_and_masked_in_count():
    p, t = maps(0), maps(1)
    mask = np.random.default_rng(2).random(t.shape) < 0.5
    outside = ~((p > 0) & (t > 0) & mask)
    changed = depth_errors(np.where(~mask & (p > 0), 77, p).astype(np.float32), t, mask=mask)
    for name, values in depth_errors(p, t, mask=mask).items():
        np.testing.assert_array_equal(changed[name], values)
    erased = depth_errors(np.where(outside, 0, p).astype(np.float32), np.where(outside, 0, t).astype(np.float32))
    for name in ERRORS:
        np.testing.assert_allclose(erased[name], depth_errors(p, t, mask=mask)[name])


def test_a_map_with_nothing_to_score_is_nan_and_left_out_of_the_mean():
    p, t = maps(0), maps(1)
    t[0, 0] = 0
    found = depth_errors(p, t)
    assert all(np.isnan(values[0, 0]) and np.isfinite(values[0, 1:]).all() for values in found.values())
    assert float(abs_rel(p, t, reduce="mean")) == pytest.approx(np.nanmean(found["abs_rel"]))
    assert np.isnan(abs_rel(p, t, mask=np.zeros(t.shape, dtype=bool), reduce="mean"))
    p[0, 1] = 0
    assert np.isnan(abs_rel(p, t)[0, 1])
    assert coverage(p, t)[0, 1] == 0


def test_alignment_takes_out_the_scale_and_the_shift_of_each_map():
    t = maps(1)
    scales = np.random.default_rng(4).uniform(0.5, 2, (2, 3, 1, 1)).astype(np.float32)
    scaled = t * scales
    shifted = np.where(t > 0, t * scales + 0.3, 0)
    assert (abs_rel(scaled, t) > 0.01).all()
    np.testing.assert_allclose(abs_rel(scaled, t, alignment="median"), 0, atol=1e-6)
    assert (abs_rel(shifted, t, alignment="median") > 0.01).all()
    np.testing.assert_allclose(rmse(shifted, t, alignment="scale_shift"), 0, atol=1e-6)
    np.testing.assert_allclose(delta(shifted, t, alignment="scale_shift"), 1)


def test_one_wild_pixel_does_not_move_the_median():
    t = np.linspace(1, 2, 20).reshape(4, 5)
    p = t / 2
    p[0, 0] = 500
    assert float(delta(p, t, alignment="median")) == pytest.approx(19 / 20)
    assert float(delta(p, t, alignment="scale_shift")) < 1


def test_the_scale_and_shift_are_those_of_least_squares():
    p, t = maps(0)[0, 0], maps(1)[0, 0]
    own = (p > 0) & (t > 0)
    system = np.stack([p[own], np.ones(own.sum())], axis=-1).astype(np.float64)
    residual = system @ np.linalg.lstsq(system, t[own].astype(np.float64))[0] - t[own]
    assert float(rmse(p, t, alignment="scale_shift")) == pytest.approx(np.sqrt(np.square(residual).mean()), abs=1e-9)


def test_a_constant_prediction_becomes_the_mean_of_the_truth():
    t = maps(1)[0, 0]
    found = float(rmse(np.ones_like(t), t, alignment="scale_shift"))
    assert found == pytest.approx(t[t > 0].astype(np.float64).std(), abs=1e-6)
    whole = np.random.default_rng(0).uniform(1, 1.1, (7, 11))
    uneven = np.full((7, 11), 0.1)  # whose mean is not exactly 0.1
    assert float(rmse(uneven, whole, alignment="scale_shift")) == pytest.approx(whole.std())


def test_depth_that_alignment_makes_negative_is_wrong_everywhere():
    prediction = np.array([[1.0, 1.0, 1.0, 9.0]])
    truth = np.array([[4.0, 4.0, 4.0, 0.1]])
    longer = np.array([[1.0, 1.0, 1.0, 9.0, 20.0]]), np.array([[4.0, 4.0, 4.0, 0.1, 0.1]])
    assert float(delta(prediction, truth, alignment="scale_shift")) == 1.0  # the fit passes through both values
    assert float(delta(*longer, alignment="scale_shift")) < 1.0


@pytest.mark.parametrize("place", ["prediction", "truth"])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: (x * 1000).astype(np.uint16), TypeError, "metres in floating point but is uint16; are these milli"),
        (lambda x: np.where(x == 0, np.nan, x), ValueError, "must be finite but holds"),
        (lambda x: np.where(x == 0, np.inf, x), ValueError, "must be finite but holds"),
        (lambda x: x - 1, ValueError, "must not be negative"),
        (lambda x: x[..., :5], ValueError, "must have one shape"),
        (lambda x: x.tolist(), TypeError, "must be a NumPy array but is list"),
    ],
)
def test_what_is_no_depth_is_refused(place, change, error, message):
    arguments = {"prediction": maps(0), "truth": maps(1)}
    arguments[place] = change(arguments[place])
    with pytest.raises(error, match=message):
        abs_rel(**arguments)


def test_masks_alignments_and_powers_are_checked():
    p, t = maps(0), maps(1)
    with pytest.raises(TypeError, match="`mask` must be a NumPy array of bool but is float64"):
        abs_rel(p, t, mask=np.ones(t.shape))
    with pytest.raises(ValueError, match="`mask` must have the shape of the depth"):
        abs_rel(p, t, mask=np.ones(t.shape[1:], dtype=bool))
    with pytest.raises(ValueError, match="`alignment` must be one of"):
        abs_rel(p, t, alignment="scale")
    with pytest.raises(ValueError, match="`power` must be 1, 2 or 3"):
        delta(p, t, power=4)
    with pytest.raises(ValueError, match=r"must have shape \(\.\.\., H, W\)"):
        abs_rel(p[0, 0, 0], t[0, 0, 0])
