"""Calibration of what the model sees: camera matrices after resize and crop, and camera poses along a future."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from xwam.geometry.cameras import model_intrinsics, wrist_camera_pose
from xwam.geometry.rotations import quaternion_to_matrix
from xwam.geometry.transforms import invert_transform, rigid_transform
from xwam.robots.observation_checks import check_calibration, check_start, check_state
from xwam.robots.spec import CameraSpec, RobotSpec
from xwam.robots.states import RobotState, stack_poses
from xwam.structures import Observation


def with_calibration(
    spec: RobotSpec,
    *,
    intrinsics: Mapping[str, Any] | None = None,
    base_from_camera: Mapping[str, Any] | None = None,
    tool_from_camera: Mapping[str, Any] | None = None,
) -> RobotSpec:
    """The same robot with calibrated cameras; cameras that are not named keep what they had.

    Args:
        spec (`RobotSpec`): The robot.
        intrinsics (`Mapping[str, np.ndarray]`, *optional*): Camera matrices `(3, 3)` in pixels of the
            robot's own images, by camera.
        base_from_camera (`Mapping[str, np.ndarray]`, *optional*): Poses `(4, 4)` of cameras that
            stand, in metres, by camera.
        tool_from_camera (`Mapping[str, np.ndarray]`, *optional*): Hand-eye calibrations `(4, 4)` of
            cameras that an arm carries, in metres, by camera.

    Raises:
        ValueError: If the robot has no such camera, or a matrix is none of that camera; the message says what is wrong.
    """
    given = {
        "intrinsics": intrinsics or {},
        "base_from_camera": base_from_camera or {},
        "tool_from_camera": tool_from_camera or {},
    }
    names = [camera.name for camera in spec.cameras]
    for field, matrices in given.items():
        if unknown := [name for name in matrices if name not in names]:
            raise ValueError(f"`{field}` has {unknown}, but the cameras of {spec.name!r} are {names}.")
    cameras = []
    for camera in spec.cameras:
        own: dict[str, Any] = {
            field: np.asarray(matrices[camera.name]) for field, matrices in given.items() if camera.name in matrices
        }
        cameras.append(replace(camera, **own))
    return replace(spec, cameras=tuple(cameras))


def view_intrinsics(spec: RobotSpec, observation: Observation) -> torch.Tensor:
    """Camera matrices `(V, 3, 3)` of the model's images, in pixels, float64.

    What the observation reports goes before what the spec holds.

    Raises:
        ObservationError: If the observation is of another robot, or a camera in it is none.
        ValueError: If neither knows the matrix of a view.
    """
    check_calibration(spec, observation)
    matrices = []
    for camera in spec.cameras:
        matrix = _matrix(spec, camera, observation)
        if matrix is None:
            raise _unknown(spec, camera, "intrinsics")
        matrices.append(matrix)
    return torch.stack(matrices)


def view_poses(spec: RobotSpec, observation: Observation, states: Sequence[RobotState]) -> torch.Tensor:
    """Camera poses `base_from_camera` `(S, V, 4, 4)` in metres, float64, at each of the states.

    Standing cameras keep their pose. Carried cameras follow their arm with the hand-eye calibration of the spec, or the one
    that follows from the pose the observation reports.

    Args:
        spec (`RobotSpec`): The robot.
        observation (`Observation`): Where the poses start.
        states (`Sequence[Mapping[str, ArmState | JointState]]`): Measured or predicted states.

    Raises:
        ObservationError: If the observation is of another robot, or its arms, its cameras or a state do not fit.
        ValueError: If there is no state, the pose of a view is unknown, or its arm's state is in joints.
    """
    _check_path(spec, observation, states)
    poses = []
    for camera in spec.cameras:
        pose = _poses(camera, observation, states)
        if pose is None:
            if camera.arm is not None and camera.arm not in observation.arms:
                raise ValueError(
                    f"Camera {camera.name!r} follows arm {camera.arm!r}, whose state is in joints: its pose is unknown."
                )
            raise _unknown(spec, camera, "base_from_camera" if camera.arm is None else "tool_from_camera")
        poses.append(pose)
    return torch.stack(poses, dim=1)


def known_intrinsics(spec: RobotSpec, observation: Observation) -> dict[str, np.ndarray]:
    """Camera matrices `(3, 3)` of the model's images by camera, float64, of the cameras where they are known.

    Raises:
        ObservationError: If the observation is of another robot, or a camera in it is none.
    """
    check_calibration(spec, observation)
    matrices = {camera.name: _matrix(spec, camera, observation) for camera in spec.cameras}
    return {name: matrix.numpy() for name, matrix in matrices.items() if matrix is not None}


def known_poses(spec: RobotSpec, observation: Observation, states: Sequence[RobotState]) -> dict[str, np.ndarray]:
    """Camera poses `base_from_camera` `(S, 4, 4)` by camera as in `view_poses`, of the cameras where they are known.

    Args:
        spec (`RobotSpec`): The robot.
        observation (`Observation`): Where the poses start.
        states (`Sequence[Mapping[str, ArmState | JointState]]`): Measured or predicted states.

    Raises:
        ObservationError: If the observation is of another robot, or its arms, its cameras or a state do not fit.
        ValueError: If there is no state.
    """
    _check_path(spec, observation, states)
    poses = {camera.name: _poses(camera, observation, states) for camera in spec.cameras}
    return {name: pose.contiguous().numpy() for name, pose in poses.items() if pose is not None}


def _check_path(spec: RobotSpec, observation: Observation, states: Sequence[RobotState]) -> None:
    check_start(spec, observation)
    check_calibration(spec, observation)
    if len(states) == 0:
        raise ValueError("`states` must hold at least one state, but is empty.")
    for index, state in enumerate(states):
        check_state(spec, f"states[{index}]", state, is_measured=False)


def own_intrinsics(camera: CameraSpec, observation: Observation) -> torch.Tensor | None:
    """Camera matrix `(3, 3)` of the robot's own images, in pixels, float64, where it is known."""
    reported = observation.cameras.get(camera.name)
    matrix = camera.intrinsics if reported is None else reported.intrinsics
    return None if matrix is None else torch.as_tensor(matrix, dtype=torch.float64)


def _matrix(spec: RobotSpec, camera: CameraSpec, observation: Observation) -> torch.Tensor | None:
    """Camera matrix of the model's images, where it is known."""
    own = own_intrinsics(camera, observation)
    return None if own is None else model_intrinsics(own, camera.size, spec.image_size, spec.crop_ratio)


def _poses(camera: CameraSpec, observation: Observation, states: Sequence[RobotState]) -> torch.Tensor | None:
    """Poses `(S, 4, 4)` of one camera, where they are known."""
    reported = observation.cameras.get(camera.name)
    now = None if reported is None else torch.as_tensor(reported.base_from_camera, dtype=torch.float64)
    if camera.arm is None:
        if now is None and camera.base_from_camera is None:
            return None
        pose = torch.tensor(camera.base_from_camera, dtype=torch.float64) if now is None else now
        return pose.expand(len(states), 4, 4)
    if camera.arm not in observation.arms:
        return None
    if camera.tool_from_camera is not None:
        hand_eye = torch.tensor(camera.tool_from_camera, dtype=torch.float64)
    elif now is not None:
        hand_eye = invert_transform(_tool_poses([observation.arms], camera.arm)[0]) @ now
    else:
        return None
    return wrist_camera_pose(_tool_poses(states, camera.arm), hand_eye)


def _tool_poses(states: Sequence[RobotState], arm: str) -> torch.Tensor:
    position, quaternion = stack_poses([state[arm] for state in states])
    return rigid_transform(quaternion_to_matrix(quaternion), position)


def _unknown(spec: RobotSpec, camera: CameraSpec, field: str) -> ValueError:
    return ValueError(
        f"`{field}` of camera {camera.name!r} is known neither to the spec of {spec.name!r} nor to the observation."
    )
