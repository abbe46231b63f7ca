"""Metric depth and the model's depth image: inverse or linear depth between a near and a far plane, as three equal channels."""

from collections.abc import Callable

import torch

HALF_LEVEL = 0.5 / 255  # of a depth image in 8 bits, on the scale where near is 1 and far is 0

Planes = torch.Tensor | float  # one distance for all views, or one for each


def valid_depth(depth: torch.Tensor, near: Planes, far: Planes) -> torch.Tensor:
    """Pixels `(..., H, W)` whose depth is a number in the closed range from `near` to `far`.

    Args:
        depth (`torch.Tensor` of shape `(..., H, W)`): Metres; zero, NaN and infinity mark a missing measurement.
        near (`torch.Tensor` of shape `(...)` or `float`): Nearest distance of each view, in metres.
        far (`torch.Tensor` of shape `(...)` or `float`): Farthest distance of each view, in metres.

    Raises:
        ValueError: If the depth is not floating point or the planes are not 0 < near < far.
    """
    near, far = _planes(near, far, depth, "depth")
    return (depth >= near) & (depth <= far)


def depth_to_image(
    depth: torch.Tensor, near: Planes, far: Planes, encoding: str = "inverse"
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Depth image of metric depth, drawn by inverse or by linear depth.

    \(y = 2\,\frac{1/d - 1/far}{1/near - 1/far} - 1\) or \(y = 2\,\frac{far - d}{far - near} - 1\): near is 1 and
    far is -1, in three equal channels. Depth nearer than `near` is drawn as near, all else that is not valid as far;
    `image_to_depth` is the exact inverse where the mask is true. Gradients are zero where it is false.

    Args:
        depth (`torch.Tensor` of shape `(..., H, W)`): Metres; zero, NaN and infinity mark a missing measurement.
        near (`torch.Tensor` of shape `(...)` or `float`): Nearest distance of each view, in metres.
        far (`torch.Tensor` of shape `(...)` or `float`): Farthest distance of each view, in metres.
        encoding (`str`, *optional*, defaults to `"inverse"`): `"inverse"` or `"linear"`, the two formulas above.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: Images `(..., 3, H, W)` in [-1, 1] and the mask `(..., H, W)` of valid pixels.

    Raises:
        ValueError: If the depth is not floating point, the planes are not 0 < near < far, or the encoding is unknown.
    """
    forward, _ = _formulas(encoding)
    mask = valid_depth(depth, near, far)
    near, far = _planes(near, far, depth, "depth")
    seen = torch.where(depth > 0, depth, far).clamp(near, far)  # NaN and holes are drawn as far
    image = (2 * forward(seen, near, far) - 1).unsqueeze(-3)  # (..., 1, H, W)
    return image.expand(*image.shape[:-3], 3, *image.shape[-2:]), mask


def image_to_depth(image: torch.Tensor, near: Planes, far: Planes, encoding: str = "inverse") -> torch.Tensor:
    """Metric depth `(..., H, W)` of depth images, between `near` and `far`; NaN stays NaN.

    A pixel at the far end may as well stand for nothing: see `known_pixels`.

    Args:
        image (`torch.Tensor` of shape `(..., 3, H, W)`): Depth images, 1 near and -1 far; the mean of the channels counts,
            held to [-1, 1]. One channel does as well.
        near (`torch.Tensor` of shape `(...)` or `float`): Nearest distance of each view, in metres.
        far (`torch.Tensor` of shape `(...)` or `float`): Farthest distance of each view, in metres.
        encoding (`str`, *optional*, defaults to `"inverse"`): As the image was drawn, see `depth_to_image`.

    Raises:
        ValueError: If the image is not floating point, the planes are not 0 < near < far, or the encoding is unknown.
    """
    _, backward = _formulas(encoding)
    near, far = _planes(near, far, image, "image")
    return backward(_levels(image).clamp(0, 1), near, far)


def known_pixels(image: torch.Tensor) -> torch.Tensor:
    """Pixels `(..., H, W)` of depth images that tell a depth, bool: those more than half an 8-bit level above the far end.

    What was not measured is drawn as far, so the far end itself tells nothing. The near end does: only what is nearer is
    drawn there too.

    Args:
        image (`torch.Tensor` of shape `(..., 3, H, W)`): Depth images, 1 near and -1 far; NaN tells nothing.
    """
    return _levels(image) > HALF_LEVEL


def depth_error_bound(
    depth: torch.Tensor, near: Planes, far: Planes, encoding: str = "inverse", num_levels: int = 256
) -> torch.Tensor:
    r"""Largest error `(..., H, W)` in metres of depth whose image is rounded to whole levels.

    A level is at most half a step off. In inverse depth that is \(h = (1/near - 1/far) / (2 (levels - 1))\), so that
    \(|\Delta d| \le d^2 h / (1 - d h)\); in linear depth it is \((far - near) / (2 (levels - 1))\) everywhere. No result lies
    outside the planes, which makes the bound smaller near them.

    Args:
        depth (`torch.Tensor` of shape `(..., H, W)`): True distance in metres, between the planes.
        near (`torch.Tensor` of shape `(...)` or `float`): Nearest distance of each view, in metres.
        far (`torch.Tensor` of shape `(...)` or `float`): Farthest distance of each view, in metres.
        encoding (`str`, *optional*, defaults to `"inverse"`): `"inverse"` or `"linear"`.
        num_levels (`int`, *optional*, defaults to `256`): Levels from far to near: 256 for 8 bits.

    Raises:
        ValueError: If the depth is not floating point, the planes are not 0 < near < far, or the encoding is unknown.
    """
    forward, backward = _formulas(encoding)
    near, far = _planes(near, far, depth, "depth")
    level, half = forward(depth, near, far), 0.5 / (num_levels - 1)
    nearer, farther = ((level + side).clamp(0, 1) for side in (half, -half))
    return torch.maximum(depth - backward(nearer, near, far), backward(farther, near, far) - depth)


Formula = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def _inverse_level(depth: torch.Tensor, near: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
    return (1 / depth - 1 / far) / (1 / near - 1 / far)


def _inverse_depth(level: torch.Tensor, near: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
    return 1 / (level * (1 / near - 1 / far) + 1 / far)


def _linear_level(depth: torch.Tensor, near: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
    return (far - depth) / (far - near)


def _linear_depth(level: torch.Tensor, near: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
    return far - level * (far - near)


_FORMULAS: dict[str, tuple[Formula, Formula]] = {
    "inverse": (_inverse_level, _inverse_depth),
    "linear": (_linear_level, _linear_depth),
}


def _formulas(encoding: str) -> tuple[Formula, Formula]:
    if encoding not in _FORMULAS:
        raise ValueError(f"`encoding` must be one of {list(_FORMULAS)}, but is {encoding!r}.")
    return _FORMULAS[encoding]


def _levels(image: torch.Tensor) -> torch.Tensor:
    """Levels `(..., H, W)`: 1 near, 0 far."""
    return (image.mean(dim=-3) + 1) / 2


def _planes(near: Planes, far: Planes, like: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Both planes `(..., 1, 1)` in the type and on the device of what they bound."""
    if not like.is_floating_point():
        raise ValueError(f"`{name}` must be floating point, metres and not millimetres, but has dtype {like.dtype}.")
    near, far = (
        torch.as_tensor(plane, dtype=like.dtype, device=like.device)[..., None, None] for plane in (near, far)
    )
    if not ((near > 0) & (near < far) & far.isfinite()).all():
        raise ValueError(
            f"`near` and `far` must be 0 < near < far in metres, but are {near.tolist()} and {far.tolist()}."
        )
    return near, far
