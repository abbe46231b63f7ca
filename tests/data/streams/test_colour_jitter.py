"""Colours change as torchvision's formulas say, written again here pixel by pixel with the standard library."""

import colorsys

import numpy as np
import pytest
import torch

from xwam.data.streams.colour_jitter import (
    ColourJitter,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    jitter_colours,
)


def _image(seed: int = 0) -> torch.Tensor:
    """Random pixels, levels that repeat, greys, and the corners of the colour cube."""
    rng = np.random.default_rng(seed)
    image = rng.random((3, 12, 16)).astype(np.float32)
    image[:, 4:8] = np.round(image[:, 4:8] * 3) / 3
    image[:, 8:10] = image[:1, 8:10]
    image[:, 10:] = np.round(image[:, 10:])
    return torch.from_numpy(image)


def _grey(image: np.ndarray) -> np.ndarray:
    return 0.2989 * image[0] + 0.587 * image[1] + 0.114 * image[2]


def twin_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(factor * image, 0, 1)


def twin_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(factor * image + (1 - factor) * _grey(image).mean(), 0, 1)


def twin_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(factor * image + (1 - factor) * _grey(image), 0, 1)


def twin_hue(image: np.ndarray, turn: float) -> np.ndarray:
    turned = image.copy()
    for row, column in np.ndindex(image.shape[1:]):
        hue, saturation, value = colorsys.rgb_to_hsv(*image[:, row, column])
        turned[:, row, column] = colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value)
    return turned


@pytest.mark.parametrize(
    ("adjust", "twin", "amounts"),
    [
        (adjust_brightness, twin_brightness, (0.0, 0.8, 1.2)),
        (adjust_contrast, twin_contrast, (0.0, 0.8, 1.2)),
        (adjust_saturation, twin_saturation, (0.0, 0.8, 1.2)),
        (adjust_hue, twin_hue, (-0.5, -0.2, -0.05, 0.0, 0.05, 1 / 6, 0.4, 0.5)),
    ],
    ids=["brightness", "contrast", "saturation", "hue"],
)
def test_each_formula_is_torchvisions(adjust, twin, amounts):
    for amount in amounts:
        image = _image()
        expected = twin(image.double().numpy(), amount)
        np.testing.assert_allclose(adjust(image, amount).numpy(), expected, atol=1e-6)


def test_all_frames_change_alike_and_in_the_order_drawn():
    jitter = ColourJitter(1.2, 0.8, 1.2, 0.05, order=(3, 1, 0, 2))
    images = torch.stack([_image(0), _image(1)])
    frames = images * 2 - 1
    jitter_colours(frames, jitter)
    for image, frame in zip(images, frames, strict=True):
        expected = twin_hue(image.double().numpy(), 0.05)
        expected = twin_saturation(twin_brightness(twin_contrast(expected, 0.8), 1.2), 1.2)
        np.testing.assert_allclose(frame.numpy(), expected * 2 - 1, atol=4e-6)
    other = images * 2 - 1
    jitter_colours(other, ColourJitter(1.2, 0.8, 1.2, 0.05, order=(0, 1, 2, 3)))
    assert (other - frames).abs().max() > 0.01


def test_no_change_is_no_change_to_the_bit():
    frames = _image()[None] * 2 - 1
    before = frames.clone()
    jitter_colours(frames, ColourJitter())
    assert torch.equal(frames, before)


def test_the_result_does_not_depend_on_the_number_of_threads():
    frames = torch.rand(8, 3, 256, 320, generator=torch.Generator().manual_seed(0)) * 2 - 1
    jitter, results, threads = ColourJitter(1.1, 0.1, 1.1, 0.04), [], torch.get_num_threads()
    try:
        for number in (1, 2, 4):
            torch.set_num_threads(number)
            results.append(frames.clone())
            jitter_colours(results[-1], jitter)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_black_stays_black():
    frames = torch.full((1, 3, 4, 4), -1.0)
    jitter_colours(frames, ColourJitter(0.8, 0.8, 1.2, 0.05))
    assert (frames == -1).all()


def test_frames_that_share_memory_are_refused():
    with pytest.raises(ValueError, match="must be contiguous"):
        jitter_colours(torch.zeros(1, 3, 4, 4).transpose(-1, -2), ColourJitter(0.8))
