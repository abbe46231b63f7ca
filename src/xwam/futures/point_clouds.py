"""Coloured point clouds of a future: one frame of it, or what stands still all along."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from xwam.futures.checks import check_future
from xwam.futures.future import Future
from xwam.geometry.agreement import view_agreement
from xwam.geometry.fusion import FusedCloud, fuse_views, valid_pixels
from xwam.geometry.fusion_checks import check_options
from xwam.geometry.voxels import merge_voxels
from xwam.structures import PointCloud

LEAST_AGREED = 0.5  # of the views of other frames that look at a standing point with nothing in front
MOST_CONTRADICTED = 0.1


def point_cloud(
    future: Future,
    frame: int,
    *,
    cameras: Sequence[str] | None = None,
    voxel_size: float | None = 0.005,
    depth_range: tuple[float, float] | Mapping[str, tuple[float, float]] | None = None,
    edge_threshold: float | None = 0.05,
    with_normals: bool = False,
    with_confidence: bool = False,
    agreement_tolerance: float = 0.02,
    device: str | torch.device = "cpu",
) -> PointCloud:
    """Fuse the views of one frame into a coloured cloud in the robot base frame; see `xwam.geometry.fusion.fuse_views`.

    Args:
        future (`Future`): Imagined or real.
        frame (`int`): From 0 to F − 1.
        cameras (`Sequence[str]`, *optional*): Which to fuse; without it all that have depth.
        voxel_size (`float`, *optional*, defaults to `0.005`): Edge of the voxels whose points are merged into one, in metres;
            `None` keeps every point.
        depth_range (`tuple[float, float]` or `Mapping[str, tuple[float, float]]`, *optional*): Nearest and farthest depth that
            counts, in metres, for all cameras or by camera.
        edge_threshold (`float`, *optional*, defaults to `0.05`): Step in depth, as a share of it, beside which pixels do not
            count; `None` keeps them.
        with_normals (`bool`, *optional*, defaults to `False`): Whether to compute normals.
        with_confidence (`bool`, *optional*, defaults to `False`): Whether to hold every point against the other views.
        agreement_tolerance (`float`, *optional*, defaults to `0.02`): Share of the depth by which views that agree may differ.
        device (`str` or `torch.device`, *optional*, defaults to `"cpu"`): Where to compute.

    Raises:
        ValueError: If the future is malformed, has no depth in metres, lacks the calibration of a camera or any valid pixel, or
            if an argument is out of range.
    """
    check_future(future)
    future.check_frame(frame)
    names = _fusable(future, cameras)
    views = _views(future, frame, names, device)
    ranges = _ranges(names, depth_range)
    cloud = fuse_views(
        *views,
        voxel_size=voxel_size,
        depth_range=ranges,
        edge_threshold=edge_threshold,
        with_normals=with_normals,
        with_confidence=with_confidence,
        agreement_tolerance=agreement_tolerance,
    )
    if len(cloud) == 0:
        raise ValueError(_why_empty(frame, names, views[0], ranges))
    return _to_numpy(cloud)


def static_cloud(
    future: Future,
    *,
    cameras: Sequence[str] | None = None,
    voxel_size: float = 0.005,
    depth_range: tuple[float, float] | Mapping[str, tuple[float, float]] | None = None,
    edge_threshold: float | None = 0.05,
    agreement_tolerance: float = 0.02,
    device: str | torch.device = "cpu",
) -> PointCloud:
    """Merge over time what stands still: the points of every frame that the other frames do not contradict.

    Each point of each frame is held against all views of all other frames. It stands if, of those that look at it with nothing in
    front, at least half agree, one at least, and at most a tenth looks past it; the rest know no depth there. That serves standing
    cameras and a moving wrist alike. What moves by less than the tolerance, or within itself like a rod along its axis, or rests
    nearly all the time, counts as standing.

    Args:
        future (`Future`): Imagined or real, of two frames or more.
        cameras (`Sequence[str]`, *optional*): Which to fuse; without it all that have depth.
        voxel_size (`float`, *optional*, defaults to `0.005`): Edge of the voxels, in metres.
        depth_range (`tuple[float, float]` or `Mapping[str, tuple[float, float]]`, *optional*): As in `point_cloud`.
        edge_threshold (`float`, *optional*, defaults to `0.05`): As in `point_cloud`.
        agreement_tolerance (`float`, *optional*, defaults to `0.02`): Share of the depth by which a point may seem to move.
        device (`str` or `torch.device`, *optional*, defaults to `"cpu"`): Where to compute.

    Returns:
        `PointCloud`: With the confidence of every voxel: the verdicts of the other frames, see `Agreement.score`.

    Raises:
        ValueError: As `point_cloud`, or if there is only one frame, or nothing stands.
    """
    check_future(future)
    if future.num_frames < 2:
        raise ValueError("`future` must have at least two frames to tell what stands, but has one.")
    names = _fusable(future, cameras)
    ranges = _ranges(names, depth_range)
    if voxel_size is None:
        raise ValueError("`voxel_size` must be a positive number of metres to merge frames, but is None.")
    check_options(voxel_size, ranges, edge_threshold, agreement_tolerance)
    frames = [_views(future, frame, names, device) for frame in range(future.num_frames)]
    depth, _, intrinsics, poses = (torch.cat(parts) for parts in zip(*frames, strict=True))  # (F·V, ...)
    is_valid = valid_pixels(depth, None if ranges is None else ranges.repeat(len(frames), 1))
    frame_of_view = torch.arange(len(frames), device=depth.device).repeat_interleave(len(names))
    points, colours, scores = [], [], []
    for frame, views in enumerate(frames):
        cloud = fuse_views(*views, voxel_size=voxel_size, depth_range=ranges, edge_threshold=edge_threshold)
        others = (own[frame_of_view != frame] for own in (depth, is_valid, intrinsics, poses))
        verdict = view_agreement(cloud.points, *others, tolerance=agreement_tolerance)
        looking = verdict.agreed + verdict.contradicted + verdict.unknown
        stands = (verdict.agreed >= LEAST_AGREED * looking) & (verdict.contradicted <= MOST_CONTRADICTED * looking)
        stands &= verdict.agreed >= 1
        points.append(cloud.points[stands])
        colours.append(cloud.colours[stands])
        scores.append(verdict.score[stands, None])
    merged, colour, score = merge_voxels(torch.cat(points), [torch.cat(colours), torch.cat(scores)], voxel_size)
    if len(merged) == 0:
        raise ValueError(
            f"Nothing stands in these {future.num_frames} frames: no point of one is seen again in another. "
            f"{int(is_valid.sum()):,} of {is_valid.numel():,} pixels have a valid depth."
        )
    return _to_numpy(FusedCloud(merged, colour.round().to(torch.uint8), confidence=score.squeeze(1)))


def _fusable(future: Future, cameras: Sequence[str] | None) -> list[str]:
    """Names of the cameras to fuse, each with depth in metres and a calibration."""
    if not future.depths:
        raise ValueError(
            f"A point cloud needs depth in metres, but this future has none: its `depth_kind` is {future.depth_kind!r}."
        )
    if isinstance(cameras, str):
        raise ValueError(f"`cameras` must be a sequence of names, but is the string {cameras!r}.")
    names = list(future.depths) if cameras is None else list(cameras)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"`cameras` must name each camera once and at least one, but is {names}.")
    if unknown := [name for name in names if name not in future.depths]:
        raise ValueError(f"`cameras` must be among those with depth, {list(future.depths)}, but has {unknown}.")
    lacking = [name for name in names if name not in future.intrinsics or name not in future.base_from_camera]
    if lacking:
        parts = [
            f"{name!r} lacks "
            + " and ".join(f for f in ("intrinsics", "base_from_camera") if name not in getattr(future, f))
            for name in lacking
        ]
        rest = [name for name in names if name not in lacking]
        raise ValueError(
            f"Every fused camera must be calibrated, but {'; '.join(parts)}. Calibrated are {rest}: see `cameras`."
        )
    return names


def _views(
    future: Future, frame: int, names: Sequence[str], device: str | torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depth, colours, camera matrices and poses of one frame."""
    parts = (
        [future.depths[name][frame] for name in names],
        [future.frames[name][frame] for name in names],
        [np.asarray(future.intrinsics[name], dtype=np.float64) for name in names],
        [np.asarray(future.base_from_camera[name][frame], dtype=np.float64) for name in names],
    )
    depth, colours, intrinsics, poses = (torch.from_numpy(np.stack(part)).to(device) for part in parts)
    return depth, colours, intrinsics, poses


def _ranges(names: Sequence[str], depth_range: Any) -> torch.Tensor | None:
    """Nearest and farthest depth `(V, 2)` that counts."""
    if depth_range is None:
        return None
    if isinstance(depth_range, Mapping):
        if set(depth_range) != set(names):
            raise ValueError(f"`depth_range` must be given for the cameras {names}, but is for {sorted(depth_range)}.")
        ranges = [depth_range[name] for name in names]
    else:
        ranges = [depth_range] * len(names)
    if any(np.shape(own) != (2,) for own in ranges):
        raise ValueError(
            f"`depth_range` must be (near, far) in metres, or one for every camera, but is {depth_range!r}."
        )
    return torch.tensor(ranges, dtype=torch.float64)


def _why_empty(frame: int, names: Sequence[str], depth: torch.Tensor, ranges: torch.Tensor | None) -> str:
    known, in_range = int(valid_pixels(depth).sum()), int(valid_pixels(depth, ranges).sum())
    return (
        f"Frame {frame} has no point: of the {depth.numel():,} pixels of {list(names)}, {depth.numel() - known:,} have no depth, "
        f"{known - in_range:,} are out of `depth_range` and {in_range:,} lie beside a step in depth."
    )


def _to_numpy(cloud: FusedCloud) -> PointCloud:
    normals, confidence = (None if part is None else part.cpu().numpy() for part in (cloud.normals, cloud.confidence))
    return PointCloud(cloud.points.cpu().numpy(), cloud.colours.cpu().numpy(), normals, confidence)
