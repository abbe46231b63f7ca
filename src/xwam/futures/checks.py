"""Everything that a future from outside can have wrong, each with its own error, before anything is computed or written."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from xwam.futures.future import DEPTH_KINDS, Future
from xwam.geometry.matrix_checks import (
    FARTHEST_DEPTH,
    FARTHEST_TOOL,
    UNIT_TOLERANCE,
    intrinsics_problem,
    rigid_problem,
)
from xwam.structures import ActionChunk, ArmState, DepthCalibration, JointState

SAMPLED = 4  # every so many rows and columns tell the unit
KINDS_WITHOUT_DEPTH = ("none", "relative")


def check_future(future: Any, *, name: str = "future") -> None:
    """Check that a future is whole and in the units it must be in.

    Args:
        future (`Future`): What came from outside.
        name (`str`, *optional*, defaults to `"future"`): What messages call it, such as the folder it was read from.

    Raises:
        ValueError: On the first field that is wrong, with its name, what was expected and what came.
    """
    if not isinstance(future, Future):
        raise ValueError(f"`{name}` must be a Future, but is {_kind(future)}.")
    try:
        _check_texts(future)
        size = _check_frames(future)
        _check_depths(future, size)
        _check_depth_calibrations(future)
        _check_calibration(future, size)
        _check_states(future)
        _check_actions(future)
    except ValueError as error:
        raise ValueError(f"`{name}`: {error}") from None


def _check_texts(future: Future) -> None:
    for field in ("robot", "instruction"):
        if not isinstance(getattr(future, field), str):
            raise ValueError(f"`{field}` must be a string, but is {_kind(getattr(future, field))}.")
    _check_period("frame_period", future.frame_period)


def _check_frames(future: Future) -> tuple[int, int, int]:
    """Frames F, height H and width W that everything else must have."""
    _check_mapping("frames", future.frames)
    if not future.frames:
        raise ValueError("`frames` must hold at least one camera, but is empty.")
    sizes: dict[str, tuple[int, int, int]] = {}
    for camera, video in future.frames.items():
        label = f"`frames[{camera!r}]`"
        _check_array(label, video)
        if video.dtype != np.uint8:
            raise ValueError(f"{label} must be uint8 from 0 to 255, but has dtype {video.dtype}.")
        if video.ndim != 4 or video.shape[-1] != 3:
            raise ValueError(f"{label} must have shape (F, H, W, 3), but has shape {video.shape}.")
        if 0 in video.shape:
            raise ValueError(f"{label} must hold frames of pixels, but has shape {video.shape}.")
        sizes[camera] = video.shape[:3]
    first, expected = next(iter(sizes.items()))
    for camera, size in sizes.items():
        if size != expected:
            raise ValueError(
                f"`frames[{camera!r}]` must have (F, H, W) = {expected} like {first!r}, but has {tuple(size)}."
            )
    return expected


def _check_depths(future: Future, size: tuple[int, int, int]) -> None:
    if future.depth_kind not in DEPTH_KINDS:
        raise ValueError(f"`depth_kind` must be one of {list(DEPTH_KINDS)}, but is {future.depth_kind!r}.")
    _check_cameras("depths", future.depths, future)
    if future.depths and future.depth_kind in KINDS_WITHOUT_DEPTH:
        raise ValueError(
            f"`depths` must be empty where `depth_kind` is {future.depth_kind!r}, but has {list(future.depths)}."
        )
    if not future.depths and future.depth_kind not in KINDS_WITHOUT_DEPTH:
        raise ValueError(f"`depths` must hold a camera where `depth_kind` is {future.depth_kind!r}, but is empty.")
    for camera, depth in future.depths.items():
        label = f"`depths[{camera!r}]`"
        _check_array(label, depth)
        if depth.dtype != np.float32:
            raise ValueError(f"{label} must be float32 in metres, but has dtype {depth.dtype}.")
        if depth.shape != size:
            raise ValueError(f"{label} must have the shape {size} of the frames, but has shape {depth.shape}.")
        if not np.isfinite(depth).all():
            raise ValueError(f"{label} must be finite, and 0 where nothing is known, but holds NaN or infinity.")
        if (depth < 0).any():
            raise ValueError(f"{label} must not be negative, but holds {float(depth.min()):g} m.")
        sample = depth[:, ::SAMPLED, ::SAMPLED]
        known = sample[sample > 0]
        if known.size and (median := float(np.median(known))) > FARTHEST_DEPTH:
            raise ValueError(f"{label} must be in metres, but the median is {median:g}; are these millimetres?")


def _check_depth_calibrations(future: Future) -> None:
    _check_cameras("depth_calibrations", future.depth_calibrations, future)
    for camera, fit in future.depth_calibrations.items():
        label = f"depth_calibrations[{camera!r}]"
        if not isinstance(fit, DepthCalibration):
            raise ValueError(f"`{label}` must be a DepthCalibration, but is {_kind(fit)}.")
        for field, value in vars(fit).items():
            _check_number(f"{label}.{field}", value)


def _check_calibration(future: Future, size: tuple[int, int, int]) -> None:
    _check_cameras("intrinsics", future.intrinsics, future)
    _check_cameras("base_from_camera", future.base_from_camera, future)
    for camera, matrix in future.intrinsics.items():
        if problem := intrinsics_problem(matrix, size[1:]):
            raise ValueError(f"`intrinsics[{camera!r}]` {problem}.")
    for camera, poses in future.base_from_camera.items():
        label = f"`base_from_camera[{camera!r}]`"
        _check_array(label, poses)
        if poses.shape != (size[0], 4, 4):
            raise ValueError(
                f"{label} must have shape ({size[0]}, 4, 4), one pose a frame, but has shape {poses.shape}."
            )
        for frame, pose in enumerate(poses):
            if problem := rigid_problem(pose):
                raise ValueError(f"{label[:-1]}[{frame}]` {problem}.")


def _check_states(future: Future) -> None:
    if not future.states:
        return
    if len(future.states) != future.num_frames:
        raise ValueError(
            f"`states` must hold one state a frame, {future.num_frames}, or none, but holds {len(future.states)}."
        )
    for frame, state in enumerate(future.states):
        _check_mapping(f"states[{frame}]", state)
        if set(state) != set(future.states[0]):
            raise ValueError(
                f"`states[{frame}]` must hold the arms {sorted(future.states[0])}, but holds {sorted(state)}."
            )
        for arm, own in state.items():
            _check_arm(f"states[{frame}][{arm!r}]", own)
            if type(own) is not type(future.states[0][arm]):
                raise ValueError(f"`states` must give arm {arm!r} in one form, but mix poses and joints.")


def _check_arm(label: str, state: Any) -> None:
    if isinstance(state, ArmState):
        position = _vector(f"{label}.position", state.position, 3)
        if (distance := float(np.linalg.norm(position))) > FARTHEST_TOOL:
            raise ValueError(
                f"`{label}.position` must be metres within {FARTHEST_TOOL:g} m of the base, but is {distance:g} away."
            )
        length = float(np.linalg.norm(_vector(f"{label}.quaternion", state.quaternion, 4)))
        if abs(length - 1) > UNIT_TOLERANCE:
            raise ValueError(f"`{label}.quaternion` must have length 1, but has length {length:.6g}.")
    elif isinstance(state, JointState):
        _vector(f"{label}.positions", state.positions, None)
    else:
        raise ValueError(f"`{label}` must be ArmState or JointState, but is {_kind(state)}.")
    _check_number(f"{label}.gripper", state.gripper)


def _check_actions(future: Future) -> None:
    actions = future.actions
    if actions is None:
        return
    if not isinstance(actions, ActionChunk):
        raise ValueError(f"`actions` must be an ActionChunk, but is {_kind(actions)}.")
    if actions.robot != future.robot:
        raise ValueError(f"`actions` must be of robot {future.robot!r}, but are of {actions.robot!r}.")
    _check_period("actions.period", actions.period)
    _check_number("actions.start_time", actions.start_time)
    _check_array("`actions.commands`", actions.commands)
    if actions.commands.ndim != 2 or actions.commands.shape[1] != len(actions.columns):
        raise ValueError(
            f"`actions.commands` must have shape (K, {len(actions.columns)}), but has shape {actions.commands.shape}."
        )
    if not np.issubdtype(actions.commands.dtype, np.floating):
        raise ValueError(f"`actions.commands` must be floating point, but has dtype {actions.commands.dtype}.")
    if not np.isfinite(actions.commands).all():
        raise ValueError("`actions.commands` must be finite, but holds NaN or infinity.")
    num_steps = future.num_frames - 1
    if num_steps and len(actions.commands) % num_steps:
        raise ValueError(
            f"`actions.commands` must be as many for each of the {num_steps} steps between frames, but are "
            f"{len(actions.commands)}."
        )


def _check_cameras(field: str, values: Any, future: Future) -> None:
    _check_mapping(field, values)
    if extra := [camera for camera in values if camera not in future.frames]:
        raise ValueError(f"`{field}` holds {extra}, but the cameras are {list(future.frames)}.")


def _check_mapping(field: str, values: Any) -> None:
    if not isinstance(values, Mapping):
        raise ValueError(f"`{field}` must be a mapping by name, but is {_kind(values)}.")


def _check_period(label: str, value: Any) -> None:
    _check_number(label, value)
    if value <= 0:
        raise ValueError(f"`{label}` must be positive seconds, but is {value}.")


def _check_number(label: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ValueError(f"`{label}` must be a number, but is {_kind(value)}.")
    if not math.isfinite(value):
        raise ValueError(f"`{label}` must be finite, but is {value}.")


def _check_array(label: str, values: Any) -> None:
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{label} must be a NumPy array, but is {_kind(values)}.")


def _vector(label: str, values: Any, length: int | None) -> np.ndarray:
    _check_array(f"`{label}`", values)
    expected = values.shape[:1] if length is None else (length,)
    if values.ndim != 1 or values.shape != expected:
        raise ValueError(f"`{label}` must have shape {expected if length else '(J,)'}, but has shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"`{label}` must be finite, but is {values.tolist()}.")
    return np.asarray(values, dtype=np.float64)


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
