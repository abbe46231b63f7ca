"""Every way in which an observation can be broken has its own clear error."""

import math
from dataclasses import replace

import numpy as np
import pytest
from robot_samples import complete_spec, make_observation

from xwam.errors import ObservationError
from xwam.robots.observation_checks import check_observation, check_state
from xwam.robots.registry import list_robots
from xwam.structures import ArmState, Camera, JointState

PANDA = complete_spec("mujoco_panda")
VIEW = "robot0_agentview_left"
GOOD = make_observation(PANDA)
GOOD_ARM = GOOD.arms["left"]


def _image(value):
    return replace(GOOD, images={**GOOD.images, VIEW: value})


def _without(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


def _arm(**changes):
    return replace(GOOD, arms={"left": replace(GOOD_ARM, **changes)})


def _depth(value):
    return replace(GOOD, depths={**GOOD.depths, VIEW: value})


def _pixel(value):
    depth = GOOD.depths[VIEW].copy()
    depth[5, 5] = value
    return _depth(depth)


def _camera(**changes):
    return replace(GOOD, cameras={VIEW: replace(GOOD.cameras[VIEW], **changes)})


IMAGE = GOOD.images[VIEW]
MIRRORED = np.diag([1.0, 1.0, -1.0, 1.0])

BROKEN = {
    "a dictionary": ({"images": {}}, r"`observation` must be an Observation, but is a dict"),
    "nothing": (None, r"`observation` must be an Observation, but is None"),
    "another robot": (replace(GOOD, robot="robocasa"), r"`robot` must be 'mujoco_panda', but .* 'robocasa'"),
    "images as list": (replace(GOOD, images=list(GOOD.images.values())), r"`images` must be a mapping .* a list"),
    "missing view": (replace(GOOD, images=_without(GOOD.images, VIEW)), rf"`images` lacks \['{VIEW}'\]"),
    "extra view": (replace(GOOD, images={**GOOD.images, "top": IMAGE}), r"`images` holds \['top'\]"),
    "image as list": (_image(IMAGE.tolist()), rf"`images\['{VIEW}'\]` must be a NumPy array .* is a list"),
    "no image": (_image(None), r"must be a NumPy array of shape \(128, 160, 3\), but is None"),
    "channels first": (_image(IMAGE.transpose(2, 0, 1)), r"channels last, \(128, 160, 3\), but they come first"),
    "float image": (_image(IMAGE / np.float32(255)), r"must be uint8 from 0 to 255, but has dtype float32"),
    "signed image": (_image(IMAGE.astype(np.int64)), r"must be uint8 .* dtype int64"),
    "grey image": (_image(IMAGE[..., 0]), r"must be RGB of shape \(128, 160, 3\), but has shape \(128, 160\)"),
    "image with alpha": (_image(np.zeros((128, 160, 4), np.uint8)), r"must be RGB .* shape \(128, 160, 4\)"),
    "batched image": (_image(IMAGE[None]), r"must be RGB .* shape \(1, 128, 160, 3\)"),
    "image of another size": (_image(IMAGE[:64]), r"must have size \(128, 160\), but has size \(64, 160\)"),
    "height and width exchanged": (_image(IMAGE.transpose(1, 0, 2)), r"but has size \(160, 128\)"),
    "empty instruction": (replace(GOOD, instruction=""), r"`instruction` must say what to do, but is empty"),
    "blank instruction": (replace(GOOD, instruction=" \n\t"), r"`instruction` must say what to do, but is empty"),
    "instruction as bytes": (replace(GOOD, instruction=b"lift"), r"`instruction` must be a string, but is a bytes"),
    "no instruction": (replace(GOOD, instruction=None), r"`instruction` must be a string, but is None"),
    "instruction of an escaped space": (replace(GOOD, instruction="&nbsp;"), r"say what to do, but is empty"),
    "escaped twice": (replace(GOOD, instruction="&amp;nbsp; &amp;amp;#8203;"), r"say what to do, but is empty"),
    "instruction of zero width": (replace(GOOD, instruction="\u200b\ufeff"), r"say what to do, but is empty"),
    "endless instruction": (replace(GOOD, instruction="lift " * 1000), r"at most 2000 characters, but has 5000"),
    "instruction with NUL": (replace(GOOD, instruction="lift\0it"), r"control characters or broken Unicode"),
    "instruction with half a letter": (replace(GOOD, instruction="lift \ud83d"), r"broken Unicode"),
    "arms as list": (replace(GOOD, arms=[GOOD_ARM]), r"`arms` must be a mapping by name, but is a list"),
    "missing arm": (replace(GOOD, arms={}), r"`arms` lacks \['left'\]"),
    "extra arm": (replace(GOOD, arms={"left": GOOD_ARM, "right": GOOD_ARM}), r"`arms` holds \['right'\]"),
    "joints of a robot without": (
        replace(GOOD, joints={"left": JointState(np.zeros(7), 0.5)}),
        r"`joints` holds \['left'\], which this robot has not",
    ),
    "arm as vector": (
        replace(GOOD, arms={"left": np.zeros(8)}),
        r"`arms\['left'\]` must be ArmState, but is a ndarray",
    ),
    "position as list": (_arm(position=[0.5, 0.0, 0.2]), r"\.position` must be a NumPy array of shape \(3,\)"),
    "position of four": (_arm(position=np.zeros(4)), r"\.position` must have shape \(3,\), but has shape \(4,\)"),
    "position of text": (_arm(position=np.array(["a"] * 3)), r"\.position` must hold real numbers"),
    "NaN in the position": (_arm(position=np.array([0, math.nan, 0])), r"\.position` must be finite"),
    "infinite position": (_arm(position=np.array([0, math.inf, 0])), r"\.position` must be finite"),
    "position in millimetres": (
        _arm(position=np.array([500.0, 0.0, 200.0])),
        r"\.position` must be metres within 20 m of the base, but is 538.516 away",
    ),
    "quaternion of three": (_arm(quaternion=np.ones(3)), r"\.quaternion` must have shape \(4,\)"),
    "NaN in the quaternion": (_arm(quaternion=np.full(4, math.nan)), r"\.quaternion` must be finite"),
    "long quaternion": (_arm(quaternion=np.ones(4)), r"\.quaternion` must have length 1, but has length 2"),
    "zero quaternion": (_arm(quaternion=np.zeros(4)), r"\.quaternion` must have length 1, but has length 0"),
    "NaN gripper": (_arm(gripper=math.nan), r"\.gripper` must be finite"),
    "gripper in millimetres": (_arm(gripper=40.0), r"\.gripper` must be from 0 closed to 1 open, but is 40"),
    "negative gripper": (_arm(gripper=-1.0), r"\.gripper` must be from 0 closed to 1 open, but is -1"),
    "gripper as array": (_arm(gripper=np.array([0.5])), r"\.gripper` must be a number, but is a ndarray"),
    "gripper as truth": (_arm(gripper=True), r"\.gripper` must be a number, but is a bool"),
    "NaN time": (replace(GOOD, time=math.nan), r"`time` must be finite, but is nan"),
    "time as text": (replace(GOOD, time="now"), r"`time` must be a number, but is a str"),
    "depths as list": (replace(GOOD, depths=[1]), r"`depths` must be a mapping by name"),
    "missing depth": (replace(GOOD, depths=_without(GOOD.depths, VIEW)), rf"`depths` lacks \['{VIEW}'\]"),
    "extra depth": (replace(GOOD, depths={**GOOD.depths, "top": GOOD.depths[VIEW]}), r"`depths` holds \['top'\]"),
    "depth as list": (_depth([[1.0]]), r"`depths\['robot0_agentview_left'\]` must be a NumPy array"),
    "depth in millimetres": (_depth(np.full((128, 160), 800, np.uint16)), r"floating point metres, .* dtype uint16"),
    "float depth in millimetres": (
        _depth(np.full((128, 160), 800, np.float32)),
        r"`depths\['robot0_agentview_left'\]` must be in metres: the median is 800, and the range ends at 5 m",
    ),
    "depth of another size": (_depth(np.ones((64, 80), np.float32)), r"must have shape \(128, 160\)"),
    "infinite depth": (_pixel(math.inf), r"must be finite, or NaN where nothing was measured"),
    "negative depth": (_pixel(-0.5), r"must not be negative, but holds -0.5 m"),
    "cameras as list": (replace(GOOD, cameras=[]), r"`cameras` must be a mapping by name"),
    "extra camera": (replace(GOOD, cameras={"top": GOOD.cameras[VIEW]}), r"`cameras` holds \['top'\]"),
    "camera as matrix": (replace(GOOD, cameras={VIEW: np.eye(3)}), r"must be a Camera, but is a ndarray"),
    "intrinsics of four rows": (_camera(intrinsics=np.eye(4)), r"\.intrinsics` must have shape \(3, 3\)"),
    "NaN intrinsics": (_camera(intrinsics=np.full((3, 3), math.nan)), r"\.intrinsics` must be finite"),
    "no focal length": (_camera(intrinsics=np.diag([0.0, 0.0, 1.0])), r"positive focal lengths"),
    "intrinsics divided by the image size": (
        _camera(intrinsics=np.array([[1.2, 0, 0.5], [0, 1.5, 0.5], [0, 0, 1.0]])),
        r"at least 4 pixels, but has \(1.2, 1.5\), as if divided by the image size",
    ),
    "principal point outside": (
        _camera(intrinsics=np.array([[200.0, 0, 320], [0, 200, 64], [0, 0, 1]])),
        r"principal point inside the image of size \(128, 160\), but has \(u, v\) = \(320, 64\)",
    ),
    "matrix that is no camera's": (
        _camera(intrinsics=np.array([[200.0, 0, 80], [7, 200, 64], [0, 0, 1]])),
        r"must be upper triangular, but has 7 below the diagonal",
    ),
    "transposed intrinsics": (_camera(intrinsics=GOOD.cameras[VIEW].intrinsics.T), r"last row \(0, 0, 1\)"),
    "pose of three rows": (_camera(base_from_camera=np.eye(4)[:3]), r"\.base_from_camera` must have shape \(4, 4\)"),
    "pose that stretches": (_camera(base_from_camera=np.diag([2.0, 1, 1, 1])), r"must be a rotation, but R Rᵀ"),
    "mirrored pose": (_camera(base_from_camera=MIRRORED), r"must be a rotation, but is a reflection"),
    "NaN pose": (_camera(base_from_camera=np.full((4, 4), math.nan)), r"\.base_from_camera` must be finite"),
    "transposed pose": (_camera(base_from_camera=GOOD.cameras[VIEW].base_from_camera.T), r"last row \(0, 0, 0, 1\)"),
}


@pytest.mark.parametrize(("observation", "text"), BROKEN.values(), ids=BROKEN.keys())
def test_every_broken_field_is_named(observation, text):
    with pytest.raises(ObservationError, match=text):
        check_observation(PANDA, observation)


@pytest.mark.parametrize("robot", list_robots())
def test_what_a_robot_brings_is_accepted(robot):
    spec = complete_spec(robot)
    check_observation(spec, make_observation(spec))
    check_observation(spec, replace(make_observation(spec), robot=None, depths={}, cameras={}))


@pytest.mark.parametrize(
    "observation",
    [
        _pixel(math.nan),
        _pixel(0.0),
        _arm(quaternion=-GOOD_ARM.quaternion),
        _arm(position=GOOD_ARM.position.astype(np.float32), quaternion=GOOD_ARM.quaternion.astype(np.float32)),
        _arm(gripper=1.02),
        _arm(gripper=np.float32(0.5)),
        replace(GOOD, instruction="lift &amp; drop a&nbsp;cube\u200b"),
        _depth(np.full((128, 160), 60, np.float32)),
        _depth(np.zeros((128, 160), np.float32)),
        replace(GOOD, instruction="hebe den Würfel\nund lege ihn ab 👍🏽"),
        replace(GOOD, cameras={VIEW: Camera(GOOD.cameras[VIEW].intrinsics.astype(np.float32), np.eye(4))}),
    ],
)
def test_what_real_robots_send_is_accepted(observation):
    check_observation(PANDA, observation)


@pytest.mark.parametrize(
    ("joints", "text"),
    [
        ({}, r"`joints` lacks \['left'\]"),
        ({"left": GOOD_ARM}, r"`joints\['left'\]` must be JointState, but is a ArmState"),
        ({"left": JointState(np.zeros(6), 0.5)}, r"\.positions` must have shape \(7,\), but has shape \(6,\)"),
        ({"left": JointState(np.full(7, 90.0), 0.5)}, r"\.positions` must be radians within ±4π, but are \[90.0"),
        ({"left": JointState(np.full(7, math.nan), 0.5)}, r"\.positions` must be finite"),
        ({"left": JointState(np.zeros(7), 2.0)}, r"\.gripper` must be from 0 closed to 1 open"),
    ],
)
def test_broken_joints_are_named(joints, text):
    spec = complete_spec("droid")
    with pytest.raises(ObservationError, match=text):
        check_observation(spec, replace(make_observation(spec), joints=joints))


def test_poses_of_a_robot_in_joints_are_refused():
    spec = complete_spec("droid")
    with pytest.raises(ObservationError, match=r"`arms` holds \['left'\], which this robot has not"):
        check_observation(spec, replace(make_observation(spec), arms={"left": GOOD_ARM}))


def test_depth_of_a_robot_that_measures_none_is_refused():
    spec = replace(complete_spec("robotwin"), depth_encoding="inverse")
    depths = {"head_camera": np.ones((240, 320), np.float32)}
    with pytest.raises(ObservationError, match=r"`depths` holds \['head_camera'\], which this robot has not"):
        check_observation(spec, replace(make_observation(spec), depths=depths))


def test_a_robot_of_relative_depth_may_bring_what_its_cameras_measure():
    """Depth of some cameras, without a range: that is what its images are calibrated on."""
    spec = complete_spec("robotwin")
    good = np.where(np.arange(320) < 230, np.nan, np.linspace(0.3, 5, 320))[None].repeat(240, 0).astype(np.float32)
    check_observation(spec, replace(make_observation(spec), depths={"head_camera": good}))
    for depth, text in (
        (1000 * good, r"`depths\['head_camera'\]` must be in metres: the median is 4.*, which no robot's camera sees"),
        (np.full((240, 320), 800, np.uint16), "floating point metres"),
        (good[:200], r"must have shape \(240, 320\)"),
        (-good, "must not be negative"),
    ):
        with pytest.raises(ObservationError, match=text):
            check_observation(spec, replace(make_observation(spec), depths={"head_camera": depth}))
    with pytest.raises(ObservationError, match=r"`depths` holds \['top'\], which this robot has not"):
        check_observation(spec, replace(make_observation(spec), depths={"top": good}))


def test_a_single_state_is_checked_under_its_own_name():
    with pytest.raises(ObservationError, match=r"`states\[3\]\['left'\].quaternion` must have length 1"):
        check_state(PANDA, "states[3]", {"left": ArmState(np.zeros(3), np.full(4, 0.4), 0.5)})
