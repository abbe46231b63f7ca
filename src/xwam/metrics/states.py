"""How far predicted robot states are from the real ones, in metres, radians and openings, step by step."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from xwam.geometry.matrix_checks import UNIT_TOLERANCE
from xwam.geometry.rotations import quaternion_conjugate, quaternion_multiply, quaternion_to_axis_angle
from xwam.metrics.arrays import check_floats, check_pair, reduced
from xwam.structures import ArmState, JointState

State = Mapping[str, ArmState | JointState]  # every arm of the robot at one instant


def position_error(prediction: np.ndarray, truth: np.ndarray, *, reduce: str | None = None) -> np.ndarray:
    """Distance of each pair of positions, in metres. Order does not matter.

    Args:
        prediction (`np.ndarray` of shape `(..., 3)`): Metres, floating point.
        truth (`np.ndarray` of shape `(..., 3)`): Metres in the same frame, floating point.
        reduce (`str`, *optional*): `None` keeps one value per step, `"mean"` gives their mean.

    Raises:
        TypeError: If the positions are not floating point.
        ValueError: If shapes differ or do not end in 3, or a number is not finite.
    """
    check_pair(prediction, truth)
    check_floats("prediction", prediction, (3,))
    check_floats("truth", truth, (3,))
    return reduced(np.linalg.norm(prediction.astype(np.float64) - truth, axis=-1), reduce)


def rotation_error(prediction: np.ndarray, truth: np.ndarray, *, reduce: str | None = None) -> np.ndarray:
    r"""Angle of the rotation between each pair of orientations, 0 to π radians. Order does not matter.

    It is the geodesic distance \(|\log(R_t^{-1} R_p)|\); a quaternion and its negative are one orientation.

    Args:
        prediction (`np.ndarray` of shape `(..., 4)`): Unit quaternions (w, x, y, z), floating point.
        truth (`np.ndarray` of shape `(..., 4)`): Unit quaternions (w, x, y, z), floating point.
        reduce (`str`, *optional*): `None` keeps one value per step, `"mean"` gives their mean.

    Raises:
        TypeError: If the quaternions are not floating point.
        ValueError: If shapes differ or do not end in 4, or a quaternion has no unit length.
    """
    check_pair(prediction, truth)
    p, t = _unit_quaternions("prediction", prediction), _unit_quaternions("truth", truth)
    between = quaternion_to_axis_angle(quaternion_multiply(quaternion_conjugate(t), p))
    return reduced(torch.linalg.vector_norm(between, dim=-1).numpy(), reduce)


def gripper_error(prediction: np.ndarray, truth: np.ndarray, *, reduce: str | None = None) -> np.ndarray:
    """Difference of each pair of openings, without sign; 1 is the whole way from closed to open. Order does not matter.

    Args:
        prediction (`np.ndarray` of shape `(...)`): Openings, 0 closed to 1 open, floating point.
        truth (`np.ndarray` of shape `(...)`): Openings, 0 closed to 1 open, floating point.
        reduce (`str`, *optional*): `None` keeps one value per step, `"mean"` gives their mean.

    Raises:
        TypeError: If the openings are not floating point.
        ValueError: If shapes differ or a number is not finite.
    """
    return reduced(_absolute_difference(prediction, truth), reduce)


def joint_error(prediction: np.ndarray, truth: np.ndarray, *, reduce: str | None = None) -> np.ndarray:
    """Mean over the joints of the difference of each pair of joint positions, without sign, in radians.

    Joint positions are not wrapped: a turn of 2π is an error of 2π. Order does not matter.

    Args:
        prediction (`np.ndarray` of shape `(..., J)`): Radians, floating point.
        truth (`np.ndarray` of shape `(..., J)`): Radians, floating point.
        reduce (`str`, *optional*): `None` keeps one value per step, `"mean"` gives their mean.

    Raises:
        TypeError: If the positions are not floating point.
        ValueError: If shapes differ or a number is not finite.
    """
    return reduced(_absolute_difference(prediction, truth).mean(axis=-1), reduce)


def state_errors(prediction: Sequence[State], truth: Sequence[State]) -> dict[str, dict[str, np.ndarray]]:
    """Errors of every arm at every step.

    Args:
        prediction (`Sequence[Mapping[str, ArmState | JointState]]`): States of all arms at S steps.
        truth (`Sequence[Mapping[str, ArmState | JointState]]`): Those at the same steps.

    Returns:
        `dict[str, dict[str, np.ndarray]]`: By arm, arrays `(S,)`: `"position"` (metres), `"rotation"` (radians) and
        `"gripper"` (openings) of an arm described by its tool pose, `"joints"` (radians, mean over the joints) and `"gripper"`
        of one described by its joints.

    Raises:
        ValueError: If the numbers of steps, the arms or their kinds differ, or a number is not finite.
    """
    if len(prediction) != len(truth) or not len(truth):
        raise ValueError(
            f"There must be as many predicted as true states, at least one; there are {len(prediction)} and {len(truth)}."
        )
    for step, (own, other) in enumerate(zip(prediction, truth, strict=True)):
        kinds = [
            {arm: type(state).__name__ for arm, state in sorted(states.items())} for states in (own, other, truth[0])
        ]
        if kinds[0] != kinds[1] or kinds[1] != kinds[2]:
            raise ValueError(
                f"The arms of step {step} differ: predicted {kinds[0]}, true {kinds[1]}, at step 0 {kinds[2]}."
            )
    return {
        arm: _arm_errors([states[arm] for states in prediction], [states[arm] for states in truth]) for arm in truth[0]
    }


def _arm_errors(
    prediction: Sequence[ArmState | JointState], truth: Sequence[ArmState | JointState]
) -> dict[str, np.ndarray]:
    def stacked(states: Sequence[ArmState | JointState], field: str) -> np.ndarray:
        return np.stack([np.asarray(getattr(state, field), dtype=np.float64) for state in states])

    def error(function: Callable[[np.ndarray, np.ndarray], np.ndarray], field: str) -> np.ndarray:
        return function(stacked(prediction, field), stacked(truth, field))

    if isinstance(truth[0], JointState):
        errors = {"joints": error(joint_error, "positions")}
    else:
        errors = {"position": error(position_error, "position"), "rotation": error(rotation_error, "quaternion")}
    return errors | {"gripper": error(gripper_error, "gripper")}


def _unit_quaternions(name: str, quaternions: np.ndarray) -> torch.Tensor:
    check_floats(name, quaternions, (4,))
    lengths = np.linalg.norm(quaternions.astype(np.float64), axis=-1)
    if (np.abs(lengths - 1) > UNIT_TOLERANCE).any():
        worst = lengths.flat[np.abs(lengths - 1).argmax()]
        raise ValueError(f"`{name}` must hold unit quaternions but one has length {worst:.4g}.")
    return torch.from_numpy(quaternions.astype(np.float64))


def _absolute_difference(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    check_pair(prediction, truth)
    check_floats("prediction", prediction)
    check_floats("truth", truth)
    return np.abs(prediction.astype(np.float64) - truth)
