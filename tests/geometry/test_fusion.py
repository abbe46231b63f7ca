"""Fusion equals its plain twin, and what is no set of views is refused in words."""

import dataclasses

import numpy as np
import pytest
import torch
from reference.plain_fusion import plain_fusion

from xwam.geometry.fusion import fuse_views, valid_pixels
from xwam.geometry.rotations import axis_angle_to_matrix
from xwam.geometry.transforms import rigid_transform

SIZE = (18, 24)


@dataclasses.dataclass
class Views:
    depth: torch.Tensor
    colours: torch.Tensor
    intrinsics: torch.Tensor
    base_from_camera: torch.Tensor

    def fuse(self, **options):
        return fuse_views(self.depth, self.colours, self.intrinsics, self.base_from_camera, **options)

    def twin(self, **options):
        return plain_fusion(self.depth, self.colours, self.intrinsics, self.base_from_camera, **options)


def _look_at(eye: list[float]) -> torch.Tensor:
    """Pose of a camera that looks at the origin, x level."""
    z = -torch.tensor(eye, dtype=torch.float64)
    z = z / z.norm()
    x = torch.linalg.cross(z, torch.tensor([0.0, 0, 1], dtype=torch.float64))
    x = x / x.norm()
    return rigid_transform(
        torch.stack([x, torch.linalg.cross(z, x), z], dim=1), torch.tensor(eye, dtype=torch.float64)
    )


def make_views(dtype: torch.dtype = torch.float64) -> Views:
    """Three views of a floor and a box on it, with holes of every kind."""
    generator = torch.Generator().manual_seed(3)
    poses = torch.stack([_look_at(eye) for eye in ([0.9, 0.2, 0.8], [-0.3, 0.9, 0.7], [0.1, -0.6, 0.6])])
    focal = torch.tensor([28.0, 24.0, 20.0], dtype=torch.float64)
    intrinsics = torch.eye(3, dtype=torch.float64).repeat(3, 1, 1)
    intrinsics[:, 0, 0], intrinsics[:, 1, 1] = focal, focal * 1.1
    intrinsics[:, 0, 2], intrinsics[:, 1, 2] = 11.3, 9.4
    v, u = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], dim=-1).double()
    rays = torch.einsum("vij,hwj->vhwi", poses[:, :3, :3] @ torch.linalg.inv(intrinsics), pixels)
    position = poses[:, None, None, :3, 3]
    depth = -position[..., 2] / rays[..., 2]  # to the floor z = 0
    top = (0.157 - position[..., 2]) / rays[..., 2]
    hits_box = ((position + rays * top[..., None])[..., :2].abs() < 0.2).all(dim=-1)
    depth = torch.where(hits_box, top, depth)
    chance = torch.rand(depth.shape, generator=generator)
    for hole, value in enumerate((0.0, torch.nan, torch.inf, -1.0)):
        depth[(chance > 0.05 * hole) & (chance < 0.05 * (hole + 1))] = value
    depth = torch.where(chance > 0.97, depth * 0.8, depth)  # in the air
    colours = torch.randint(0, 256, (*depth.shape, 3), generator=generator, dtype=torch.uint8)
    return Views(depth.to(dtype), colours, intrinsics, poses)


OPTIONS = [
    {"voxel_size": None},
    {"voxel_size": 0.05},
    {"voxel_size": 0.05, "edge_threshold": 0.05},
    {"voxel_size": 0.02, "depth_range": (0.5, 1.3)},
    {"voxel_size": 0.2, "depth_range": [(0.5, 1.3), (0.7, 2.0), (0.1, 0.9)], "edge_threshold": 0.1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
@pytest.mark.parametrize("tolerance", [0.02, 0.1])
def test_fusion_is_its_plain_twin(options, tolerance):
    views = make_views()
    options = {"edge_threshold": None, **options}
    cloud = views.fuse(with_normals=True, with_confidence=True, agreement_tolerance=tolerance, **options)
    expected = views.twin(tolerance=tolerance, **options)
    assert len(cloud) == len(expected) > 30
    torch.testing.assert_close(cloud.points.numpy(), np.stack([own.point for own in expected]), rtol=0, atol=1e-12)
    torch.testing.assert_close(cloud.normals.numpy(), np.stack([own.normal for own in expected]), rtol=0, atol=1e-9)
    confidence = np.stack([own.confidence for own in expected])
    torch.testing.assert_close(cloud.confidence.numpy(), confidence, rtol=0, atol=1e-12)
    assert confidence.max() > 0.6
    assert confidence.min() < 0.5 or options["edge_threshold"] is not None
    colours = np.stack([own.colour for own in expected])
    assert np.abs(cloud.colours.numpy() - colours).max() <= 0.5 + 1e-9


def test_float32_gives_the_same_voxels_and_means():
    views, exact = make_views(torch.float32), make_views()
    cloud, expected = views.fuse(voxel_size=0.05), exact.fuse(voxel_size=0.05)
    assert cloud.points.dtype == torch.float32
    torch.testing.assert_close(cloud.points.double(), expected.points, rtol=0, atol=1e-6)
    assert (cloud.colours.int() - expected.colours.int()).abs().max() <= 1


def test_matrices_in_float32_serve_too():
    views, exact = make_views(torch.float32), make_views()
    views.intrinsics, views.base_from_camera = views.intrinsics.float(), views.base_from_camera.float()
    cloud = views.fuse(voxel_size=None, with_normals=True, with_confidence=True)
    torch.testing.assert_close(cloud.points.double(), exact.fuse(voxel_size=None).points, rtol=0, atol=2e-6)
    assert cloud.normals.dtype == cloud.confidence.dtype == torch.float32


def test_without_voxels_points_come_pixel_by_pixel():
    views = make_views()
    is_valid = valid_pixels(views.depth)
    cloud = views.fuse(voxel_size=None, edge_threshold=None)
    assert torch.equal(cloud.colours, views.colours[is_valid])
    assert cloud.normals is None
    assert cloud.confidence is None


def test_the_order_of_the_views_does_not_matter_to_the_voxels():
    views = make_views()
    turned = Views(*(getattr(views, own.name).flip(0) for own in dataclasses.fields(views)))
    first, second = (own.fuse(voxel_size=0.05, with_confidence=True) for own in (views, turned))
    torch.testing.assert_close(first.points, second.points, rtol=0, atol=1e-12)
    torch.testing.assert_close(first.confidence, second.confidence, rtol=0, atol=1e-12)


def test_a_point_in_the_air_has_less_confidence_than_the_floor():
    views = make_views()
    views.depth = torch.where(views.depth > 0, views.depth, torch.nan)
    cloud = views.fuse(voxel_size=None, edge_threshold=None, with_confidence=True)
    is_in_the_air = (cloud.points[:, 2] > 0.02) & (cloud.points[:, :2].abs() > 0.25).any(dim=1)
    assert 5 < is_in_the_air.sum() < 200
    assert cloud.confidence[is_in_the_air].mean() < 0.45
    assert cloud.confidence[~is_in_the_air].mean() > 0.6


def test_edges_are_taken_out_of_the_air():
    views = make_views()
    heights = [views.fuse(voxel_size=None, edge_threshold=own).points[:, 2] for own in (None, 0.05)]
    floating = [float(((own > 0.02) & (own < 0.13)).double().mean()) for own in heights]
    assert floating[1] < 0.2 * floating[0]


def test_no_valid_pixel_is_an_empty_cloud():
    views = make_views()
    views.depth = torch.zeros_like(views.depth)
    cloud = views.fuse(with_normals=True, with_confidence=True)
    assert cloud.points.shape == cloud.colours.shape == cloud.normals.shape == (0, 3)
    assert cloud.colours.dtype == torch.uint8
    assert cloud.confidence.shape == (0,)


def _with(field, value, index=None):
    def spoil(views: Views) -> None:
        tensor = getattr(views, field).clone()
        if index is None:
            setattr(views, field, value(tensor))
        else:
            tensor[index] = value
            setattr(views, field, tensor)

    return spoil


MIRROR = torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0], dtype=torch.float64))
WRONG = {
    "one view too few": (_with("colours", lambda own: own[:2]), r"`colours` must have V = 3"),
    "sizes": (_with("colours", lambda own: own[:, 1:]), r"`colours` must have H = 18"),
    "three axes": (_with("depth", lambda own: own[0]), r"`depth` must have shape \(V H W\)"),
    "integers": (_with("depth", lambda own: own.int()), r"`depth` must be metres in float32 or float64, but is torch.int32; divide"),
    "half precision": (_with("depth", lambda own: own.half()), r"`depth` must be metres in float32 or float64, but is torch.float16\."),
    "float colours": (_with("colours", lambda own: own.float()), r"`colours` must be RGB of dtype torch.uint8"),
    "millimetres": (_with("depth", lambda own: own * 1000), r"`depth\[0\]` must be in metres, but its median is .* millimetres"),
    "NaN in K": (_with("intrinsics", torch.nan, (1, 0, 2)), r"`intrinsics\[1\]` must be finite"),
    "singular K": (_with("intrinsics", 0.0, (1, 0, 0)), r"`intrinsics\[1\]` must have positive focal lengths .* singular"),
    "negative focal length": (_with("intrinsics", -20.0, (2, 1, 1)), r"`intrinsics\[2\]` must have positive focal lengths"),
    "K of a smaller image": (_with("intrinsics", lambda own: own * torch.tensor([3.0, 3, 1])[:, None]), r"`intrinsics\[0\]` must have its principal point inside"),
    "pose in millimetres": (_with("base_from_camera", 800.0, (1, 2, 3)), r"`base_from_camera\[1\]` must be in metres, .* millimetres"),
    "NaN in a pose": (_with("base_from_camera", torch.nan, (0, 0, 3)), r"`base_from_camera\[0\]` must be finite"),
    "mirrored": (_with("base_from_camera", lambda own: own @ MIRROR), r"`base_from_camera\[0\]` must be a rotation, but is a reflection \(determinant -1\)"),
    "scaled": (_with("base_from_camera", 2.0, (2, 0, 0)), r"`base_from_camera\[2\]` must be a rotation, .* R Rᵀ differs"),
    "transposed": (_with("base_from_camera", lambda own: own.mT), r"last row \(0, 0, 0, 1\), .* as if transposed"),
    "no view": (lambda views: [setattr(views, own.name, getattr(views, own.name)[:0]) for own in dataclasses.fields(views)], r"at least one view"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_set_of_views_is_refused(wrong):
    views = make_views()
    spoil, message = WRONG[wrong]
    spoil(views)
    with pytest.raises(ValueError, match=message):
        views.fuse()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"voxel_size": -0.005}, r"`voxel_size` must be a positive number of metres, or None, but is -0.005"),
        ({"voxel_size": 1e-9}, r"`voxel_size` must be at least"),
        ({"depth_range": (2.0, 0.1)}, r"`depth_range` must be \(near, far\) with 0 ≤ near < far"),
        ({"depth_range": (0.1, torch.nan)}, r"`depth_range` must be"),
        ({"depth_range": 2.0}, r"`depth_range` must be \(near, far\) .* but is 2.0"),
        ({"depth_range": ()}, r"`depth_range` must be \(near, far\) .* but is \[\]"),
        ({"depth_range": (0.1, 1.0, 2.0)}, r"`depth_range` must be"),
        ({"depth_range": [(0.1, 1.0)] * 2}, r"`depth_range` must have V = 3"),
        ({"edge_threshold": 0.0}, r"`edge_threshold` must be a positive share of the depth, or None"),
        ({"agreement_tolerance": torch.nan}, r"`agreement_tolerance` must be a positive share of the depth, but is"),
    ],
    ids=repr,
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_views().fuse(**options)


def test_a_few_pixels_of_sky_are_not_millimetres():
    views = make_views()
    views.depth[:, :5] = 1000.0
    assert len(views.fuse(depth_range=(0.1, 5.0))) > 0


def test_a_pixel_at_the_end_of_the_world_is_named_with_its_remedy():
    views = make_views(torch.float32)
    views.depth[0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=r"`voxel_size` must be at least .* as `depth_range` does"):
        views.fuse()
    assert len(views.fuse(depth_range=(0.1, 5.0))) > 0


def test_one_view_has_nobody_to_agree_with():
    views = make_views()
    alone = Views(*(getattr(views, own.name)[:1] for own in dataclasses.fields(views)))
    cloud = alone.fuse(with_confidence=True)
    assert len(cloud) > 0
    assert (cloud.confidence == 0.5).all()


def test_memory_may_lie_in_any_order():
    views = make_views(torch.float32)
    scattered = Views(
        views.depth.mT.contiguous().mT,
        views.colours.permute(3, 1, 2, 0).contiguous().permute(3, 1, 2, 0),
        views.intrinsics.mT.contiguous().mT,
        views.base_from_camera.mT.contiguous().mT,
    )
    first, second = (own.fuse(with_normals=True, with_confidence=True) for own in (views, scattered))
    for field in dataclasses.fields(first):
        assert torch.equal(getattr(first, field.name), getattr(second, field.name))


@pytest.mark.filterwarnings("error")
def test_depth_that_requires_gradients_is_fused_and_gets_them():
    views = make_views(torch.float32)
    plain = views.fuse(voxel_size=0.05)
    views.depth.requires_grad_()
    cloud = views.fuse(voxel_size=0.05)
    torch.testing.assert_close(cloud.points.detach(), plain.points)
    cloud.points.sum().backward()
    assert torch.equal(views.depth.grad != 0, valid_pixels(views.depth, edge_threshold=0.05))


def test_rotations_of_the_base_turn_the_cloud():
    views = make_views()
    turn = rigid_transform(
        axis_angle_to_matrix(torch.tensor([0.4, 1.0, -0.3], dtype=torch.float64)),
        torch.tensor([1.0, 2, 3], dtype=torch.float64),
    )
    before = views.fuse(voxel_size=None, with_normals=True, with_confidence=True)
    views.base_from_camera = turn @ views.base_from_camera
    after = views.fuse(voxel_size=None, with_normals=True, with_confidence=True)
    torch.testing.assert_close(after.points, before.points @ turn[:3, :3].T + turn[:3, 3])
    torch.testing.assert_close(after.normals, before.normals @ turn[:3, :3].T)
    torch.testing.assert_close(after.confidence, before.confidence)
