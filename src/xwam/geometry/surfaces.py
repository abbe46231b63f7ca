"""What a depth map says of the surfaces behind it: where they are, where they break off, which way they face."""

import torch

from xwam.utils.shapes import expect_shapes

Axes = tuple[slice, ...]
_WHOLE = slice(None)


def point_maps(depth: torch.Tensor, intrinsics: torch.Tensor, base_from_camera: torch.Tensor) -> torch.Tensor:
    r"""`unproject_depth` with the axes of space in front of those of the image, as maps: several times faster.

    \(p = d\,(R K^{-1})\,[u, v, 1]^T + t\), with \(R K^{-1}\) multiplied out in the dtype of the matrices.

    Args:
        depth (`torch.Tensor` of shape `(V, H, W)`): Distance along the optical axis, in metres.
        intrinsics (`torch.Tensor` of shape `(V, 3, 3)`): Camera matrices, in pixels.
        base_from_camera (`torch.Tensor` of shape `(V, 4, 4)`): Camera poses, in metres.

    Returns:
        `torch.Tensor` of shape `(V, 3, H, W)`: Points in the base frame in metres, in the dtype of `depth`.

    Raises:
        ValueError: If the numbers of views differ or a matrix has the wrong size.
    """
    sizes = expect_shapes(
        depth=(depth, "V H W"), intrinsics=(intrinsics, "V 3 3"), base_from_camera=(base_from_camera, "V 4 4")
    )
    ray_of_pixel = base_from_camera[:, :3, :3] @ torch.linalg.inv(intrinsics)
    along_u, along_v, constant = ray_of_pixel.to(depth.dtype)[..., None, None].unbind(dim=2)  # each (V, 3, 1, 1)
    u = torch.arange(sizes["W"], dtype=depth.dtype, device=depth.device) + 0.5
    v = torch.arange(sizes["H"], dtype=depth.dtype, device=depth.device)[:, None] + 0.5
    rays = along_u * u + constant + along_v * v  # (V, 3, H, W)
    origin = base_from_camera[:, :3, 3, None, None].to(depth.dtype)
    return rays.mul_(depth[:, None]).add_(origin)


def depth_edges(depth: torch.Tensor, is_valid: torch.Tensor, threshold: float) -> torch.Tensor:
    r"""Pixels next to a step in depth, where sensors and networks put points into the air between two surfaces.

    Two of the four neighbours \(a, b\) are a step if both are valid and \(|d_a - d_b| > threshold · \min(d_a, d_b)\); both are
    edges then.

    Args:
        depth (`torch.Tensor` of shape `(..., H, W)`): Metres.
        is_valid (`torch.Tensor` of shape `(..., H, W)`): Where depth is known.
        threshold (`float`): Least step as a share of the depth.

    Returns:
        `torch.Tensor` of shape `(..., H, W)`: True at edges.
    """
    known = torch.where(is_valid, depth, torch.nan)  # a comparison with NaN is false
    edges = torch.zeros_like(is_valid)
    for before, after in _neighbours():
        a, b = known[before], known[after]
        is_step = (a - b).abs() > threshold * torch.minimum(a, b)
        edges[before] |= is_step
        edges[after] |= is_step
    return edges


def surface_normals(points: torch.Tensor, is_valid: torch.Tensor) -> torch.Tensor:
    r"""Unit normals towards the camera, from the differences of neighbouring points.

    \(n \propto \partial_v p \times \partial_u p\), each difference between the two neighbours in the image, or between one and
    the point itself where the other is not valid. It faces the camera whatever the depths: what a difference has along the ray
    drops out of \(n \cdot p\). Steps in depth should not be valid, lest a normal bridges them.

    Args:
        points (`torch.Tensor` of shape `(V, 3, H, W)`): Points in metres, as from `point_maps`.
        is_valid (`torch.Tensor` of shape `(V, H, W)`): Which of them are known.

    Returns:
        `torch.Tensor` of shape `(V, 3, H, W)`: Unit vectors; zero where the neighbours do not tell.
    """
    valid = is_valid[:, None]
    known = torch.where(valid, points, 0)
    (x1, y1, z1), (x2, y2, z2) = (
        _difference(known, valid, before, after).unbind(dim=1) for before, after in _neighbours()
    )
    normals = torch.stack([y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2], dim=1)
    squared = normals.square().sum(dim=1, keepdim=True)
    return torch.where(squared > 0, normals * squared.rsqrt(), 0)


def _neighbours() -> tuple[tuple[Axes, Axes], tuple[Axes, Axes]]:
    """Indices of every pixel but the last and of the next one: down the rows, then along the columns."""
    first, last = slice(None, -1), slice(1, None)
    return ((..., first, _WHOLE), (..., last, _WHOLE)), ((..., first), (..., last))  # type: ignore[return-value]


def _difference(points: torch.Tensor, valid: torch.Tensor, before: Axes, after: Axes) -> torch.Tensor:
    """Sum of the differences to the next and from the previous point, each zero where either is unknown."""
    steps = torch.where(valid[before] & valid[after], points[after] - points[before], 0)
    total = torch.zeros_like(points)
    total[before] += steps
    total[after] += steps
    return total
