"""Defects planted in copies of a LeRobot data set are all found, alone and together, and none in the clean one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lerobot_copies import (
    LEFT,
    LENGTHS,
    RIGHT,
    SMALL,
    WRIST,
    change_column,
    change_frames,
    change_info,
    copy,
    drop_column,
    write_clean,
)

from xwam.data import check
from xwam.data.checks.dataset_check import check_dataset
from xwam.data.lerobot_layout import STATE_KEY, STATS_FILE, intrinsics_key
from xwam.data.readers.open import open_dataset

FIRSTS = np.concatenate([[0], np.cumsum(LENGTHS)])


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clean(tmp_path_factory.mktemp("lerobot") / "clean")


def dead_camera(folder: Path) -> None:
    change_frames(folder, RIGHT, lambda frames: [*map(np.zeros_like, frames[: LENGTHS[0]]), *frames[LENGTHS[0] :]])


def frozen_camera(folder: Path) -> None:
    begin = FIRSTS[1] + 12
    change_frames(folder, WRIST, lambda frames: [*frames[:begin], *[frames[begin]] * 40, *frames[begin + 40 :]])


def short_camera(folder: Path) -> None:
    change_frames(folder, LEFT, lambda frames: frames[:-7])


def drifting_timestamps(folder: Path) -> None:
    def drift(times: np.ndarray, episodes: np.ndarray) -> None:
        times[episodes == 2] *= 20 / 18.5

    change_column(folder, "timestamp", drift)


def wrong_fps(folder: Path) -> None:
    def slow(times: np.ndarray, episodes: np.ndarray) -> None:
        times[episodes == 3] *= 2

    change_column(folder, "timestamp", slow)


def missing_column(folder: Path) -> None:
    drop_column(folder, intrinsics_key(LEFT))


def not_finite(folder: Path) -> None:
    def spoil(states: np.ndarray, episodes: np.ndarray) -> None:
        states[9, 2] = np.nan

    change_column(folder, STATE_KEY, spoil)


def servo_ticks(folder: Path) -> None:
    def scale(states: np.ndarray, episodes: np.ndarray) -> None:
        states[:, 7] = np.rint(4095 * states[:, 7])

    change_column(folder, STATE_KEY, scale)


def constant_channel(folder: Path) -> None:
    def hold(states: np.ndarray, episodes: np.ndarray) -> None:
        states[:, 2] = np.where(np.isnan(states[:, 2]), np.nan, 0.25)

    change_column(folder, STATE_KEY, hold)


def quaternion_order(folder: Path) -> None:
    def swap(states: np.ndarray, episodes: np.ndarray) -> None:
        states[:, 3:7] = np.roll(states[:, 3:7], -1, axis=1)

    change_column(folder, STATE_KEY, swap)


PLANTED = {  # what is planted, what must be found, and where
    dead_camera: ("dead_camera", "0", RIGHT, 0),
    frozen_camera: ("frozen_camera", "1", WRIST, 12),
    short_camera: ("short_camera", "3", LEFT, 0),
    drifting_timestamps: ("drifting_timestamps", "2", "timestamp", 7),
    wrong_fps: ("wrong_fps", "3", "timestamp", None),
    missing_column: ("missing_column", None, intrinsics_key(LEFT), None),
    not_finite: ("not_finite", "0", STATE_KEY, 9),
    servo_ticks: ("gripper_range", None, "state left_gripper", None),
    constant_channel: ("constant_channel", None, "state left_z", None),
    quaternion_order: ("quaternion_order", None, "state left_rotation", None),
}


def places(folder: Path) -> list[tuple]:
    findings = check_dataset(folder, SMALL).findings
    return [(one.kind, one.episode, one.feature, one.row) for one in findings]


def test_nothing_is_found_in_the_clean_data_set(clean):
    report = check_dataset(clean, SMALL)
    assert report.findings == ()
    assert report.looked_at == "4 of 4 episodes, 217 rows at 20 per second, 3 cameras (3 with depth), every frame"


@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_defect_is_found_where_it_is(plant: Callable[[Path], None], clean, tmp_path):
    folder = copy(clean, tmp_path / "copy")
    plant(folder)
    kind, episode, feature, row = PLANTED[plant]
    key = None if episode is None else next(one for one in _keys(folder) if one.endswith(episode))
    assert (kind, key, feature, row) in places(folder)


def test_all_of_them_together_are_found(clean, tmp_path):
    folder = copy(clean, tmp_path / "copy")
    for plant in PLANTED:
        plant(folder)
    kinds = {kind for kind, *_ in places(folder)}
    assert kinds >= {kind for kind, *_ in PLANTED.values()}


def test_a_rate_that_only_the_metadata_have_wrong(clean, tmp_path):
    folder = copy(clean, tmp_path / "copy")
    change_info(folder, lambda info: info.update(fps=10))
    found = places(folder)
    assert {"wrong_fps", "rate_mismatch"} <= {kind for kind, *_ in found}
    assert len([one for one in found if one[0] == "wrong_fps" and one[2] == "timestamp"]) == len(LENGTHS)


def test_a_video_that_goes_on_after_its_episodes(clean, tmp_path):
    folder = copy(clean, tmp_path / "copy")
    change_frames(folder, LEFT, lambda frames: [*frames, frames[-1]])
    assert [(kind, feature) for kind, _, feature, _ in places(folder)] == [
        ("long_camera", f"observation.images.{LEFT}")
    ]


def test_statistics_that_are_missing_or_not_finite(clean, tmp_path):
    folder = copy(clean, tmp_path / "copy")
    statistics = json.loads((folder / STATS_FILE).read_text())
    del statistics["action"]
    (folder / STATS_FILE).write_text(json.dumps(statistics))
    assert places(folder) == [("missing_statistics", None, "action", None)]
    (folder / STATS_FILE).unlink()
    assert places(folder) == [("missing_statistics", None, None, None)]


def test_a_state_without_its_column_leaves_one_finding(clean, tmp_path):
    folder = copy(clean, tmp_path / "copy")

    def rename(info: dict) -> None:
        info["features"][STATE_KEY]["names"][4] = "somewhere"

    change_info(folder, rename)
    report = check_dataset(folder, SMALL)
    assert report.kinds == {"missing_column"}
    assert report.looked_at == "it cannot be opened"
    assert "left_qx" in report.findings[0].came


def _keys(folder: Path) -> list[str]:
    with open_dataset(folder, SMALL) as reader:
        return [entry.key for entry in reader.episodes]


def test_the_command_writes_table_report_and_sheet(clean, tmp_path, capsys):
    folder = copy(clean, tmp_path / "copy")
    dead_camera(folder)
    robot = tmp_path / "robot.json"
    robot.write_text(json.dumps(SMALL.to_dict()))
    words = [str(folder), "--robot", str(robot), "--output", str(tmp_path / "out")]

    assert check.main(words) == 1

    said = capsys.readouterr().out
    assert "dead_camera              1 × in 1 episodes" in said
    assert "1 errors, 0 warnings" in said
    written = json.loads((tmp_path / "out" / check.REPORT_FILE).read_text())
    assert written["counts"] == {"dead_camera": 1}
    assert (tmp_path / "out" / check.SHEET_FILE).stat().st_size > 10_000
    assert check.main([str(clean), "--robot", str(robot)]) == 0


def test_warnings_count_only_where_it_is_asked_for(clean, tmp_path):
    folder = copy(clean, tmp_path / "copy")
    constant_channel(folder)
    robot = tmp_path / "robot.json"
    robot.write_text(json.dumps(SMALL.to_dict()))
    assert check.main([str(folder), "--robot", str(robot), "--quick"]) == 0
    assert check.main([str(folder), "--robot", str(robot), "--quick", "--strict"]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere/at-all", "--robot", "marvin"], "There is no robot 'marvin'"),
        (["/nowhere/at/all", "--robot", "droid"], "neither a folder nor a dataset"),
        ([".", "--robot", "droid", "--frames", "0"], "must be at least 1"),
    ],
)
def test_what_cannot_be_checked_is_said_in_one_line(words, said, capsys):
    assert check.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("python -m xwam.data.check: ")
    assert said in error
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be_made_is_told_before_the_work(clean, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = [str(clean), "--robot", "mujoco_panda", "--output", str(tmp_path / "file" / "out")]
    assert check.main(words) == 2
    told = capsys.readouterr()
    assert str(tmp_path / "file") in told.err
    assert (told.out, told.err.count("\n")) == ("", 1)
