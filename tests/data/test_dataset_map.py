"""A map says where things are and in which units: JSON in and out, and one sentence for what does not fit."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from xwam.data.dataset_map import ArmMap, CameraMap, Columns, DatasetMap, StoredFeature
from xwam.robots.registry import get_robot, list_robots

ROBOTWIN = get_robot("robotwin")


def pose_map(**changes: object) -> DatasetMap:
    arm = ArmMap(
        "left",
        position=Columns("pose", (0, 1, 2), scale=0.001),
        rotation=Columns("pose", (3, 4, 5, 6)),
        rotation_form="quaternion_xyzw",
        gripper=Columns("hand", names=("left_hand",)),
        gripper_closed=35.0,
        gripper_open=123.0,
    )
    own = DatasetMap(
        states=(arm,),
        cameras=(CameraMap("head_camera", "rgb", depth="depth", depth_scale=0.001),),
        next_state_is_command=True,
        source="made up",
        notes=("a note",),
    )
    return replace(own, **changes)


def test_a_map_survives_json(tmp_path: Path):
    for own in (pose_map(), *(DatasetMap.identity(get_robot(name)) for name in list_robots())):
        file = tmp_path / "map.json"
        file.write_text(json.dumps(own.to_dict(), allow_nan=False))
        assert DatasetMap.read(file) == own


@pytest.mark.parametrize("name", [name for name in list_robots() if get_robot(name).command_kind])
def test_the_identity_covers_every_column_once(name: str):
    robot = get_robot(name)
    own = DatasetMap.identity(robot)
    for arms, columns in ((own.states, robot.state_columns), (own.commands, robot.command_columns)):
        named = [name for arm in arms for part in arm.parts.values() for name in part.names]
        assert sorted(named) == sorted(columns)
    assert [camera.name for camera in own.cameras] == [camera.name for camera in robot.cameras]


def test_camera_features_that_a_data_set_lacks_can_be_left_out():
    own = DatasetMap.identity(ROBOTWIN).limited_to(
        ["observation.images.left_camera", "observation.images.head_camera_depth"]
    )
    assert own.cameras == (CameraMap("left_camera", "observation.images.left_camera"),)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Columns("a", (0,), ("b",)), "must not both be given"),
        (lambda: Columns("a", (-1,)), "must not be negative"),
        (lambda: Columns("a", scale=0.0), "`scale` must not be zero"),
        (lambda: CameraMap("a", depth_scale=-0.001), "`depth_scale` must be a positive number of metres"),
        (lambda: ArmMap("left", rotation_form="euler_xxz"), "`rotation_form` must be one of"),
        (lambda: ArmMap("left", gripper_closed=1.0), "must differ"),
        (lambda: ArmMap("left", joints=Columns("a"), position=Columns("a")), "either `joints` or"),
        (lambda: pose_map(commands=pose_map().states), "`commands` must be empty"),
        (lambda: pose_map(states=pose_map().states * 2), "`states` must name each once"),
        (lambda: pose_map(rate=0.0), "`rate` must be positive"),
        (lambda: pose_map(states=(ArmMap("left", rotation=Columns("a"), rotation_form="as_stored"),)), "'as_stored'"),
        (lambda: DatasetMap.from_dict({"states": [], "camera": []}), r"unknown fields \['camera'\]"),
    ],
)
def test_a_map_that_means_nothing_is_refused(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (StoredFeature(("x", "y", "x"), 3), r"\['x'\] stand for several"),
        (StoredFeature(("x",), 3), "which are not as many names"),
        (StoredFeature((), 3), r"without names, not \['x'\]"),
    ],
)
def test_names_must_mean_one_number_each(stored: StoredFeature, message: str):
    with pytest.raises(ValueError, match=message):
        Columns("a", names=("x",)).places(stored)
    assert Columns("a", entries=(2,)).places(stored) == (2,)
