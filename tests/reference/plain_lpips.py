"""LPIPS in NumPy, written from the paper and AlexNet's layer table: windows are cut out and multiplied, nothing of torch."""

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

STRIDES, PADDINGS, POOLED_BEFORE = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1), (1, 2)
MEAN = np.array([-0.030, -0.088, -0.188])
DEVIATION = np.array([0.458, 0.448, 0.450])


def _windows(image: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Windows `(C, h, w, size, size)` of `(C, H, W)`."""
    return sliding_window_view(image, (size, size), axis=(1, 2))[:, ::stride, ::stride]


def _layers(image: np.ndarray, weights: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    features = ((image / 127.5 - 1 - MEAN) / DEVIATION).transpose(2, 0, 1)
    found = []
    for layer, (stride, padding) in enumerate(zip(STRIDES, PADDINGS, strict=True)):
        if layer in POOLED_BEFORE:
            features = _windows(features, 3, 2).max(axis=(-2, -1))
        kernel, bias = weights[f"convolutions.{layer}.weight"], weights[f"convolutions.{layer}.bias"]
        padded = np.pad(features, ((0, 0), (padding, padding), (padding, padding)))
        features = np.einsum("cyxij,ocij->oyx", _windows(padded, kernel.shape[-1], stride), kernel, optimize=True)
        features = np.maximum(features + bias[:, None, None], 0)
        found.append(features)
    return found


def plain_lpips(prediction: np.ndarray, truth: np.ndarray, weights: Mapping[str, np.ndarray]) -> float:
    """Distance of two RGB `uint8` images `(H, W, 3)`."""
    total = 0.0
    for layer, (p, t) in enumerate(zip(_layers(prediction, weights), _layers(truth, weights), strict=True)):
        unit = [features / (np.sqrt(np.square(features).sum(axis=0)) + 1e-10) for features in (p, t)]
        per_channel = np.square(unit[0] - unit[1]).mean(axis=(1, 2))
        total += float(per_channel @ weights[f"heads.{layer}"])
    return total
