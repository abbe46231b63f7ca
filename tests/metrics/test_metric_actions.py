"""Command errors by column, by unit and by what the columns move, for every kind of robot."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from xwam.metrics.actions import command_errors, command_errors_by_unit, command_part_errors
from xwam.robots.registry import get_robot
from xwam.robots.spec import RobotSpec
from xwam.structures import ActionChunk

COMMANDS = 6


def chunk(spec: RobotSpec, commands: np.ndarray) -> ActionChunk:
    return ActionChunk(spec.name, commands, spec.command_columns, period=0.05)


def pair(spec: RobotSpec, seed: int = 0) -> tuple[ActionChunk, ActionChunk]:
    rng = np.random.default_rng(seed)
    return tuple(chunk(spec, rng.normal(size=(COMMANDS, len(spec.command_columns)))) for _ in range(2))


def units(spec: RobotSpec) -> dict[str, str]:
    return dict(zip(spec.command_columns, spec.command_units, strict=True))


@pytest.mark.parametrize("robot", ["robotwin", "droid", "robocasa"])
def test_columns_are_apart_by_their_difference_and_units_by_the_mean_of_their_columns(robot: str):
    spec = get_robot(robot)
    prediction, truth = pair(spec)
    expected = np.abs(prediction.commands - truth.commands)
    found = command_errors(prediction, truth)
    assert tuple(found) == spec.command_columns
    np.testing.assert_allclose(np.stack(list(found.values()), axis=-1), expected)
    by_unit = command_errors_by_unit(prediction, truth, units(spec))
    assert set(by_unit) == set(spec.command_units)
    for unit, values in by_unit.items():
        own = [index for index, other in enumerate(spec.command_units) if other == unit]
        np.testing.assert_allclose(values, expected[:, own].mean(axis=1))


def absolute_robot() -> RobotSpec:
    spec = get_robot("robotwin")
    assert spec.command_kind == "absolute_end_effector"
    return spec


def test_absolute_poses_are_apart_by_distance_and_angle():
    spec = absolute_robot()
    layout = spec.command_layout
    truth, prediction = np.zeros((2, COMMANDS, len(layout.columns)))
    turns = Rotation.random(COMMANDS, random_state=0)
    extra = Rotation.from_rotvec(np.linspace(0, 3, COMMANDS)[:, None] * [0, 0.6, 0.8])
    for arm in ("left", "right"):
        truth[:, layout.part(f"{arm}_rotation")] = np.roll(turns.as_quat(), 1, axis=-1)
        prediction[:, layout.part(f"{arm}_rotation")] = -np.roll((turns * extra).as_quat(), 1, axis=-1)
    prediction[:, layout.part("left_position")] = [0.03, 0.04, 0]
    prediction[:, layout.part("right_gripper")] = 0.5
    found = command_part_errors(spec, chunk(spec, prediction), chunk(spec, truth))
    np.testing.assert_allclose(found["left"]["position"], 0.05)
    np.testing.assert_allclose(found["right"]["position"], 0)
    np.testing.assert_allclose(found["left"]["rotation"], np.linspace(0, 3, COMMANDS), atol=1e-9)
    np.testing.assert_allclose(found["right"]["gripper"], 0.5)


def test_an_arm_whose_name_begins_with_that_of_another_keeps_its_own():
    spec = absolute_robot()
    arms = tuple(replace(arm, name=name) for arm, name in zip(spec.arms, ("arm", "arm_2"), strict=True))
    spec = replace(spec, arms=arms, cameras=tuple(replace(camera, arm=None) for camera in spec.cameras))
    still = np.zeros((COMMANDS, len(spec.command_columns)))
    for arm in ("arm", "arm_2"):
        still[:, spec.command_layout.part(f"{arm}_rotation")] = [1, 0, 0, 0]
    found = command_part_errors(spec, chunk(spec, still), chunk(spec, still))
    assert {arm: list(parts) for arm, parts in found.items()} == {
        "arm": ["position", "rotation", "gripper"],
        "arm_2": ["position", "rotation", "gripper"],
    }


def test_turns_in_axis_angle_are_apart_by_the_angle_and_not_by_their_columns():
    """Half a turn and a little less about one axis, from both sides: columns differ by 2π, rotations by 0.02."""
    spec = replace(get_robot("mujoco_panda"), command_kind="delta_end_effector", raw_scale=None)
    layout = spec.command_layout
    assert layout.units[layout.part("left_rotation")] == ("rad",) * 3
    truth, prediction = np.zeros((2, COMMANDS, len(layout.columns)))
    truth[:, layout.part("left_rotation")] = [0, 0, np.pi - 0.01]
    prediction[:, layout.part("left_rotation")] = [0, 0, -np.pi + 0.01]
    found = command_part_errors(spec, chunk(spec, prediction), chunk(spec, truth))
    np.testing.assert_allclose(found["left"]["rotation"], 0.02, atol=1e-9)
    assert command_errors(chunk(spec, prediction), chunk(spec, truth))["left_delta_rz"][0] > 6


def test_raw_commands_and_joints_are_compared_as_numbers():
    raw, joints = get_robot("robocasa"), get_robot("droid")
    prediction, truth = pair(raw)
    rotation = raw.command_layout.part("left_rotation")
    expected = np.linalg.norm((prediction.commands - truth.commands)[:, rotation], axis=-1)
    np.testing.assert_allclose(command_part_errors(raw, prediction, truth)["left"]["rotation"], expected)
    prediction, truth = pair(joints)
    own = joints.command_layout.part("left_joints")
    expected = np.abs(prediction.commands - truth.commands)[:, own].mean(axis=-1)
    np.testing.assert_allclose(command_part_errors(joints, prediction, truth)["left"]["joints"], expected)


def test_chunks_that_do_not_belong_together_are_refused():
    spec = get_robot("droid")
    prediction, truth = pair(spec)
    with pytest.raises(ValueError, match="must have one `robot` but have 'robotwin' and 'droid'"):
        command_errors(replace(prediction, robot="robotwin"), truth)
    with pytest.raises(ValueError, match="must have one `columns`"):
        command_errors(replace(prediction, columns=spec.command_columns[::-1]), truth)
    with pytest.raises(ValueError, match=r"must have one shape \(K, columns\)"):
        command_errors(replace(prediction, commands=prediction.commands[:-1]), truth)
    with pytest.raises(ValueError, match="K ≥ 1"):
        command_errors(*(replace(own, commands=own.commands[:0]) for own in (prediction, truth)))
    with pytest.raises(ValueError, match=r"`prediction\.commands` must be finite"):
        command_errors(replace(prediction, commands=prediction.commands * np.nan), truth)
    with pytest.raises(TypeError, match=r"`truth\.commands` must hold floating-point numbers"):
        command_errors(prediction, replace(truth, commands=truth.commands.astype(int)))
    with pytest.raises(ValueError, match=r"`units` names no unit of \['left_gripper'\]"):
        command_errors_by_unit(prediction, truth, {k: v for k, v in units(spec).items() if k != "left_gripper"})
    with pytest.raises(ValueError, match="must be those of robot 'robocasa'"):
        command_part_errors(get_robot("robocasa"), prediction, truth)
