"""Scale and shift of what a depth model answers: planted ones come back, by each way there is to know them."""

import numpy as np
import pytest

from xwam.errors import DepthCalibrationError
from xwam.models.depth_alignment import (
    FARTHEST,
    DepthAlignment,
    align_as_metric,
    align_to_measured,
    align_to_median,
    align_to_range,
    level_alignment,
)

SHAPE = (4, 30, 40)


def scene(seed: int = 0) -> np.ndarray:
    """Depth in metres, from 0.4 to 2."""
    return np.random.default_rng(seed).uniform(0.4, 2.0, SHAPE)


def answers_of(depth: np.ndarray, answer: str) -> np.ndarray:
    """What a perfect model says, up to a scale and a shift where it may."""
    return {"metric": depth, "relative": 7 * depth - 2, "inverse_relative": 30 / depth + 5}[answer].astype(np.float32)


each_answer = pytest.mark.parametrize("answer", ["metric", "relative", "inverse_relative"])


@each_answer
def test_measured_depth_gives_metres_in_spite_of_holes_and_outliers(answer: str):
    depth, rng = scene(), np.random.default_rng(1)
    measured = depth.copy()
    measured[rng.uniform(size=SHAPE) < 0.7] = 0  # holes, as real sensors have
    is_wrong = rng.uniform(size=SHAPE) < 0.3
    measured[is_wrong & (measured > 0)] = 5.0
    alignment = align_to_measured(answers_of(depth, answer), measured, answer)
    np.testing.assert_allclose(alignment.metres(answers_of(depth, answer)), depth, rtol=2e-3)
    if answer != "relative":
        assert alignment.calibration is not None
        assert alignment.calibration.inlier_share == pytest.approx(0.7, abs=0.05)
        assert alignment.to_dict()["calibration"]["num_pixels"] == (measured > 0).sum()


def test_a_metric_model_that_is_20_percent_off_is_corrected_by_measured_depth():
    depth = scene()
    alignment = align_to_measured(1.2 * depth, depth, "metric")
    np.testing.assert_allclose(alignment.metres(1.2 * depth), depth, rtol=1e-4)
    assert np.abs(align_as_metric("metric").metres(1.2 * depth) / depth - 1.2).max() < 1e-5


@each_answer
def test_a_range_puts_the_nearest_and_the_farthest_where_they_are_known_to_be(answer: str):
    depth = scene()
    metres = align_to_range(answers_of(depth, answer), (0.4, 2.0), answer).metres(answers_of(depth, answer))
    np.testing.assert_allclose(metres, depth, rtol=0.03)  # 0.5 % of pixels at each end are left out


@each_answer
def test_a_range_does_not_hang_on_single_pixels(answer: str):
    depth = scene()
    answers = answers_of(depth, answer)
    answers[0, 0, :5] = answers.max() * 20
    np.testing.assert_allclose(align_to_range(answers, (0.4, 2.0), answer).metres(answers)[1:], depth[1:], rtol=0.04)


@pytest.mark.parametrize("answer", ["metric", "relative", "inverse_relative"])
def test_a_median_gives_the_scale_of_a_model_without_shift(answer: str):
    depth = scene()
    answers = {"metric": 3 * depth, "relative": 3 * depth, "inverse_relative": 3 / depth}[answer]
    metres = align_to_median(answers, float(np.median(depth)), answer).metres(answers)
    np.testing.assert_allclose(metres, depth, rtol=2e-3)


@pytest.mark.parametrize("answer", ["metric", "inverse_relative"])
def test_levels_are_inverse_depth_from_far_to_near(answer: str):
    depth = np.sort(scene().ravel()).reshape(SHAPE)
    levels = level_alignment(answers_of(depth, answer), answer).levels(answers_of(depth, answer))
    assert levels.dtype == np.uint8
    assert levels.ravel()[0] == 255
    assert levels.ravel()[-1] == 0
    inverse = 1 / depth
    share = (inverse - np.quantile(inverse, 0.005)) / np.subtract(*np.quantile(inverse, (0.995, 0.005)))
    assert np.abs(levels - 255 * share.clip(0, 1)).max() <= 0.51


def test_no_metres_are_told_where_there_are_none():
    alignment = DepthAlignment("inverse_relative", scale=1.0, shift=-1.0)
    assert alignment.metres(np.array([[0.5, 1.0, 1.001, 2.0, 1e9]])).tolist() == [
        [0.0, 0.0, 0.0, 1.0, pytest.approx(1e-9)]
    ]
    assert align_as_metric("metric").metres(np.array([[-1.0, 0.0, 3.0, FARTHEST + 1]])).tolist() == [
        [0.0, 0.0, 3.0, 0.0]
    ]


def test_what_cannot_be_aligned_is_refused():
    depth = scene()
    with pytest.raises(ValueError, match="which has no unit; align it with measured depth, a range or a median"):
        align_as_metric("inverse_relative")
    with pytest.raises(ValueError, match="levels of inverse depth need a metric alignment"):
        level_alignment(depth, "relative")
    with pytest.raises(ValueError, match=r"`answer` must be one of .* but is 'disparity'"):
        align_as_metric("disparity")
    with pytest.raises(ValueError, match="0 < near < far"):
        align_to_range(depth, (2.0, 1.0), "metric")
    with pytest.raises(ValueError, match="must be positive metres, but is 0"):
        align_to_median(depth, 0.0, "metric")
    for call in (align_to_range, level_alignment):
        arguments = ((0.4, 2.0), "metric") if call is align_to_range else ("metric",)
        with pytest.raises(DepthCalibrationError, match="answers the same everywhere"):
            call(np.ones(SHAPE), *arguments)
        with pytest.raises(DepthCalibrationError, match="answers the same everywhere"):
            call(np.zeros(SHAPE), *arguments)
    with pytest.raises(DepthCalibrationError, match="zero at most pixels"):
        align_to_median(np.zeros(SHAPE), 1.0, "inverse_relative")
    with pytest.raises(DepthCalibrationError, match=r"too little to do|explain"):
        align_to_measured(scene(1), scene(2), "metric")
