"""Chamfer distance and F-score are those of all pairs of points, and of Open3D where it is installed."""

import numpy as np
import pytest
from real_frames import APC, apc_depth
from recorded_folder import needs_recorded
from scipy.spatial.distance import cdist

from xwam.metrics.points import chamfer_distance, f_score, neighbour_distances

BOTH = pytest.mark.parametrize("metric", [chamfer_distance, f_score])


def cloud(seed: int, num_points: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (num_points, 3))


def compare_with_all_pairs(prediction: np.ndarray, truth: np.ndarray, threshold: float) -> None:
    distances = cdist(prediction.astype(np.float64), truth.astype(np.float64))
    forth, back = distances.min(axis=1), distances.min(axis=0)
    assert chamfer_distance(prediction, truth) == pytest.approx((forth.mean() + back.mean()) / 2, abs=1e-6)
    assert chamfer_distance(prediction, truth, kind="sum") == pytest.approx(forth.mean() + back.mean(), abs=1e-6)
    squared = np.square(forth).mean() + np.square(back).mean()
    assert chamfer_distance(prediction, truth, kind="squared") == pytest.approx(squared, abs=1e-6)
    found = f_score(prediction, truth, threshold=threshold)
    precision, recall = (forth <= threshold).mean(), (back <= threshold).mean()
    assert (found.precision, found.recall) == (precision, recall)
    assert found.f_score == pytest.approx(2 * precision * recall / (precision + recall))


def test_both_are_those_of_all_pairs():
    compare_with_all_pairs(cloud(0), cloud(1, 250), threshold=0.15)


@needs_recorded(*APC)
def test_both_are_those_of_all_pairs_on_points_of_a_real_sensor():
    """Only shapes matter here: pixels and depth stand for the coordinates."""
    depths = apc_depth([0, 1])
    clouds = [
        np.concatenate([np.argwhere(depth > 0) / 500, depth[depth > 0][:, None]], axis=-1)[::40] for depth in depths
    ]
    compare_with_all_pairs(*clouds, threshold=0.01)


def test_both_are_those_of_open3d():
    open3d = pytest.importorskip("open3d")
    prediction, truth = cloud(0), cloud(1, 250)
    theirs = [open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points)) for points in (prediction, truth)]
    forth = np.asarray(theirs[0].compute_point_cloud_distance(theirs[1]))
    back = np.asarray(theirs[1].compute_point_cloud_distance(theirs[0]))
    assert chamfer_distance(prediction, truth) == pytest.approx((forth.mean() + back.mean()) / 2, abs=1e-9)
    found = f_score(prediction, truth, threshold=0.2)
    assert (found.precision, found.recall) == ((forth <= 0.2).mean(), (back <= 0.2).mean())


def test_a_shifted_grid_is_as_far_as_the_shift():
    grid = np.stack(np.meshgrid(*[np.arange(5.0)] * 3), axis=-1).reshape(-1, 3)
    shifted = grid + np.array([0, 0, 0.1])
    assert chamfer_distance(shifted, grid) == pytest.approx(0.1)
    assert chamfer_distance(shifted, grid, kind="squared") == pytest.approx(0.02)
    assert f_score(shifted, grid, threshold=0.05).f_score == 0
    assert f_score(grid, grid).f_score == 1


def test_swapping_prediction_and_truth_swaps_precision_and_recall():
    truth = cloud(0)
    found, swapped = f_score(truth[:100], truth), f_score(truth, truth[:100])
    assert found.precision == 1
    assert found.recall == pytest.approx(0.25)
    assert (swapped.precision, swapped.recall) == (found.recall, found.precision)
    assert swapped.f_score == found.f_score
    assert chamfer_distance(truth[:100], truth) == pytest.approx(chamfer_distance(truth, truth[:100]))


def test_distances_stand_in_the_order_of_the_points():
    truth = np.zeros((1, 3))
    prediction = np.array([[3.0, 0, 0], [0, 1, 0], [0, 0, 2]])
    found = neighbour_distances(prediction, truth)
    np.testing.assert_allclose(found.to_truth, [3, 1, 2])
    np.testing.assert_allclose(found.to_prediction, [1])


@BOTH
@pytest.mark.parametrize("place", ["prediction", "truth"])
@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        (np.zeros((0, 3)), ValueError, r"at least one point but has shape \(0, 3\)"),
        (np.zeros((5, 4)), ValueError, r"must have shape \(\.\.\., 3\) but has shape \(5, 4\)"),
        (np.zeros((2, 5, 3)), ValueError, r"must have shape \(M, 3\)"),
        (np.array([[0, 0, np.nan]]), ValueError, "must be finite but holds 1 NaN"),
        (np.zeros((5, 3), dtype=np.int32), TypeError, "must hold floating-point numbers but is int32"),
        ([[0.0, 0.0, 0.0]], TypeError, "must be a NumPy array but is list"),
    ],
)
def test_what_is_no_cloud_is_refused(metric, place, points, error, message):
    arguments = {"prediction": cloud(0), "truth": cloud(1)} | {place: points}
    with pytest.raises(error, match=f"`{place}` .*{message}"):
        metric(**arguments)


def test_kinds_and_thresholds_are_checked():
    with pytest.raises(ValueError, match="`kind` must be one of"):
        chamfer_distance(cloud(0), cloud(1), kind="max")
    for threshold in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="`threshold` must be a positive distance"):
            f_score(cloud(0), cloud(1), threshold=threshold)
