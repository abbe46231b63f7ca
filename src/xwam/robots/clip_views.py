"""The views of a clip: frames, depth images and calibration, all through the same boxes."""

from collections.abc import Sequence

import numpy as np
import torch

from xwam.errors import DataError
from xwam.geometry.cameras import cropped_intrinsics, wrist_camera_pose
from xwam.geometry.depth import depth_to_image
from xwam.geometry.rotations import quaternion_to_matrix
from xwam.geometry.transforms import rigid_transform
from xwam.robots.images import CropBox, drawn_encoding, video_to_depths, video_to_frames
from xwam.robots.spec import CameraSpec, RobotSpec
from xwam.structures import Clip


def encode_frames(spec: RobotSpec, clip: Clip, boxes: Sequence[CropBox]) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames `(V, F, 3, H, W)` in [-1, 1], black where a view was not recorded, and which were, bool `(V,)`.

    Raises:
        ValueError: If a video has another form or another number of frames.
    """
    frames = torch.empty(len(spec.cameras), spec.num_frames, 3, *spec.image_size)
    recorded = torch.tensor([camera.name in clip.images for camera in spec.cameras])
    for view, (camera, box) in enumerate(zip(spec.cameras, boxes, strict=True)):
        if recorded[view]:
            video = _video(spec, f"images[{camera.name!r}]", clip.images[camera.name], "uint8", 4)
            frames[view] = video_to_frames(video, spec.image_size, box)
        else:
            frames[view] = -1
    return frames, recorded


def encode_clip_depths(
    spec: RobotSpec, clip: Clip, boxes: Sequence[CropBox]
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Depth images `(V, F, 3, H, W)`, three equal channels over one memory, and the mask `(V, F, H, W)` of what was measured.

    Metres are drawn between the planes of the camera, as at inference. Depth without a unit keeps its levels, and all of it
    counts.

    Raises:
        ValueError: If a video has another form or another number of frames.
        DataError: If there is depth in metres of a camera without a range, or depth without a unit of a robot that would
            take it for metres.
    """
    if not clip.depths and not clip.relative_depths:
        return None, None
    images = torch.full((len(spec.cameras), spec.num_frames, 1, *spec.image_size), -1.0)
    mask = torch.zeros(len(spec.cameras), spec.num_frames, *spec.image_size, dtype=torch.bool)
    for view, (camera, box) in enumerate(zip(spec.cameras, boxes, strict=True)):
        name = camera.name
        if name in clip.depths:
            maps = _video(spec, f"depths[{name!r}]", clip.depths[name], "float32", 3)
            metres = video_to_depths(maps, spec.image_size, box)
            planes = _planes(camera, clip.source)
            image, mask[view] = depth_to_image(metres, *planes, drawn_encoding(spec))
            images[view] = image[:, :1]
        elif name in clip.relative_depths:
            _expect_relative(spec, camera, clip.source)
            levels = _video(spec, f"relative_depths[{name!r}]", clip.relative_depths[name], "uint8", 3)
            images[view, :, 0] = video_to_depths(levels, spec.image_size, box).div_(127.5).sub_(1)
            mask[view] = True
    return images.expand(-1, -1, 3, -1, -1), mask


def clip_intrinsics(spec: RobotSpec, clip: Clip, boxes: Sequence[CropBox]) -> torch.Tensor | None:
    """Camera matrices `(V, 3, 3)` in pixels of the frames, float64; `None` unless those of all views are known."""
    matrices = []
    for camera, box in zip(spec.cameras, boxes, strict=True):
        if camera.name in clip.intrinsics and camera.name in clip.images:
            matrix, size = np.asarray(clip.intrinsics[camera.name]), clip.images[camera.name].shape[1:3]
        elif camera.intrinsics is not None:
            matrix, size = np.array(camera.intrinsics), camera.size
        else:
            return None
        matrices.append(cropped_intrinsics(torch.tensor(matrix, dtype=torch.float64), size, spec.image_size, box))
    return torch.stack(matrices)


def clip_poses(spec: RobotSpec, clip: Clip) -> torch.Tensor | None:
    """Camera poses `base_from_camera` `(V, F, 4, 4)` in metres, float64; `None` unless those of all views are known.

    What the recording holds goes before what the spec knows: the pose of a standing camera, or the hand-eye calibration of
    one that an arm carries.
    """
    poses = []
    for camera in spec.cameras:
        pose: torch.Tensor | None = None
        if camera.name in clip.base_from_camera:
            pose = torch.as_tensor(np.array(clip.base_from_camera[camera.name]), dtype=torch.float64)
        elif camera.base_from_camera is not None:
            pose = torch.tensor(camera.base_from_camera, dtype=torch.float64).expand(spec.num_frames, 4, 4)
        elif camera.tool_from_camera is not None:
            pose = _carried_poses(spec, camera, clip)
        if pose is None:
            return None
        poses.append(pose)
    return torch.stack(poses)


def _carried_poses(spec: RobotSpec, camera: CameraSpec, clip: Clip) -> torch.Tensor | None:
    """Poses `(F, 4, 4)` by hand-eye calibration; `None` where the tool's pose was not measured."""
    arm = next(arm for arm in spec.arms if arm.name == camera.arm)
    if arm.num_joints is not None:
        return None
    position, rotation = (spec.state_layout.part(f"{arm.name}_{part}") for part in ("position", "rotation"))
    rows = slice(None, None, spec.actions_per_frame)
    if not (clip.state_is_valid[rows, position].all() and clip.state_is_valid[rows, rotation].all()):
        return None
    states = torch.from_numpy(np.array(clip.states[rows], dtype=np.float64))
    tool = rigid_transform(quaternion_to_matrix(states[:, rotation]), states[:, position])
    return wrist_camera_pose(tool, torch.tensor(camera.tool_from_camera, dtype=torch.float64))


def _planes(camera: CameraSpec, source: str) -> tuple[float, float]:
    if camera.depth_range is None:
        raise DataError(
            "There is depth in metres, but the robot's spec has no `depth_range` for the camera.",
            episode=source,
            feature=camera.name,
        )
    return camera.depth_range


def _expect_relative(spec: RobotSpec, camera: CameraSpec, source: str) -> None:
    if spec.depth_encoding != "relative" and camera.depth_range is not None:
        raise DataError(
            f"The depth has no unit, but {spec.name!r} declares {spec.depth_encoding!r} depth between "
            f"{camera.depth_range[0]} and {camera.depth_range[1]} m; declare `depth_encoding='relative'`.",
            episode=source,
            feature=camera.name,
        )


def _video(spec: RobotSpec, name: str, video: np.ndarray, kind: str, ndim: int) -> np.ndarray:
    if video.ndim != ndim or len(video) != spec.num_frames or (ndim == 4 and video.shape[-1] != 3):
        wanted = f"({spec.num_frames}, h, w{', 3' if ndim == 4 else ''})"
        raise ValueError(f"`{name}` of the clip must have shape {wanted}, but has {video.shape}.")
    if video.dtype != kind:
        raise ValueError(f"`{name}` of the clip must be {kind}, but is {video.dtype}.")
    return video
