"""Between RoboTwin's own arrays and what crosses the robot's border. Pure functions, NumPy only.

RoboTwin gives every pose in the world frame of its simulator, and so does this package: the base frame of the robot "robotwin"
is that world frame. The model's frames begin in `xwam.robots.processor`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xwam.geometry.matrix_checks import UNIT_TOLERANCE
from xwam.robots.camera_formats import camera_from_sapien
from xwam.structures import ArmState, Camera

ARMS = ("left", "right")


def arm_states(endpose: Mapping[str, Any]) -> dict[str, ArmState]:
    """Arms of `get_obs()["endpose"]`.

    Args:
        endpose (`Mapping[str, Any]`): Per arm `<arm>_endpose`, seven numbers: metres in the world frame, then the quaternion
            (w, x, y, z); and `<arm>_gripper`, 0 closed to 1 open.
    """
    return {arm: _arm_state(endpose[f"{arm}_endpose"], endpose[f"{arm}_gripper"]) for arm in ARMS}


def still_command(arms: Mapping[str, ArmState]) -> np.ndarray:
    """The command `(16,)` that asks for the poses and openings of `arms`: the inverse of reading them."""
    return np.concatenate(
        [np.concatenate([arms[arm].position, arms[arm].quaternion, [arms[arm].gripper]]) for arm in ARMS]
    )


def check_command(command: Any) -> np.ndarray:
    """Return a command as `float64` of shape `(16,)`: per arm x, y, z in metres, qw, qx, qy, qz, gripper opening.

    Raises:
        ValueError: If the shape is another, a number is not finite, or a quaternion has not length 1.
    """
    values = np.asarray(command)
    if values.shape != (16,) or values.dtype.kind not in "fiu":
        raise ValueError(f"`command` must be 16 real numbers but has shape {values.shape} and dtype {values.dtype}.")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"`command` must be finite but is {values.tolist()}.")
    for arm, quaternion in zip(ARMS, (values[3:7], values[11:15]), strict=True):
        length = float(np.linalg.norm(quaternion))
        if abs(length - 1) > UNIT_TOLERANCE:
            raise ValueError(f"`command` must hold unit quaternions but that of arm {arm!r} has length {length:.6g}.")
    return values


def depth_in_metres(depth: np.ndarray) -> np.ndarray:
    """Depth in metres, `float32`, of RoboTwin's `float64` millimetres; zero where nothing was hit."""
    metres = np.asarray(depth, dtype=np.float64) / 1000.0
    return np.where(np.isfinite(metres) & (metres > 0), metres, 0.0).astype(np.float32)


def camera_of(view: Mapping[str, Any], size: tuple[int, int]) -> Camera:
    """Calibration of one entry of `get_obs()["observation"]`.

    Args:
        view (`Mapping[str, Any]`): `intrinsic_cv` `(3, 3)`; `extrinsic_cv` `(3, 4)`, from the world to OpenCV axes; and
            `cam2world_gl` `(4, 4)`, the pose with OpenGL axes.
        size (`tuple[int, int]`): Size (H, W) of its images.

    Raises:
        ValueError: If the two poses are not of the same camera, or a matrix is none of a camera.
    """
    poses = {name: view[name] for name in ("extrinsic_cv", "cam2world_gl")}
    return camera_from_sapien(view["intrinsic_cv"], size, **poses)


def _arm_state(pose: Any, gripper: Any) -> ArmState:
    values = np.array(pose, dtype=np.float64)
    if values.shape != (7,):
        raise ValueError(f"An end pose must be seven numbers but has shape {values.shape}.")
    return ArmState(position=values[:3], quaternion=values[3:], gripper=float(gripper))
