"""Robots are found by name, complete in data, and need no torch."""

import json
import subprocess
import sys

import pytest

from xwam.errors import CheckpointConfigError, UnknownRobotError
from xwam.robots.registry import get_robot, list_robots, read_robot
from xwam.robots.spec import RobotSpec

TORCH_FREE = [
    "xwam.robots.spec",
    "xwam.robots.layout",
    "xwam.robots.registry",
    "xwam.robots.observation_checks",
    *(f"xwam.robots.specs.{name}" for name in list_robots()),
]


def test_the_robots_have_these_names():
    assert list_robots() == [
        "ac_one",
        "agibot_world",
        "droid",
        "droid_pose",
        "interna1_aloha",
        "interna1_genie1",
        "interna1_lift2",
        "mujoco_panda",
        "robocasa",
        "robotwin",
    ]


@pytest.mark.parametrize("name", list_robots())
def test_a_robot_carries_its_own_name_and_survives_json(name):
    spec = get_robot(name)
    assert spec.name == name
    assert RobotSpec.from_dict(json.loads(json.dumps(spec.to_dict(), allow_nan=False))) == spec


def test_an_unknown_robot_is_answered_with_those_that_exist():
    with pytest.raises(UnknownRobotError, match=r"no robot 'aloha'; known robots are \['ac_one', 'agibot_world'"):
        get_robot("aloha")


def test_a_robot_is_read_by_name_or_from_a_file(tmp_path):
    assert read_robot("droid") is get_robot("droid")
    file = tmp_path / "robot.json"
    file.write_text(json.dumps(get_robot("ac_one").to_dict() | {"name": "my_robot"}))
    assert read_robot(str(file)).name == "my_robot"
    with pytest.raises(UnknownRobotError, match="no robot 'aloha'"):
        read_robot("aloha")
    with pytest.raises(CheckpointConfigError, match=r"There is no file .*none\.json"):
        read_robot(str(tmp_path / "none.json"))
    file.write_text("{}")
    with pytest.raises(ValueError, match="RobotSpec is not valid: missing fields"):
        read_robot(str(file))


@pytest.mark.parametrize("name", ["robocasa", "robotwin", "droid", "ac_one"])
def test_quantiles_come_with_a_checkpoint(name):
    assert "quantiles" in get_robot(name).unknown


def test_the_embedded_robot_lacks_nothing():
    assert get_robot("mujoco_panda").unknown == ()


def test_what_nobody_published_about_ac_one_is_named():
    unknown = get_robot("ac_one").unknown
    for path in ("command_kind", "control_period", "arms.left.gripper", "cameras.right_wrist.tool_from_camera"):
        assert path in unknown


@pytest.mark.parametrize("module", TORCH_FREE)
def test_robot_data_needs_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
