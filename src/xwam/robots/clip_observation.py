"""A recorded window as its robot saw it: rows as states, the first instant as an observation."""

from dataclasses import replace

import numpy as np
import torch

from xwam.geometry.cameras import resize_intrinsics
from xwam.robots.spec import CameraSpec, RobotSpec
from xwam.robots.states import RobotState, row_to_state
from xwam.structures import ArmState, Camera, Clip, JointState, Observation


def clip_states(spec: RobotSpec, clip: Clip) -> list[RobotState] | None:
    """States of the robot at the F frames of a clip; `None` unless all of them were measured as a whole.

    Args:
        spec (`RobotSpec`): The robot.
        clip (`Clip`): A window of its recording.
    """
    rows = slice(None, None, spec.actions_per_frame)
    if not clip.state_is_valid[rows].all():
        return None
    return [_state(spec, row) for row in clip.states[rows]]


def clip_observation(spec: RobotSpec, clip: Clip) -> Observation:
    """What the robot knew when a clip began, for a pipeline to imagine what came.

    Args:
        spec (`RobotSpec`): The robot, with cameras of the size of the clip's images; see `spec_for_images`.
        clip (`Clip`): A window of its recording.

    Raises:
        ValueError: If the first state was not measured.
    """
    if not clip.state_is_valid[0].all():
        lacking = [name for name, valid in zip(spec.state_columns, clip.state_is_valid[0], strict=True) if not valid]
        raise ValueError(f"The first state of {clip.source or 'the clip'} must be measured, but lacks {lacking}.")
    state = _state(spec, clip.states[0])
    return Observation(
        images={name: video[0] for name, video in clip.images.items()},
        instruction=clip.instruction,
        arms={name: own for name, own in state.items() if isinstance(own, ArmState)},
        joints={name: own for name, own in state.items() if isinstance(own, JointState)},
        robot=clip.robot,
        depths=_first_depths(spec, clip),
        cameras={
            name: Camera(np.asarray(clip.intrinsics[name]), np.asarray(poses[0]))
            for name, poses in clip.base_from_camera.items()
            if name in clip.intrinsics
        },
    )


def _first_depths(spec: RobotSpec, clip: Clip) -> dict[str, np.ndarray]:
    """Measured depth of the first instant by camera: any of a robot with relative depth, else all that have a range or none."""
    if spec.depth_encoding == "relative":
        return {name: maps[0] for name, maps in clip.depths.items()}
    measuring = [camera.name for camera in spec.cameras if camera.depth_range is not None]
    if not all(name in clip.depths for name in measuring):
        return {}
    return {name: clip.depths[name][0] for name in measuring}


def spec_for_images(spec: RobotSpec, clip: Clip) -> RobotSpec:
    """The robot with cameras of the size of a clip's images, which were resized as a whole if they differ.

    Camera matrices that the spec holds follow. The model's own image size stays.

    Args:
        spec (`RobotSpec`): The robot.
        clip (`Clip`): A window of its recording.
    """
    return replace(spec, cameras=tuple(_resized(camera, clip) for camera in spec.cameras))


def _resized(camera: CameraSpec, clip: Clip) -> CameraSpec:
    if camera.name not in clip.images:
        return camera
    height, width = clip.images[camera.name].shape[1:3]
    if camera.size == (height, width):
        return camera
    if camera.intrinsics is None:
        return replace(camera, size=(height, width))
    matrix = torch.tensor(camera.intrinsics, dtype=torch.float64)
    resized = resize_intrinsics(matrix, camera.size, (height, width))
    return replace(camera, size=(height, width), intrinsics=tuple(tuple(row) for row in resized.tolist()))


def _state(spec: RobotSpec, row: np.ndarray) -> RobotState:
    """State of a recorded row; quaternions get back the length that float32 rounds."""
    state = row_to_state(spec, np.asarray(row, dtype=np.float64))
    return {
        name: replace(own, quaternion=own.quaternion / np.linalg.norm(own.quaternion))
        if isinstance(own, ArmState)
        else own
        for name, own in state.items()
    }
