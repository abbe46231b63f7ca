"""What `fuse_views` accepts: sizes, units, matrices and options, each with a sentence where it does not."""

import math
import numbers
from typing import Any

import torch

from xwam.geometry.matrix_checks import FARTHEST_DEPTH, intrinsics_problem, rigid_problem
from xwam.geometry.voxels import check_voxel_size
from xwam.utils.shapes import expect_shapes


def check_views(
    depth: torch.Tensor, colours: torch.Tensor, intrinsics: torch.Tensor, base_from_camera: torch.Tensor
) -> None:
    """Check that these are views: sizes, dtypes, units and matrices.

    Raises:
        ValueError: If they are not.
    """
    expect_shapes(
        depth=(depth, "V H W"),
        colours=(colours, "V H W 3"),
        intrinsics=(intrinsics, "V 3 3"),
        base_from_camera=(base_from_camera, "V 4 4"),
    )
    if len(depth) == 0:
        raise ValueError("`depth` must hold at least one view, but holds none.")
    if depth.dtype not in (torch.float32, torch.float64):
        unit = "" if depth.is_floating_point() else "; divide by the sensor's unit"
        raise ValueError(f"`depth` must be metres in float32 or float64, but is {depth.dtype}{unit}.")
    if colours.dtype != torch.uint8:
        raise ValueError(f"`colours` must be RGB of dtype torch.uint8, but are {colours.dtype}.")
    _check_unit(depth.detach())
    size = (depth.shape[1], depth.shape[2])
    matrices, poses = (own.detach().cpu().double().numpy() for own in (intrinsics, base_from_camera))
    for view in range(len(depth)):
        if problem := intrinsics_problem(matrices[view], size):
            raise ValueError(f"`intrinsics[{view}]` {problem}.")
        if problem := rigid_problem(poses[view]):
            raise ValueError(f"`base_from_camera[{view}]` {problem}.")


def check_options(
    voxel_size: float | None, depth_range: Any, edge_threshold: float | None, agreement_tolerance: float
) -> None:
    """Check the numbers that say how to fuse.

    Raises:
        ValueError: If one is out of range.
    """
    if voxel_size is not None:
        check_voxel_size(voxel_size)
    if edge_threshold is not None:
        _check_share("edge_threshold", edge_threshold, ", or None")
    _check_share("agreement_tolerance", agreement_tolerance, "")
    if depth_range is not None:
        limits = torch.as_tensor(depth_range)
        is_pair = limits.ndim > 0 and limits.shape[-1] == 2
        if not (is_pair and bool(((limits[..., 0] >= 0) & (limits[..., 0] < limits[..., 1])).all())):
            raise ValueError(
                f"`depth_range` must be (near, far) with 0 ≤ near < far in metres, but is {limits.tolist()}."
            )


def _check_share(name: str, value: float, alternative: str) -> None:
    if not (isinstance(value, numbers.Real) and math.isfinite(value) and value > 0):
        raise ValueError(f"`{name}` must be a positive share of the depth{alternative}, but is {value!r}.")


def _check_unit(depth: torch.Tensor) -> None:
    """Most of a view that lies farther away than any robot reaches is in another unit."""
    if not bool((depth > FARTHEST_DEPTH).any()):
        return
    for view, own in enumerate(depth):
        known = own[(own > 0) & (own < torch.inf)]
        if len(known) and (median := float(known.median())) > FARTHEST_DEPTH:
            raise ValueError(
                f"`depth[{view}]` must be in metres, but its median is {median:.4g}; is it in millimetres? Then divide by 1000."
            )
