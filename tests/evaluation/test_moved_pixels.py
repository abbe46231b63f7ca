"""Errors on what moves, on futures in which it is known what does."""

from dataclasses import replace

import numpy as np
import pytest

from xwam.evaluation.future_errors import stand_still
from xwam.evaluation.moved_pixels import moved_pixels, pooled_errors
from xwam.futures.future import Future

NAMES = ("left", "right")
THRESHOLD = 26  # of 255: the first level above a tenth


def _future(levels: np.ndarray, depths: np.ndarray | None = None) -> Future:
    """Two cameras of 4 × 6 pixels: the pixel (1, 2) of the left one has these grey levels by frame, all else is 100."""
    frames = {name: np.full((len(levels), 4, 6, 3), 100, np.uint8) for name in NAMES}
    frames["left"][:, 1, 2] = np.asarray(levels)[:, None]
    metres = {name: np.ones((len(levels), 4, 6), np.float32) for name in NAMES}
    metres["left"][:, 1, 2] = 1.0 if depths is None else depths
    return Future("robot", "do it", 0.2, frames, metres, "measured")


def test_a_pixel_moves_from_a_tenth_of_the_range_on():
    moved = moved_pixels(_future([100, 100 + THRESHOLD - 1, 100 + THRESHOLD, 100 - THRESHOLD]))
    assert moved.shape == (4, 8, 6)
    assert moved.sum(axis=(1, 2)).tolist() == [0, 0, 1, 1]
    assert moved[2, 1, 2]


def test_one_channel_is_enough():
    future = _future([100, 100])
    future.frames["right"][1, 3, 5, 2] = 200
    assert np.argwhere(moved_pixels(future)).tolist() == [[1, 7, 5]]


def test_planted_errors_are_found_where_they_are():
    truth = _future([100, 202], depths=np.array([1.0, 2.0]))
    found = pooled_errors(stand_still(truth), truth, only_moved=True)
    np.testing.assert_allclose(found["squared_error"], [np.nan, 0.16])
    np.testing.assert_allclose(found["psnr"], [np.nan, -10 * np.log10(0.16)])
    np.testing.assert_allclose(found["abs_rel"], [np.nan, 0.5])
    np.testing.assert_allclose(found["delta1"], [np.nan, 0.0])
    whole = pooled_errors(stand_still(truth), truth)
    np.testing.assert_allclose(whole["squared_error"], [0, 0.16 / 48])
    np.testing.assert_allclose(whole["abs_rel"], [0, 0.5 / 48], rtol=1e-6)
    np.testing.assert_allclose(whole["delta1"], [1, 47 / 48])


def test_the_truth_has_a_hundred_decibels_and_no_more():
    truth = _future([100, 202])
    np.testing.assert_array_equal(pooled_errors(truth, truth)["psnr"], [100, 100])


def test_the_cameras_of_the_prediction_count_and_depth_where_both_have_it():
    truth = _future([100, 202], depths=np.array([1.0, 2.0]))
    right = pooled_errors(truth.with_cameras(["right"]), truth)
    np.testing.assert_array_equal(right["squared_error"], [0, 0])
    flat = replace(stand_still(truth), depths={}, depth_kind="none")
    assert set(pooled_errors(flat, truth)) == {"squared_error", "psnr"}
    half = replace(stand_still(truth), depths={"right": truth.depths["right"]})
    assert np.isnan(pooled_errors(half, truth, only_moved=True)["abs_rel"]).all()
    assert pooled_errors(half, truth, only_moved=True)["squared_error"][1] == pytest.approx(0.16)
