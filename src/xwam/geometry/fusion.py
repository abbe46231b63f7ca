"""Many views, one cloud: masks, points, voxels, and on request normals and confidence. On any device.

Twin: tests/reference/plain_fusion.py, one pixel after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from xwam.geometry.agreement import view_agreement
from xwam.geometry.fusion_checks import check_options, check_views
from xwam.geometry.surfaces import depth_edges, point_maps, surface_normals
from xwam.geometry.voxels import merge_voxels
from xwam.utils.shapes import expect_shapes

DepthRange = tuple[float, float] | Sequence[tuple[float, float]] | torch.Tensor


@dataclass(frozen=True, eq=False)
class FusedCloud:
    """Coloured points in the base frame, as tensors on the device of the views.

    Args:
        points (`torch.Tensor` of shape `(M, 3)`): Metres, in the dtype of the depth.
        colours (`torch.Tensor` of shape `(M, 3)`): RGB `uint8`.
        normals (`torch.Tensor` of shape `(M, 3)`, *optional*): Unit vectors towards the camera; zero where neighbouring pixels do
            not tell.
        confidence (`torch.Tensor` of shape `(M,)`, *optional*): Agreement of the views, in (0, 1); see `Agreement.score`.
    """

    points: torch.Tensor
    colours: torch.Tensor
    normals: torch.Tensor | None = None
    confidence: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.points)


def fuse_views(
    depth: torch.Tensor,
    colours: torch.Tensor,
    intrinsics: torch.Tensor,
    base_from_camera: torch.Tensor,
    *,
    voxel_size: float | None = 0.005,
    depth_range: DepthRange | None = None,
    edge_threshold: float | None = 0.05,
    with_normals: bool = False,
    with_confidence: bool = False,
    agreement_tolerance: float = 0.02,
) -> FusedCloud:
    """Fuse views of one instant into a coloured cloud in the base frame.

    A pixel counts if its depth is a positive finite number, in range, and not beside a step in depth. Points of one voxel become
    their mean, and so do their colours, normals (brought to unit length) and confidences. No valid pixel gives an empty cloud.

    Args:
        depth (`torch.Tensor` of shape `(V, H, W)`): Distance along the optical axis in metres, float32 or float64; zero, NaN and
            infinity where nothing is known.
        colours (`torch.Tensor` of shape `(V, H, W, 3)`): RGB `uint8`.
        intrinsics (`torch.Tensor` of shape `(V, 3, 3)`): Camera matrices, in pixels.
        base_from_camera (`torch.Tensor` of shape `(V, 4, 4)`): Camera poses in metres, OpenCV axes.
        voxel_size (`float`, *optional*, defaults to `0.005`): Edge of the voxels, in metres; `None` keeps every pixel's point, view
            by view and row by row.
        depth_range (`tuple[float, float]` or `torch.Tensor` of shape `(V, 2)`, *optional*): Nearest and farthest depth that
            counts, in metres, for all views or per view.
        edge_threshold (`float`, *optional*, defaults to `0.05`): Step between neighbours, as a share of the depth, beside which
            pixels do not count; `None` keeps them. See `depth_edges`.
        with_normals (`bool`, *optional*, defaults to `False`): Whether to compute normals.
        with_confidence (`bool`, *optional*, defaults to `False`): Whether to hold every point against the other views.
        agreement_tolerance (`float`, *optional*, defaults to `0.02`): Share of the depth by which views that agree may differ.

    Returns:
        `FusedCloud`: Voxels by x, then y, then z.

    Raises:
        ValueError: If sizes do not fit, a matrix is no calibration, depth is not in metres, or an option is out of range.
    """
    check_views(depth, colours, intrinsics, base_from_camera)
    check_options(voxel_size, depth_range, edge_threshold, agreement_tolerance)
    is_valid = valid_pixels(depth, depth_range, edge_threshold)
    kept = is_valid.flatten().nonzero().squeeze(1)
    maps = point_maps(depth, intrinsics, base_from_camera)
    points = _gather(maps, kept)
    parts = [colours.reshape(-1, 3).index_select(0, kept)]
    if with_normals:
        parts.append(_gather(surface_normals(maps, is_valid), kept))
    if with_confidence:
        agreement = view_agreement(
            points,
            depth,
            is_valid,
            intrinsics,
            base_from_camera,
            point_view=kept // depth[0].numel(),
            tolerance=agreement_tolerance,
        )
        parts.append(agreement.score[:, None])
    if voxel_size is not None:
        points, *parts = merge_voxels(points, parts, voxel_size)
        parts[0] = parts[0].round_().to(torch.uint8)
    return FusedCloud(
        points,
        parts[0],
        torch.nn.functional.normalize(parts[1], dim=1) if with_normals else None,
        parts[-1].squeeze(1) if with_confidence else None,
    )


def valid_pixels(
    depth: torch.Tensor, depth_range: DepthRange | None = None, edge_threshold: float | None = None
) -> torch.Tensor:
    """Pixels `(V, H, W)` whose depth is positive, finite, in range and not beside a step; see `fuse_views`.

    Args:
        depth (`torch.Tensor` of shape `(V, H, W)`): Metres.
        depth_range (`tuple[float, float]` or `torch.Tensor` of shape `(V, 2)`, *optional*): Nearest and farthest depth.
        edge_threshold (`float`, *optional*): Least step, as a share of the depth. Only pixels in range make a step.

    Raises:
        ValueError: If there is neither one range nor one for every view.
    """
    is_valid = (depth > 0) & (depth < torch.inf)
    if depth_range is not None:
        limits = torch.as_tensor(depth_range, dtype=depth.dtype, device=depth.device)
        if limits.ndim != 1:
            expect_shapes(depth=(depth, "V H W"), depth_range=(limits, "V 2"))
        near, far = limits[..., None, None].unbind(dim=-3)
        is_valid &= (depth >= near) & (depth <= far)
    if edge_threshold is not None:
        is_valid &= ~depth_edges(depth, is_valid, edge_threshold)
    return is_valid


def _gather(maps: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Rows `(M, 3)` of maps `(V, 3, H, W)` at flat pixel numbers."""
    rows = maps.new_empty(len(kept), 3)
    for axis, own in enumerate(maps.unbind(dim=1)):
        rows[:, axis] = own.flatten().index_select(0, kept)
    return rows
