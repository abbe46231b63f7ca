"""PSNR and SSIM are those of scikit-image and torchmetrics, on noise and on real frames; one form of image is accepted."""

import itertools

import numpy as np
import pytest
import torch
from real_frames import DROID, droid_frames
from recorded_folder import needs_recorded
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import peak_signal_noise_ratio as torch_psnr
from torchmetrics.functional.image import structural_similarity_index_measure as torch_ssim

from xwam.metrics.images import psnr, ssim

PUBLISHED = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
BOTH = pytest.mark.parametrize("metric", [psnr, ssim])


def noise(seed: int, shape: tuple[int, ...] = (2, 3, 24, 31, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def nearby(images: np.ndarray) -> np.ndarray:
    steps = np.random.default_rng(9).integers(-9, 10, images.shape)
    return (images.astype(int) + steps).clip(0, 255).astype(np.uint8)


def compare_with_both_libraries(prediction: np.ndarray, truth: np.ndarray) -> None:
    found = {"psnr": psnr(prediction, truth), "gaussian": ssim(prediction, truth)}
    found |= {window: ssim(prediction, truth, window=window) for window in ("uniform", "gaussian_mirrored")}
    for index in np.ndindex(prediction.shape[:-3]):
        p, t = prediction[index], truth[index]
        options = {"data_range": 255, "channel_axis": -1}
        assert found["psnr"][index] == pytest.approx(peak_signal_noise_ratio(t, p, data_range=255), abs=1e-9)
        assert found["gaussian"][index] == pytest.approx(structural_similarity(t, p, **options, **PUBLISHED), abs=1e-9)
        assert found["uniform"][index] == pytest.approx(structural_similarity(t, p, **options), abs=1e-9)
        tensors = [torch.from_numpy(own.copy()).movedim(-1, 0)[None].double() for own in (p, t)]
        assert found["psnr"][index] == pytest.approx(float(torch_psnr(*tensors, data_range=255.0)), abs=1e-4)
        whole, pixels = torch_ssim(*tensors, data_range=255.0, return_full_image=True)
        assert found["gaussian_mirrored"][index] == pytest.approx(float(whole), abs=1e-4)
        assert found["gaussian"][index] == pytest.approx(float(pixels[..., 5:-5, 5:-5].mean()), abs=1e-4)


def test_both_are_those_of_other_libraries_on_noise():
    compare_with_both_libraries(noise(0), noise(1))
    compare_with_both_libraries(noise(0), nearby(noise(0)))


@needs_recorded(*DROID)
def test_both_are_those_of_other_libraries_on_real_frames():
    compare_with_both_libraries(droid_frames([200])[:1], droid_frames([180])[:1])


def test_the_windows_are_different_metrics():
    found = [ssim(noise(0), noise(1), window=window) for window in ("gaussian", "gaussian_mirrored", "uniform")]
    for one, other in itertools.combinations(found, 2):
        assert (np.abs(one - other) > 1e-4).all()


def test_equal_images_are_infinitely_and_wholly_alike():
    images = noise(3)
    assert np.isposinf(psnr(images, images)).all()
    np.testing.assert_allclose(ssim(images, images), 1, atol=1e-12)


def test_a_step_of_one_grey_level_is_48_decibels():
    images = np.full((12, 12, 3), 100, dtype=np.uint8)
    assert float(psnr(images + 1, images)) == pytest.approx(20 * np.log10(255))


@BOTH
def test_views_and_frames_are_kept_and_their_mean_is_one_number(metric):
    values = metric(noise(0), noise(1))
    assert values.shape == (2, 3)
    assert metric(noise(0), noise(1), reduce="mean").shape == ()
    assert float(metric(noise(0), noise(1), reduce="mean")) == pytest.approx(values.mean())
    np.testing.assert_allclose(metric(noise(0)[1, 2], noise(1)[1, 2]), values[1, 2])


@BOTH
def test_order_does_not_matter(metric):
    np.testing.assert_allclose(metric(noise(0), noise(1)), metric(noise(1), noise(0)), rtol=1e-12)


@BOTH
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x / 127.5 - 1, TypeError, "must be uint8 with values from 0 to 255 but is float64"),
        (lambda x: x.astype(np.int64), TypeError, "but is int64"),
        (torch.from_numpy, TypeError, "must be a NumPy array but is Tensor"),
        (lambda x: x[..., :2], ValueError, r"must have one shape"),
        (lambda x: x[:1], ValueError, r"must have one shape but have \(1, 3, 24, 31, 3\) and \(2, 3, 24, 31, 3\)"),
    ],
)
def test_other_forms_of_image_are_refused(metric, change, error, message):
    with pytest.raises(error, match=message):
        metric(change(noise(0)), noise(1))


@BOTH
def test_channels_stand_last_and_something_must_be_there(metric):
    first = np.moveaxis(noise(0), -1, -3)
    with pytest.raises(ValueError, match=r"must have shape \(\.\.\., H, W, 3\)"):
        metric(first, first)
    with pytest.raises(ValueError, match="are empty"):
        metric(noise(0)[:0], noise(0)[:0])
    with pytest.raises(ValueError, match=r"`reduce` must be one of \(None, 'mean'\) but is 'sum'"):
        metric(noise(0), noise(1), reduce="sum")


def test_an_image_smaller_than_the_window_or_an_unknown_window_is_refused():
    small = noise(0, (10, 40, 3))
    with pytest.raises(ValueError, match="at least 11 × 11"):
        ssim(small, small)
    assert ssim(small, small, window="uniform").shape == ()
    with pytest.raises(ValueError, match="`window` must be one of"):
        ssim(noise(0), noise(1), window="box")
