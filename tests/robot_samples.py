"""Observations and complete specs for every registered robot, for the tests of this folder."""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from xwam.robots.registry import get_robot
from xwam.robots.spec import IDENTITY, GripperSpec, RobotSpec
from xwam.structures import ArmState, Camera, JointState, Observation


def complete_spec(name: str, seed: int = 0) -> RobotSpec:
    """The registered robot with made-up values for what its spec does not know."""
    spec = get_robot(name)
    gripper = GripperSpec(command_open=0.08, command_closed=0.0)
    arms = tuple(
        replace(arm, gripper=arm.gripper or gripper, model_from_tool=arm.model_from_tool or IDENTITY)
        for arm in spec.arms
    )
    spec = replace(
        spec,
        arms=arms,
        command_kind=spec.command_kind or "delta_end_effector",
        control_period=spec.control_period or 0.1,
        model_from_base=spec.model_from_base or Rotation.from_rotvec([0.0, 0.0, 0.7]).as_matrix(),
    )
    return spec if spec.quantiles else with_random_quantiles(spec, seed)


def with_random_quantiles(spec: RobotSpec, seed: int = 0) -> RobotSpec:
    rng = np.random.default_rng(seed)
    quantiles = []
    for applies in (spec.state_is_normalized, spec.action_is_normalized):
        low, high = -rng.uniform(0.5, 2.0, len(applies)), rng.uniform(1.0, 2.0, len(applies))
        quantiles += [np.where(applies, low, -1.0), np.where(applies, high, 1.0)]
    return spec.with_quantiles(*quantiles)


def make_states(spec: RobotSpec, count: int, seed: int = 0) -> list[dict[str, ArmState | JointState]]:
    rng = np.random.default_rng(seed)
    states = []
    for _ in range(count):
        state = {}
        for arm in spec.arms:
            if arm.num_joints is None:
                turn = Rotation.random(random_state=rng)
                quaternion = turn.as_quat(canonical=True, scalar_first=True)
                state[arm.name] = ArmState(rng.uniform(-0.4, 0.4, 3), quaternion, rng.uniform())
            else:
                state[arm.name] = JointState(rng.uniform(-0.4, 0.4, arm.num_joints), rng.uniform())
        states.append(state)
    return states


def make_observation(spec: RobotSpec, seed: int = 0) -> Observation:
    """A valid observation with everything that the robot can bring."""
    rng = np.random.default_rng(seed)
    state = make_states(spec, 1, seed)[0]
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = Rotation.random(random_state=rng).as_matrix(), rng.normal(size=3)
    return Observation(
        images={camera.name: rng.integers(0, 256, (*camera.size, 3), dtype=np.uint8) for camera in spec.cameras},
        instruction="put the red cube into the bin",
        arms={name: arm for name, arm in state.items() if isinstance(arm, ArmState)},
        joints={name: arm for name, arm in state.items() if isinstance(arm, JointState)},
        time=1.5,
        robot=spec.name,
        depths={
            camera.name: rng.uniform(*camera.depth_range, camera.size).astype(np.float32)
            for camera in spec.cameras
            if camera.depth_range
        },
        cameras={camera.name: Camera(_intrinsics(*camera.size), pose) for camera in spec.cameras},
    )


def _intrinsics(height: int, width: int) -> np.ndarray:
    return np.array([[200.0, 0.0, width / 2 - 3], [0.0, 210.0, height / 2 + 2], [0.0, 0.0, 1.0]])


def make_commands(spec: RobotSpec, count: int, seed: int = 0) -> np.ndarray:
    """Commands of the robot's kind; small enough for deltas to stay unambiguous."""
    rng = np.random.default_rng(seed)
    commands = rng.uniform(-0.3, 0.3, (count, len(spec.command_columns)))
    for arm in spec.arms:
        if spec.command_kind == "absolute_end_effector":
            part = spec.command_layout.part(f"{arm.name}_rotation")
            turns = Rotation.random(count, random_state=rng)
            commands[:, part] = turns.as_quat(canonical=True, scalar_first=True)
        if spec.command_kind in ("absolute_end_effector", "joint_position"):
            commands[:, spec.command_layout.part(f"{arm.name}_gripper")] = rng.uniform(0, 1, (count, 1))
    return commands
