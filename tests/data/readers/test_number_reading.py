"""Stored numbers become metres, unit quaternions, radians, openings and commands, each by its own rule."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from xwam.data.dataset_map import ArmMap, Columns, DatasetMap, StoredFeature
from xwam.data.readers.number_reading import NumberReading, Rows
from xwam.errors import DataError
from xwam.robots.registry import get_robot
from xwam.robots.spec import RobotSpec

ROWS = 6
PLACE = Rows("set", "first", 10)
RNG = np.random.default_rng(0)
TURNS = Rotation.random(ROWS, random_state=1)
STORED = {
    "pose": np.concatenate([RNG.uniform(-500, 500, (ROWS, 3)), TURNS.as_quat()], axis=1),
    "hand": RNG.uniform(35, 123, (ROWS, 2)),
    "delta": np.concatenate([RNG.uniform(-0.1, 0.1, (ROWS, 6)), RNG.uniform(0, 1, (ROWS, 1))], axis=1),
    "joints": RNG.uniform(-180, 180, (ROWS, 7)),
}
FEATURES = {name: StoredFeature(width=values.shape[1]) for name, values in STORED.items()}
LEFT = ArmMap(
    "left",
    position=Columns("pose", (0, 1, 2), scale=0.001),
    rotation=Columns("pose", (3, 4, 5, 6)),
    rotation_form="quaternion_xyzw",
    gripper=Columns("hand", (1,)),
    gripper_closed=35.0,
    gripper_open=123.0,
)
DELTA = ArmMap(
    "left",
    position=Columns("delta", (0, 1, 2)),
    rotation=Columns("delta", (3, 4, 5)),
    rotation_form="euler_xyz",
    gripper=Columns("delta", (6,)),
)


def reading(robot: RobotSpec, **fields: object) -> NumberReading:
    return NumberReading(DatasetMap(**{"states": (LEFT,), **fields}), robot, FEATURES, "set")


def opening() -> np.ndarray:
    return (STORED["hand"][:, 1] - 35) / 88


def test_states_are_in_metres_quaternions_and_openings():
    found = reading(get_robot("robotwin")).states(STORED, PLACE)
    np.testing.assert_allclose(found.values[:, :3], STORED["pose"][:, :3] / 1000)
    np.testing.assert_allclose(found.values[:, 3:7], TURNS.as_quat(canonical=True, scalar_first=True))
    np.testing.assert_allclose(found.values[:, 7], opening())
    assert found.is_valid[:, :8].all()
    assert not found.is_valid[:, 8:].any()  # the right arm is not in the data set
    assert (found.values[:, 8:] == 0).all()


def test_joints_in_degrees_become_radians():
    arm = ArmMap("left", joints=Columns("joints", scale=np.pi / 180), gripper=Columns("hand", (0,)), gripper_open=2.0)
    found = reading(get_robot("droid"), states=(arm,)).states(STORED, PLACE)
    np.testing.assert_allclose(found.values[:, :7], np.deg2rad(STORED["joints"]))


def test_absolute_commands_carry_the_robots_own_gripper_values():
    robot = get_robot("agibot_world")  # commands 0 open, 1 closed
    closing = replace(LEFT, gripper=Columns("delta", (6,)), gripper_closed=1.0, gripper_open=0.0)
    found = reading(robot, commands=(closing,)).commands(STORED, PLACE)
    assert (found.values[:, 7] == STORED["delta"][:, 6]).all()
    found = reading(robot, commands=(LEFT,)).commands(STORED, PLACE)
    np.testing.assert_allclose(found.values[:, 7], 1 - opening())
    np.testing.assert_allclose(found.values[:, 3:7], TURNS.as_quat(canonical=True, scalar_first=True))


def test_the_next_state_is_the_command_where_there_is_none():
    robot = get_robot("agibot_world")
    own = reading(robot, next_state_is_command=True)
    assert own.command_features == ["pose", "hand"]
    found, states = own.commands(STORED, PLACE), own.states(STORED, PLACE)
    assert found.values.shape == (ROWS - 1, 16)
    assert (found.values[:, :7] == states.values[1:, :7]).all()
    np.testing.assert_allclose(found.values[:, 7], 1 - opening()[1:])
    assert (found.values[:, 8:] == 0).all()
    assert not found.is_valid[:, 8:].any()


def test_deltas_become_axis_angles_and_changes_of_the_opening():
    robot = replace(get_robot("agibot_world"), command_kind="delta_end_effector")
    own = reading(robot, commands=(DELTA,))
    assert own.command_features == ["delta", "pose", "hand"]
    found = own.commands(STORED, PLACE)
    assert (found.values[:, :3] == STORED["delta"][:, :3]).all()
    turns = Rotation.from_euler("xyz", STORED["delta"][:, 3:6]).as_rotvec()
    np.testing.assert_allclose(found.values[:, 3:6], turns, atol=1e-12)
    np.testing.assert_allclose(found.values[:, 6], -(STORED["delta"][:, 6] - opening()))  # this robot closes upwards
    found = reading(robot, commands=(DELTA,), gripper_is_delta=True).commands(STORED, PLACE)
    np.testing.assert_allclose(found.values[:, 6], -STORED["delta"][:, 6])


def test_raw_commands_stay_as_they_are():
    raw = replace(DELTA, rotation_form="as_stored", gripper_closed=1.0, gripper_open=-1.0)
    found = reading(get_robot("robocasa"), commands=(raw,)).commands(STORED, PLACE)
    assert (found.values == STORED["delta"]).all()


@pytest.mark.parametrize(
    ("feature", "column", "value", "message"),
    [
        ("pose", 1, np.nan, "episode first, feature pose, row 13: Column 1 holds nan"),
        ("hand", 1, np.inf, "feature hand, row 13: Column 1 holds inf"),
        ("pose", slice(3, 7), 0.0, "feature pose, row 13: a quaternion has length 0, not 1"),
    ],
)
def test_numbers_that_cannot_be_used_are_named(feature: str, column: int | slice, value: float, message: str):
    broken = {**STORED, feature: STORED[feature].copy()}
    broken[feature][3, column] = value
    with pytest.raises(DataError, match=message):
        reading(get_robot("robotwin")).states(broken, PLACE)


def test_what_the_map_does_not_use_may_be_anything():
    broken = {**STORED, "hand": STORED["hand"].copy()}
    broken["hand"][:, 0] = np.nan
    assert np.isfinite(reading(get_robot("robotwin")).states(broken, PLACE).values).all()


def test_a_map_that_does_not_fit_is_refused_at_once():
    with pytest.raises(DataError, match=r"data set set: The map does not fit: features \['claw'\] are missing"):
        reading(get_robot("robotwin"), states=(replace(LEFT, gripper=Columns("claw")),))


def test_a_change_of_an_opening_needs_the_opening():
    robot = replace(get_robot("agibot_world"), command_kind="delta_end_effector")
    with pytest.raises(DataError, match="needs its state"):
        reading(robot, states=(replace(LEFT, gripper=None),), commands=(DELTA,))
