"""RoboTwin's arrays there and back."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from xwam.envs.robotwin_frames import (
    arm_states,
    camera_of,
    check_command,
    depth_in_metres,
    still_command,
)


def test_a_command_of_a_state_holds_its_numbers_in_order():
    generator = np.random.default_rng(0)
    quaternions = Rotation.random(2, rng=generator).as_quat(canonical=True, scalar_first=True)
    seen = {
        "left_endpose": [0.1, 0.2, 0.9, *quaternions[0]],
        "left_gripper": 0.25,
        "right_endpose": [-0.1, 0.3, 0.8, *quaternions[1]],
        "right_gripper": 1,
    }
    arms = arm_states(seen)
    assert arms["right"].gripper == 1.0
    expected = [*seen["left_endpose"], 0.25, *seen["right_endpose"], 1.0]
    np.testing.assert_array_equal(check_command(still_command(arms)), expected)


def test_an_end_pose_of_another_length_is_refused():
    seen = {"left_endpose": [0] * 6, "left_gripper": 0, "right_endpose": [0] * 7, "right_gripper": 0}
    with pytest.raises(ValueError, match="seven numbers"):
        arm_states(seen)


def test_millimetres_become_metres_and_nothing_becomes_zero():
    depth = depth_in_metres(np.array([[1234.5, 0.0, -0.0], [np.nan, np.inf, -3.0]]))
    np.testing.assert_allclose(depth, [[1.2345, 0, 0], [0, 0, 0]], rtol=1e-7)
    assert not np.signbit(depth).any()


SIZE = (240, 320)


def make_view(pose: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "intrinsic_cv": np.array([[300, 0, 160], [0, 300, 120], [0, 0, 1]], dtype=np.float32),
        "extrinsic_cv": np.linalg.inv(pose)[:3].astype(np.float32),
        "cam2world_gl": (pose @ np.diag([1, -1, -1, 1])).astype(np.float32),
    }


def test_an_extrinsic_matrix_and_a_pose_are_inverse():
    for seed in range(20):
        generator = np.random.default_rng(seed)
        pose = np.eye(4)
        pose[:3, :3] = Rotation.random(rng=generator).as_matrix()
        pose[:3, 3] = generator.uniform(-2, 2, 3)
        np.testing.assert_allclose(camera_of(make_view(pose), SIZE).base_from_camera, pose, atol=1e-6)


def test_two_poses_of_one_camera_that_differ_are_refused():
    view = make_view(np.eye(4))
    with pytest.raises(ValueError, match="must be one pose but differ by 2"):
        camera_of({**view, "cam2world_gl": np.eye(4)}, SIZE)
    with pytest.raises(ValueError, match=r"`extrinsic_cv` must have shape \(4, 4\), but has shape \(4, 3\)"):
        camera_of({**view, "extrinsic_cv": np.eye(4)[:, :3]}, SIZE)
