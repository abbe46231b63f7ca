"""Positions, rotations, grippers, joints: each error is what SciPy or a ruler says, step by step and arm by arm."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from xwam.metrics.states import gripper_error, joint_error, position_error, rotation_error, state_errors
from xwam.structures import ArmState, JointState

STEPS = 9


def quaternions(seed: int, shape: tuple[int, ...] = (2, STEPS)) -> np.ndarray:
    random = Rotation.random(int(np.prod(shape)), random_state=seed)
    return np.roll(random.as_quat(), 1, axis=-1).reshape(*shape, 4)  # SciPy's w comes last


def test_positions_are_apart_by_their_distance():
    truth = np.random.default_rng(0).normal(size=(2, STEPS, 3))
    shifted = truth + np.array([0.03, 0, -0.04])
    found = position_error(shifted, truth)
    np.testing.assert_allclose(found, np.full((2, STEPS), 0.05))
    assert float(position_error(shifted, truth, reduce="mean")) == pytest.approx(0.05)


def test_rotations_are_apart_by_the_angle_that_scipy_finds():
    prediction, truth = quaternions(0), quaternions(1)
    turned = [Rotation.from_quat(np.roll(own, -1, axis=-1).reshape(-1, 4)) for own in (prediction, truth)]
    expected = (turned[1].inv() * turned[0]).magnitude().reshape(2, STEPS)
    np.testing.assert_allclose(rotation_error(prediction, truth), expected, atol=1e-9)
    np.testing.assert_allclose(rotation_error(-prediction, truth), expected, atol=1e-9)
    np.testing.assert_allclose(rotation_error(truth, prediction), expected, atol=1e-9)
    np.testing.assert_allclose(rotation_error(truth, -truth), 0, atol=1e-9)


@pytest.mark.parametrize("angle", [1e-9, 1e-4, 0.1, 3.1, np.pi])
def test_an_angle_about_any_axis_is_found_to_its_last_digits(angle: float):
    axis = np.array([1.0, 2.0, -2.0]) / 3
    turned = np.array([np.cos(angle / 2), *np.sin(angle / 2) * axis])
    assert float(rotation_error(turned, np.array([1.0, 0, 0, 0]))) == pytest.approx(angle, rel=1e-9)


def test_grippers_and_joints_are_apart_by_their_difference():
    truth = np.random.default_rng(0).uniform(size=(STEPS,))
    np.testing.assert_allclose(gripper_error(truth - 0.25, truth), 0.25)
    joints = np.random.default_rng(1).normal(size=(STEPS, 7))
    changed = joints.copy()
    changed[:, 2] -= 0.7
    np.testing.assert_allclose(joint_error(changed, joints), 0.1)
    changed[:, 2] = joints[:, 2] + 2 * np.pi
    np.testing.assert_allclose(joint_error(changed, joints), 2 * np.pi / 7)


def pose(step: int, *, shift: float = 0.0, turn: float = 0.0, open_by: float = 0.0) -> ArmState:
    w, z = np.cos(turn / 2), np.sin(turn / 2)
    return ArmState(np.array([0.1 * step, shift, 0.2]), np.array([w, 0, 0, z]), 0.5 + open_by)


def test_every_arm_has_its_errors_at_every_step():
    truth = [{"left": pose(step), "right": JointState(np.full(6, 0.1 * step), 1.0)} for step in range(STEPS)]
    prediction = [
        {
            "left": pose(step, shift=0.01 * step, turn=0.02 * step, open_by=-0.03 * step),
            "right": JointState(np.full(6, 0.1 * step - 0.04 * step), 1.0 - 0.05 * step),
        }
        for step in range(STEPS)
    ]
    found = state_errors(prediction, truth)
    steps = np.arange(STEPS)
    assert {arm: list(errors) for arm, errors in found.items()} == {
        "left": ["position", "rotation", "gripper"],
        "right": ["joints", "gripper"],
    }
    for (arm, part), slope in {
        ("left", "position"): 0.01,
        ("left", "rotation"): 0.02,
        ("left", "gripper"): 0.03,
        ("right", "joints"): 0.04,
        ("right", "gripper"): 0.05,
    }.items():
        np.testing.assert_allclose(found[arm][part], slope * steps, atol=1e-9)


def test_states_of_other_arms_or_steps_are_refused():
    truth = [{"left": pose(step)} for step in range(STEPS)]
    with pytest.raises(ValueError, match="there are 8 and 9"):
        state_errors(truth[:-1], truth)
    with pytest.raises(ValueError, match="there are 0 and 0"):
        state_errors([], [])
    for other in ({"right": pose(4)}, {"left": JointState(np.zeros(6), 0.0)}):
        with pytest.raises(ValueError, match="The arms of step 4 differ"):
            state_errors([*truth[:4], other, *truth[5:]], truth)
        with pytest.raises(ValueError, match="The arms of step 4 differ"):
            state_errors([*truth[:4], other, *truth[5:]], [*truth[:4], other, *truth[5:]])


def test_numbers_that_are_no_states_are_refused():
    good = quaternions(0)
    with pytest.raises(ValueError, match=r"`prediction` must hold unit quaternions but one has length 1\.01"):
        rotation_error(good * 1.01, good)
    with pytest.raises(ValueError, match="`truth` must hold unit quaternions but one has length 0"):
        rotation_error(good, 0 * good)
    with pytest.raises(ValueError, match=r"must have shape \(\.\.\., 4\)"):
        rotation_error(good[..., :3], good[..., :3])
    with pytest.raises(ValueError, match=r"must have shape \(\.\.\., 3\)"):
        position_error(good, good)
    with pytest.raises(ValueError, match="must have one shape"):
        position_error(good[..., :3], good[:1, :, :3])
    with pytest.raises(ValueError, match="must be finite but holds 1 NaN"):
        gripper_error(np.array([0.0, np.nan]), np.zeros(2))
    with pytest.raises(TypeError, match="floating-point numbers but is int64"):
        joint_error(np.zeros((2, 7), dtype=np.int64), np.zeros((2, 7)))
