"""Acceptance G1, across views: nine frames of ground truth, three cameras, one of them on a moving wrist."""

import itertools

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from world_future import NUM_FRAMES, expert_future

from xwam.futures.future import Future
from xwam.futures.point_clouds import point_cloud
from xwam.geometry.cameras import project_points

STATIC = ("robot0_agentview_left", "robot0_agentview_right")
WRIST = "robot0_eye_in_hand"
SIZES = [(128, 160), (256, 320)]
VISIBLE = 0.02  # metres: a larger difference is another surface, in front


def _inverse_depth_at(depth: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Inverse depth between pixel centres, bilinear: exact on a plane."""
    height, width = depth.shape
    grid = 2 * pixels / torch.tensor([width, height]) - 1
    sampled = torch.nn.functional.grid_sample((1 / depth)[None, None], grid[None, None], align_corners=False)
    return sampled[0, 0, 0]


def _reprojection_errors(future: Future, frame: int, shift: float = 0.0) -> dict[tuple[str, str], torch.Tensor]:
    """Metres between the depth one view predicts for another and what is measured there, for the six ordered pairs."""
    errors = {}
    for source, target in itertools.permutations(future.cameras, 2):
        points = point_cloud(future, frame, cameras=[source], voxel_size=None, edge_threshold=None).points
        camera = future.camera(target, frame)
        own = torch.from_numpy(points).double()[None]
        pixels, z = project_points(
            own, torch.from_numpy(camera.intrinsics)[None], torch.from_numpy(camera.base_from_camera)[None]
        )
        depth = torch.from_numpy(future.depths[target][frame]).double()
        height, width = depth.shape
        pixels, z = pixels[0] + shift, z[0]
        inside = (z > VISIBLE) & (pixels > 0.5).all(dim=1) & (pixels < torch.tensor([width, height]) - 0.5).all(dim=1)
        difference = (1 / _inverse_depth_at(depth, pixels[inside]) - z[inside]).abs()
        errors[source, target] = difference[difference < VISIBLE]
        assert len(errors[source, target]) > 50, (source, target, frame)
    return errors


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_view_lands_on_the_surfaces_of_the_others(size):
    future = expert_future("stack_cubes", size)
    errors = [_reprojection_errors(future, frame) for frame in range(NUM_FRAMES)]
    together = torch.cat([own for pairs in errors for own in pairs.values()])
    assert together.median() <= 0.05e-3
    assert together.mean() <= 1e-3
    for pair in errors[0]:
        assert torch.cat([pairs[pair] for pairs in errors]).median() <= 0.05e-3, pair


def test_half_a_pixel_would_be_noticed():
    errors = _reprojection_errors(expert_future("stack_cubes"), 0, shift=0.5)
    assert all(own.median() > 0.3e-3 for (_, target), own in errors.items() if target in STATIC), (
        "they look at a slant"
    )


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_wrist_cloud_lies_on_the_static_clouds_within_a_pixel(size):
    future = expert_future("stack_cubes", size)
    for frame in range(NUM_FRAMES):
        options = {"voxel_size": None, "edge_threshold": None}
        wrist = point_cloud(future, frame, cameras=[WRIST], **options).points
        static = point_cloud(future, frame, cameras=STATIC, **options).points
        distances = cKDTree(static).query(wrist)[0]
        footprints = [future.depths[name][frame] / future.intrinsics[name][0, 0] for name in STATIC]
        assert np.median(distances) <= np.median(footprints), frame


def test_a_wrist_pose_of_another_frame_would_be_noticed():
    future = expert_future("stack_cubes")
    poses = dict(future.base_from_camera)
    poses[WRIST] = np.roll(poses[WRIST], 1, axis=0)
    late = Future(**{**vars(future), "base_from_camera": poses})
    errors = _reprojection_errors(late, 4)
    assert all(own.median() > 1e-3 for pair, own in errors.items() if WRIST in pair)
    assert all(own.median() < 0.05e-3 for pair, own in errors.items() if WRIST not in pair)


def test_the_views_of_the_world_agree_with_each_other():
    cloud = point_cloud(expert_future("stack_cubes"), 4, with_confidence=True, with_normals=True)
    assert (cloud.confidence >= 0.5).mean() > 0.98
    assert (cloud.confidence > 0.6).mean() > 0.3
    table = np.abs(cloud.points[:, 2]) < 1e-3
    assert table.sum() > 1000
    assert np.median(cloud.normals[table][:, 2]) > 0.999
