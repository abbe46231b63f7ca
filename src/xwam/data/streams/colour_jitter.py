"""Brightness, contrast, saturation and hue of images, by the formulas of torchvision and one image at a time.

An image and what is computed of it then stay in the processor's cache, which is where the time goes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

_LUMA = (0.2989, 0.587, 0.114)  # of red, green and blue; ITU-R 601-2


@dataclass(frozen=True)
class ColourJitter:
    """A change of colours.

    Args:
        brightness (`float`, *optional*, defaults to `1.0`): Factor of all values.
        contrast (`float`, *optional*, defaults to `1.0`): Factor of the difference to the mean grey of the image.
        saturation (`float`, *optional*, defaults to `1.0`): Factor of the difference to the grey of the pixel.
        hue (`float`, *optional*, defaults to `0.0`): Turn of the hue, in parts of the circle from -0.5 to 0.5.
        order (`tuple[int, ...]`, *optional*, defaults to `(0, 1, 2, 3)`): Which of the four comes first, second, third, last.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    order: tuple[int, ...] = (0, 1, 2, 3)


def jitter_colours(frames: torch.Tensor, jitter: ColourJitter) -> None:
    """Change colours in place, the same way in every frame.

    Args:
        frames (`torch.Tensor` of shape `(..., 3, H, W)`): Contiguous, in [-1, 1].
        jitter (`ColourJitter`): The change.

    Raises:
        ValueError: If the frames are not contiguous.
    """
    if not frames.is_contiguous():
        raise ValueError("`frames` must be contiguous, since they are changed in place.")
    wanted = [
        (adjust, amount)
        for adjust, amount, nothing in (_steps(jitter)[number] for number in jitter.order)
        if amount != nothing
    ]
    for image in frames.view(-1, *frames.shape[-3:]) if wanted else ():
        image.add_(1).mul_(0.5)
        for adjust, amount in wanted:
            adjust(image, amount)
        image.clamp_(0, 1).mul_(2).sub_(1)


def _steps(jitter: ColourJitter) -> tuple[tuple[Callable[[torch.Tensor, float], torch.Tensor], float, float], ...]:
    """Each function, by how much, and what would change nothing."""
    return (
        (adjust_brightness, jitter.brightness, 1.0),
        (adjust_contrast, jitter.contrast, 1.0),
        (adjust_saturation, jitter.saturation, 1.0),
        (adjust_hue, jitter.hue, 0.0),
    )


def adjust_brightness(image: torch.Tensor, factor: float) -> torch.Tensor:
    """Multiply an image `(3, H, W)` in [0, 1] in place; 0 is black."""
    return image.mul_(factor).clamp_(0, 1)


def adjust_contrast(image: torch.Tensor, factor: float) -> torch.Tensor:
    """Blend an image `(3, H, W)` in [0, 1] in place with its mean grey; 0 is that grey, 1 the image."""
    mean = _grey(image).mean(dim=-1).mean()  # row by row: the sum does not depend on the number of threads
    return image.mul_(factor).add_(float(mean) * (1 - factor)).clamp_(0, 1)


def adjust_saturation(image: torch.Tensor, factor: float) -> torch.Tensor:
    """Blend an image `(3, H, W)` in [0, 1] in place with its grey; 0 is grey, 1 the image."""
    grey = _grey(image).mul_(1 - factor)
    return image.mul_(factor).add_(grey).clamp_(0, 1)


def adjust_hue(image: torch.Tensor, turn: float) -> torch.Tensor:
    r"""Turn the hue of an image `(3, H, W)` in [0, 1] in place.

    With the largest value \(M\) of a pixel, its smallest \(m\) and its hue \(h\) in sixths of the circle, a channel whose own
    hue is \(h_c\) (red 0, green 2, blue 4) has the value \(M - (M - m)\,\mathrm{clamp}(d(h, h_c) - 1, 0, 1)\), where \(d\) is
    the distance on the circle.

    Args:
        image (`torch.Tensor` of shape `(3, H, W)`): RGB in [0, 1].
        turn (`float`): Part of the circle, from -0.5 to 0.5.
    """
    red, green, blue = image.unbind()
    largest = torch.maximum(red, green)
    largest = torch.maximum(largest, blue, out=largest)
    smallest = torch.minimum(red, green)
    smallest = torch.minimum(smallest, blue, out=smallest)
    chroma = largest - smallest
    hue = _hue(red, green, blue, largest, chroma).add_(6 * turn)
    if abs(turn) > 1 / 6:  # beyond, a hue may lie more than one turn away from a channel's
        hue.remainder_(6)
    base, distance = smallest.sub_(chroma), torch.empty_like(hue)
    for channel, own in zip((red, green, blue), (0, 2, 4), strict=True):
        torch.sub(hue, own, out=distance).abs_().sub_(3).abs_().clamp_(1, 2)  # 3 - d(h, h_c), held to where it matters
        torch.addcmul(base, chroma, distance, out=channel)
    return image


def _hue(
    red: torch.Tensor, green: torch.Tensor, blue: torch.Tensor, largest: torch.Tensor, chroma: torch.Tensor
) -> torch.Tensor:
    """Hue in sixths of the circle, from -1 to 5; 0 for grey.

    Pixels are told apart by factors of 0 and 1: choosing by a condition costs the processor a wrong guess per pixel.
    """
    is_red = torch.eq(red, largest, out=torch.empty_like(red))
    is_green = torch.eq(green, largest, out=torch.empty_like(red))
    hue = torch.sub(red, green).add_(chroma, alpha=4)  # times chroma: blue is the largest, unless
    other = torch.sub(blue, red).add_(chroma, alpha=2)
    hue.addcmul_(is_green, other.sub_(hue))
    hue.addcmul_(is_red, torch.sub(green, blue, out=other).sub_(hue))
    return hue.div_(chroma.clamp(min=torch.finfo(chroma.dtype).tiny))


def _grey(image: torch.Tensor) -> torch.Tensor:
    return (image[0] * _LUMA[0]).add_(image[1], alpha=_LUMA[1]).add_(image[2], alpha=_LUMA[2])
