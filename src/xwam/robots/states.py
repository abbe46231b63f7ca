"""Arm states in the robot's frames and the channels of a state vector in the model's frames, before normalisation."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from xwam.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix
from xwam.robots.spec import ArmSpec, RobotSpec
from xwam.structures import ArmState, JointState

RobotState = Mapping[str, ArmState | JointState]  # every arm of the robot at one instant


def states_to_channels(spec: RobotSpec, states: Sequence[RobotState]) -> torch.Tensor:
    """Channels `(S, channels)` in float64; see `state_rows_to_channels`."""
    layout = spec.state_layout
    rows = torch.empty(len(states), len(layout.columns), dtype=torch.float64)
    for arm in spec.arms:
        own = [state[arm.name] for state in states]
        if arm.num_joints is None:
            position, quaternion = stack_poses(own)
            rows[:, layout.part(f"{arm.name}_position")] = position
            rows[:, layout.part(f"{arm.name}_rotation")] = quaternion
        else:
            joints = np.stack([state.positions for state in own if isinstance(state, JointState)])
            rows[:, layout.part(f"{arm.name}_joints")] = torch.from_numpy(joints.astype(np.float64))
        rows[:, layout.part(f"{arm.name}_gripper")] = torch.tensor(
            [[float(s.gripper)] for s in own], dtype=torch.float64
        )
    return state_rows_to_channels(spec, rows)


def state_rows_to_channels(spec: RobotSpec, rows: torch.Tensor) -> torch.Tensor:
    """Channels `(S, channels)` of states in the robot's frames `(S, columns)`, float64, both in the order of `state_columns`.

    Positions turn with the base frame, `model_from_base @ p`, and orientations with both frames,
    `model_from_base @ R @ model_from_tool.T`.
    """
    layout, channels = spec.state_layout, rows.clone()
    for arm in spec.arms:
        if arm.num_joints is None:
            position, rotation = (layout.part(f"{arm.name}_{part}") for part in ("position", "rotation"))
            channels[:, position], channels[:, rotation] = model_poses(spec, arm, rows[:, position], rows[:, rotation])
        gripper = layout.part(f"{arm.name}_gripper")
        channels[:, gripper] = _state_value(arm, rows[:, gripper])
    return channels


def channels_to_states(spec: RobotSpec, channels: torch.Tensor) -> list[dict[str, ArmState | JointState]]:
    """Inverse of `states_to_channels`; quaternions come back canonical."""
    layout = spec.state_layout
    states: list[dict[str, ArmState | JointState]] = [{} for _ in channels]
    for arm in spec.arms:
        opening = _opening(arm, channels[:, layout.part(f"{arm.name}_gripper")]).squeeze(-1).tolist()
        if arm.num_joints is None:
            position, quaternion = base_poses(
                spec,
                arm,
                channels[:, layout.part(f"{arm.name}_position")],
                channels[:, layout.part(f"{arm.name}_rotation")],
            )
            for state, p, q, g in zip(states, position.numpy(), quaternion.numpy(), opening, strict=True):
                state[arm.name] = ArmState(position=p, quaternion=q, gripper=g)
        else:
            joints = channels[:, layout.part(f"{arm.name}_joints")].numpy()
            for state, j, g in zip(states, joints, opening, strict=True):
                state[arm.name] = JointState(positions=j, gripper=g)
    return states


def row_to_state(spec: RobotSpec, row: np.ndarray) -> dict[str, ArmState | JointState]:
    """State of every arm with exactly the numbers of one row `(columns,)` in the order of `state_columns`."""
    layout = spec.state_layout
    state: dict[str, ArmState | JointState] = {}
    for arm in spec.arms:
        gripper = float(row[layout.part(f"{arm.name}_gripper")][0])
        if arm.num_joints is None:
            position, quaternion = (row[layout.part(f"{arm.name}_{part}")] for part in ("position", "rotation"))
            state[arm.name] = ArmState(position, quaternion, gripper)
        else:
            state[arm.name] = JointState(row[layout.part(f"{arm.name}_joints")], gripper)
    return state


def stack_poses(states: Sequence[ArmState | JointState]) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions `(S, 3)` and quaternions `(S, 4)` of one arm in the robot's frames, float64."""
    poses = [state for state in states if isinstance(state, ArmState)]
    position = np.stack([np.asarray(pose.position, dtype=np.float64) for pose in poses])
    quaternion = np.stack([np.asarray(pose.quaternion, dtype=np.float64) for pose in poses])
    return torch.from_numpy(position), torch.from_numpy(quaternion)


def model_poses(
    spec: RobotSpec, arm: ArmSpec, position: torch.Tensor, quaternion: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Poses of the robot's tool in its base frame, `(..., 3)` and `(..., 4)`, in the model's frames."""
    model_from_base, model_from_tool = _frames(spec, arm)
    rotation = model_from_base @ quaternion_to_matrix(quaternion) @ model_from_tool.T
    return position @ model_from_base.T, matrix_to_quaternion(rotation)


def base_poses(
    spec: RobotSpec, arm: ArmSpec, position: torch.Tensor, quaternion: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inverse of `model_poses`."""
    model_from_base, model_from_tool = _frames(spec, arm)
    rotation = model_from_base.T @ quaternion_to_matrix(quaternion) @ model_from_tool
    return position @ model_from_base, matrix_to_quaternion(rotation)


def _frames(spec: RobotSpec, arm: ArmSpec) -> tuple[torch.Tensor, torch.Tensor]:
    spec.require("model_from_base", "arms", purpose="turn poses into the model's frames")
    return (
        torch.tensor(spec.model_from_base, dtype=torch.float64),
        torch.tensor(arm.model_from_tool, dtype=torch.float64),
    )


def _state_value(arm: ArmSpec, opening: torch.Tensor) -> torch.Tensor:
    assert arm.gripper is not None, "required by the codec"
    return arm.gripper.state_closed + opening * (arm.gripper.state_open - arm.gripper.state_closed)


def _opening(arm: ArmSpec, value: torch.Tensor) -> torch.Tensor:
    assert arm.gripper is not None, "required by the codec"
    return (value - arm.gripper.state_closed) / (arm.gripper.state_open - arm.gripper.state_closed)
