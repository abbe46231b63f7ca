"""Robots by name."""

import importlib
from pathlib import Path

from xwam.checkpoints.json_files import read_json
from xwam.errors import UnknownRobotError
from xwam.robots.spec import RobotSpec

_ROBOTS = (
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
)


def list_robots() -> list[str]:
    """Names that `get_robot` knows."""
    return sorted(_ROBOTS)


def get_robot(name: str) -> RobotSpec:
    """The specification of a robot. What it lacks is named in `RobotSpec.unknown`.

    Args:
        name (`str`): One of `list_robots()`.

    Raises:
        UnknownRobotError: If there is no such robot.
    """
    if name not in _ROBOTS:
        raise UnknownRobotError(name, _ROBOTS)
    return importlib.import_module(f"xwam.robots.specs.{name}").SPEC


def read_robot(name_or_file: str) -> RobotSpec:
    """The specification of a robot by name, or of a JSON file that holds what `RobotSpec.to_dict` gives.

    Args:
        name_or_file (`str`): One of `list_robots()`, or a path that ends in `.json`.

    Raises:
        UnknownRobotError: If it is neither.
        CheckpointConfigError: If the file cannot be read as JSON.
        ValueError: If the file describes no robot.
    """
    if Path(name_or_file).suffix == ".json":
        return RobotSpec.from_dict(read_json(Path(name_or_file)))
    return get_robot(name_or_file)
