"""The unprojection inverts the projection, and calibration follows what is done to the image."""

import numpy as np
import pytest
import torch

from xwam.geometry.cameras import (
    center_crop_box,
    crop_intrinsics,
    cropped_intrinsics,
    model_intrinsics,
    project_points,
    resize_intrinsics,
    unproject_depth,
    wrist_camera_pose,
)
from xwam.geometry.rotations import axis_angle_to_matrix
from xwam.geometry.transforms import rigid_transform


def _intrinsics(height: int, width: int, focal: float = 200.0) -> torch.Tensor:
    return torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]], dtype=torch.float64)


def _pose() -> torch.Tensor:
    turn = axis_angle_to_matrix(torch.tensor([0.3, -0.5, 0.2], dtype=torch.float64))
    return rigid_transform(turn, torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64))


def _loop_unprojection(depth, intrinsics, world_from_camera):
    """Plain twin: one pixel after the other."""
    height, width = depth.shape
    points = np.empty((height, width, 3))
    for row in range(height):
        for column in range(width):
            ray = np.linalg.solve(intrinsics, [column + 0.5, row + 0.5, 1.0])
            points[row, column] = (world_from_camera @ [*(ray * depth[row, column]), 1.0])[:3]
    return points


def test_unprojection_agrees_with_a_loop_over_pixels():
    depth = torch.rand(1, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    points = unproject_depth(depth, _intrinsics(4, 6)[None], _pose()[None])
    expected = _loop_unprojection(depth[0].numpy(), _intrinsics(4, 6).numpy(), _pose().numpy())
    np.testing.assert_allclose(points[0].numpy(), expected, atol=1e-12)


def test_projecting_the_points_gives_pixel_centres_and_depth_back():
    depth = torch.rand(2, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    intrinsics, poses = _intrinsics(6, 8).expand(2, 3, 3), torch.stack([_pose(), torch.eye(4, dtype=torch.float64)])
    points = unproject_depth(depth, intrinsics, poses)
    pixels, distance = project_points(points.flatten(1, 2), intrinsics, poses)
    torch.testing.assert_close(distance.unflatten(1, (6, 8)), depth)
    torch.testing.assert_close(
        pixels.unflatten(1, (6, 8))[:, 2, 5], torch.tensor([5.5, 2.5], dtype=torch.float64).expand(2, 2)
    )


def test_points_move_with_the_camera():
    depth, intrinsics, pose = torch.ones(1, 4, 4), _intrinsics(4, 4)[None].float(), torch.eye(4)[None].clone()
    still = unproject_depth(depth, intrinsics, pose)
    pose[0, :3, 3] = torch.tensor([0.1, -0.2, 0.3])
    torch.testing.assert_close(unproject_depth(depth, intrinsics, pose), still + pose[0, :3, 3])


def test_a_missing_view_is_named_in_the_error():
    with pytest.raises(ValueError, match=r"`intrinsics` must have V = 2"):
        unproject_depth(torch.ones(2, 4, 4), _intrinsics(4, 4)[None], torch.eye(4).expand(2, 4, 4))


def test_a_pixel_keeps_its_ray_when_the_image_is_resized():
    ray = torch.tensor([0.1, -0.05, 1.0], dtype=torch.float64)
    pixel = _intrinsics(128, 160) @ ray
    resized = resize_intrinsics(_intrinsics(128, 160), (128, 160), (256, 80)) @ ray
    torch.testing.assert_close(resized[:2], pixel[:2] * torch.tensor([0.5, 2.0], dtype=torch.float64))


def test_a_matrix_of_whole_numbers_is_not_resized_by_whole_numbers():
    with pytest.raises(ValueError, match=r"`intrinsics` must be floating point, but has dtype torch.int64"):
        resize_intrinsics(torch.tensor([[100, 0, 50], [0, 100, 50], [0, 0, 1]]), (100, 100), (125, 150))


def test_a_crop_shifts_the_pixels():
    ray = torch.tensor([0.1, -0.05, 1.0], dtype=torch.float64)
    shift = (_intrinsics(9, 9) - crop_intrinsics(_intrinsics(9, 9), top=2, left=3)) @ ray
    torch.testing.assert_close(shift, torch.tensor([3.0, 2.0, 0.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((256, 320), (6, 8, 243, 304)),
        ((39, 50), (1, 1, 37, 47)),
        ((192, 320), (5, 8, 182, 304)),
        ((128, 160), (3, 4, 121, 152)),
    ],
)
def test_the_crop_rounds_down(size, box):
    assert center_crop_box(size, 0.95) == box


@pytest.mark.parametrize("seed", range(20))
def test_any_resize_and_crop_moves_a_pixel_as_a_ruler_would(seed):
    """Plain twin: the pixel of a ray, step by step, each edge taken to an edge."""
    generator = np.random.default_rng(seed)
    (h0, w0), (h1, w1) = generator.integers(20, 600, (2, 2)).tolist()
    top, left = int(generator.integers(0, h1 // 2)), int(generator.integers(0, w1 // 2))
    height, width = int(generator.integers(4, h1 - top + 1)), int(generator.integers(4, w1 - left + 1))
    own = np.array(
        [
            [generator.uniform(50, 900), generator.normal(), w0 / 2 + 7],
            [0, generator.uniform(50, 900), h0 / 3],
            [0, 0, 1],
        ]
    )
    ray = np.array([*generator.uniform(-0.5, 0.5, 2), 1.0])

    u, v = (own @ ray)[:2]
    u, v = u / w0 * w1 - left, v / h0 * h1 - top
    expected = [u / width * w1, v / height * h1, 1]
    matrix = cropped_intrinsics(torch.from_numpy(own), (h0, w0), (h1, w1), (top, left, height, width)).numpy()
    np.testing.assert_allclose(matrix @ ray, expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_any_camera_and_any_pose_agree_with_a_loop_over_pixels(seed):
    generator = torch.Generator().manual_seed(seed)
    height, width = torch.randint(3, 9, (2,), generator=generator).tolist()
    noise = torch.rand(2, 8, dtype=torch.float64, generator=generator)
    matrices, poses = [], []
    for row in noise:
        matrices.append(_intrinsics(height, width, 20 + 100 * float(row[0])))
        matrices[-1][0, 1] = row[1]  # skewed
        poses.append(rigid_transform(axis_angle_to_matrix(6 * row[2:5] - 3), row[5:8]))
    depth = torch.rand(2, height, width, dtype=torch.float64, generator=generator) + 0.1
    points = unproject_depth(depth, torch.stack(matrices), torch.stack(poses))
    for view in range(2):
        expected = _loop_unprojection(depth[view].numpy(), matrices[view].numpy(), poses[view].numpy())
        np.testing.assert_allclose(points[view].numpy(), expected, atol=1e-12)


def test_a_singular_camera_matrix_is_named_by_its_view():
    intrinsics = torch.stack([_intrinsics(4, 4), torch.diag(torch.tensor([0.0, 0, 1], dtype=torch.float64))])
    poses = torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
    with pytest.raises(ValueError, match=r"`intrinsics` must be invertible, but is singular in views \[1\]"):
        unproject_depth(torch.ones(2, 4, 4, dtype=torch.float64), intrinsics, poses)


def test_robocasa_intrinsics_follow_the_floors_of_the_release():
    focal = 221.7
    result = model_intrinsics(_intrinsics(256, 256, focal), (256, 256), (256, 320), 0.95)
    expected = [
        [focal * (320 / 256) * (320 / 304), 0, (128 * (320 / 256) - 8) * (320 / 304)],
        [0, focal * (256 / 243), (128 - 6) * (256 / 243)],
        [0, 0, 1],
    ]
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-12)


def test_the_wrist_camera_follows_the_tool():
    tool_from_camera = rigid_transform(torch.eye(3), torch.tensor([0.0, 0.05, -0.1]))
    turned = rigid_transform(axis_angle_to_matrix(torch.tensor([0.0, 0.0, torch.pi / 2])), torch.tensor([1.0, 0, 0]))
    pose = wrist_camera_pose(torch.stack([torch.eye(4), turned]), tool_from_camera)
    torch.testing.assert_close(pose[0], tool_from_camera)
    torch.testing.assert_close(pose[1, :3, 3], torch.tensor([0.95, 0.0, -0.1]))
