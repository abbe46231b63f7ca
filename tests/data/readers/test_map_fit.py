"""What does not fit a robot and a data set is told in one sentence each, before anything is read."""

from dataclasses import replace

import pytest
from test_dataset_map import ROBOTWIN, pose_map

from xwam.data.dataset_map import CameraMap, Columns, StoredFeature
from xwam.data.readers.map_fit import fit_problems
from xwam.robots.registry import get_robot

FEATURES = {
    "pose": StoredFeature(width=7),
    "hand": StoredFeature(("left_hand", "right_hand"), 2),
    "rgb": StoredFeature(),
    "depth": StoredFeature(),
}


def test_a_map_that_fits_has_no_problem():
    assert list(fit_problems(pose_map(), ROBOTWIN, FEATURES)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"position": Columns("pose", (0, 1))},
            "position of arm 'left' needs 3 numbers, but the map takes 2 of 'pose'",
        ),
        (
            {"position": Columns("pose", (5, 6, 7))},
            "feature 'pose' has 7 numbers without names, not entries [5, 6, 7]",
        ),
        ({"position": Columns("rgb")}, "feature 'rgb' has no numbers"),
        ({"gripper": Columns("hand", names=("x",))}, "has 2 numbers ['left_hand', 'right_hand'], not ['x']"),
        (
            {"gripper": Columns("claw")},
            "features ['claw'] are missing; the data set has ['depth', 'hand', 'pose', 'rgb']",
        ),
        ({"name": "third"}, "`states` names 'third', but robot 'robotwin' has ['left', 'right']"),
        (
            {"position": None, "rotation": None, "joints": Columns("pose")},
            "must have `position` and `rotation`, but has",
        ),
    ],
)
def test_what_does_not_fit_is_named(change: dict, message: str):
    own = pose_map(states=(replace(pose_map().states[0], **change),))
    (problem,) = fit_problems(own, ROBOTWIN, FEATURES)
    assert message in problem


def test_cameras_and_kinds_that_do_not_fit_are_named():
    own = pose_map(cameras=(CameraMap("front", "rgb"),))
    assert any("`cameras` names 'front'" in problem for problem in fit_problems(own, ROBOTWIN, FEATURES))
    raw = get_robot("robocasa")
    own = pose_map(cameras=())
    assert any("cannot be the command of robot 'robocasa'" in problem for problem in fit_problems(own, raw, FEATURES))
    commands = (replace(own.states[0], rotation=Columns("pose", (0, 1, 2)), rotation_form="euler_xyz"),)
    own = pose_map(cameras=(), commands=commands, next_state_is_command=False)
    assert any("must be 'as_stored' for raw commands" in problem for problem in fit_problems(own, raw, FEATURES))


def test_one_instruction_of_several_is_enough():
    for instructions, count in ((("rgb", "absent"), 0), (("absent",), 1)):
        problems = list(fit_problems(pose_map(instructions=instructions), ROBOTWIN, FEATURES))
        assert len(problems) == count
        assert all("none of the instructions ['absent'] is there" in problem for problem in problems)


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (
            CameraMap("head_camera", "pose"),
            "`image` of camera 'head_camera' needs pictures, but feature 'pose' has 7 numbers",
        ),
        (CameraMap("head_camera", "rgb", depth="hand"), "`depth` of camera 'head_camera' needs pictures"),
        (
            CameraMap("head_camera", "rgb", base_from_camera="pose"),
            "`base_from_camera` of camera 'head_camera' needs 16 numbers",
        ),
        (CameraMap("head_camera", "rgb", intrinsics="rgb"), "needs 9 numbers, but feature 'rgb' has none"),
        (CameraMap("head_camera", depth="depth"), "camera 'head_camera' has depth, but no `image`"),
    ],
)
def test_camera_features_must_be_pictures_and_matrices(camera: CameraMap, message: str):
    (problem,) = fit_problems(pose_map(cameras=(camera,)), ROBOTWIN, FEATURES)
    assert message in problem


def test_a_gripper_whose_convention_is_unknown_is_not_commanded():
    open_left = replace(ROBOTWIN, arms=tuple(replace(arm, gripper=None) for arm in ROBOTWIN.arms))
    (problem,) = fit_problems(pose_map(), open_left, FEATURES)
    assert "commands to the gripper of arm 'left' cannot be written, since the robot 'robotwin' leaves open" in problem
    without = pose_map(states=(replace(pose_map().states[0], gripper=None),))
    assert list(fit_problems(without, open_left, FEATURES)) == []


def test_a_change_of_opening_needs_the_opening():
    arm = pose_map().states[0]
    robot = replace(get_robot("robotwin"), command_kind="delta_end_effector")
    own = pose_map(states=(replace(arm, gripper=None),), commands=(arm,), next_state_is_command=False)
    (problem,) = fit_problems(own, robot, FEATURES)
    assert problem.startswith("the change of the opening of arm 'left' needs its state")
    assert list(fit_problems(replace(own, gripper_is_delta=True), robot, FEATURES)) == []
