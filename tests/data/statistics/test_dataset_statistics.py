"""Quantiles are those of the release's rules on the same numbers, in one pass, and channels that cannot be used are named."""

from dataclasses import replace

import numpy as np
import pytest
from memory_reader import (
    JOINTS,
    ROBOT,
    TWO_ARMS,
    MemoryReader,
    Recording,
    joint_recording,
    pose_recording,
    raw_recording,
)
from reference.release_statistics import quantiles_of_release
from scipy.spatial.transform import Rotation

from xwam.data.statistics.quantiles import compute_quantiles
from xwam.data.streams.windows import WindowShape
from xwam.robots.spec import RobotSpec

RAW = replace(ROBOT, model_from_base=((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))


def as_in_the_release(robot: RobotSpec, recording: Recording) -> dict:
    """Arrays as the release's files hold them: poses in the model's frames, rotations as nine numbers."""

    def arms(rows: np.ndarray) -> dict[str, np.ndarray]:
        base, found = np.array(robot.model_from_base), {}
        for number, arm in enumerate(robot.arms):
            own = rows[:, 8 * number : 8 * number + 8]
            turns = Rotation.from_quat(own[:, 3:7], scalar_first=True).as_matrix()
            found[f"{arm.name}_ee_pos"] = own[:, :3] @ base.T
            found[f"{arm.name}_ee_rotm"] = (base @ turns @ np.array(arm.model_from_tool).T).reshape(-1, 9)
            found[f"{arm.name}_gripper_pos"] = own[:, 7]
        return found

    is_raw = robot.command_kind == "raw"
    return {
        "proprios": arms(recording.states),
        "actions": {"raw_actions": recording.commands} if is_raw else arms(recording.commands),
    }


def expected_channels(robot: RobotSpec, found: dict[str, tuple], end: int) -> tuple[list[float], list[float]]:
    states, actions, passed = [], [], [(-1.0, 1.0)[end]]
    for arm in robot.arms:
        states += [*found[f"proprio_{arm.name}_ee_xyz"][end], *passed * 4, *found["gripper_pos"][end]]
        actions += [*found[f"action_{arm.name}_ee_xyz"][end], *found[f"action_{arm.name}_ee_axisangle"][end]]
        actions += list(found["gripper_action"][end]) if arm.gripper.action_normalized else passed
    return states, actions


@pytest.mark.parametrize(
    ("robot", "make", "step"), [(TWO_ARMS, pose_recording, 1), (TWO_ARMS, pose_recording, 3), (RAW, raw_recording, 1)]
)
def test_quantiles_are_those_of_the_release(robot, make, step):
    recordings = [make(seed, length=40 + 11 * seed) for seed in range(4)]
    for seed, one in enumerate(recordings):  # grippers that tremble about the threshold, each in a range of its own
        for column in range(7, one.states.shape[1], 8):
            tremor = np.random.default_rng([seed, column]).normal(scale=0.004, size=len(one.states))
            one.states[:, column] = (0.3 + 0.05 * column) * one.states[:, column] + tremor

    found, report = compute_quantiles([MemoryReader(robot, recordings)], robot, WindowShape(9, 4, step))

    release = quantiles_of_release([as_in_the_release(robot, one) for one in recordings], step)
    for end, ends in enumerate(("low", "high")):
        states, actions = expected_channels(robot, release, end)
        np.testing.assert_allclose(getattr(found.quantiles, f"state_{ends}"), states, atol=1e-9)
        np.testing.assert_allclose(getattr(found.quantiles, f"action_{ends}"), actions, atol=1e-9)
    assert report.num_rows == sum(len(one.states) for one in recordings)
    assert report.rank_error == 0
    assert not report.degenerate


def test_a_gripper_that_stands_still_does_not_count():
    recordings = [pose_recording(seed) for seed in range(3)]
    still = replace_gripper(pose_recording(3, length=400), 0.5)

    with_still, report = compute_quantiles([MemoryReader(TWO_ARMS, [*recordings, still])], TWO_ARMS)

    gripper = next(channel for channel in report.channels if channel.name == "left_delta_gripper")
    assert 0 < gripper.num_rows < 60  # of 580 rows, and both arms count
    assert with_still.quantiles.action_high[6] > 0.2, "many zeros would hide the movements"


def replace_gripper(recording: Recording, opening: float) -> Recording:
    for rows in (recording.states, recording.commands):
        rows[:, [7, 15]] = opening
    return recording


def test_joints_keep_their_plain_quantiles():
    recordings = [joint_recording(seed) for seed in range(3)]
    for one in recordings:
        one.states[:, 3] -= 2.0
        one.commands[:, 3] -= 2.0

    found, _ = compute_quantiles([MemoryReader(JOINTS, recordings)], JOINTS)

    commands, states = (np.concatenate([getattr(one, kind) for one in recordings]) for kind in ("commands", "states"))
    np.testing.assert_allclose(found.quantiles.action_low, np.quantile(commands, 0.01, axis=0))
    np.testing.assert_allclose(found.quantiles.state_high[:7], np.quantile(states[:, :7], 0.99, axis=0))
    # DROID writes 1 for closed, so its state channel is one minus the opening.
    np.testing.assert_allclose(found.quantiles.state_high[7], 1 - np.quantile(states[:, 7], 0.01))
    assert found.quantiles.action_high[3] < 0, "a bent elbow stays on its side"


def test_several_data_sets_count_row_by_row():
    one, two = [joint_recording(0), joint_recording(1)], [joint_recording(2)]
    together, _ = compute_quantiles([MemoryReader(JOINTS, [*one, *two])], JOINTS)
    apart, report = compute_quantiles([MemoryReader(JOINTS, one), MemoryReader(JOINTS, two)], JOINTS)
    chosen, _ = compute_quantiles([MemoryReader(JOINTS, [*one, *two])], JOINTS, episodes=[[1]])
    assert apart.quantiles == together.quantiles != chosen.quantiles
    assert report.num_episodes == 3


def test_channels_that_cannot_be_normalised_are_named_and_can_be_widened():
    recordings = [joint_recording(seed) for seed in range(4)]
    for number, one in enumerate(recordings):
        for rows in (one.states, one.commands):
            rows[:, 2] = 0.7 + 1e-6 * rows[:, 2]  # never moves
            rows[:, 5] = 1e-3 * rows[:, 5]
            rows[9, 5] = 3.2 if number == 1 else rows[9, 5]  # openpi issue 814
    reader = MemoryReader(JOINTS, recordings)

    kept, report = compute_quantiles([reader], JOINTS)
    widened, _ = compute_quantiles([reader], JOINTS, widen=True)

    named = {f"{channel.kind} {channel.name}": channel.problem for channel in report.degenerate}
    assert sorted(named) == [f"{kind} left_joint_{number}" for kind in ("action", "state") for number in (3, 6)]
    assert "98 % of its values lie within" in named["action left_joint_3"]
    assert "Rare values become" in named["state left_joint_6"]
    assert kept.quantiles.state_high[2] - kept.quantiles.state_low[2] < 1e-5
    np.testing.assert_allclose(
        (widened.quantiles.state_low[2], widened.quantiles.state_high[2]), (-0.3, 1.7), atol=1e-5
    )
    assert widened.quantiles.state_high[5] == 3.2
    assert widened.quantiles.state_high[0] == kept.quantiles.state_high[0]


def test_columns_that_the_data_lack_pass_through():
    recording = joint_recording(0)
    recording.states[:, 4] = np.nan
    found, report = compute_quantiles([MemoryReader(JOINTS, [recording])], JOINTS)
    assert (found.quantiles.state_low[:7], found.quantiles.state_high[:7]) == ((-1.0,) * 7, (1.0,) * 7)
    assert not report.degenerate
    assert found.quantiles.action_low[4] > -2


def test_the_robot_says_where_its_quantiles_come_from_and_only_once():
    reader = MemoryReader(JOINTS, [joint_recording(0)])
    once, _ = compute_quantiles([reader], JOINTS)
    twice, _ = compute_quantiles([reader], once)
    assert twice.notes[-1] == "Quantiles: 60 rows of 1 episodes of memory."
    assert twice.notes == once.notes
    assert RobotSpec.from_dict(twice.to_dict()) == twice


def test_what_has_no_quantiles_is_refused():
    with pytest.raises(ValueError, match="There are no rows"):
        compute_quantiles([MemoryReader(JOINTS, [])], JOINTS)
    with pytest.raises(ValueError, match=r"`rows_per_command` is 2000, but the longest episode of .* has 60 rows"):
        compute_quantiles([MemoryReader(JOINTS, [joint_recording(0)])], JOINTS, WindowShape.of(JOINTS, 2000))
    with pytest.raises(ValueError, match="must be of robot 'droid', but is of 'mujoco_panda'"):
        compute_quantiles([MemoryReader(ROBOT, [])], JOINTS)
    unknown = replace(TWO_ARMS, model_from_base=None)
    with pytest.raises(ValueError, match="unknown is model_from_base"):
        compute_quantiles([MemoryReader(unknown, [])], unknown)
