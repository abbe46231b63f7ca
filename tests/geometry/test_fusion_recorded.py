"""Acceptance G2: a real depth camera on a robot arm, 73 % holes, at calibrated poses (Amazon Picking Challenge 2016)."""

import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from recorded_folder import RECORDED, needs_recorded
from scipy.spatial import cKDTree

from xwam.geometry.cameras import project_points
from xwam.geometry.fusion import fuse_views, valid_pixels

PARTS = ("data", "apc_rgbd_calibrated", "scene-0000")
FOLDER = Path(RECORDED, *PARTS)
OPTIONS = {"depth_range": (0.2, 1.2), "edge_threshold": 0.02}

pytestmark = needs_recorded(*PARTS)


def _matrix(title: str) -> torch.Tensor:
    text = (FOLDER / "cam.info.txt").read_text()
    block = re.search(rf"# {re.escape(title)}\n((?:[-+\d.eE\s]+\n)+)", text)
    assert block, title
    return torch.tensor([[float(word) for word in line.split()] for line in block[1].strip().splitlines()]).double()


def _intrinsics(sensor: str) -> torch.Tensor:
    matrix = _matrix(f"{sensor} camera intrinsic matrix").float().double()
    matrix[:2, 2] += 0.5  # theirs counts from the centre of the first pixel
    return matrix


def _frame(index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depth in metres, colours and pose."""
    stored = np.asarray(Image.open(FOLDER / f"frame-{index:06d}.depth.png")).astype(np.uint16)
    turned = (stored >> 3) | (stored << 13)  # the bits are rotated by three
    colours = np.array(Image.open(FOLDER / f"frame-{index:06d}.color.png"))
    pose = _matrix(f"Camera-to-world extrinsic matrix (camera pose) for frame-{index:06d}")
    return torch.from_numpy(turned.astype(np.float32) / 10000), torch.from_numpy(colours), pose


def _fused(index: int, sensor: str, **options):
    depth, colours, pose = _frame(index)
    return fuse_views(depth[None], colours[None], _intrinsics(sensor)[None], pose[None], **(OPTIONS | options))


def _median_reprojection(sensor: str) -> float:
    """Metres between the points of frame 1 and the depth of frame 0 where they fall, silhouettes and all."""
    points = _fused(1, sensor, voxel_size=None).points.double()
    depth, _, pose = _frame(0)
    pixels, z = project_points(points[None], _intrinsics(sensor)[None], pose[None])
    column, row = pixels[0].floor().long().unbind(dim=1)
    inside = (z[0] > 0) & (column >= 0) & (column < depth.shape[1]) & (row >= 0) & (row < depth.shape[0])
    known = valid_pixels(depth[None], **OPTIONS)[0]
    seen = inside.clone()
    seen[inside] = known[row[inside], column[inside]]
    return float((depth[row[seen], column[seen]] - z[0, seen]).abs().median())


def _median_distance(sensor: str) -> float:
    """Metres from the points of frame 1 to the nearest of frame 0, where frame 0 has any within 5 cm."""
    first, second = (_fused(index, sensor, voxel_size=None).points.numpy() for index in (0, 1))
    distances = cKDTree(first).query(second, workers=-1)[0]
    assert (distances < 0.05).mean() > 0.85
    return float(np.median(distances[distances < 0.05]))


def test_frame_one_lies_on_frame_zero_with_the_matrix_of_the_colour_camera():
    assert _median_reprojection("Color") <= 4e-3
    assert _median_distance("Color") <= 4e-3


def test_the_matrix_of_the_depth_camera_is_visibly_wrong():
    assert _median_reprojection("Depth") > 2 * _median_reprojection("Color")
    assert _median_distance("Depth") > 2 * _median_distance("Color")


def test_holes_and_flying_pixels_are_left_out():
    depth, _, _ = _frame(0)
    assert (depth == 0).float().mean() > 0.7
    known, kept = (valid_pixels(depth[None], (0.2, 1.2), own).sum() for own in (None, 0.02))
    assert 0.8 * known < kept < known < 0.3 * depth.numel()


def test_fifteen_frames_fuse_into_one_shelf_that_agrees_best_with_the_right_matrix():
    depths, colours, poses = (torch.stack(parts) for parts in zip(*(_frame(i) for i in range(15)), strict=True))
    right, wrong = (
        fuse_views(depths, colours, _intrinsics(sensor).expand(15, 3, 3), poses, **OPTIONS, with_confidence=True)
        for sensor in ("Color", "Depth")
    )
    assert 20_000 < len(right.points) < 0.1 * (depths > 0).sum()
    assert right.confidence.mean() > wrong.confidence.mean() + 0.05
    assert (right.confidence > 2 / 3).double().mean() > 1.5 * (wrong.confidence > 2 / 3).double().mean()
