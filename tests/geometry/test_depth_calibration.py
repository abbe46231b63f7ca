"""Scale and shift of inverse depth are found among outliers, or not at all."""

import numpy as np
import pytest
import torch

from xwam.errors import DepthCalibrationError
from xwam.geometry.depth_calibration import AffineDepth, affine_to_depth, calibrate_affine

SCALE, SHIFT = 3.0, 0.3  # per metre: what a camera from 0.3 to 3.3 m has
NAN, INF = float("nan"), float("inf")

# Inverse depth of an outlier from the true one and a number even in [0, 1].
OUTLIERS = {
    "all farther": lambda true, even: true / (1.02 + 2 * even),
    "all nearer": lambda true, even: true * (1.02 + 2 * even),
    "both sides": lambda true, even: true * torch.exp(2 * even - 1),
    "anything": lambda true, even: 0.2 + 4 * even,
    "another line": lambda true, even: 0.5 * true + 1.4,
    "one surface": lambda true, even: 2.9 + 0.01 * even,
    "the far end": lambda true, even: torch.full_like(true, 1e-2),
}


def planted(
    num_pixels: int, kind: str, seed: int, *, noise: float = 0.0, scale: float = SCALE, shift: float = SHIFT
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Levels, measured depth with 40 % outliers, and which are none; the noise is relative to the median inverse depth."""
    random = torch.Generator().manual_seed(seed)
    level = torch.rand(num_pixels, generator=random, dtype=torch.float64)
    true = scale * level + shift
    seen = true + noise * true.median() * torch.randn(num_pixels, generator=random, dtype=torch.float64)
    is_good = torch.ones(num_pixels, dtype=torch.bool)
    is_good[torch.randperm(num_pixels, generator=random)[: round(0.4 * num_pixels)]] = False
    even = torch.rand(num_pixels, generator=random, dtype=torch.float64)
    seen = torch.where(is_good, seen, OUTLIERS[kind](true, even))
    return level, 1 / seen.clamp(min=1e-3), is_good


def least_squares(level: torch.Tensor, measured: torch.Tensor) -> tuple[float, float]:
    """What one would fit who knew the outliers."""
    columns = np.stack([level.numpy(), np.ones(len(level))], axis=1)
    scale, shift = np.linalg.lstsq(columns, 1 / measured.numpy(), rcond=None)[0]
    return float(scale), float(shift)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("num_pixels", "noise"), [(60, 0.0), (200, 0.001), (3000, 0.005), (30_000, 0.015)])
@pytest.mark.parametrize("kind", OUTLIERS)
def test_a_planted_scale_and_shift_are_found_within_one_percent_among_40_percent_outliers(
    kind, num_pixels, noise, seed
):
    level, measured, _ = planted(num_pixels, kind, seed, noise=noise)
    fit = calibrate_affine(level, measured)
    assert fit.scale == pytest.approx(SCALE, rel=0.01)
    assert fit.shift == pytest.approx(SHIFT, rel=0.01)
    assert fit.num_pixels == num_pixels
    assert 0.55 < fit.inlier_share < 0.66


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", OUTLIERS)
def test_few_and_noisy_pixels_give_nearly_what_is_found_by_who_knows_the_outliers(kind, seed):
    level, measured, is_good = planted(400, kind, seed, noise=0.02)
    fit = calibrate_affine(level, measured)
    scale, shift = least_squares(level[is_good], measured[is_good])
    assert fit.scale == pytest.approx(scale, abs=0.02)  # the standard error of the scale is 0.008
    assert fit.shift == pytest.approx(shift, abs=0.01)


@pytest.mark.parametrize(("scale", "shift"), [(0.5, 0.001), (66.0, 0.5), (1e-3, 0.2), (4.0, -0.2), (2.0, 5.0)])
def test_any_scale_and_shift_are_found(scale, shift):
    level, measured, _ = planted(5000, "both sides", 0, scale=scale, shift=shift)
    is_seen = (scale * level + shift) > 0.02 * scale
    if scale < 1e-2:
        with pytest.raises(DepthCalibrationError, match="almost the same"):
            calibrate_affine(level, 1 / (scale * level + shift))
        return
    fit = calibrate_affine(level, measured, is_seen)
    assert (fit.scale, fit.shift) == pytest.approx((scale, shift), rel=0.01)


def test_plain_least_squares_fails_here():
    """So that the tests above can fail."""
    for kind in OUTLIERS:
        level, measured, _ = planted(3000, kind, 0)
        scale, shift = least_squares(level, measured)
        assert abs(scale / SCALE - 1) > 0.01 or abs(shift / SHIFT - 1) > 0.01


@pytest.mark.parametrize("spread", [0.0, 0.003])
@pytest.mark.parametrize("seed", range(3))
def test_a_wall_that_fills_most_of_the_picture_does_not_hide_the_scale(seed, spread):
    """Through the wall alone go lines of any slope; the 15 % of other things decide."""
    random = torch.Generator().manual_seed(seed)
    level = 0.3 + spread * torch.randn(20_000, generator=random, dtype=torch.float64)
    for things in (level[:3000], level[-3000:]):
        things[:] = 0.3 + 0.5 * torch.rand(3000, generator=random, dtype=torch.float64)
    inverse = 2 * level + 0.4 + 0.004 * torch.randn(20_000, generator=random, dtype=torch.float64)
    inverse[-3000:] = 0.3 + 2 * torch.rand(3000, generator=random, dtype=torch.float64)
    fit = calibrate_affine(level, 1 / inverse)
    assert (fit.scale, fit.shift) == pytest.approx((2, 0.4), rel=0.01)


def test_levels_of_8_bits_are_enough():
    level, measured, _ = planted(80_000, "both sides", 0, noise=0.01)
    fit = calibrate_affine((level * 255).round() / 255, measured)
    assert (fit.scale, fit.shift) == pytest.approx((SCALE, SHIFT), rel=0.01)


def test_residual_and_share_are_what_they_say():
    level, measured, is_good = planted(50_000, "anything", 0, noise=0.01)
    fit = calibrate_affine(level, measured)
    truth = 1 / (SCALE * level + SHIFT)
    relative = ((truth - measured).abs() / measured)[is_good]
    assert fit.residual == pytest.approx(float(relative.median()), rel=0.05)
    assert fit.inlier_share == pytest.approx(0.6 * 0.988, abs=0.02)  # 1.2 % of Gaussian noise is beyond 2.5 deviations


def test_far_pixels_within_the_noise_but_far_off_in_metres_are_not_explained():
    """30 % of the picture is 20 m away and farther: noise that is small at 1 m makes metres of error there."""
    random = torch.Generator().manual_seed(0)
    level = torch.rand(10_000, generator=random, dtype=torch.float64)
    level[:3000] *= 0.01
    inverse = 3 * level + 0.01
    seen = (inverse + 0.03 * torch.randn(10_000, generator=random, dtype=torch.float64)).clamp(min=1e-3)
    fit = calibrate_affine(level, 1 / seen)
    assert fit.scale == pytest.approx(3, rel=0.01)
    assert 0.65 < fit.inlier_share < 0.8


def test_the_same_pixels_give_the_same_numbers_whatever_was_drawn_before():
    level, measured, _ = planted(5000, "anything", 0, noise=0.01)
    first = calibrate_affine(level, measured)
    torch.rand(7)
    assert calibrate_affine(level.reshape(50, 100), measured.reshape(50, 100)) == first
    state = torch.get_rng_state()
    calibrate_affine(level, measured)
    assert torch.equal(torch.get_rng_state(), state)


def test_unmeasured_pixels_do_not_count_whatever_they_hold():
    level, measured, _ = planted(2000, "anything", 0, noise=0.01)
    expected = calibrate_affine(level, measured)
    for hole in (0.0, NAN, INF, -INF, -1.0):
        holes = torch.full((5000,), hole, dtype=torch.float64)
        fit = calibrate_affine(torch.cat([level, torch.rand(5000).double()]), torch.cat([measured, holes]))
        assert fit == expected
    for level_of_hole in (NAN, INF):
        levels = torch.cat([level, torch.full((5000,), level_of_hole, dtype=torch.float64)])
        assert calibrate_affine(levels, torch.cat([measured, torch.ones(5000).double()])) == expected
    mask = torch.arange(7000) < 2000
    fit = calibrate_affine(torch.cat([level, torch.rand(5000)]), torch.cat([measured, torch.ones(5000)]), mask)
    assert fit == expected


def refused(level: torch.Tensor, measured: torch.Tensor, text: str) -> None:
    with pytest.raises(DepthCalibrationError, match=text):
        calibrate_affine(level, measured)


@pytest.mark.parametrize("seed", range(3))
def test_what_cannot_be_calibrated_is_refused_and_the_reason_told(seed):
    random = torch.Generator().manual_seed(seed)
    even = torch.rand(20_000, generator=random, dtype=torch.float64)
    other = torch.rand(20_000, generator=random, dtype=torch.float64)
    inverse = 0.5 + 2 * even
    refused(even[:49], 1 / inverse[:49], "it needs 50 measured pixels at least, and there are 49")
    refused(even, torch.zeros_like(even), "there are 0")
    refused(even, torch.full_like(even, 0.8), "almost the same everywhere, so no scale can be seen")
    refused(even, 0.8 + 0.01 * other, "almost the same everywhere")
    refused(even, 1 / (3.3 + 0.5 * even), "almost the same everywhere")  # a table seen from above
    assert calibrate_affine(even, 1 / (3.3 + even)).scale == pytest.approx(1, rel=1e-3)
    refused(torch.full_like(even, 0.2), 1 / inverse, "the depth image is the same everywhere")
    refused(-even, 1 / inverse, r"greater levels are farther away: the scale would be -2 per metre")
    refused(other, 1 / inverse, "too little to do with the measured depth|explain .* of the pixels only")
    mixed = torch.where(torch.rand(20_000, generator=random) < 0.6, other, even)
    refused(mixed, 1 / inverse, "too little to do with the measured depth|explain .* of the pixels only")
    flat = torch.where(even < 0.7, 0.8, inverse)  # a wall at one depth, and garbage
    refused(other, 1 / flat, "almost the same depth|too little|explain")


def test_shapes_must_be_the_same():
    with pytest.raises(ValueError, match=r"have \[\(3, 4\), \(4, 3\), \(4, 3\)\]"):
        calibrate_affine(torch.ones(3, 4), torch.ones(4, 3))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_a_mask_of_numbers_is_refused_and_not_taken_for_indices(dtype):
    level, measured, is_good = planted(200, "anything", 0)
    with pytest.raises(ValueError, match=f"`mask` must be bool, but is {dtype}"):
        calibrate_affine(level, measured, is_good.to(dtype))


def test_a_calibrated_level_is_metres_and_what_has_no_depth_is_zero():
    level = torch.tensor([0.0, 0.09, 0.5, 1.0, NAN, INF, -INF], dtype=torch.float64)
    metres = affine_to_depth(level, 3.0, -0.3)
    torch.testing.assert_close(metres, torch.tensor([0, 0, 1 / 1.2, 1 / 2.7, 0, 0, 0], dtype=torch.float64))
    assert affine_to_depth(level, 3.0, 0.3)[:2].tolist() == pytest.approx([1 / 0.3, 1 / 0.57])
    assert affine_to_depth(level, 3.0, 0.3, farthest=2.0)[:3].tolist() == pytest.approx([0, 1 / 0.57, 1 / 1.8])


def test_fit_and_application_are_inverses():
    level = torch.linspace(0, 1, 1000, dtype=torch.float64)
    fit = calibrate_affine(level, affine_to_depth(level, SCALE, SHIFT))
    assert fit == AffineDepth(pytest.approx(SCALE), pytest.approx(SHIFT), pytest.approx(0, abs=1e-12), 1.0, 1000)
    torch.testing.assert_close(
        affine_to_depth(level, fit.scale, fit.shift), affine_to_depth(level, SCALE, SHIFT), rtol=1e-12, atol=0
    )


def test_gradients_of_the_application_are_finite():
    level = torch.tensor([0.0, 0.1, 0.5, -1.0, NAN, INF], dtype=torch.float64, requires_grad=True)
    affine_to_depth(level, 3.0, -0.3, farthest=50.0).sum().backward()
    assert torch.isfinite(level.grad).all()
    assert level.grad[2] == pytest.approx(-3 / 1.2**2)
