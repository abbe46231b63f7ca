import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import synthetic_episodes as synthetic
from synthetic_episodes import CAMERAS, ROBOT, contents, write_episode

from xwam.data import lerobot_layout as layout
from xwam.data.depth_codes import DepthCode
from xwam.data.writers import dataset_writer, durable_files, lerobot_build
from xwam.data.writers.dataset_writer import describe_failure, read_plain
from xwam.data.writers.episode_writer import EpisodeWriter
from xwam.data.writers.lerobot_writer import LeRobotWriter, read_format
from xwam.data.writers.recording_format import RecordingFormat
from xwam.errors import ObservationError
from xwam.robots.registry import read_robot

SCRIPT = Path(synthetic.__file__)


def record(folder: Path, seeds: range | list[int]) -> Path:
    with LeRobotWriter(folder) as writer:
        for seed in seeds:
            write_episode(writer, seed)
        writer.finish()
    return folder


class PlainReader:
    """The format read with pyarrow and av alone, knowing nothing of the writer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = json.loads((folder / "meta/info.json").read_text())
        self.stats = json.loads((folder / "meta/stats.json").read_text())
        self.tasks = pd.read_parquet(folder / "meta/tasks.parquet")
        tables = [pq.read_table(path) for path in sorted((folder / "meta/episodes").glob("*/*.parquet"))]
        self.episodes = [row for table in tables for row in table.to_pylist()]

    def numbers(self, episode: dict[str, Any], kind: str = "data") -> dict[str, np.ndarray]:
        path = f"{kind}/chunk-{episode['data/chunk_index']:03d}/file-{episode['data/file_index']:03d}.parquet"
        table = pq.read_table(self.folder / path).to_pandas()
        own = table[table["episode_index"] == episode["episode_index"]]
        return {name: np.stack(own[name].to_list()) for name in own.columns}

    def video(self, episode: dict[str, Any], key: str, pixel_format: str) -> np.ndarray:
        chunk, file = (episode[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index"))
        with av.open(str(self.folder / f"videos/{key}/chunk-{chunk:03d}/file-{file:03d}.mp4")) as container:
            frames = [frame.to_ndarray(format=pixel_format) for frame in container.decode(video=0)]
        start, end = (round(episode[f"videos/{key}/{name}_timestamp"] * self.info["fps"]) for name in ("from", "to"))
        return np.stack(frames[start:end])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("lerobot") / "dataset", range(5))


def test_all_comes_back(dataset: Path):
    reader = PlainReader(dataset)
    assert [episode["seed"] for episode in reader.episodes] == list(range(5))
    total = 0
    for seed, episode in enumerate(reader.episodes):
        length = synthetic.length(seed)
        assert (episode["length"], episode["dataset_from_index"], episode["dataset_to_index"]) == (
            length,
            total,
            total + length,
        )
        total += length
        numbers, simulator = reader.numbers(episode), reader.numbers(episode, "simulator")
        assert numbers["index"].tolist() == list(range(total - length, total))
        assert reader.tasks.index[numbers["task_index"][0]] == f"task {seed % 2}" == episode["tasks"][0]
        assert numbers["next.success"].tolist() == [False] * (length - 2) + [True] * 2
        np.testing.assert_allclose(numbers["timestamp"], np.arange(length) / 20, rtol=1e-6)
        for frame, (seen, command, state) in enumerate(synthetic.frames(seed)):
            arm = seen.arms["left"]
            expected = np.array([*arm.position, *arm.quaternion, arm.gripper], dtype=np.float32)
            np.testing.assert_array_equal(numbers["observation.state"][frame], expected)
            np.testing.assert_array_equal(numbers["action"][frame], command.astype(np.float32))
            np.testing.assert_array_equal(simulator["command"][frame], command)
            np.testing.assert_array_equal(simulator["state"][frame], state)
            for name in CAMERAS:
                pose = numbers[f"observation.cameras.{name}.base_from_camera"][frame].reshape(4, 4)
                np.testing.assert_allclose(pose, seen.cameras[name].base_from_camera, atol=1e-6)
                matrix = numbers[f"observation.cameras.{name}.intrinsics"][frame].reshape(3, 3)
                np.testing.assert_allclose(matrix, seen.cameras[name].intrinsics)
    assert reader.info["total_frames"] == total


def test_pictures_and_depth_come_back(dataset: Path):
    reader = PlainReader(dataset)
    for seed, episode in enumerate(reader.episodes):
        seen = [one for one, _, _ in synthetic.frames(seed)]
        for name in CAMERAS:
            key = f"observation.images.{name}"
            pictures = np.stack([one.images[name] for one in seen]).astype(float)
            error = np.mean((reader.video(episode, key, "rgb24") - pictures) ** 2)
            assert 10 * np.log10(255**2 / error) > 38
            code = DepthCode.from_info(reader.info["features"][f"{key}_depth"]["info"])
            codes = reader.video(episode, f"{key}_depth", "gray12le")
            depths = np.stack([one.depths[name] for one in seen])
            is_measured = code.is_measured(codes)
            np.testing.assert_array_equal(is_measured, (depths > 0) & (depths < code.far))
            error = np.abs(code.decode(codes) - depths)[is_measured]
            assert (error <= 0.502 * code.step(depths[is_measured])).all()


def test_the_facts_are_lerobots(dataset: Path):
    info = PlainReader(dataset).info
    assert (info["codebase_version"], info["fps"], info["robot_type"]) == ("v3.0", 20, "mujoco_panda")
    assert info["splits"] == {"train": "0:5"}
    assert info["total_tasks"] == 2
    features = info["features"]
    assert features["action"]["names"] == list(ROBOT.command_columns)
    assert features["observation.state"]["names"] == list(ROBOT.state_columns)
    depth = features[f"observation.images.{CAMERAS[2]}_depth"]
    assert depth["info"]["is_depth_map"]
    assert (depth["info"]["video.codec"], depth["info"]["video.pix_fmt"], depth["info"]["depth_unit"]) == (
        "hevc",
        "gray12le",
        "m",
    )
    assert (depth["info"]["video.depth_min"], depth["info"]["video.depth_max"]) == (0.015, 2.0), "per view"
    assert not features[f"observation.images.{CAMERAS[2]}"]["info"]["is_depth_map"]
    schema = pq.read_schema(dataset / "data/chunk-000/file-000.parquet")
    assert schema.names == [name for name, feature in features.items() if feature["dtype"] != "video"]
    assert pq.ParquetFile(dataset / "data/chunk-000/file-000.parquet").num_row_groups == 5
    assert read_robot(str(dataset / layout.ROBOT_FILE)) == ROBOT
    assert not (dataset / ".staging").exists()


def test_statistics_are_of_what_is_stored(dataset: Path):
    reader = PlainReader(dataset)
    assert set(reader.stats) == set(reader.info["features"])
    actions = np.concatenate([reader.numbers(episode)["action"] for episode in reader.episodes])
    np.testing.assert_allclose(reader.stats["action"]["mean"], actions.mean(0, dtype=np.float64), atol=1e-7)
    np.testing.assert_allclose(reader.stats["action"]["std"], actions.std(0, dtype=np.float64), atol=1e-7)
    key = f"observation.images.{CAMERAS[0]}"
    pictures = np.concatenate(
        [one.images[CAMERAS[0]][None] for seed in range(5) for one, _, _ in synthetic.frames(seed)]
    )
    np.testing.assert_allclose(np.ravel(reader.stats[key]["mean"]), pictures.mean((0, 1, 2)) / 255, atol=1e-9)
    assert np.shape(reader.stats[key]["mean"]) == (3, 1, 1)
    assert np.ravel(reader.stats[f"{key}_depth"]["min"])[0] > 0.4, "pixels without depth do not count"
    one = reader.episodes[3]
    np.testing.assert_allclose(one["stats/action/max"], reader.numbers(one)["action"].max(0))


def test_order_of_recording_does_not_matter(dataset: Path, tmp_path: Path):
    record(tmp_path / "other", [4, 1, 3, 0, 2])
    assert contents(tmp_path / "other") == contents(dataset)


def test_many_small_files(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layout, "DATA_FILE_BYTES", 10_000)
    monkeypatch.setattr(layout, "VIDEO_FILE_BYTES", 5_000)
    monkeypatch.setattr(layout, "CHUNK_SIZE", 2)
    monkeypatch.setattr(lerobot_build, "EPISODES_PER_FILE", 2)
    small, one = PlainReader(record(tmp_path / "small", range(5))), PlainReader(dataset)
    assert len(list(small.folder.glob("data/*/*"))) > 1
    assert len(list(small.folder.glob(f"videos/observation.images.{CAMERAS[0]}/*/*"))) > 2
    assert len(list(small.folder.glob("meta/episodes/*/*"))) == 3
    for mine, theirs in zip(small.episodes, one.episodes, strict=True):
        for name, values in small.numbers(mine).items():
            np.testing.assert_array_equal(values, one.numbers(theirs)[name])
        for key, pixel_format in (
            (f"observation.images.{CAMERAS[0]}", "rgb24"),
            (f"observation.images.{CAMERAS[1]}_depth", "gray12le"),
        ):
            np.testing.assert_array_equal(small.video(mine, key, pixel_format), one.video(theirs, key, pixel_format))


def test_episodes_can_be_added_later(dataset: Path, tmp_path: Path):
    record(tmp_path / "later", range(3))
    before = contents(tmp_path / "later")
    record(tmp_path / "later", range(3, 5))
    later, once = PlainReader(tmp_path / "later"), PlainReader(dataset)
    for name, content in before.items():
        if name.startswith(("data", "videos", "simulator", "meta/episodes")):
            assert contents(later.folder)[name] == content, "files of finished episodes stay"
    assert later.info == once.info
    assert later.tasks.equals(once.tasks)
    for feature, statistics in once.stats.items():
        for name, value in statistics.items():
            np.testing.assert_allclose(later.stats[feature][name], value, rtol=1e-9, atol=1e-12)
    for mine, theirs in zip(later.episodes, once.episodes, strict=True):
        for name, values in later.numbers(mine).items():
            np.testing.assert_array_equal(values, once.numbers(theirs)[name])
        key = f"observation.images.{CAMERAS[0]}_depth"
        np.testing.assert_array_equal(later.video(mine, key, "gray12le"), once.video(theirs, key, "gray12le"))
    with LeRobotWriter(later.folder) as writer:
        assert set(writer.outcomes()) == {synthetic.key(seed) for seed in range(5)}
        assert writer.finish() == 0


def test_a_killed_recording_goes_on(dataset: Path, tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent)}
    killed_while_writing = 0
    for wanted in ("1", "3", "finishing"):
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(tmp_path / "killed"), "5"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == wanted:
                os.kill(process.pid, signal.SIGKILL)
                break
        process.wait()
        process.stdout.close()
        killed_while_writing += process.returncode == -signal.SIGKILL
        staged = tmp_path / "killed" / ".staging" / "episodes"
        if wanted != "finishing":
            assert len(list(staged.glob("[!.]*"))) >= int(wanted) + 1, "published episodes survive"
    assert killed_while_writing == 3
    record_rest = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "killed"), "5"],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert "0" not in record_rest.stdout.split(), "nothing is recorded twice"
    assert contents(tmp_path / "killed") == contents(dataset)


class PowerCutError(BaseException):
    """No `except Exception` helps."""


@pytest.mark.parametrize("after", [0, 3, 6, 7, 9, 14, 17, 19])
def test_finishing_can_be_interrupted_anywhere(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
):
    calls = 0

    def counted(function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > after:
                raise PowerCutError
            return function(*arguments, **named)

        return call

    folder = tmp_path / "cut"
    with LeRobotWriter(folder) as writer:
        for seed in range(5):
            write_episode(writer, seed)
        with monkeypatch.context() as patch:
            patch.setattr(lerobot_build, "join_videos", counted(lerobot_build.join_videos))
            patch.setattr(dataset_writer, "write_json", counted(dataset_writer.write_json))
            patch.setattr(durable_files, "_move_file", counted(durable_files._move_file))
            with pytest.raises(PowerCutError):
                writer.finish()
    with LeRobotWriter(folder) as writer:
        writer.finish()
        assert len([key for key, is_kept in writer.outcomes().items() if is_kept]) == 5
    assert contents(folder) == contents(dataset)


LITTLE_ROOM = """
import resource, sys
from pathlib import Path
import synthetic_episodes as synthetic
from xwam.data.writers.dataset_writer import describe_failure
from xwam.data.writers.lerobot_writer import LeRobotWriter

with LeRobotWriter(sys.argv[1]) as writer:
    synthetic.write_episode(writer, 0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        synthetic.write_episode(writer, 1)
        writer.finish()
    except OSError as error:
        print(describe_failure(error, Path(sys.argv[1])))
"""


@pytest.mark.skipif(os.name != "posix", reason="limits files by setrlimit")
@pytest.mark.parametrize(("room", "kept"), [(1000, 1), (30_000, 2)])
def test_a_full_disk_is_one_error_and_takes_nothing(tmp_path: Path, room: int, kept: int):
    folder, environment = tmp_path / "full", {**os.environ, "PYTHONPATH": str(SCRIPT.parent)}
    command = [sys.executable, "-c", LITTLE_ROOM, str(folder), str(room)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    (line,) = ended.stdout.splitlines()
    assert "File too large" in line
    assert str(folder) in line
    assert line.endswith(f"{kept} finished episodes are kept, and the same command goes on from there.")
    assert sorted(path.name for path in (folder / ".staging/episodes").iterdir()) == [
        synthetic.key(seed) for seed in range(kept)
    ], "nothing half-written stays"
    assert contents(record(folder, range(kept, 2))) == contents(record(tmp_path / "other", range(2)))


def test_a_crash_leaves_no_crumbs_and_binds_no_one(tmp_path: Path):
    folder = tmp_path / "new"
    with LeRobotWriter(folder) as writer:
        writer.episode("a", synthetic.description(0), RecordingFormat.of(ROBOT, synthetic.observation(0)))
    (folder / ".staging/.format.json-0123").write_text("{")  # as `write_json` leaves when it is killed
    other = RecordingFormat.of(ROBOT, synthetic.observation(0), with_depth=False)
    with LeRobotWriter(folder) as writer, writer.episode("a", synthetic.description(0), other) as episode:
        episode.add(synthetic.observation(0), synthetic.command(0))
        episode.publish(is_success=True)
        writer.finish()
    assert read_format(folder) == other, "no episode has the first form"
    assert not (folder / ".staging").exists()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells its memory this way")
def test_frames_are_not_kept_in_memory(tmp_path: Path):
    size, seen = (64, 80), synthetic.observation(0, size=(64, 80))
    form = RecordingFormat.of(ROBOT, seen)
    with LeRobotWriter(tmp_path / "new") as writer, writer.episode("a", synthetic.description(0), form) as episode:
        for frame in range(600):
            episode.add(replace(seen, time=frame / 20), synthetic.command(frame), simulator_state=np.zeros(100))
            if frame == 100:
                before = resident_bytes()
        grown = resident_bytes() - before
        frames_would_be = 500 * 3 * size[0] * size[1] * (3 + 4)
        assert grown < 8e6 < frames_would_be / 5
        episode.publish(is_success=True)


def test_an_unfinished_episode_leaves_nothing(tmp_path: Path):
    form = RecordingFormat.of(ROBOT, synthetic.observation(0))
    with LeRobotWriter(tmp_path / "new") as writer:
        with writer.episode("a", synthetic.description(0), form) as episode:
            episode.add(synthetic.observation(0), synthetic.command(0))
        assert writer.waiting() == []
        assert not list((tmp_path / "new/.staging/episodes").iterdir())
        with (
            writer.episode("b", synthetic.description(0), form) as episode,
            pytest.raises(ValueError, match="no frame"),
        ):
            episode.publish(is_success=True)


def test_only_one_process_holds_a_folder(tmp_path: Path):
    with LeRobotWriter(tmp_path / "new"), pytest.raises(ValueError, match="Another process"):
        LeRobotWriter(tmp_path / "new").__enter__()
    with LeRobotWriter(tmp_path / "new") as writer:
        write_episode(writer, 0)
        said = describe_failure(ValueError("Another form."), tmp_path / "new")
        assert said == "Another form.", "what was asked wrongly does not go on"
    with pytest.raises(ValueError, match="inside of `with`"):
        LeRobotWriter(tmp_path / "new").finish()


def without(mapping: Any, name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key != name}


SEEN = synthetic.observation(1)
NAN_ARM = replace(SEEN.arms["left"], position=np.array([np.nan, 0, 0]))
BAD_FRAMES = {
    "`images` must have": replace(SEEN, images=without(SEEN.images, CAMERAS[1])),
    "must be of shape": replace(SEEN, depths=without(SEEN.depths, CAMERAS[1])),
    "`cameras` must have": replace(SEEN, cameras=without(SEEN.cameras, CAMERAS[1])),
    "`arms` lacks": replace(SEEN, arms={}),
    "must be finite": replace(SEEN, arms={"left": NAN_ARM}),
    "`arms\\['left'\\].gripper` must be from 0 closed to 1 open": replace(
        SEEN, arms={"left": replace(SEEN.arms["left"], gripper=5.0)}
    ),
    "`robot` must be": replace(SEEN, robot="another"),
    "must be floating point metres, but is uint16": replace(
        SEEN, depths={**SEEN.depths, CAMERAS[0]: np.full((32, 48), 700, np.uint16)}
    ),
    "must be in metres: the median is 700": replace(
        SEEN, depths={**SEEN.depths, CAMERAS[0]: np.full((32, 48), 700, np.float32)}
    ),
    "must be uint8": replace(SEEN, images={**SEEN.images, CAMERAS[0]: SEEN.images[CAMERAS[0]].astype(np.float32)}),
    "of shape \\(32, 48, 3\\)": synthetic.observation(1, size=(64, 80)),
    "must not be negative": replace(SEEN, depths={**SEEN.depths, CAMERAS[0]: -SEEN.depths[CAMERAS[0]]}),
    "The instruction was": synthetic.observation(1, instruction="another task"),
}


@pytest.mark.parametrize("message", BAD_FRAMES)
def test_bad_frames_are_refused_and_the_episode_can_go_on(tmp_path: Path, message: str):
    form = RecordingFormat.of(ROBOT, synthetic.observation(0))
    with LeRobotWriter(tmp_path / "new") as writer:
        with writer.episode("a", synthetic.description(0), form) as episode:
            episode.add(synthetic.observation(0), synthetic.command(0))
            with pytest.raises(ValueError, match=message):
                episode.add(BAD_FRAMES[message], synthetic.command(1))
            episode.add(synthetic.observation(1), synthetic.command(1))
            episode.publish(is_success=True)
        assert read_plain(writer.staging / "episodes/a/episode.json")["length"] == 2
        for path in (writer.staging / "episodes" / "a").glob("*.mp4"):
            with av.open(str(path)) as video:
                assert len(list(video.decode(video=0))) == 2, "no video has a frame of the bad one"


@pytest.mark.parametrize(
    ("command", "state", "message"),
    [
        (np.zeros(6), None, "finite numbers of shape"),
        (np.full(7, np.nan), None, "finite numbers of shape"),
        (np.zeros(7), np.zeros(3), "bring the simulator's state"),
        (np.zeros(7), np.zeros(4), "must keep the shape"),
    ],
)
def test_bad_commands_are_refused(tmp_path: Path, command: np.ndarray, state: np.ndarray | None, message: str):
    form = RecordingFormat.of(ROBOT, synthetic.observation(0))
    with LeRobotWriter(tmp_path / "new") as writer, writer.episode("a", synthetic.description(0), form) as episode:
        before = np.zeros(2) if state is not None and len(state) == 4 else None
        episode.add(synthetic.observation(0), synthetic.command(0), simulator_state=before)
        with pytest.raises(ValueError, match=message):
            episode.add(synthetic.observation(1), command, simulator_state=state)


def test_another_form_is_refused_before_anything_is_written(dataset: Path, tmp_path: Path):
    other = RecordingFormat.of(ROBOT, synthetic.observation(0, size=(64, 80)))
    robot = replace(ROBOT, name="another_robot")
    before = contents(dataset)
    for form, message in (
        (other, r"`cameras\[0\].size\[0\]` is 32 there and 64 here"),
        (RecordingFormat.of(robot, synthetic.observation(0)), "`robot.name` is 'mujoco_panda' there"),
        (RecordingFormat.of(ROBOT, synthetic.observation(0), with_depth=False), "depth_range"),
    ):
        with LeRobotWriter(dataset) as writer, pytest.raises(ValueError, match=message):
            writer.episode("a", synthetic.description(0), form)
    assert contents(dataset) == before
    with LeRobotWriter(tmp_path / "new") as writer:
        write_episode(writer, 0)
        with pytest.raises(ValueError, match="another form"):
            writer.episode("a", synthetic.description(0), other)
        with pytest.raises(ValueError, match="A key must be"):
            writer.episode("../a", synthetic.description(0), other)


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "photos.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds \['photos.txt'\]"):
        LeRobotWriter(tmp_path)
    assert contents(tmp_path) == {"photos.txt": b"mine"}


def test_a_robot_without_the_right_cameras_or_rate_is_refused():
    seen = synthetic.observation(0)
    with pytest.raises(ObservationError, match="must be of cameras"):
        RecordingFormat.of(ROBOT, replace(seen, images=without(seen.images, CAMERAS[0])))
    with pytest.raises(ValueError, match="whole frames per second"):
        RecordingFormat.of(replace(ROBOT, control_period=0.03), seen)
    with pytest.raises(ValueError, match="even sides"):
        RecordingFormat.of(ROBOT, synthetic.observation(0, size=(33, 48)), pixel_format="yuv420p")


def test_skipped_seeds_are_remembered(tmp_path: Path):
    with LeRobotWriter(tmp_path / "new") as writer:
        writer.skip("synthetic-0001", {"seed": 1})
        write_episode(writer, 0)
        writer.finish()
    with LeRobotWriter(tmp_path / "new") as writer:
        assert writer.outcomes() == {"synthetic-0000": True, "synthetic-0001": False}
        assert writer.skipped_notes() == {"synthetic-0001": {"seed": 1}}
    assert read_format(tmp_path / "new").fps == 20


def test_a_key_is_taken_once(tmp_path: Path):
    """Also where the episode is finished, so that nothing is recorded in vain."""
    form = RecordingFormat.of(synthetic.ROBOT, SEEN)

    def record(writer: LeRobotWriter) -> EpisodeWriter:
        with writer.episode("0000", synthetic.description(0), form) as episode:
            episode.add(SEEN, synthetic.command(1))
            episode.publish(is_success=True)
        return episode

    with LeRobotWriter(tmp_path) as writer:
        episode = record(writer)
        with pytest.raises(ValueError, match="holds an episode '0000' already; choose another key"):
            record(writer)
        assert writer.finish() == 1
        with pytest.raises(ValueError, match="holds an episode '0000' already"):
            record(writer)
    with LeRobotWriter(tmp_path) as writer, pytest.raises(ValueError, match="holds an episode '0000' already"):
        record(writer)
    for late in (lambda: episode.add(SEEN, synthetic.command(1)), lambda: episode.publish(is_success=True)):
        with pytest.raises(ValueError, match="The episode '0000' is over"):
            late()
