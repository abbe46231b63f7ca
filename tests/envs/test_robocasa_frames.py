"""Frames, gripper and message of RoboCasa: round trips, and equality with the release's own formulas."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from xwam.envs.robocasa_frames import (
    RELEASE_FROM_TOOL,
    arm_state,
    check_command,
    images_from_release,
    matrix_from_quaternion,
    pad_command,
    quaternion_from_matrix,
    release_state,
    release_video,
    state_from_release,
    unpad_command,
)
from xwam.envs.robocasa_tasks import CAMERAS, TASKS, release_seed
from xwam.robots.camera_formats import intrinsics_from_fov, pose_matrix
from xwam.robots.processor import RobotProcessor
from xwam.robots.registry import get_robot
from xwam.robots.states import model_poses
from xwam.structures import ActionChunk, ArmState, Observation

# evaluation/robocasa_client.py of the release, 72cfb86
EEF_AXES_XFORM = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])

ROTATIONS = [*Rotation.random(50, random_state=0).as_matrix(), np.eye(3)]
ROTATIONS += [Rotation.from_rotvec(np.pi * np.eye(3)[axis]).as_matrix() for axis in range(3)]
ROTATIONS += [Rotation.from_rotvec(np.pi * np.array([1.0, sign, 0]) / np.sqrt(2)).as_matrix() for sign in (1, -1)]


def states() -> list[ArmState]:
    generator = np.random.default_rng(1)
    return [arm_state(pose_matrix(generator.normal(size=3), matrix), 0.03, 0.04) for matrix in ROTATIONS]


def test_quaternions_are_scipys_canonical_ones():
    for matrix in ROTATIONS:
        expected = Rotation.from_matrix(matrix).as_quat(canonical=True, scalar_first=True)
        if expected[0] > 1e-9:
            np.testing.assert_allclose(quaternion_from_matrix(matrix), expected, atol=1e-12)
        else:  # at 180 degrees the sign of w = 0 is rounding
            np.testing.assert_allclose(np.abs(quaternion_from_matrix(matrix)), np.abs(expected), atol=1e-12)
        assert quaternion_from_matrix(matrix)[0] >= 0


def test_matrix_and_quaternion_are_inverse():
    for matrix in ROTATIONS:
        np.testing.assert_allclose(matrix_from_quaternion(quaternion_from_matrix(matrix)), matrix, atol=1e-12)


@pytest.mark.parametrize("size", [7, 12])
def test_padding_a_command_leaves_base_and_torso_alone(size):
    command = np.arange(1.0, 8.0)
    padded = pad_command(command, size)
    assert padded.tolist() == [1, 2, 3, 4, 5, 6, 7] + [0] * (size - 7)
    np.testing.assert_array_equal(unpad_command(padded), command)


@pytest.mark.parametrize("index", [7, 10, 11])
def test_a_command_that_moves_the_base_cannot_be_seven_numbers(index):
    padded = pad_command(np.zeros(7), 12)
    padded[index] = 0.1
    with pytest.raises(ValueError, match="leave base and torso alone"):
        unpad_command(padded)


@pytest.mark.parametrize("command", [np.zeros(12), np.zeros((1, 7)), [np.nan] * 7, [np.inf] + [0.0] * 6, ["a"] * 7])
def test_what_is_no_command_is_refused(command):
    with pytest.raises(ValueError, match="`command` must be"):
        check_command(command)


def test_states_survive_the_release_message():
    for state in states():
        numbers = release_state(state)
        assert numbers.shape == (16,)
        assert not numbers[8:].any()
        back = state_from_release(numbers)
        np.testing.assert_allclose(back.position, state.position, atol=1e-12)
        np.testing.assert_allclose(
            matrix_from_quaternion(back.quaternion), matrix_from_quaternion(state.quaternion), atol=1e-12
        )
        assert back.gripper == pytest.approx(0.75)


def test_the_release_state_follows_the_release_formula():
    for state, matrix in zip(states(), ROTATIONS, strict=True):
        expected = matrix @ EEF_AXES_XFORM
        np.testing.assert_allclose(matrix_from_quaternion(release_state(state)[3:7]), expected, atol=1e-12)
        np.testing.assert_array_equal(release_state(state)[:3], state.position)


def test_the_processor_shows_the_model_what_the_release_shows_it():
    """The observation holds the raw tool frame; `robots` turns it exactly as the release's client does."""
    spec = get_robot("robocasa")
    np.testing.assert_array_equal(np.array(spec.arms[0].model_from_tool), RELEASE_FROM_TOOL)
    for state in states():
        position, quaternion = model_poses(
            spec, spec.arms[0], torch.tensor(state.position), torch.tensor(state.quaternion)
        )
        ours, theirs = np.concatenate([position, quaternion]), release_state(state)[:7]
        if abs(theirs[3]) < 1e-9:
            theirs[3:] *= np.sign(theirs[3:] @ ours[3:])
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def observation_with(state: ArmState) -> Observation:
    images = {name: np.zeros((256, 256, 3), np.uint8) for name in CAMERAS}
    return Observation(images=images, arms={"left": state}, instruction="open the drawer", robot="robocasa")


def test_the_gripper_has_one_sign_up_to_the_simulator_and_the_other_in_the_model():
    ones = [1.0] * 8
    quantiles = ([-value for value in ones], ones, [-1.0] * 7, [1.0] * 7)
    processor = RobotProcessor(get_robot("robocasa").with_quantiles(*quantiles))
    observation = observation_with(states()[0])
    opening = np.array([[0, 0, 0, 0, 0, 0, -1.0]])  # the simulator's number for open
    seen = processor.encode_actions(opening, observation)
    assert seen[0, 6] == 1.0  # data/robot_dataset.py: grip = -raw
    back = processor.decode_actions(seen, observation)
    assert isinstance(back, ActionChunk)
    assert back.commands[0, 6] == -1.0  # evaluation/policy_server.py: xt_actions_np[:, 6] *= -1.0
    assert pad_command(back.commands[0], 12)[6] == -1.0  # evaluation/robocasa_client.py sends it on as it is


def test_images_survive_the_release_message():
    generator = np.random.default_rng(0)
    images = {name: generator.integers(0, 256, (4, 6, 3), dtype=np.uint8) for name in CAMERAS}
    video = release_video(images, CAMERAS)
    assert (video.shape, video.dtype) == ((3, 4, 6, 3), np.float32)
    assert -1 <= video.min() < video.max() <= 1
    back = images_from_release(video, CAMERAS)
    for name in CAMERAS:
        np.testing.assert_array_equal(back[name], images[name])


def test_intrinsics_equal_those_of_the_spec():
    spec = get_robot("robocasa")
    for camera, fov in zip(spec.cameras, (60, 60, 75), strict=True):
        np.testing.assert_allclose(intrinsics_from_fov(fov, camera.size), np.array(camera.intrinsics), rtol=1e-9)


def test_release_seeds_do_not_meet():
    seeds = [release_seed(client, 5, episode) for client in range(len(TASKS)) for episode in range(5)]
    assert seeds == list(range(120))
