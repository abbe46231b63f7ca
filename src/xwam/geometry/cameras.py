"""Pinhole cameras. OpenCV axes: x right, y down, z forward; the centre of the first pixel is (0.5, 0.5)."""

import torch

from xwam.utils.shapes import expect_shapes


def unproject_depth(depth: torch.Tensor, intrinsics: torch.Tensor, world_from_camera: torch.Tensor) -> torch.Tensor:
    r"""Lift a depth map to points in the world frame.

    For the pixel with centre \((u, v)\) and depth \(d\),
    \(p_{world} = R\,d\,K^{-1}[u, v, 1]^T + t\), where \([R|t]\) is `world_from_camera`.

    Args:
        depth (`torch.Tensor` of shape `(V, H, W)`):
            Distance along the optical axis, in metres. Zero marks a missing measurement and gives the camera centre.
        intrinsics (`torch.Tensor` of shape `(V, 3, 3)`):
            Camera matrices `K`, in pixels.
        world_from_camera (`torch.Tensor` of shape `(V, 4, 4)`):
            Rigid transforms that take camera coordinates to world coordinates, in metres.

    Returns:
        `torch.Tensor` of shape `(V, H, W, 3)`: Points in the world frame, in metres.

    Raises:
        ValueError: If the numbers of views differ, a matrix has the wrong size, or a camera matrix is singular.
    """
    sizes = expect_shapes(
        depth=(depth, "V H W"), intrinsics=(intrinsics, "V 3 3"), world_from_camera=(world_from_camera, "V 4 4")
    )
    v = torch.arange(sizes["H"], dtype=depth.dtype, device=depth.device) + 0.5
    u = torch.arange(sizes["W"], dtype=depth.dtype, device=depth.device) + 0.5
    vv, uu = torch.meshgrid(v, u, indexing="ij")
    pixels = torch.stack([uu, vv, torch.ones_like(uu)], dim=-1)  # (H, W, 3)

    rays = torch.einsum("vij,hwj->vhwi", _inverse(intrinsics), pixels)
    camera_points = rays * depth[..., None]  # (V, H, W, 3)
    rotation, translation = world_from_camera[:, :3, :3], world_from_camera[:, :3, 3]
    return torch.einsum("vij,vhwj->vhwi", rotation, camera_points) + translation[:, None, None]


def _inverse(intrinsics: torch.Tensor) -> torch.Tensor:
    inverse, failed = torch.linalg.inv_ex(intrinsics)
    if failed.any():
        raise ValueError(
            f"`intrinsics` must be invertible, but is singular in views {failed.nonzero()[:, 0].tolist()}."
        )
    return inverse


def project_points(
    points: torch.Tensor, intrinsics: torch.Tensor, world_from_camera: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Project world points into every view: \([u, v, 1]^T d = K R^T (p_{world} - t)\).

    Args:
        points (`torch.Tensor` of shape `(V, P, 3)`): Points in the world frame, in metres, one set per view.
        intrinsics (`torch.Tensor` of shape `(V, 3, 3)`): Camera matrices `K`, in pixels.
        world_from_camera (`torch.Tensor` of shape `(V, 4, 4)`): Camera poses, in metres.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: Pixel positions `(V, P, 2)` as (u, v), and depths `(V, P)` in metres. A point
        with a depth that is not positive lies behind the camera and has no meaningful pixel position.

    Raises:
        ValueError: If the numbers of views differ or a matrix has the wrong size.
    """
    expect_shapes(
        points=(points, "V P 3"), intrinsics=(intrinsics, "V 3 3"), world_from_camera=(world_from_camera, "V 4 4")
    )
    rotation, translation = world_from_camera[:, :3, :3], world_from_camera[:, None, :3, 3]
    camera_points = torch.einsum("vji,vmj->vmi", rotation, points - translation)
    pixels = torch.einsum("vij,vmj->vmi", intrinsics, camera_points)
    return pixels[..., :2] / pixels[..., 2:], camera_points[..., 2]


def resize_intrinsics(intrinsics: torch.Tensor, size: tuple[int, int], new_size: tuple[int, int]) -> torch.Tensor:
    """Camera matrices `(..., 3, 3)` after an image of `size` (H, W) is resized to `new_size`.

    Exact for a resize that maps pixel edges to pixel edges, such as bilinear without aligned corners.

    Raises:
        ValueError: If the matrices hold whole numbers, which no scale fits.
    """
    if not intrinsics.is_floating_point():
        raise ValueError(f"`intrinsics` must be floating point, but has dtype {intrinsics.dtype}.")
    scale = intrinsics.new_tensor([new_size[1] / size[1], new_size[0] / size[0], 1.0])
    return scale[:, None] * intrinsics


def crop_intrinsics(intrinsics: torch.Tensor, top: int, left: int) -> torch.Tensor:
    """Camera matrices `(..., 3, 3)` after `top` rows and `left` columns are cut off."""
    shift = intrinsics.new_zeros(3, 3)
    shift[0, 2], shift[1, 2] = left, top
    return intrinsics - shift


def center_crop_box(size: tuple[int, int], crop_ratio: float) -> tuple[int, int, int, int]:
    """Rows and columns `(top, left, height, width)` of the centre crop, every fraction rounded down.

    Source: `resize_and_center_crop_tensor` in the official `evaluation/policy_server.py`.

    Args:
        size (`tuple[int, int]`): Image size (H, W).
        crop_ratio (`float`): Share of each side that is kept, in (0, 1].
    """
    height, width = int(size[0] * crop_ratio), int(size[1] * crop_ratio)
    return (size[0] - height) // 2, (size[1] - width) // 2, height, width


def model_intrinsics(
    intrinsics: torch.Tensor, size: tuple[int, int], image_size: tuple[int, int], crop_ratio: float
) -> torch.Tensor:
    """Camera matrices `(..., 3, 3)` of what the model sees at inference: `cropped_intrinsics` of the centre crop.

    Args:
        intrinsics (`torch.Tensor` of shape `(..., 3, 3)`): Camera matrices of the robot's images, in pixels.
        size (`tuple[int, int]`): Size (H, W) of the robot's images.
        image_size (`tuple[int, int]`): Size (H, W) of the model's images.
        crop_ratio (`float`): Share of each side that the centre crop keeps.
    """
    return cropped_intrinsics(intrinsics, size, image_size, center_crop_box(image_size, crop_ratio))


def cropped_intrinsics(
    intrinsics: torch.Tensor, size: tuple[int, int], image_size: tuple[int, int], box: tuple[int, int, int, int]
) -> torch.Tensor:
    """Camera matrices `(..., 3, 3)` of images that are resized to `image_size`, cut to a box and resized back.

    Args:
        intrinsics (`torch.Tensor` of shape `(..., 3, 3)`): Camera matrices of the robot's images, in pixels.
        size (`tuple[int, int]`): Size (H, W) of the robot's images.
        image_size (`tuple[int, int]`): Size (H, W) of the model's images.
        box (`tuple[int, int, int, int]`): Rows and columns `(top, left, height, width)` in pixels of the model's image.
    """
    top, left, height, width = box
    cropped = crop_intrinsics(resize_intrinsics(intrinsics, size, image_size), top, left)
    return resize_intrinsics(cropped, (height, width), image_size)


def wrist_camera_pose(base_from_tool: torch.Tensor, tool_from_camera: torch.Tensor) -> torch.Tensor:
    """Pose `base_from_camera` `(..., 4, 4)` of a camera that an arm carries.

    Args:
        base_from_tool (`torch.Tensor` of shape `(..., 4, 4)`): Tool poses, in metres.
        tool_from_camera (`torch.Tensor` of shape `(4, 4)`): Hand-eye calibration, to OpenCV camera axes.
    """
    return base_from_tool @ tool_from_camera
