"""A specification is checked whole: every way to break it is answered in words."""

import json
from dataclasses import replace

import numpy as np
import pytest
from robot_samples import complete_spec

from xwam.robots.records import Record
from xwam.robots.registry import get_robot
from xwam.robots.spec import ArmSpec, CameraSpec, GripperSpec, RobotSpec

MIRROR = [[1, 0, 0], [0, 1, 0], [0, 0, -1]]
STRETCHED = [[1, 0, 0], [0, 1, 0], [0, 0, 2]]


def _data() -> dict:
    return json.loads(json.dumps(complete_spec("mujoco_panda").to_dict()))


def _set(*path_and_value):
    """Change one value deep inside the JSON form."""
    *path, last, value = path_and_value

    def change(data):
        for key in path:
            data = data[key]
        data[last] = value

    return change


def _drop(*path):
    def change(data):
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


BROKEN = {
    "extra field": (_set("colour", "red"), r"unknown fields \['colour'\]"),
    "missing field": (_drop("name"), r"missing fields \['name'\]"),
    "extra field in a camera": (_set("cameras", 1, "lens", 50), r"`cameras` \[1\] CameraSpec is not valid: unknown"),
    "missing field in an arm": (_drop("arms", 0, "gripper"), r"`arms` \[0\] ArmSpec is not valid: missing fields"),
    "number as name": (_set("name", 3), r"`name` must be a string, but is 3"),
    "empty name": (_set("name", ""), r"`name` must be 1 to 100 characters"),
    "name with a space": (_set("name", "my robot"), r"without spaces, dots, colons or slashes, but is 'my robot'"),
    "name that is a path": (_set("name", "../robot"), r"`name` must be 1 to 100 characters without"),
    "camera name that is a path": (_set("cameras", 0, "name", "/etc/view"), r"slashes, but is '/etc/view'"),
    "arm name that is a path": (_set("arms", 0, "name", "C:\\left"), r"slashes, but is 'C:"),
    "text as period": (_set("control_period", "0.05"), r"`control_period` must be a finite number, but is '0.05'"),
    "NaN as period": (_set("control_period", float("nan")), r"`control_period` must be a finite number, but is nan"),
    "negative period": (_set("control_period", -0.05), r"`control_period` must be positive seconds"),
    "truth as number": (_set("crop_ratio", True), r"`crop_ratio` must be a finite number, but is True"),
    "crop above one": (_set("crop_ratio", 1.5), r"`crop_ratio` must be in \(0, 1\]"),
    "crop of nothing": (_set("crop_ratio", 0.001), r"`crop_ratio` 0.001 leaves nothing"),
    "fraction as count": (_set("num_frames", 9.5), r"`num_frames` must be a whole number"),
    "eight frames": (_set("num_frames", 8), r"`num_frames` must be 5, 9, 13"),
    "no commands per frame": (_set("actions_per_frame", 0), r"`actions_per_frame` must be from 1"),
    "huge state": (_set("state_dim", 10**12), r"`state_dim` must be from 1 to 1024"),
    "huge images": (_set("image_size", [10**12, 160]), r"`image_size` must be \(H, W\) from 1 to 16384"),
    "three image sides": (_set("image_size", [128, 160, 3]), r"`image_size` must be a list of 2"),
    "object as list": (_set("cameras", {}), r"`cameras` must be a list"),
    "no cameras": (_set("cameras", []), r"`cameras` must not be empty"),
    "no arms": (_set("arms", []), r"`arms` must not be empty"),
    "camera as text": (_set("cameras", 0, "wrist"), r"`cameras` \[0\] must be a CameraSpec, but is 'wrist'"),
    "two cameras of one name": (
        _set("cameras", 1, "name", "robot0_agentview_left"),
        r"`cameras` must have different names, but \['robot0_agentview_left'\]",
    ),
    "camera on an unknown arm": (
        _set("cameras", 2, "arm", "right"),
        r"carried by arm 'right', but arms are \['left'\]",
    ),
    "zero camera size": (_set("cameras", 0, "size", [0, 160]), r"`size` must be \(H, W\) from 1"),
    "intrinsics of two rows": (_set("cameras", 0, "intrinsics", [[1, 0, 0], [0, 1, 0]]), r"must have shape \(3, 3\)"),
    "ragged intrinsics": (_set("cameras", 0, "intrinsics", [[1, 0], [0], [0, 0, 1]]), r"rows differ in length"),
    "text in intrinsics": (_set("cameras", 0, "intrinsics", 0, 0, "f"), r"\[0\] \[0\] must be a finite number"),
    "negative focal length": (_set("cameras", 0, "intrinsics", 0, 0, -5), r"positive focal lengths"),
    "intrinsics divided by the image size": (
        _set("cameras", 0, "intrinsics", [[1.2, 0, 0.5], [0, 1.5, 0.5], [0, 0, 1]]),
        r"`intrinsics` must have positive focal lengths of at least 4 pixels",
    ),
    "principal point outside": (_set("cameras", 0, "intrinsics", 1, 2, 200), r"`intrinsics` must have its principal"),
    "intrinsics below the diagonal": (_set("cameras", 0, "intrinsics", 1, 0, 2), r"`intrinsics` must be upper triang"),
    "pose that is no rotation": (
        _set("cameras", 2, "tool_from_camera", np.diag([1.0, 1.0, 2.0, 1.0]).tolist()),
        r"`tool_from_camera` must be a rotation",
    ),
    "pose with a wrong last row": (_set("cameras", 2, "tool_from_camera", 3, 0, 1), r"last row \(0, 0, 0, 1\)"),
    "hand-eye without an arm": (_set("cameras", 2, "arm", None), r"`tool_from_camera` needs `arm`"),
    "static pose of a carried camera": (
        _set("cameras", 2, "base_from_camera", np.eye(4).tolist()),
        r"only for a camera that no arm carries",
    ),
    "unknown depth encoding": (
        _set("depth_encoding", "disparity"),
        r"`depth_encoding` must be one of \['inverse', 'linear', 'relative'\], but is 'disparity'",
    ),
    "number as depth encoding": (_set("depth_encoding", 8), r"`depth_encoding` must be a string, but is 8"),
    "a rate as period": (
        _set("control_period", 15),
        r"must be seconds between commands, not commands per second, but is 15",
    ),
    "depth range in millimetres": (
        _set("cameras", 0, "depth_range", [300, 5000]),
        r"must be metres, but begins at 300",
    ),
    "depth range upside down": (_set("cameras", 0, "depth_range", [3.0, 0.1]), r"0 < near < far"),
    "base frame mirrored": (
        _set("model_from_base", MIRROR),
        r"`model_from_base` must be a rotation, but is a reflect",
    ),
    "tool axes stretched": (_set("arms", 0, "model_from_tool", STRETCHED), r"`model_from_tool` must be a rotation"),
    "gripper that cannot move": (
        _set("arms", 0, "gripper", "command_open", 1),
        r"`command_open` and `command_closed`",
    ),
    "gripper sign of two": (_set("arms", 0, "gripper", "action_sign", 2), r"`action_sign` must be 1 or -1"),
    "no joints": (_set("arms", 0, "num_joints", 0), r"`num_joints` must be from 1 to 64"),
    "unknown command kind": (_set("command_kind", "velocity"), r"`command_kind` must be one of \['absolute_end_eff"),
    "joint commands without joints": (_set("command_kind", "joint_position"), r"needs `num_joints` for arm 'left'"),
    "joints for raw commands": (_set("arms", 0, "num_joints", 7), r"needs tool poses, so `num_joints` unset"),
    "scale for no raw commands": (_set("command_kind", "delta_end_effector"), r"`raw_scale` is only for raw commands"),
    "negative scale": (_set("raw_scale", "rotation", -0.1), r"`rotation` must be positive"),
    "limit of nothing": (_set("raw_scale", "limit", 0), r"`limit` must be positive"),
    "too few slots": (_set("state_slots", [0, 1, 2]), r"`state_slots` must have one slot for each of 8 channels"),
    "slot outside": (_set("action_slots", [0, 1, 2, 3, 4, 5, 14]), r"`action_slots` must be in 0 … 13"),
    "slot taken twice": (_set("action_slots", [0, 1, 2, 3, 4, 5, 5]), r"`action_slots` must be different slots"),
    "quantiles of another length": (
        _drop("quantiles", "state_low", 0),
        r"state must have 8 channels, but have 7 and 8",
    ),
    "quantiles upside down": (_set("quantiles", "state_low", 0, 9.0), r"state 'left_x' has 9.0 and 0.75"),
    "infinite quantile": (_set("quantiles", "action_high", 2, float("inf")), r"`action_high` \[2\] must be a finite"),
    "quantiles for a quaternion": (_set("quantiles", "state_low", 3, -0.5), r"'left_qw' passes through and must have"),
    "quantiles for a raw gripper": (_set("quantiles", "action_high", 6, 2), r"action 'left_gripper' passes through"),
    "several at once": (
        lambda data: (data.pop("name"), data.update(colour="red", crop_ratio="x")),
        r"(?s)(?=.*crop_ratio)(?=.*missing)(?=.*unknown)",
    ),
}


@pytest.mark.parametrize(("change", "text"), BROKEN.values(), ids=BROKEN.keys())
def test_every_broken_field_is_named(change, text):
    data = _data()
    change(data)
    with pytest.raises(ValueError, match=text):
        RobotSpec.from_dict(data)


@pytest.mark.parametrize("data", [None, [], "robocasa"])
def test_a_spec_is_an_object(data):
    with pytest.raises(ValueError, match="RobotSpec must be a JSON object"):
        RobotSpec.from_dict(data)


def test_the_unbroken_data_is_a_spec():
    assert RobotSpec.from_dict(_data()) == complete_spec("mujoco_panda")


def test_arrays_and_lists_become_tuples_so_that_specs_compare_and_hash():
    camera = CameraSpec("top", [48, 64], intrinsics=np.array([[50, 0, 32], [0, 50, 24], [0, 0, 1]]))
    same = CameraSpec("top", (48, 64), intrinsics=((50.0, 0.0, 32.0), (0.0, 50.0, 24.0), (0.0, 0.0, 1.0)))
    assert camera == same
    assert hash(camera) == hash(same)


def test_fields_with_defaults_may_be_left_out():
    arm = ArmSpec.from_dict({"name": "left", "gripper": {"command_open": 1, "command_closed": 0}})
    assert arm == ArmSpec("left", GripperSpec(1.0, 0.0))
    assert isinstance(arm, Record)


def test_a_robot_saved_before_depth_had_a_declared_encoding_has_inverse_depth():
    data = _data()
    assert data.pop("depth_encoding") == "inverse"
    assert RobotSpec.from_dict(data).depth_encoding == "inverse"


def test_commands_have_columns_and_units():
    spec = complete_spec("robotwin")
    assert spec.command_columns[:8] == tuple(f"left_{n}" for n in ("x", "y", "z", "qw", "qx", "qy", "qz", "gripper"))
    assert spec.command_units[:8] == ("m", "m", "m", "1", "1", "1", "1", "1")
    assert complete_spec("robocasa").command_units == ("controller",) * 7
    assert complete_spec("droid").command_units == ("rad",) * 7 + ("1",)
    with pytest.raises(ValueError, match=r"Cannot name the commands of robot 'ac_one': unknown is command_kind"):
        _ = get_robot("ac_one").command_columns


def test_unknown_fields_leave_the_list_when_they_are_given():
    spec = get_robot("robocasa")
    assert spec.unknown == ("quantiles",)
    assert complete_spec("robocasa").unknown == ()
    assert replace(spec, control_period=None).unknown == ("control_period", "quantiles")


def test_missing_quantiles_are_explained():
    with pytest.raises(ValueError, match=r"encode states of robot 'robocasa': unknown is quantiles.*with_quantiles"):
        get_robot("robocasa").require("quantiles", purpose="encode states")


def test_a_frozen_spec_cannot_be_changed():
    with pytest.raises(AttributeError):
        get_robot("robocasa").control_period = 0.1
