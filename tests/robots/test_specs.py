"""The facts of every robot, written down a second time by hand from their sources."""

import math

import numpy as np
import pytest
from robot_samples import complete_spec, make_states
from scipy.spatial.transform import Rotation

from xwam.robots.registry import get_robot, list_robots
from xwam.robots.states import states_to_channels

ROBOCASA_VIEWS = ["robot0_agentview_left", "robot0_agentview_right", "robot0_eye_in_hand"]

# name: cameras in the model's order, their size (H, W), vertical angles in degrees, the arms that carry them, period in
# seconds, command kind, image size, slots of states, slots of actions
FACTS = {
    "robocasa": (
        ROBOCASA_VIEWS, (256, 256), (60, 60, 75), (None, None, "left"), 0.05, "raw", (256, 320),
        list(range(8)), list(range(7)),
    ),
    "robotwin": (
        ["head_camera", "left_camera", "right_camera"], (240, 320), (37, 37, 37), (None, "left", "right"), 0.06,
        "absolute_end_effector", (256, 320), list(range(16)), list(range(14)),
    ),
    "droid": (
        ["exterior_1_left", "exterior_2_left", "wrist_left"], (192, 320), None, (None, None, "left"), 1 / 15,
        "joint_position", (192, 320), list(range(8)), [0, 1, 2, 3, 4, 5, 7, 6],
    ),
    "ac_one": (
        ["main", "left_wrist", "right_wrist"], (240, 320), None, (None, "left", "right"), None, None, (256, 320),
        list(range(16)), list(range(14)),
    ),
    "droid_pose": (
        ["exterior_1_left", "exterior_2_left", "wrist_left"], (180, 320), None, (None, None, "left"), 1 / 15,
        "absolute_end_effector", (256, 320), list(range(8)), list(range(7)),
    ),
    **dict.fromkeys(
        ["agibot_world", "interna1_aloha", "interna1_genie1", "interna1_lift2"],
        (
            ["head", "hand_left", "hand_right"], (480, 640), None, (None, "left", "right"), 1 / 30,
            "absolute_end_effector", (256, 320), list(range(16)), list(range(14)),
        ),
    ),
    "mujoco_panda": (
        ROBOCASA_VIEWS, (128, 160), (39, 39, 75), (None, None, "left"), 0.05, "raw", (128, 160),
        list(range(8)), list(range(7)),
    ),
}  # fmt: skip


def test_every_robot_is_in_the_table():
    assert sorted(FACTS) == list_robots()


@pytest.mark.parametrize("name", FACTS)
def test_the_facts_of_a_robot(name):
    cameras, size, angles, carriers, period, kind, image_size, state_slots, action_slots = FACTS[name]
    spec = get_robot(name)
    assert [camera.name for camera in spec.cameras] == cameras
    assert [camera.size for camera in spec.cameras] == [size] * 3
    assert tuple(camera.arm for camera in spec.cameras) == carriers
    assert spec.control_period == (None if period is None else pytest.approx(period, rel=1e-12))
    assert (spec.command_kind, spec.image_size, spec.crop_ratio) == (kind, image_size, 0.95)
    assert (list(spec.state_slots), list(spec.action_slots)) == (state_slots, action_slots)
    assert (spec.num_frames, spec.actions_per_frame, spec.state_dim, spec.action_dim) == (9, 4, 16, 14)
    for index, camera in enumerate(spec.cameras):
        if angles is None:
            assert camera.intrinsics is None
        else:
            focal = size[0] / 2 / math.tan(math.radians(angles[index]) / 2)
            expected = [[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]]
            np.testing.assert_allclose(camera.intrinsics, expected, rtol=1e-9)


def test_robotwin_states_turn_as_in_the_release():
    """`R_m = BASE @ R @ EEF` and `p_m = BASE @ p`, with both matrices as the release's client has them."""
    base = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    eef = np.array([[0, 0, 1], [0, -1, 0], [1, 0, 0]])
    spec = complete_spec("robotwin")
    states = make_states(spec, 5)
    channels = states_to_channels(spec, states).numpy()
    for state, row in zip(states, channels, strict=True):
        for index, arm in enumerate(("left", "right")):
            position, quaternion = row[8 * index : 8 * index + 3], row[8 * index + 3 : 8 * index + 7]
            rotation = base @ Rotation.from_quat(state[arm].quaternion, scalar_first=True).as_matrix() @ eef
            np.testing.assert_allclose(position, base @ state[arm].position, atol=1e-12)
            found = Rotation.from_quat(quaternion, scalar_first=True).as_matrix()
            np.testing.assert_allclose(found, rotation, atol=1e-12)


def test_the_tool_axes_of_robotwin_are_renamed_as_the_release_says():
    """With the arm at rest in its base frame: x' = z, y' = -y, z' = x, each seen in the turned base frame."""
    spec = get_robot("robotwin")
    base = np.array(spec.model_from_base)
    np.testing.assert_array_equal(base @ [1, 0, 0], [0, -1, 0])  # x of the robot is -y of the model
    np.testing.assert_array_equal(base @ [0, 1, 0], [1, 0, 0])
    x, y, z = np.eye(3)
    for arm in spec.arms:
        model_from_tool = np.array(arm.model_from_tool)
        for index, own in enumerate((z, -y, x)):  # the model's axes in the robot's tool frame are the rows
            np.testing.assert_array_equal(model_from_tool[index], own)


def test_depth_of_every_robot_but_the_embedded_one_has_no_unit():
    """The release's depth videos have 8 bits and no scale."""
    encodings = {name: get_robot(name).depth_encoding for name in list_robots()}
    assert encodings.pop("mujoco_panda") == "inverse"
    assert set(encodings.values()) == {"relative"}
