"""How like the real images the predicted ones are: PSNR, SSIM and LPIPS, one value per image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from xwam.metrics.arrays import check_images, reduced
from xwam.metrics.perceptual import MIN_SIZE, LPIPSNetwork

DATA_RANGE = 255.0  # of uint8
GAUSSIAN_SIZE, GAUSSIAN_SIGMA = 11, 1.5  # pixels, Wang et al. 2004
UNIFORM_SIZE = 7  # pixels, the default of scikit-image
K1, K2 = 0.01, 0.03  # Wang et al. 2004
SSIM_WINDOWS = ("gaussian", "gaussian_mirrored", "uniform")


def psnr(prediction: np.ndarray, truth: np.ndarray, *, reduce: str | None = None) -> np.ndarray:
    r"""Peak signal-to-noise ratio of each image, in dB: \(10 \log_{10}(255^2 / \mathrm{mean}(p - t)^2)\).

    The mean runs over the pixels and the three channels of one image. Equal images give infinity. Order does not matter.

    Args:
        prediction (`np.ndarray` of shape `(..., H, W, 3)`): RGB `uint8`, 0 to 255.
        truth (`np.ndarray` of shape `(..., H, W, 3)`): RGB `uint8`, 0 to 255.
        reduce (`str`, *optional*): `None` keeps one value per image, `"mean"` gives the mean of the values in dB.

    Returns:
        `np.ndarray` of shape `(...)`: dB, higher is better; shape `()` with `"mean"`.

    Raises:
        TypeError: If the images are not `uint8`.
        ValueError: If the shapes differ or are not those of RGB images.
    """
    check_images(prediction, truth)
    with np.errstate(divide="ignore"):
        values = 10 * np.log10(DATA_RANGE**2 / _per_image(_mean_squared_error, prediction, truth))
    return reduced(values, reduce)


def ssim(
    prediction: np.ndarray, truth: np.ndarray, *, window: str = "gaussian", reduce: str | None = None
) -> np.ndarray:
    r"""Structural similarity of each image, at most 1.

    \(\frac{(2 \mu_p \mu_t + C_1)(2 \sigma_{pt} + C_2)}{(\mu_p^2 + \mu_t^2 + C_1)(\sigma_p^2 + \sigma_t^2 + C_2)}\) with
    \(C_i = (255 K_i)^2\), in every window, per colour channel, then the mean of all. Windows lie wholly inside the image unless they are mirrored.
    Order does not matter.

    Source: Z. Wang et al., "Image quality assessment: from error visibility to structural similarity", TIP 13 (2004).

    Args:
        prediction (`np.ndarray` of shape `(..., H, W, 3)`): RGB `uint8`, 0 to 255.
        truth (`np.ndarray` of shape `(..., H, W, 3)`): RGB `uint8`, 0 to 255.
        window (`str`, *optional*, defaults to `'gaussian'`): `"gaussian"`: 11 × 11 with σ 1.5, as in the source and in the
            validation of X-WAM's release; `"gaussian_mirrored"`: the same, with windows around the border pixels too, the image
            mirrored there, the default of torchmetrics; `"uniform"`: 7 × 7 with sample (co)variances, the default of
            scikit-image.
        reduce (`str`, *optional*): `None` keeps one value per image, `"mean"` gives their mean.

    Returns:
        `np.ndarray` of shape `(...)`: Similarity, 1 for equal images; shape `()` with `"mean"`.

    Raises:
        TypeError: If the images are not `uint8`.
        ValueError: If the shapes differ or are not those of RGB images, an image is smaller than the window, or there is no
            such window.
    """
    check_images(prediction, truth)
    weights, sample_factor = _window(window)
    if min(prediction.shape[-3:-1]) < len(weights):
        raise ValueError(
            f"Images must have at least {len(weights)} × {len(weights)} pixels for the {window} window but have shape "
            f"{prediction.shape}."
        )

    margin = len(weights) // 2 if window == "gaussian_mirrored" else 0
    border = ((margin, margin), (margin, margin), (0, 0))

    def similarity(p: np.ndarray, t: np.ndarray) -> float:
        p, t = (np.pad(image, border, mode="reflect") for image in (p, t))
        channels = zip(np.moveaxis(p, -1, 0), np.moveaxis(t, -1, 0), strict=True)
        return float(np.mean([_channel_ssim(*channel, weights, sample_factor) for channel in channels]))

    return reduced(_per_image(similarity, prediction, truth), reduce)


def lpips(
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    network: LPIPSNetwork | str | Path | None = None,
    batch_size: int = 8,
    reduce: str | None = None,
) -> np.ndarray:
    """Learned perceptual distance of each pair of images (AlexNet, version 0.1). Order does not matter.

    The images go into the network at their own size, in [-1, 1].

    Source: R. Zhang et al. 2018, arXiv 1801.03924.

    Args:
        prediction (`np.ndarray` of shape `(..., H, W, 3)`): RGB `uint8`, 0 to 255.
        truth (`np.ndarray` of shape `(..., H, W, 3)`): RGB `uint8`, 0 to 255.
        network (`LPIPSNetwork`, `str` or `Path`, *optional*): The network, on any device, or where its weights are: see
            `LPIPSNetwork.from_pretrained`.
        batch_size (`int`, *optional*, defaults to `8`): Pairs that go through the network at once.
        reduce (`str`, *optional*): `None` keeps one value per image, `"mean"` gives their mean.

    Returns:
        `np.ndarray` of shape `(...)`: Distance, 0 for equal images; shape `()` with `"mean"`.

    Raises:
        TypeError: If the images are not `uint8`.
        ValueError: If the shapes differ, are not those of RGB images, or an image is too small for the network.
        CheckpointError: If there are no weights; the message says how to get them.
    """
    check_images(prediction, truth)
    if min(prediction.shape[-3:-1]) < MIN_SIZE:
        raise ValueError(
            f"Images must have at least {MIN_SIZE} × {MIN_SIZE} pixels but have shape {prediction.shape}."
        )
    own = network if isinstance(network, LPIPSNetwork) else LPIPSNetwork.from_pretrained(network)
    device = own.heads[0].device
    leading, image = prediction.shape[:-3], prediction.shape[-3:]
    pairs = [torch.from_numpy(np.ascontiguousarray(images.reshape(-1, *image))) for images in (prediction, truth)]
    distances = []
    with torch.no_grad():
        for batch in zip(*(images.split(batch_size) for images in pairs), strict=True):
            distances.append(own(*(images.to(device).movedim(-1, 1) / 127.5 - 1 for images in batch)).cpu())
    return reduced(torch.cat(distances).double().numpy().reshape(leading), reduce)


def _per_image(
    score: Callable[[np.ndarray, np.ndarray], float], prediction: np.ndarray, truth: np.ndarray
) -> np.ndarray:
    """One image at a time, in float64: a whole clip of intermediate maps would not fit the cache, and perhaps not memory."""
    leading, image = prediction.shape[:-3], prediction.shape[-3:]
    pairs = zip(prediction.reshape(-1, *image), truth.reshape(-1, *image), strict=True)
    return np.array([score(p.astype(np.float64), t.astype(np.float64)) for p, t in pairs]).reshape(leading)


def _mean_squared_error(prediction: np.ndarray, truth: np.ndarray) -> float:
    return float(np.square(prediction - truth).mean())


def _window(name: str) -> tuple[np.ndarray, float]:
    """Weights of one axis, and the factor from the windowed to the sample (co)variance."""
    if name in ("gaussian", "gaussian_mirrored"):
        offsets = np.arange(GAUSSIAN_SIZE) - GAUSSIAN_SIZE // 2
        weights = np.exp(-np.square(offsets) / (2 * GAUSSIAN_SIGMA**2))
        return weights / weights.sum(), 1.0
    if name == "uniform":
        num_pixels = UNIFORM_SIZE**2
        return np.full(UNIFORM_SIZE, 1 / UNIFORM_SIZE), num_pixels / (num_pixels - 1)
    raise ValueError(f"`window` must be one of {SSIM_WINDOWS} but is {name!r}.")


def _channel_ssim(p: np.ndarray, t: np.ndarray, weights: np.ndarray, sample_factor: float) -> float:
    mean_p, mean_t = _windowed(p, weights), _windowed(t, weights)
    variances = sample_factor * (_windowed(p * p + t * t, weights) - mean_p**2 - mean_t**2)
    covariance = sample_factor * (_windowed(p * t, weights) - mean_p * mean_t)
    c1, c2 = (K1 * DATA_RANGE) ** 2, (K2 * DATA_RANGE) ** 2
    numerator = (2 * mean_p * mean_t + c1) * (2 * covariance + c2)
    return float((numerator / ((mean_p**2 + mean_t**2 + c1) * (variances + c2))).mean())


def _windowed(channel: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means `(H - n + 1, W - n + 1)` over the windows that fit, by rows and then by columns."""
    height, width = (size - len(weights) + 1 for size in channel.shape)
    rows = sum(weight * channel[start : start + height] for start, weight in enumerate(weights))
    return np.asarray(sum(weight * rows[:, start : start + width] for start, weight in enumerate(weights)))
