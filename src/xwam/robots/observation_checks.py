"""Everything that an observation can have wrong, each with its own error, before any model work. Needs no torch."""

import html
import math
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np

from xwam.errors import ObservationError
from xwam.geometry.matrix_checks import (
    FARTHEST_DEPTH,
    FARTHEST_TOOL,
    UNIT_TOLERANCE,
    intrinsics_problem,
    rigid_problem,
)
from xwam.robots.spec import ArmSpec, CameraSpec, RobotSpec
from xwam.structures import ArmState, Camera, JointState, Observation

MAX_INSTRUCTION_CHARACTERS = 2000  # the text encoder reads 512 tokens, about four characters each
GRIPPER_TOLERANCE = 0.05  # of an opening; measured fingers pass their nominal ends by up to 2 %

# Beyond these a number is in another unit.
MAX_JOINT_ANGLE = 4 * math.pi  # radians, two turns
MAX_MEDIAN_DEPTH = 20.0  # times the far end of the camera's depth range


def check_observation(spec: RobotSpec, observation: Any) -> None:
    """Check that an observation fits the robot.

    Raises:
        ObservationError: On the first field that does not, with its name, what was expected and what came.
    """
    _check_origin(spec, observation)
    _check_images(spec, observation.images)
    _check_instruction(observation.instruction)
    _check_arms(spec, observation)
    _check_number("time", observation.time)
    _check_depths(spec, observation.depths)
    _check_cameras(spec, observation.cameras)


def check_start(spec: RobotSpec, observation: Any) -> None:
    """Check what states and commands need of an observation: whose it is, when it was, arms and joints.

    Raises:
        ObservationError: As `check_observation`.
    """
    _check_origin(spec, observation)
    _check_arms(spec, observation)
    _check_number("time", observation.time)


def check_calibration(spec: RobotSpec, observation: Any) -> None:
    """Check what calibration needs of an observation: whose it is, and its cameras.

    Raises:
        ObservationError: As `check_observation`.
    """
    _check_origin(spec, observation)
    _check_cameras(spec, observation.cameras)


def _check_origin(spec: RobotSpec, observation: Any) -> None:
    if not isinstance(observation, Observation):
        raise ObservationError(f"`observation` must be an Observation, but is {_kind(observation)}.")
    if observation.robot is not None and observation.robot != spec.name:
        raise ObservationError(f"`robot` must be {spec.name!r}, but the observation is from {observation.robot!r}.")


def _check_arms(spec: RobotSpec, observation: Observation) -> None:
    poses = [arm.name for arm in spec.arms if arm.num_joints is None]
    joints = [arm.name for arm in spec.arms if arm.num_joints is not None]
    _check_names("arms", observation.arms, poses)
    _check_names("joints", observation.joints, joints)
    for arm in spec.arms:
        field, states = ("arms", observation.arms) if arm.num_joints is None else ("joints", observation.joints)
        _check_arm(f"{field}[{arm.name!r}]", arm, states[arm.name])


def check_state(spec: RobotSpec, label: str, state: Any, *, is_measured: bool = True) -> None:
    """Check one robot state, a mapping from every arm's name to its `ArmState` or `JointState`.

    Args:
        spec (`RobotSpec`): The robot.
        label (`str`): What the message calls the state.
        state (`Any`): The state.
        is_measured (`bool`, *optional*, defaults to `True`): Whether a robot measured it. What a network predicts may lie
            anywhere, and is in the right unit all the same.

    Raises:
        ObservationError: If an arm is missing, extra, of the wrong kind or holds wrong numbers.
    """
    _check_names(label, state, [arm.name for arm in spec.arms])
    for arm in spec.arms:
        _check_arm(f"{label}[{arm.name!r}]", arm, state[arm.name], is_measured=is_measured)


def _check_images(spec: RobotSpec, images: Any) -> None:
    _check_names("images", images, [camera.name for camera in spec.cameras])
    for camera in spec.cameras:
        _check_image(camera, images[camera.name])


def _check_image(camera: CameraSpec, image: Any) -> None:
    label, expected = f"`images[{camera.name!r}]`", (*camera.size, 3)
    if not isinstance(image, np.ndarray):
        raise ObservationError(f"{label} must be a NumPy array of shape {expected}, but is {_kind(image)}.")
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[-1] != 3:
        raise ObservationError(f"{label} must have its channels last, {expected}, but they come first: {image.shape}.")
    if image.dtype != np.uint8:
        raise ObservationError(f"{label} must be uint8 from 0 to 255, but has dtype {image.dtype}.")
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ObservationError(f"{label} must be RGB of shape {expected}, but has shape {image.shape}.")
    if image.shape != expected:
        raise ObservationError(f"{label} must have size {camera.size}, but has size {image.shape[:2]}.")


def _check_instruction(instruction: Any) -> None:
    if not isinstance(instruction, str):
        raise ObservationError(f"`instruction` must be a string, but is {_kind(instruction)}.")
    if len(instruction) > MAX_INSTRUCTION_CHARACTERS:
        raise ObservationError(
            f"`instruction` must have at most {MAX_INSTRUCTION_CHARACTERS} characters, but has {len(instruction)}."
        )
    if any(unicodedata.category(letter) in ("Cc", "Cs") and not letter.isspace() for letter in instruction):
        raise ObservationError("`instruction` must be readable text, but holds control characters or broken Unicode.")
    if not any(_is_visible(letter) for letter in _unescaped(instruction)):
        raise ObservationError("`instruction` must say what to do, but is empty.")


def _unescaped(text: str) -> str:
    """The text without HTML escapes, which the model's text encoder never sees either."""
    while (plain := html.unescape(text)) != text:
        text = plain
    return text


def _is_visible(letter: str) -> bool:
    return not letter.isspace() and unicodedata.category(letter) not in ("Cc", "Cf")


def _check_arm(label: str, arm: ArmSpec, state: Any, *, is_measured: bool = True) -> None:
    expected = ArmState if arm.num_joints is None else JointState
    if not isinstance(state, expected):
        raise ObservationError(f"`{label}` must be {expected.__name__}, but is {_kind(state)}.")
    if isinstance(state, ArmState):
        _check_vector(f"{label}.position", state.position, 3)
        distance = float(np.linalg.norm(state.position))
        if is_measured and distance > FARTHEST_TOOL:
            raise ObservationError(
                f"`{label}.position` must be metres within {FARTHEST_TOOL:g} m of the base, but is {distance:g} away."
            )
        _check_vector(f"{label}.quaternion", state.quaternion, 4)
        length = float(np.linalg.norm(np.asarray(state.quaternion, dtype=np.float64)))
        if abs(length - 1) > UNIT_TOLERANCE:
            raise ObservationError(f"`{label}.quaternion` must have length 1, but has length {length:.6g}.")
    else:
        assert arm.num_joints is not None, "arms with joint states have joints"
        _check_vector(f"{label}.positions", state.positions, arm.num_joints)
        if is_measured and np.abs(state.positions).max() > MAX_JOINT_ANGLE:
            raise ObservationError(
                f"`{label}.positions` must be radians within ±4π, but are {np.round(state.positions, 3).tolist()}."
            )
    _check_number(f"{label}.gripper", state.gripper)
    if is_measured and not -GRIPPER_TOLERANCE <= state.gripper <= 1 + GRIPPER_TOLERANCE:
        raise ObservationError(f"`{label}.gripper` must be from 0 closed to 1 open, but is {state.gripper}.")


def _check_depths(spec: RobotSpec, depths: Any) -> None:
    is_relative = spec.depth_encoding == "relative"
    measuring = {camera.name: camera for camera in spec.cameras if is_relative or camera.depth_range is not None}
    if isinstance(depths, Mapping) and not depths:
        return
    _check_names("depths", depths, list(measuring), may_lack=is_relative)
    for name, camera in measuring.items():
        if name not in depths:
            continue
        label, depth = f"`depths[{name!r}]`", depths[name]
        if not isinstance(depth, np.ndarray):
            raise ObservationError(f"{label} must be a NumPy array in metres, but is {_kind(depth)}.")
        if depth.dtype.kind != "f":
            raise ObservationError(f"{label} must be floating point metres, but has dtype {depth.dtype}.")
        if depth.shape != camera.size:
            raise ObservationError(f"{label} must have shape {camera.size}, but has shape {depth.shape}.")
        if np.isinf(depth).any():
            raise ObservationError(f"{label} must be finite, or NaN where nothing was measured, but holds infinity.")
        if (depth < 0).any():
            raise ObservationError(f"{label} must not be negative, but holds {np.nanmin(depth):g} m.")
        if problem := depth_unit_problem(depth, camera.depth_range):
            raise ObservationError(f"{label} {problem}.")


def depth_unit_problem(depth: np.ndarray, depth_range: tuple[float, float] | None) -> str | None:
    """Why a depth image cannot be in metres; `None` if it can.

    Args:
        depth (`np.ndarray` of shape `(H, W)`): Floating point; 0 and NaN where nothing was measured.
        depth_range (`tuple[float, float]` or `None`): Nearest and farthest metres that the camera is said to see.
    """
    known = depth[depth > 0]  # NaN is not
    if known.size == 0:
        return None
    median = float(np.median(known))
    if depth_range is None and median > FARTHEST_DEPTH:
        return f"must be in metres: the median is {median:g}, which no robot's camera sees"
    if depth_range is not None and median > MAX_MEDIAN_DEPTH * depth_range[1]:
        return f"must be in metres: the median is {median:g}, and the range ends at {depth_range[1]:g} m"
    return None


def _check_cameras(spec: RobotSpec, cameras: Any) -> None:
    sizes = {camera.name: camera.size for camera in spec.cameras}
    if not isinstance(cameras, Mapping):
        raise ObservationError(f"`cameras` must be a mapping by name, but is {_kind(cameras)}.")
    if extra := [name for name in cameras if name not in sizes]:
        raise ObservationError(f"`cameras` holds {extra}, but the cameras of {spec.name!r} are {list(sizes)}.")
    for name, camera in cameras.items():
        if not isinstance(camera, Camera):
            raise ObservationError(f"`cameras[{name!r}]` must be a Camera, but is {_kind(camera)}.")
        if problem := intrinsics_problem(camera.intrinsics, sizes[name]):
            raise ObservationError(f"`cameras[{name!r}].intrinsics` {problem}.")
        if problem := rigid_problem(camera.base_from_camera):
            raise ObservationError(f"`cameras[{name!r}].base_from_camera` {problem}.")


def _check_names(field: str, values: Any, expected: list[str], *, may_lack: bool = False) -> None:
    if not isinstance(values, Mapping):
        raise ObservationError(f"`{field}` must be a mapping by name, but is {_kind(values)}.")
    if not may_lack and (missing := [name for name in expected if name not in values]):
        raise ObservationError(f"`{field}` lacks {missing}; expected are {expected}, given are {list(values)}.")
    if extra := [name for name in values if name not in expected]:
        raise ObservationError(f"`{field}` holds {extra}, which this robot has not; expected are {expected}.")


def _check_vector(label: str, values: Any, length: int) -> None:
    if not isinstance(values, np.ndarray):
        raise ObservationError(f"`{label}` must be a NumPy array of shape ({length},), but is {_kind(values)}.")
    if values.dtype.kind not in "fiu":
        raise ObservationError(f"`{label}` must hold real numbers, but has dtype {values.dtype}.")
    if values.shape != (length,):
        raise ObservationError(f"`{label}` must have shape ({length},), but has shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ObservationError(f"`{label}` must be finite, but is {values.tolist()}.")


def _check_number(label: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ObservationError(f"`{label}` must be a number, but is {_kind(value)}.")
    if not math.isfinite(value):
        raise ObservationError(f"`{label}` must be finite, but is {value}.")


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
