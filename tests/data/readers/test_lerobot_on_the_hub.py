"""A data set on the hub is read where it lies: one commit of it, and of its files only what is asked for."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from foreign_datasets import ForeignEpisode, write_lerobot
from loopback_hub import LoopbackHub
from synthetic_episodes import CAMERAS, ROBOT

from xwam.data import lerobot_layout as layout
from xwam.data.readers.lerobot import LeRobotReader
from xwam.errors import DataError, HubError

ROWS, SIZE = 150, (96, 128)
FIRST = layout.image_key(CAMERAS[0])


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes whose pictures are noise: several megabytes per video."""
    rng = np.random.default_rng(0)
    state = np.tile(np.float32([0, 0, 0, 1, 0, 0, 0, 0.5]), (ROWS, 1))
    state[:, 0] = np.arange(ROWS)
    episodes = [
        ForeignEpisode(
            {layout.STATE_KEY: state, layout.ACTION_KEY: np.zeros((ROWS, 7), np.float32)},
            {layout.image_key(name): rng.integers(0, 256, (ROWS, *SIZE, 3), dtype=np.uint8) for name in CAMERAS[:2]},
        )
        for _ in range(2)
    ]
    names = {layout.STATE_KEY: list(ROBOT.state_columns), layout.ACTION_KEY: list(ROBOT.command_columns)}
    return write_lerobot(tmp_path_factory.mktemp("hub") / "noise", episodes, names=names, episodes_per_file=2)


def test_only_what_is_asked_for_is_downloaded(loopback_hub: LoopbackHub, local: Path):
    loopback_hub.commit_folder("tester/noise", local, kind="datasets")
    loopback_hub.commit("tester/noise", {"extra/huge.bin": bytes(10**6)}, kind="datasets")
    reader = LeRobotReader("hf://datasets/tester/noise", ROBOT)
    assert reader.name == "tester/noise"
    video = f"videos/{FIRST}/chunk-000/file-000.mp4"
    assert not any(name.endswith(".mp4") or name.startswith(("data/", "extra/")) for name in loopback_hub.sent)

    states = reader.read_states(1, 10, 20)
    rows = [100, 101, 104]
    images = reader.read_images(1, CAMERAS[0], rows)

    beside = LeRobotReader(local, ROBOT)
    assert (states.values == beside.read_states(1, 10, 20).values).all()
    assert (images == beside.read_images(1, CAMERAS[0], rows)).all()
    size = (local / video).stat().st_size
    assert size > 6 * 2**20
    assert 0 < loopback_hub.sent[video] < size / 3
    assert [name for name in loopback_hub.sent if name.endswith(".mp4")] == [video]
    assert "extra/huge.bin" not in loopback_hub.sent


def test_a_reader_stays_with_the_commit_that_it_found(loopback_hub: LoopbackHub, own_recording: Path):
    loopback_hub.commit_folder("tester/own", own_recording, kind="datasets")
    reader = LeRobotReader("tester/own")
    before = reader.read_images(0, CAMERAS[0], [0])
    names = [path.relative_to(own_recording).as_posix() for path in own_recording.rglob("*.*") if path.stem != "info"]
    first = loopback_hub.repositories["datasets/tester/own"].head
    loopback_hub.commit("tester/own", {"meta/info.json": b"{}"}, delete=tuple(names), kind="datasets")
    again = pickle.loads(pickle.dumps(reader))  # noqa: S301
    assert (again.read_images(0, CAMERAS[0], [0]) == before).all()
    assert LeRobotReader("tester/own", revision=first).episodes == reader.episodes
    assert LeRobotReader(f"hf://datasets/tester/own@{first}").episodes == reader.episodes
    with pytest.raises(DataError, match="Versions"):
        LeRobotReader("tester/own", revision="main")


def test_what_is_nowhere_is_named(loopback_hub: LoopbackHub, tmp_path: Path):
    for source in ("tester/absent", "hf://datasets/tester/absent"):
        with pytest.raises(DataError, match=r"tester/absent.*hub did not give"):
            LeRobotReader(source, ROBOT)
    for source in (tmp_path / "absent", "./absent", "a/b/c", "absent"):
        with pytest.raises(DataError, match="neither a folder nor a dataset on the hub"):
            LeRobotReader(source, ROBOT)
    loopback_hub.commit("tester/empty", {"README.md": b""}, kind="datasets")
    with pytest.raises(DataError, match=r"file meta/info\.json: The file cannot be opened: No such file"):
        LeRobotReader("tester/empty", ROBOT)


def test_a_hub_out_of_reach_is_an_error_that_says_so(loopback_hub: LoopbackHub):
    with loopback_hub.offline(), pytest.raises(HubError, match=r"hub did not give.*ConnectError"):
        LeRobotReader("tester/offline", ROBOT)
