"""Robot commands and the channels of an action vector, and where commands lead.

Commands of kind raw and joint position are the channels themselves. End-effector deltas turn with the base frame;
absolute poses are the running sum of the deltas that the model predicts.
"""

import math
from collections.abc import Callable

import numpy as np
import torch

from xwam.geometry.matrix_checks import UNIT_TOLERANCE
from xwam.geometry.rotations import (
    axis_angle_to_quaternion,
    canonical_quaternion,
    quaternion_conjugate,
    quaternion_multiply,
    quaternion_to_axis_angle,
)
from xwam.robots.spec import ArmSpec, GripperSpec, RobotSpec
from xwam.robots.states import RobotState, base_poses, model_poses, stack_poses
from xwam.structures import ActionChunk
from xwam.utils.shapes import expect_shapes

PERIOD_TOLERANCE = 1e-6  # relative, of the seconds between commands


def integrate_deltas(
    position: torch.Tensor, quaternion: torch.Tensor, deltas: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Accumulate end-effector deltas into absolute poses.

    Each delta is taken from the pose before it and is expressed in the frame of the poses, so
    \(p_k = p_{k-1} + \Delta p_k\) and \(q_k = \exp(\Delta\theta_k)\, q_{k-1}\): the rotation multiplies on the left.

    Source: `compute_future_poses` in the official `evaluation/X-WAM/deploy_policy.py`.

    Args:
        position (`torch.Tensor` of shape `(3,)`): Position now, in metres.
        quaternion (`torch.Tensor` of shape `(4,)`): Orientation now, (w, x, y, z).
        deltas (`torch.Tensor` of shape `(K, 6)`): Translation in metres, then axis-angle in radians.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: Positions `(K, 3)` in metres and canonical quaternions `(K, 4)`.

    Raises:
        ValueError: If an input has another shape.
    """
    expect_shapes(position=(position, "3"), quaternion=(quaternion, "4"), deltas=(deltas, "K 6"))
    positions = position + deltas[:, :3].cumsum(dim=0)
    quaternions = []
    for step in axis_angle_to_quaternion(deltas[:, 3:]):
        quaternion = canonical_quaternion(quaternion_multiply(step, quaternion))
        quaternions.append(quaternion)
    return positions, torch.stack(quaternions)


def pose_deltas(
    position: torch.Tensor, quaternion: torch.Tensor, positions: torch.Tensor, quaternions: torch.Tensor
) -> torch.Tensor:
    r"""Inverse of `integrate_deltas`: \(\Delta p_k = p_k - p_{k-1}\), \(\Delta\theta_k = \log(q_k q_{k-1}^{-1})\).

    Args:
        position (`torch.Tensor` of shape `(3,)`): Position now, in metres.
        quaternion (`torch.Tensor` of shape `(4,)`): Orientation now, (w, x, y, z).
        positions (`torch.Tensor` of shape `(K, 3)`): Positions to come, in metres.
        quaternions (`torch.Tensor` of shape `(K, 4)`): Orientations to come.

    Returns:
        `torch.Tensor` of shape `(K, 6)`: Translation in metres, then axis-angle in radians, each turn at most \(\pi\).

    Raises:
        ValueError: If an input has another shape.
    """
    expect_shapes(
        position=(position, "3"),
        quaternion=(quaternion, "4"),
        positions=(positions, "K 3"),
        quaternions=(quaternions, "K 4"),
    )
    before = torch.cat([quaternion[None], quaternions[:-1]])
    turns = quaternion_to_axis_angle(quaternion_multiply(quaternions, quaternion_conjugate(before)))
    return torch.cat([positions - torch.cat([position[None], positions[:-1]]), turns], dim=-1)


def gripper_command(gripper: GripperSpec, opening: torch.Tensor) -> torch.Tensor:
    """Command value of an opening, 0 closed to 1 open."""
    return gripper.command_closed + opening * (gripper.command_open - gripper.command_closed)


def gripper_opening(gripper: GripperSpec, command: torch.Tensor) -> torch.Tensor:
    """Inverse of `gripper_command`."""
    return (command - gripper.command_closed) / (gripper.command_open - gripper.command_closed)


def read_commands(spec: RobotSpec, commands: np.ndarray | ActionChunk) -> torch.Tensor:
    """Commands `(K, columns)` in float64, checked against the robot.

    Args:
        spec (`RobotSpec`): The robot.
        commands (`np.ndarray` of shape `(K, columns)`, or `ActionChunk`): Commands in the robot's own units.

    Raises:
        ValueError: If they are for another robot or another period, or have other columns, another shape or numbers that no
            command has.
    """
    layout = spec.command_layout
    if isinstance(commands, ActionChunk):
        if commands.robot != spec.name:
            raise ValueError(f"`commands` must be for robot {spec.name!r}, but are for {commands.robot!r}.")
        if tuple(commands.columns) != layout.columns:
            raise ValueError(f"`commands` must have columns {layout.columns}, but have {tuple(commands.columns)}.")
        period = spec.control_period
        if period is not None and not math.isclose(commands.period, period, rel_tol=PERIOD_TOLERANCE):
            raise ValueError(f"`commands` must be {period:g} s apart, but are {commands.period:g} s apart.")
        commands = commands.commands
    if not isinstance(commands, np.ndarray) or commands.dtype.kind not in "fiu":
        kind = getattr(commands, "dtype", type(commands).__name__)
        raise ValueError(f"`commands` must be a NumPy array of numbers or an ActionChunk, but is {kind}.")
    values = torch.from_numpy(np.array(commands, dtype=np.float64))
    check_rows("commands", values, f"K {len(layout.columns)}")
    for arm in spec.arms if spec.command_kind == "absolute_end_effector" else ():
        lengths = values[:, layout.part(f"{arm.name}_rotation")].norm(dim=-1)
        if bool(((lengths - 1).abs() > UNIT_TOLERANCE).any()):
            raise ValueError(f"`commands` must hold unit quaternions, but those of arm {arm.name!r} are not.")
    return values


def check_rows(name: str, tensor: torch.Tensor, pattern: str) -> None:
    """Check that a tensor has this shape, at least one row and only finite numbers.

    Raises:
        ValueError: If it has not.
    """
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"`{name}` must be a torch.Tensor, but is a {type(tensor).__name__}.")
    expect_shapes(**{name: (tensor, pattern)})
    if len(tensor) == 0:
        raise ValueError(f"`{name}` must have at least one row, but has none.")
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"`{name}` must be finite, but holds NaN or infinity.")


def commands_to_channels(spec: RobotSpec, commands: torch.Tensor, start: RobotState) -> torch.Tensor:
    """Action channels `(K, channels)`, before normalisation, of commands `(K, columns)` given from the state `start`."""
    return _COMMAND_MAPS[str(spec.command_kind)][0](spec, commands, start)


def channels_to_commands(spec: RobotSpec, channels: torch.Tensor, start: RobotState) -> torch.Tensor:
    """Inverse of `commands_to_channels`."""
    return _COMMAND_MAPS[str(spec.command_kind)][1](spec, channels, start)


def _unchanged(spec: RobotSpec, values: torch.Tensor, start: RobotState) -> torch.Tensor:
    return values


def _delta_commands_to_channels(spec: RobotSpec, commands: torch.Tensor, start: RobotState) -> torch.Tensor:
    turn = torch.tensor(spec.model_from_base, dtype=torch.float64)
    return _turn_deltas(spec, commands, turn, lambda gripper: 1 / (gripper.command_open - gripper.command_closed))


def _channels_to_delta_commands(spec: RobotSpec, channels: torch.Tensor, start: RobotState) -> torch.Tensor:
    turn = torch.tensor(spec.model_from_base, dtype=torch.float64).T
    return _turn_deltas(spec, channels, turn, lambda gripper: gripper.command_open - gripper.command_closed)


def _turn_deltas(
    spec: RobotSpec, deltas: torch.Tensor, turn: torch.Tensor, gripper_scale: Callable[[GripperSpec], float]
) -> torch.Tensor:
    """Deltas in another base frame; a delta of the opening is rescaled."""
    layout, turned = spec.action_layout, deltas.clone()
    for arm in spec.arms:
        for part in (layout.part(f"{arm.name}_position"), layout.part(f"{arm.name}_rotation")):
            turned[:, part] = deltas[:, part] @ turn.T
        gripper = layout.part(f"{arm.name}_gripper")
        turned[:, gripper] = deltas[:, gripper] * gripper_scale(_gripper(arm))
    return turned


def _absolute_commands_to_channels(spec: RobotSpec, commands: torch.Tensor, start: RobotState) -> torch.Tensor:
    source, target = spec.command_layout, spec.action_layout
    channels = torch.empty(len(commands), len(target.columns), dtype=torch.float64)
    for arm in spec.arms:
        position, quaternion, opening = _start_pose(spec, arm, start)
        poses = model_poses(
            spec,
            arm,
            commands[:, source.part(f"{arm.name}_position")],
            commands[:, source.part(f"{arm.name}_rotation")],
        )
        deltas = pose_deltas(position, quaternion, *poses)
        channels[:, target.part(f"{arm.name}_position")] = deltas[:, :3]
        channels[:, target.part(f"{arm.name}_rotation")] = deltas[:, 3:]
        openings = gripper_opening(_gripper(arm), commands[:, source.part(f"{arm.name}_gripper")])
        channels[:, target.part(f"{arm.name}_gripper")] = openings.diff(dim=0, prepend=opening)
    return channels


def _channels_to_absolute_commands(spec: RobotSpec, channels: torch.Tensor, start: RobotState) -> torch.Tensor:
    source, target = spec.action_layout, spec.command_layout
    commands = torch.empty(len(channels), len(target.columns), dtype=torch.float64)
    for arm in spec.arms:
        position, quaternion, opening = _start_pose(spec, arm, start)
        parts = [source.part(f"{arm.name}_position"), source.part(f"{arm.name}_rotation")]
        deltas = torch.cat([channels[:, part] for part in parts], dim=-1)
        poses = base_poses(spec, arm, *integrate_deltas(position, quaternion, deltas))
        commands[:, target.part(f"{arm.name}_position")] = poses[0]
        commands[:, target.part(f"{arm.name}_rotation")] = poses[1]
        openings = opening + channels[:, source.part(f"{arm.name}_gripper")].cumsum(dim=0)
        commands[:, target.part(f"{arm.name}_gripper")] = gripper_command(_gripper(arm), openings)
    return commands


def _start_pose(spec: RobotSpec, arm: ArmSpec, start: RobotState) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Position `(3,)` and quaternion `(4,)` now in the model's frames, and the opening `(1, 1)`."""
    position, quaternion = model_poses(spec, arm, *stack_poses([start[arm.name]]))
    return position[0], quaternion[0], torch.tensor([[float(start[arm.name].gripper)]], dtype=torch.float64)


def _gripper(arm: ArmSpec) -> GripperSpec:
    assert arm.gripper is not None, "required by the codec"
    return arm.gripper


_CommandMap = Callable[[RobotSpec, torch.Tensor, RobotState], torch.Tensor]
_COMMAND_MAPS: dict[str, tuple[_CommandMap, _CommandMap]] = {
    "raw": (_unchanged, _unchanged),
    "joint_position": (_unchanged, _unchanged),
    "delta_end_effector": (_delta_commands_to_channels, _channels_to_delta_commands),
    "absolute_end_effector": (_absolute_commands_to_channels, _channels_to_absolute_commands),
}
