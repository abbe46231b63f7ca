"""A depth map says where surfaces are, where they break off and which way they face."""

import pytest
import torch

from xwam.geometry.cameras import unproject_depth
from xwam.geometry.rotations import axis_angle_to_matrix
from xwam.geometry.surfaces import depth_edges, point_maps, surface_normals
from xwam.geometry.transforms import rigid_transform

INTRINSICS = torch.tensor([[50.0, 0, 20], [0, 60.0, 15], [0, 0, 1]], dtype=torch.float64)
NORMAL = torch.tensor([0.3, -0.4, -1.2], dtype=torch.float64)


def _pose() -> torch.Tensor:
    turn = axis_angle_to_matrix(torch.tensor([0.3, -0.5, 2.2], dtype=torch.float64))
    return rigid_transform(turn, torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64))


def _plane(distance: float = 1.0) -> torch.Tensor:
    """Depth `(30, 40)` of the plane with normal `NORMAL` that the optical axis meets at a distance."""
    v, u = torch.meshgrid(torch.arange(30.0) + 0.5, torch.arange(40.0) + 0.5, indexing="ij")
    rays = torch.stack([u, v, torch.ones_like(u)], dim=-1).double() @ torch.linalg.inv(INTRINSICS).T
    return NORMAL[2] * distance / (rays @ NORMAL)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_point_maps_are_the_unprojection(dtype, tolerance):
    depth = torch.stack([_plane(), _plane(0.4)])
    intrinsics, poses = INTRINSICS.expand(2, 3, 3), torch.stack([_pose(), torch.eye(4, dtype=torch.float64)])
    maps = point_maps(depth.to(dtype), intrinsics, poses)
    assert maps.dtype == dtype
    expected = unproject_depth(depth, intrinsics, poses).permute(0, 3, 1, 2)
    torch.testing.assert_close(maps.double(), expected, rtol=0, atol=tolerance)


def test_a_plane_has_its_normal_everywhere():
    depth, pose = _plane()[None], _pose()[None]
    points = point_maps(depth, INTRINSICS[None], pose)
    normals = surface_normals(points, torch.ones_like(depth, dtype=torch.bool))
    expected = pose[0, :3, :3] @ (NORMAL / NORMAL.norm())
    torch.testing.assert_close(normals[0], expected[:, None, None].expand(3, 30, 40))


def test_normals_face_the_camera_on_both_sides_of_a_wall():
    wall = torch.full((1, 8, 8), 2.0, dtype=torch.float64)
    turned = rigid_transform(
        torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64)),
        torch.tensor([0.0, 0, 4], dtype=torch.float64),
    )
    for pose in (torch.eye(4, dtype=torch.float64), turned):
        points = point_maps(wall, INTRINSICS[None], pose[None])
        normals = surface_normals(points, wall > 0)
        assert (normals * (pose[:3, 3][:, None, None] - points[0])).sum(dim=1).min() > 0


def test_normals_face_the_camera_however_rough_the_depth():
    generator = torch.Generator().manual_seed(0)
    depth, pose = 0.2 + 3 * torch.rand(1, 30, 40, dtype=torch.float64, generator=generator), _pose()[None]
    is_valid = torch.rand(1, 30, 40, generator=generator) > 0.3
    points = point_maps(depth, INTRINSICS[None], pose)
    normals = surface_normals(points, is_valid)
    towards = (normals * (pose[:, :3, 3, None, None] - points)).sum(dim=1)
    assert (towards >= 0).all()
    assert (towards > 0).double().mean() > 0.5


def test_a_hole_takes_no_normal_from_its_neighbours_and_a_lonely_pixel_has_none():
    depth, pose = _plane()[None], _pose()[None]
    is_valid = torch.ones_like(depth, dtype=torch.bool)
    is_valid[0, 10:13, 10:13] = False
    is_valid[0, 11, 11] = True
    points = torch.where(is_valid[:, None], point_maps(depth, INTRINSICS[None], pose), torch.nan)
    normals = surface_normals(points, is_valid)[0]
    expected = pose[0, :3, :3] @ (NORMAL / NORMAL.norm())
    told = is_valid[0].clone()
    told[11, 11] = False
    torch.testing.assert_close(normals[:, told], expected[:, None].expand(3, int(told.sum())))
    assert (normals[:, ~told] == 0).all()


def test_both_sides_of_a_step_are_edges_and_a_slope_is_none():
    depth = torch.ones(1, 6, 8)
    depth[0, :, 4:] = 1.2
    edges = depth_edges(depth, depth > 0, 0.05)
    assert edges[0].sum(dim=0).tolist() == [0, 0, 0, 6, 6, 0, 0, 0]
    assert not depth_edges(depth, depth > 0, 0.25).any()
    assert torch.equal(depth_edges(depth.mT, depth.mT > 0, 0.05), edges.mT)
    assert not depth_edges(_plane()[None], _plane()[None] > 0, 0.05).any()


@pytest.mark.parametrize("hole", [0.0, torch.nan, torch.inf])
def test_a_hole_is_no_step(hole):
    depth = torch.ones(1, 5, 5)
    depth[0, 2, 2] = hole
    assert not depth_edges(depth, (depth > 0) & depth.isfinite(), 0.05).any()
