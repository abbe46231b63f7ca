import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xwam.data import lerobot_layout as layout
from xwam.data.writers.lerobot_writer import read_episodes, read_format
from xwam.envs.registry import make_env
from xwam.recording import environment_slot, replay
from xwam.recording.demonstrations import Recipe, record_demonstrations
from xwam.recording.replay import ReplayOptions, replay_dataset, replay_hdf5
from xwam.recording.replayable import ReplayableEnvironment
from xwam.recording.stored_episodes import list_stored_episodes, read_numbers

ENVIRONMENT = "mujoco/push_to_region"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replayed") / "dataset"
    record_demonstrations(folder, [Recipe(ENVIRONMENT, {"image_size": [32, 40]}, {"noise": 0.1})], episodes=2)
    return folder


@pytest.mark.parametrize("mode", ["commands", "states"])
def test_the_same_eyes_see_the_same(dataset: Path, tmp_path: Path, mode: str):
    assert replay_dataset(dataset, tmp_path / mode, ReplayOptions(mode)) == 2
    assert contents(tmp_path / mode) == contents(dataset)


def test_other_eyes_see_the_same_world(dataset: Path, tmp_path: Path):
    plain = record_plain(tmp_path / "plain")
    options = ReplayOptions(environment_options={"image_size": [48, 64]})
    assert replay_dataset(plain, tmp_path / "rich", options) == 1
    form = read_format(tmp_path / "rich")
    assert [camera.size for camera in form.cameras] == [(48, 64)] * 3
    assert all(camera.depth_range for camera in form.cameras), "the plain one has no depth"
    (old,), (new,) = list_stored_episodes(plain), list_stored_episodes(tmp_path / "rich")
    for name in ("commands", "robot_states", "simulator_states"):
        np.testing.assert_array_equal(
            getattr(read_numbers(plain, old), name), getattr(read_numbers(tmp_path / "rich", new), name)
        )
    assert new.options == {"image_size": [48, 64]}
    camera = form.cameras[0]
    with make_env(ENVIRONMENT, image_size=(48, 64)) as environment:
        truth = environment.reset(new.seed).depths[camera.name]
    key = layout.depth_key(camera.name)
    with av.open(
        str(tmp_path / "rich" / layout.VIDEO_PATH.format(video_key=key, chunk_index=0, file_index=0))
    ) as video:
        codes = next(video.decode(video=0)).to_ndarray(format="gray12le")
    assert np.abs(camera.depth_code.decode(codes) - truth)[camera.depth_code.is_measured(codes)].max() < 1e-3


def record_plain(folder: Path) -> Path:
    recipe = Recipe(ENVIRONMENT, {"image_size": [32, 40]}, with_depth=False)
    record_demonstrations(folder, [recipe], episodes=1)
    return folder


def test_another_world_is_noticed(dataset: Path, tmp_path: Path):
    with pytest.raises(
        ValueError, match="goes another way when it is run again: at frame 0 the robot's state differs"
    ):
        replay_dataset(spoiled(dataset, tmp_path / "a", state=None, seed=77), tmp_path / "b", ReplayOptions())
    with pytest.raises(ValueError, match="at frame 0 the simulator's state differs"):
        replay_dataset(spoiled(dataset, tmp_path / "c", state="kept", seed=77), tmp_path / "d", ReplayOptions())
    assert not list((tmp_path / "d").glob("data")), "nothing is published"


def spoiled(dataset: Path, folder: Path, *, state: str | None, seed: int) -> Path:
    """A copy whose episodes claim another seed, with or without states of the simulator."""
    for name, content in contents(dataset).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    column = table.column_names.index("seed")
    pq.write_table(table.set_column(column, "seed", pa.array([seed] * len(table))), path)
    path = folder / "simulator/chunk-000/file-000.parquet"
    if state is None:
        table = pq.read_table(path)
        nothing = pa.nulls(len(table), pa.list_(pa.float64()))
        pq.write_table(table.set_column(table.column_names.index("state"), "state", nothing), path)
    return folder


def test_commands_without_states_are_enough(dataset: Path, tmp_path: Path):
    seed = list_stored_episodes(dataset)[0].seed
    assert seed == 0
    blind = spoiled(dataset, tmp_path / "blind", state=None, seed=0)
    with pytest.raises(ValueError, match="has no states of the simulator"):
        replay_dataset(blind, tmp_path / "states", ReplayOptions("states"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ReplayOptions(environment_options={"image_size": [48, 64]}),
            r"world with image_size\[0\] 32, but now it is 48",
        ),
        (ReplayOptions(with_depth=False), "holds episodes of another form: .*depth_range"),
        (ReplayOptions(pixel_format="yuv420p"), "'yuv444p' there and 'yuv420p' here"),
        (ReplayOptions(environment_options={"randomized": True}), "world with randomized not set, but now it is True"),
    ],
)
def test_what_is_there_is_not_taken_for_something_else(
    dataset: Path, tmp_path: Path, options: ReplayOptions, message: str
):
    replay_dataset(dataset, tmp_path / "new", ReplayOptions())
    before = contents(tmp_path / "new")
    with pytest.raises(ValueError, match=message):
        replay_dataset(dataset, tmp_path / "new", options)
    assert contents(tmp_path / "new") == before
    assert replay_dataset(dataset, tmp_path / "new", ReplayOptions()) == 0, "the same goes on"


@pytest.mark.parametrize("output_format", ["lerobot", "release"])
def test_what_waits_since_an_interruption_is_not_either(dataset: Path, tmp_path: Path, output_format: str):
    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        replay_dataset(dataset, tmp_path / "new", ReplayOptions(), output_format=output_format, on_result=stop)
    before = contents(tmp_path / "new")
    other = ReplayOptions("states", environment_options={"randomized": True})
    with pytest.raises(ValueError, match="world with randomized not set, but now it is True"):
        replay_dataset(dataset, tmp_path / "new", other, output_format=output_format)
    assert contents(tmp_path / "new") == before
    assert replay_dataset(dataset, tmp_path / "new", ReplayOptions(), output_format=output_format) == 2


def test_what_cannot_be_run_again_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="no LeRobot dataset recorded by xwam"):
        replay_dataset(tmp_path, tmp_path / "new", ReplayOptions())
    record_plain(tmp_path / "same")
    with pytest.raises(ValueError, match="needs a folder of its own"):
        replay_dataset(tmp_path / "same", tmp_path / "other/../same", ReplayOptions())
    with pytest.raises(ValueError, match="`mode` must be one of"):
        ReplayOptions("backwards")


class StatesOnly:
    """A world of the package that shows demonstrations as robosuite's adapter does."""

    def __init__(self) -> None:
        self._world = make_env(ENVIRONMENT, image_size=(32, 40))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def start_replay(self, episode: Mapping[str, Any]):
        self._world.reset(int(episode["env_args"]["seed"]))
        self._world.set_state(episode["states"][0])
        return self._world.observe()

    def set_state(self, state: np.ndarray) -> None:
        self._world.set_state(state)


def test_demonstrations_of_hdf5_files_are_shown(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stored = list_stored_episodes(dataset)
    demonstrations = {}
    for number, one in enumerate(stored):
        numbers = read_numbers(dataset, one)
        wide = np.hstack([numbers.commands, np.zeros((len(numbers.commands), 5))])  # as RoboCasa's twelve
        demonstrations[f"demo_{number}"] = {
            "states": numbers.simulator_states,
            "actions": wide,
            "env_args": {"seed": one.seed},
        }
    monkeypatch.setattr(replay, "list_demonstrations", lambda path: tuple(demonstrations))
    monkeypatch.setattr(replay, "load_demonstration", lambda path, name: demonstrations[name])
    given: dict[str, Any] = {}
    monkeypatch.setattr(environment_slot, "make_env", lambda name, **options: given.update(options) or StatesOnly())
    assert isinstance(StatesOnly(), ReplayableEnvironment)
    assert replay_hdf5("demo.hdf5", ENVIRONMENT, tmp_path / "new", ReplayOptions()) == 2
    assert given == {"with_depth": True}, "demonstrations are shown for the sake of their depth"
    rows = read_episodes(tmp_path / "new").to_pylist()
    assert [row["success"] for row in rows] == [True, True]
    assert [row["length"] for row in rows] == [len(one["states"]) for one in demonstrations.values()]
    for old, new in zip(stored, list_stored_episodes(tmp_path / "new"), strict=True):
        theirs, mine = read_numbers(dataset, old), read_numbers(tmp_path / "new", new)
        np.testing.assert_array_equal(mine.commands, theirs.commands)
        np.testing.assert_array_equal(mine.robot_states, theirs.robot_states)
        np.testing.assert_array_equal(mine.simulator_states, theirs.simulator_states)
    for key in (layout.image_key("robot0_agentview_left"), layout.depth_key("robot0_eye_in_hand")):
        path = layout.VIDEO_PATH.format(video_key=key, chunk_index=0, file_index=0)
        assert (tmp_path / "new" / path).read_bytes() == (dataset / path).read_bytes()


def test_a_demonstration_that_leads_nowhere_is_no_success(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    one = list_stored_episodes(dataset)[0]
    numbers = read_numbers(dataset, one)
    cut = {"states": numbers.simulator_states[:6], "actions": numbers.commands[:6], "env_args": {"seed": one.seed}}
    monkeypatch.setattr(replay, "list_demonstrations", lambda path: ("demo_0",))
    monkeypatch.setattr(replay, "load_demonstration", lambda path, name: cut)
    monkeypatch.setattr(environment_slot, "make_env", lambda name, **options: StatesOnly())
    replay_hdf5("demo.hdf5", ENVIRONMENT, tmp_path / "new", ReplayOptions())
    assert read_episodes(tmp_path / "new").to_pylist()[0]["success"] is False


def test_a_world_without_hooks_shows_no_hdf5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(replay, "list_demonstrations", lambda path: ("demo_0",))

    class Blind:
        versions: Mapping[str, str] = {}

        def close(self) -> None: ...

    monkeypatch.setattr(environment_slot, "make_env", lambda name, **options: Blind())
    with pytest.raises(ValueError, match="cannot show stored states"):
        replay_hdf5("demo.hdf5", "robotwin/adjust_bottle", tmp_path / "new", ReplayOptions())


def test_demonstrations_of_two_files_of_one_name_are_told_apart(tmp_path: Path):
    places = [("ph/demo.hdf5", "demo_2"), ("mh/demo.hdf5", "demo_2"), ("ph/demo.hdf5", "demo_10")]
    places += [("ph/my demos (1).hdf5", "first"), ("ph/my demos (1).hdf5", "second")]
    keys = [replay.HDF5Episode(str(tmp_path / file), name, "robosuite/Lift").key for file, name in places]
    assert len(set(keys)) == len(keys)
    assert keys[0] < keys[2], "2 comes before 10"
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", key) for key in keys)
