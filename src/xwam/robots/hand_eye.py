"""Where a camera is, from poses of the arm and what the camera saw of a target at each of them.

A camera on the tool: with a target that stands somewhere, base_from_tool · tool_from_camera · camera_from_target is one and the
same pose for all samples. A camera that stands: the arm carries the target, and tool_from_base · base_from_camera ·
camera_from_target is one. Both are A X = X B over the motions between samples. (Where both lists are inverse this holds as well, of
the target in place of the camera: no residual can tell, but the distance that comes out does.) Rotations are aligned and translations solved by
SciPy. OpenCV's `calibrateHandEye` by Park and Martin (1994) is the same alignment, but the Python package of OpenCV 5 lacks it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xwam.robots.camera_formats import expect_pose, invert_pose
from xwam.utils.optional import require

MIN_POSES = 3  # two motions about two axes; more average the noise
MIN_TURN = 0.1  # radians, root mean square over the motions, about the second of their main axes
MOST_TURN = float(np.deg2rad(170))  # radians; beyond, the axis of a motion may as well be the opposite one
MOST_UNEXPLAINED = 0.25  # of what the motions turn; noise stays far below, samples in another order do not
MOST_LEFT = 0.3  # of the error where inverse poses are what was meant
LEAST_ERROR = 1e-3  # radians; below, nothing fits better but by rounding


@dataclass(frozen=True, eq=False)
class _Agreement:
    """Between the target's pose by one sample and by all of them: how much something that stands still seems to move."""

    rotation_errors: np.ndarray
    translation_errors: np.ndarray

    @property
    def rotation_error(self) -> float:
        """Root mean square over the samples, in radians."""
        return _root_mean_square(self.rotation_errors)

    @property
    def translation_error(self) -> float:
        """Root mean square over the samples, in metres."""
        return _root_mean_square(self.translation_errors)


@dataclass(frozen=True, eq=False)
class HandEye(_Agreement):
    """A camera that the arm carries, and how well the samples agree with it.

    `rotation_errors` in radians and `translation_errors` in metres, both `(n,)`, tell a bad sample from the others;
    `rotation_error` and `translation_error` are their root mean squares.

    Args:
        tool_from_camera (`np.ndarray` of shape `(4, 4)`): Pose in the tool frame, in metres; a field of `CameraSpec`.
    """

    tool_from_camera: np.ndarray


@dataclass(frozen=True, eq=False)
class StandingCamera(_Agreement):
    """A camera that stands, and how well the samples agree with it; the errors are those of `HandEye`.

    Args:
        base_from_camera (`np.ndarray` of shape `(4, 4)`): Pose in the base frame, in metres; a field of `CameraSpec`.
    """

    base_from_camera: np.ndarray


def solve_hand_eye(base_from_tool: Sequence[Any], camera_from_target: Sequence[Any]) -> HandEye:
    """Calibrate a camera that the arm carries, looking at a target that stands.

    Move the tool to ten or more places from which the camera sees the target, turned by 30° or more about different axes.

    Args:
        base_from_tool (`np.ndarray` of shape `(n, 4, 4)`): Tool poses in the robot base frame, in metres.
        camera_from_target (`np.ndarray` of shape `(n, 4, 4)`): Pose of the target that the camera saw at each of them, in
            metres, OpenCV axes, such as `cv2.solvePnP` finds it.

    Raises:
        ValueError: If the poses are too few, do not turn about two axes, or do not fit one target.
    """
    tools, targets = _checked(base_from_tool, camera_from_target)
    camera, rotation_errors, translation_errors = _solve(tools, targets)
    return HandEye(rotation_errors, translation_errors, camera)


def solve_standing_camera(base_from_tool: Sequence[Any], camera_from_target: Sequence[Any]) -> StandingCamera:
    """Calibrate a camera that stands, looking at a target that the arm carries, wherever on the tool it is fixed.

    Args:
        base_from_tool (`np.ndarray` of shape `(n, 4, 4)`): Tool poses in the robot base frame, in metres.
        camera_from_target (`np.ndarray` of shape `(n, 4, 4)`): Pose of the target that the camera saw at each of them, in
            metres, OpenCV axes.

    Raises:
        ValueError: If the poses are too few, do not turn about two axes, or do not fit one target.
    """
    tools, targets = _checked(base_from_tool, camera_from_target)
    camera, rotation_errors, translation_errors = _solve(_inverses(tools), targets)
    return StandingCamera(rotation_errors, translation_errors, camera)


def _checked(base_from_tool: Sequence[Any], camera_from_target: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    if len(base_from_tool) != len(camera_from_target):
        raise ValueError(
            "`base_from_tool` and `camera_from_target` must have one pose each per sample, but have "
            f"{len(base_from_tool)} and {len(camera_from_target)}."
        )
    if len(base_from_tool) < MIN_POSES:
        raise ValueError(f"`base_from_tool` must have {MIN_POSES} poses or more, but has {len(base_from_tool)}.")
    tools = [expect_pose(f"base_from_tool[{index}]", pose) for index, pose in enumerate(base_from_tool)]
    targets = [expect_pose(f"camera_from_target[{index}]", pose) for index, pose in enumerate(camera_from_target)]
    return np.stack(tools), np.stack(targets)


def _solve(tools: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X of tools · X · targets = constant, and the rotation and translation errors of the samples."""
    turn = _expect_motion(tools)
    fit = _fit(tools, targets)
    error = _root_mean_square(fit[1])
    is_other = _root_mean_square(_fit(tools, _inverses(targets))[1]) < MOST_LEFT * error and error > LEAST_ERROR
    if not is_other and error <= MOST_UNEXPLAINED * turn:
        return fit
    hint = (
        "one of them seems to be inverse, tool_from_base or target_from_camera, or the camera stands where one on the tool "
        "is asked for, or the other way round."
        if is_other
        else "do both have the same order, and was the target found in each image?"
    )
    raise ValueError(
        "`base_from_tool` and `camera_from_target` do not fit one camera and one target: the target seems to turn by "
        f"{error:.3g} rad while the tool turns by {turn:.3g} rad; {hint}"
    )


def _expect_motion(tools: np.ndarray) -> float:
    """Root mean square of the angles between the poses, in radians, where they determine a camera."""
    turns = _turns(_motions(tools, _inverses(tools))[0])
    spread = np.linalg.svd(turns, compute_uv=False) / np.sqrt(len(turns))
    if spread[0] < MIN_TURN:
        raise ValueError(
            f"The poses in `base_from_tool` must turn the tool, by {MIN_TURN} rad or more, but do so by {spread[0]:.3g} rad: "
            "where a camera is on its tool cannot be seen from translations."
        )
    if spread[1] < MIN_TURN:
        raise ValueError(
            f"The poses in `base_from_tool` must turn about two axes, by {MIN_TURN} rad or more, but turn by {spread[0]:.3g} "
            f"rad about one and {spread[1]:.3g} rad about any other: the camera's place along that axis cannot be seen."
        )
    return float(np.sqrt(np.square(spread).sum()))


def _fit(tools: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, rotation errors and translation errors, whatever they are."""
    linalg = require("scipy.linalg", extra="metrics", needed_for="xwam.robots.hand_eye")
    tool_motions, target_motions = _motions(tools, targets)
    turns, seen = _turns(tool_motions), _turns(target_motions)
    is_clear = np.maximum(np.linalg.norm(turns, axis=1), np.linalg.norm(seen, axis=1)) < MOST_TURN
    camera = np.eye(4)
    if is_clear.any():
        camera[:3, :3] = _rotation_class().align_vectors(turns[is_clear], seen[is_clear])[0].as_matrix()
    left = (tool_motions[:, :3, :3] - np.eye(3)).reshape(-1, 3)  # (R_A - 1) t = R t_B - t_A
    right = (target_motions[:, :3, 3] @ camera[:3, :3].T - tool_motions[:, :3, 3]).ravel()
    camera[:3, 3] = linalg.lstsq(left, right)[0]
    return camera, *_errors(tools @ camera @ targets)


def _motions(tools: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A and B of A X = X B, `(pairs, 4, 4)` each, over all pairs of samples."""
    first, second = np.triu_indices(len(tools), k=1)
    return _inverses(tools[second]) @ tools[first], targets[second] @ _inverses(targets[first])


def _errors(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Radians and metres, `(n,)` each, between poses that should be one and their mean."""
    rotations = _rotation_class().from_matrix(poses[:, :3, :3])
    positions = poses[:, :3, 3]
    turned = (rotations.mean().inv() * rotations).magnitude()
    return turned, np.linalg.norm(positions - positions.mean(axis=0), axis=1)


def _turns(motions: np.ndarray) -> np.ndarray:
    """Axis times angle `(n, 3)` of transforms, in radians."""
    return _rotation_class().from_matrix(motions[:, :3, :3]).as_rotvec()


def _rotation_class() -> Any:
    return require("scipy.spatial.transform", extra="metrics", needed_for="xwam.robots.hand_eye").Rotation


def _inverses(poses: np.ndarray) -> np.ndarray:
    return np.stack([invert_pose(pose) for pose in poses])


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))
