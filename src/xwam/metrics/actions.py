"""How far predicted commands are from those that were given, column by column and unit by unit, command by command."""

from collections.abc import Mapping

import numpy as np
import torch

from xwam.geometry.rotations import axis_angle_to_quaternion
from xwam.metrics.arrays import check_floats
from xwam.metrics.states import position_error, rotation_error
from xwam.robots.spec import RobotSpec
from xwam.structures import ActionChunk

PARTS = ("position", "rotation", "joints", "gripper")  # of an arm's commands


def command_errors(prediction: ActionChunk, truth: ActionChunk) -> dict[str, np.ndarray]:
    """Difference without sign of every command in every column. Order does not matter.

    Args:
        prediction (`ActionChunk`): K predicted commands.
        truth (`ActionChunk`): K commands of the same robot with the same columns.

    Returns:
        `dict[str, np.ndarray]`: Arrays `(K,)` by column, in the unit of the column.

    Raises:
        TypeError: If the commands are not floating point.
        ValueError: If robots, columns or numbers of commands differ, or a command is not finite.
    """
    predicted, true = _commands(prediction, truth)
    errors = np.abs(predicted - true)
    return {column: errors[:, index] for index, column in enumerate(truth.columns)}


def command_errors_by_unit(
    prediction: ActionChunk, truth: ActionChunk, units: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Mean of `command_errors` over the columns of one unit. Order does not matter.

    Args:
        prediction (`ActionChunk`): K predicted commands.
        truth (`ActionChunk`): K commands of the same robot with the same columns.
        units (`Mapping[str, str]`): Unit by column, such as `dict(zip(spec.command_columns, spec.command_units))`.

    Returns:
        `dict[str, np.ndarray]`: Arrays `(K,)` by unit, such as `"m"`, `"rad"`, `"1"`.

    Raises:
        TypeError: If the commands are not floating point.
        ValueError: If robots, columns or numbers of commands differ, a command is not finite, or a column has no unit.
    """
    errors = command_errors(prediction, truth)
    if missing := [column for column in errors if column not in units]:
        raise ValueError(f"`units` names no unit of {missing}; it has {sorted(units)}.")
    by_unit: dict[str, list[np.ndarray]] = {}
    for column, own in errors.items():
        by_unit.setdefault(units[column], []).append(own)
    return {unit: np.mean(own, axis=0) for unit, own in by_unit.items()}


def command_part_errors(
    spec: RobotSpec, prediction: ActionChunk, truth: ActionChunk
) -> dict[str, dict[str, np.ndarray]]:
    """Errors of every arm's commands by what they move. Order does not matter.

    Positions are compared by their distance. Rotations are compared by the angle between them, not column by column: axis-angle
    vectors near a half turn jump, and quaternions have two signs. Raw commands of a controller have no such meaning; their
    three rotation numbers are compared by their distance too.

    Args:
        spec (`RobotSpec`): The robot whose columns these are.
        prediction (`ActionChunk`): K predicted commands.
        truth (`ActionChunk`): K commands of the same robot with the same columns.

    Returns:
        `dict[str, dict[str, np.ndarray]]`: By arm, arrays `(K,)`: `"position"` (metres), `"rotation"` (radians), `"gripper"`
        (openings), or `"joints"` (radians, mean over the joints); raw commands in the controller's numbers.

    Raises:
        TypeError: If the commands are not floating point.
        ValueError: If robots, columns or numbers of commands differ, or a command is not finite.
    """
    predicted, true = _commands(prediction, truth)
    layout = spec.command_layout
    if truth.robot != spec.name or tuple(truth.columns) != layout.columns:
        raise ValueError(
            f"The commands must be those of robot {spec.name!r}, with columns {layout.columns}, but are of robot "
            f"{truth.robot!r}, with columns {tuple(truth.columns)}."
        )
    there = {name for name, _ in layout.parts}
    errors: dict[str, dict[str, np.ndarray]] = {arm.name: {} for arm in spec.arms}
    for arm in spec.arms:
        for part in (part for part in PARTS if f"{arm.name}_{part}" in there):
            own = layout.part(f"{arm.name}_{part}")
            errors[arm.name][part] = _part_error(part, layout.units[own][0], predicted[:, own], true[:, own])
    return errors


def _part_error(part: str, unit: str, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if part == "rotation" and unit != "controller":
        return rotation_error(_quaternions(prediction), _quaternions(truth))
    if part in ("position", "rotation"):
        return position_error(prediction, truth)
    return np.abs(prediction - truth).mean(axis=-1)


def _quaternions(rotations: np.ndarray) -> np.ndarray:
    """Unit quaternions of quaternions `(K, 4)` or axis-angle vectors `(K, 3)`."""
    return rotations if rotations.shape[-1] == 4 else axis_angle_to_quaternion(torch.from_numpy(rotations)).numpy()


def _commands(prediction: ActionChunk, truth: ActionChunk) -> tuple[np.ndarray, np.ndarray]:
    for field in ("robot", "columns"):
        own, other = (getattr(chunk, field) for chunk in (prediction, truth))
        if own != other:
            raise ValueError(f"The chunks must have one `{field}` but have {own!r} and {other!r}.")
    arrays = [np.asarray(chunk.commands) for chunk in (prediction, truth)]
    for name, commands in zip(("prediction.commands", "truth.commands"), arrays, strict=True):
        check_floats(name, commands, (len(truth.columns),))
    if arrays[0].shape != arrays[1].shape or arrays[0].ndim != 2 or not len(arrays[0]):
        raise ValueError(
            f"Commands must have one shape (K, columns), K ≥ 1, but have {arrays[0].shape} and {arrays[1].shape}."
        )
    return arrays[0].astype(np.float64), arrays[1].astype(np.float64)
