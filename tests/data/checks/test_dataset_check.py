"""Every kind of defect is found where it is, and nothing is found where nothing is wrong."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from memory_reader import (
    JOINTS,
    ROBOT,
    TWO_ARMS,
    MemoryReader,
    Recording,
    filmed,
    joint_recording,
    pose_recording,
    raw_recording,
)

from xwam.data.checks.dataset_check import check_reader
from xwam.data.checks.episode_check import CheckOptions
from xwam.data.checks.findings import KINDS
from xwam.data.checks.lerobot_files import lerobot_findings
from xwam.data.checks.report import CheckReport
from xwam.data.readers.dataset_files import DatasetFiles
from xwam.errors import DamagedVideoError, DataError
from xwam.robots.spec import RobotSpec

LEFT, RIGHT, WRIST = (camera.name for camera in ROBOT.cameras)
EYE = np.eye(3)
SMALL = replace(ROBOT, cameras=tuple(replace(camera, size=(32, 48), intrinsics=None) for camera in ROBOT.cameras))


def raw_set(count: int = 3) -> list[Recording]:
    return [filmed(raw_recording(seed, length=60 + seed)) for seed in range(count)]


def joint_set() -> list[Recording]:
    return [filmed(joint_recording(seed, length=60 + seed), JOINTS) for seed in range(3)]


def pose_set() -> list[Recording]:
    return [filmed(pose_recording(seed, length=60 + seed), TWO_ARMS) for seed in range(3)]


def found(robot: RobotSpec, recordings: list[Recording], **kwargs: float) -> CheckReport:
    return check_reader(MemoryReader(robot, recordings, **kwargs))


@pytest.mark.parametrize(("robot", "make"), [(SMALL, raw_set), (JOINTS, joint_set), (TWO_ARMS, pose_set)])
def test_nothing_is_found_where_nothing_is_wrong(robot, make):
    recordings = make()
    if robot.name == "robotwin":  # its spec has the matrices of larger images
        robot = replace(robot, cameras=tuple(replace(camera, intrinsics=None) for camera in robot.cameras))
    assert found(robot, recordings).findings == ()


def test_a_dark_scene_a_fast_gripper_and_an_arm_at_rest_are_no_defects():
    dark = raw_set()
    for one in dark:
        one.images = {name: frames // 10 for name, frames in one.images.items()}
    assert found(SMALL, dark).findings == ()
    fast = [
        filmed(raw_recording(seed, length=70)) for seed in (140, 141, 142)
    ]  # opens five rows after it began to close
    assert found(SMALL, fast).findings == ()
    resting = pose_set()
    for one in resting:
        one.states[:, 8:] = one.commands[:, 8:] = one.states[:1, 8:]
    robot = replace(TWO_ARMS, cameras=tuple(replace(camera, intrinsics=None) for camera in TWO_ARMS.cameras))
    assert "degenerate_quantiles" not in found(robot, resting).kinds


def test_a_frozen_camera_in_a_dark_scene_is_still_found():
    dark = raw_set()
    for one in dark:
        one.images = {name: frames // 10 for name, frames in one.images.items()}
    dark[1].images[WRIST][10:] = dark[1].images[WRIST][10]
    assert found(SMALL, dark).kinds == {"frozen_camera"}


def dead(one: Recording) -> None:
    one.images[WRIST][20:50] = 3


def frozen(one: Recording) -> None:
    one.images[LEFT][10:55] = one.images[LEFT][40]


def doubled(one: Recording) -> None:
    one.images[RIGHT] = one.images[LEFT]


def no_depth(one: Recording) -> None:
    one.depths[LEFT][:] = 0


def sparse_depth(one: Recording) -> None:
    one.depths[LEFT][:, 2:] = 0


def near_depth(one: Recording) -> None:
    one.depths[LEFT][:, 10:] = 0.3


def depth_in_millimetres(one: Recording) -> None:
    one.depths[LEFT][:] *= 1000


def scaled_calibration(one: Recording) -> None:
    one.calibrations[LEFT].base_from_camera[7, :3, :3] *= 1.1


def divided_matrix(one: Recording) -> None:
    one.calibrations[LEFT].intrinsics[:2] /= 64


def leap(one: Recording) -> None:
    one.states[31:, 1] += 0.5


def flip(one: Recording) -> None:
    one.states[12:, 3:7] *= -1


def swap_cameras(one: Recording) -> None:
    shift = np.linspace(0, 90, len(one.states)).astype(int)  # the background of a camera on the arm moves
    one.images[WRIST] = np.stack(
        [np.roll(frame, n, axis=1) for frame, n in zip(one.images[WRIST], shift, strict=True)]
    )
    one.images[WRIST], one.images[LEFT] = one.images[LEFT], one.images[WRIST]


def gap(one: Recording) -> None:
    one.timestamps[25:] += 1.0


def drift(one: Recording) -> None:
    one.timestamps *= 20 / 18.5


def slow(one: Recording) -> None:
    one.timestamps *= 2


def jitter(one: Recording) -> None:
    one.timestamps[15:] += 0.04
    one.timestamps[30:] -= 0.03


def offset(one: Recording) -> None:
    one.timestamps += 460


def backwards(one: Recording) -> None:
    one.timestamps[25] = one.timestamps[20]


def times_nan(one: Recording) -> None:
    one.timestamps[9] = np.nan


@pytest.mark.parametrize(
    ("plant", "kind", "row", "feature"),
    [
        (dead, "dead_camera", 20, WRIST),
        (frozen, "frozen_camera", 10, LEFT),
        (doubled, "doubled_camera", None, RIGHT),
        (no_depth, "dead_depth", 0, f"{LEFT} depth"),
        (sparse_depth, "sparse_depth", None, f"{LEFT} depth"),
        (near_depth, "clipped_depth", 0, f"{LEFT} depth"),
        (depth_in_millimetres, "depth_unit", 0, f"{LEFT} depth"),
        (scaled_calibration, "broken_calibration", 7, f"{LEFT} base_from_camera"),
        (divided_matrix, "broken_calibration", None, f"{LEFT} intrinsics"),
        (leap, "jump", 31, "left_position"),
        (flip, "quaternion_flip", 12, "left_rotation"),
        (swap_cameras, "swapped_cameras", None, WRIST),
        (gap, "timestamp_gap", 25, "timestamp"),
        (drift, "drifting_timestamps", None, "timestamp"),
        (slow, "wrong_fps", None, "timestamp"),
        (jitter, "jittering_timestamps", 15, "timestamp"),
        (offset, "timestamp_offset", 0, "timestamp"),
        (backwards, "unordered_timestamps", 25, "timestamp"),
        (times_nan, "not_finite", 9, "timestamp"),
    ],
)
def test_a_defect_of_one_episode_is_found_there_and_nothing_else(plant, kind, row, feature):
    recordings = raw_set()
    plant(recordings[2])
    findings = found(SMALL, recordings).findings
    assert [(one.kind, one.episode, one.feature) for one in findings] == [(kind, "002", feature)]
    assert row is None or findings[0].row == row


def test_a_drift_is_told_with_its_size():
    recordings = raw_set()
    drift(recordings[0])
    (finding,) = found(SMALL, recordings).findings
    assert finding.expected == "20 per second, as declared"
    assert finding.came == "18.5 per second, 4.8 frames off at the end"


def in_every(change: Callable[[Recording], None]) -> Callable[[list[Recording]], None]:
    def plant(recordings: list[Recording]) -> None:
        for one in recordings:
            change(one)

    return plant


def column(kind: str, *places: int) -> Callable[[Callable[[np.ndarray], np.ndarray]], Callable]:
    def plant(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[list[Recording]], None]:
        def on_one(one: Recording) -> None:
            rows = getattr(one, kind)
            rows[:, list(places)] = change(rows[:, list(places)])

        return in_every(on_one)

    return plant


JOINT_PLACES = range(7)


def shifted(one: Recording) -> None:
    one.commands = np.concatenate([np.repeat(one.commands[:1], 3, axis=0), one.commands[:-3]])


def swap_axes(one: Recording) -> None:
    one.commands[:, [0, 1]] = one.commands[:, [1, 0]]


def copied(one: Recording) -> None:
    one.commands = one.states.copy()


@pytest.mark.parametrize(
    ("robot", "make", "plant", "kind", "feature"),
    [
        (
            SMALL,
            raw_set,
            column("states", 2)(lambda rows: np.full_like(rows, 0.2)),
            "constant_channel",
            "state left_z",
        ),
        (SMALL, raw_set, column("states", 4)(lambda rows: rows * np.nan), "missing_column", "state left_qx"),
        (SMALL, raw_set, column("states", 0, 1, 2)(lambda rows: rows * 1000), "unit", "state left_position"),
        (
            SMALL,
            raw_set,
            column("states", 7)(lambda rows: np.rint(4095 * rows)),
            "gripper_range",
            "state left_gripper",
        ),
        (SMALL, raw_set, column("states", 7)(lambda rows: 0.08 * rows), "narrow_gripper", "state left_gripper"),
        (SMALL, raw_set, column("states", 3, 4, 5, 6)(lambda rows: np.roll(rows, -1, 1)), "quaternion_order", None),
        (SMALL, raw_set, column("commands", 6)(lambda rows: -rows), "wrong_sign", "left_gripper"),
        (SMALL, raw_set, column("commands", 1)(lambda rows: -rows), "wrong_sign", "left_position"),
        (SMALL, raw_set, column("commands", 5)(lambda rows: -rows), "wrong_sign", "left_rotation"),
        (SMALL, raw_set, in_every(swap_axes), "wrong_axes", "left_position"),
        (SMALL, raw_set, in_every(shifted), "time_shift", "left_position"),
        (JOINTS, joint_set, column("states", *JOINT_PLACES)(np.degrees), "unit", "state left_joints"),
        (JOINTS, joint_set, column("commands", *JOINT_PLACES)(np.degrees), "unit", "command left_joints"),
        (
            JOINTS,
            joint_set,
            column("states", *JOINT_PLACES)(lambda rows: np.rint(2048 + rows * 651.9)),
            "unit",
            "state left_joints",
        ),
        (JOINTS, joint_set, column("commands", 7)(lambda rows: 100 * rows), "gripper_range", "command left_gripper"),
        (JOINTS, joint_set, in_every(shifted), "time_shift", "left_joints"),
        (JOINTS, joint_set, in_every(copied), "copied_commands", "left_joints"),
        (TWO_ARMS, pose_set, in_every(shifted), "time_shift", "left_position"),
        (TWO_ARMS, pose_set, column("commands", 8, 9, 10)(lambda rows: rows * 1000), "unit", "command right_position"),
    ],
)
def test_a_defect_of_all_episodes_is_found(robot, make, plant, kind, feature):
    recordings = make()
    before = found(robot, recordings).kinds
    plant(recordings)
    new = [one for one in found(robot, recordings).findings if one.kind not in before]
    assert (kind, None) in [(one.kind, one.episode) for one in new]
    assert feature is None or feature in [one.feature for one in new if one.kind == kind]


def test_the_guess_about_a_unit_is_right():
    degrees, ticks = joint_set(), joint_set()
    for one, other in zip(degrees, ticks, strict=True):
        one.states[:, :7] = np.degrees(one.states[:, :7])
        other.states[:, :7] = np.rint(2048 + other.states[:, :7] * 651.9)
    (said,) = [one.came for one in found(JOINTS, degrees).findings if one.kind == "unit"]
    assert "degrees" in said
    (said,) = [one.came for one in found(JOINTS, ticks).findings if one.kind == "unit"]
    assert "servo ticks" in said


@pytest.mark.parametrize("witness", ["camera", "commands", "signs"])
def test_each_witness_alone_tells_the_order_of_quaternions(witness):
    recordings = raw_set()
    for one in recordings:
        if witness != "camera":
            one.calibrations.clear()
        if witness != "commands":
            one.commands[:, 3:6] = 0.01 * np.random.default_rng(0).normal(size=one.commands[:, 3:6].shape)
    assert "quaternion_order" not in found(SMALL, recordings).kinds
    for one in recordings:
        one.states[:, 3:7] = np.roll(one.states[:, 3:7], -1, axis=1)
    (finding,) = [one for one in found(SMALL, recordings).findings if one.kind == "quaternion_order"]
    said = {"camera": "the camera on it", "commands": "it turns as commanded", "signs": "is never negative"}
    assert said[witness] in finding.came


def test_a_camera_that_slides_on_its_tool_is_told():
    recordings = raw_set()
    for one in recordings:
        turned = one.calibrations[WRIST].base_from_camera[::-1].copy()
        one.calibrations[WRIST].base_from_camera[:] = turned
    assert [one.kind for one in found(SMALL, recordings).findings] == ["loose_camera"]


def test_words_and_lengths_and_twins():
    recordings = raw_set(4)
    recordings[0].instructions = (" ",)
    recordings[1] = filmed(raw_recording(1, length=32))
    recordings[3] = recordings[2]
    kinds = [(one.kind, one.episode) for one in found(SMALL, recordings).findings]
    assert kinds == [("no_instruction", "000"), ("short_episode", "001"), ("duplicate_episode", "003")]


def test_rare_events_that_cannot_be_normalised_by_quantiles():
    recordings = joint_set()
    for one in recordings:
        one.commands[:, 5] *= 1e-3
    recordings[1].commands[9, 5] = 0.9  # one row in 246; openpi issue 814
    report = found(JOINTS, recordings)
    (finding,) = [one for one in report.findings if one.kind == "degenerate_quantiles"]
    assert finding.feature == "action channel left_joint_6"
    assert "Rare values become" in finding.came


def test_rates_sizes_and_cameras_that_differ_from_the_robots():
    recordings = raw_set()
    for one in recordings:
        del one.images[RIGHT], one.depths[RIGHT]
        one.timestamps *= 2
    report = found(ROBOT, recordings, rate=10)
    assert report.kinds == {"rate_mismatch", "missing_camera", "image_size"}
    assert not report.errors


def test_a_standing_robot_may_be_filmed_by_a_camera_that_sees_the_same():
    recordings = raw_set()
    for one in recordings[:1]:
        one.states[10:40], one.commands[10:40, :6] = one.states[10], 0
        one.images[LEFT][10:40] = one.images[LEFT][10]
    assert "frozen_camera" not in found(SMALL, recordings).kinds


def test_without_states_another_camera_tells_that_something_moves():
    recordings = raw_set()
    for one in recordings:
        one.states *= np.nan
    frozen(recordings[1])
    findings = [one for one in found(SMALL, recordings).findings if one.kind != "missing_column"]
    assert [(one.kind, one.episode) for one in findings] == [("frozen_camera", "001")]


class Damaged(MemoryReader):
    """Frames 17 and 18 of the left camera, and the states of the last episode, cannot be read."""

    def read_images(self, episode, camera, rows):
        if episode == 1 and camera == LEFT and {17, 18} & set(rows):
            raise DamagedVideoError("The frame is damaged: the decoder had to invent pixels.", path="a.mp4", row=117)
        if episode == 2 and camera == LEFT and max(rows) > 50:
            raise DamagedVideoError("The video has 51 frames, but this one was asked for.", path="b.mp4", row=51)
        return super().read_images(episode, camera, rows)

    def read_states(self, episode, start, stop):
        if episode == 3:
            raise DataError("Column 2 (left_z) holds nan.", feature="observation.state", row=4)
        return super().read_states(episode, start, stop)


def test_what_readers_refuse_becomes_findings_and_the_rest_is_checked():
    recordings = raw_set(4)
    dead(recordings[3])
    report = check_reader(Damaged(SMALL, recordings))
    places = {one.kind: (one.episode, one.row, one.feature) for one in report.findings}
    assert places == {
        "damaged_video": ("001", 17, LEFT),
        "short_camera": ("002", 51, LEFT),
        "not_finite": ("003", 4, "observation.state"),
        "dead_camera": ("003", 20, WRIST),
    }
    assert "2 of 61 frames" in next(one.came for one in report.findings if one.kind == "damaged_video")


def test_a_quick_check_reads_a_few_frames_and_still_finds_what_is_wrong_throughout():
    recordings = raw_set(4)
    recordings[1].images[LEFT][:] = 0
    read = []

    class Counted(MemoryReader):
        def read_images(self, episode, camera, rows):
            read.extend(rows)
            return super().read_images(episode, camera, rows)

    report = check_reader(Counted(SMALL, recordings), options=CheckOptions(is_quick=True))
    assert report.kinds == {"dead_camera"}
    assert len(read) == 4 * 3 * 36
    report = check_reader(MemoryReader(SMALL, recordings), options=CheckOptions(every=4, num_episodes=2))
    assert report.looked_at.startswith("2 of 4 episodes")


def test_several_processes_find_the_same():
    recordings = raw_set()
    dead(recordings[2])
    alone = check_reader(MemoryReader(SMALL, recordings))
    together = check_reader(MemoryReader(SMALL, recordings), num_processes=2)
    assert together.findings == alone.findings != ()


@pytest.mark.parametrize("options", [{"every": 0}, {"num_episodes": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match="must be at least 1"):
        CheckOptions(**options)


def test_the_report_counts_and_shows_examples():
    recordings = raw_set(4)
    for one in recordings:
        dead(one)
    report = found(SMALL, recordings)
    text = "\n".join(report.lines())
    assert f"dead_camera              4 × in 4 episodes: {KINDS['dead_camera'][1]}" in text
    assert f"episode 000, row 20, {WRIST}: expected images with something in them; came black until row 49" in text
    assert "… and 1 more" in text
    assert text.endswith("4 errors, 0 warnings")
    assert report.to_dict()["counts"] == {"dead_camera": 4}
    assert report.to_dict()["findings"][0]["severity"] == "error"


@pytest.mark.parametrize("features", [["action"], {"action": "float32"}])
def test_features_that_are_none_are_a_finding(tmp_path, features):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text(json.dumps({"fps": 20, "features": features}))
    (found,) = lerobot_findings(DatasetFiles(tmp_path), None)
    assert found.kind == "unreadable"
    assert "`features` is something else" in found.came
