"""A data set is recognised by what lies in its folder."""

import json
from pathlib import Path

import pytest
from foreign_datasets import write_rlds
from loopback_hub import LoopbackHub
from synthetic_episodes import ROBOT, write_episode
from test_rlds import MAP, WIDOWX, foreign

from xwam.data.readers.lerobot import LeRobotReader
from xwam.data.readers.open import open_dataset, read_map
from xwam.data.readers.release import ReleaseReader
from xwam.data.readers.rlds import RldsReader
from xwam.data.sources.base import get_source
from xwam.data.writers.release_writer import ReleaseWriter
from xwam.errors import DataError, UnknownRobotError


def test_a_recording_is_opened_with_nothing_but_its_folder(own_recording: Path, loopback_hub: LoopbackHub):
    loopback_hub.commit_folder("tester/opened", own_recording, kind="datasets")
    for source in (own_recording, str(own_recording), "tester/opened"):
        reader = open_dataset(source, name="mine")
        assert isinstance(reader, LeRobotReader)
        assert (reader.robot, reader.name) == (ROBOT, "mine")


def test_the_releases_layout_is_opened(tmp_path: Path):
    with ReleaseWriter(tmp_path / "release") as writer:
        write_episode(writer, 0)
        writer.finish()
    assert isinstance(open_dataset(tmp_path / "release", ROBOT.name), ReleaseReader)
    with pytest.raises(DataError, match="does not say which robot"):
        open_dataset(tmp_path / "release")
    with pytest.raises(DataError, match="takes no map"):
        open_dataset(tmp_path / "release", ROBOT, map=MAP)


def test_rlds_is_opened_with_a_map_and_a_split(tmp_path: Path):
    folder = write_rlds(tmp_path / "rlds", foreign())
    (tmp_path / "map.json").write_text(json.dumps(MAP.to_dict()))
    (tmp_path / "robot.json").write_text(json.dumps(WIDOWX.to_dict()))
    for place in (tmp_path, folder, folder / "1.0.0"):
        reader = open_dataset(place, str(tmp_path / "robot.json"), map=tmp_path / "map.json", split="train")
        assert isinstance(reader, RldsReader)
        assert reader.map == MAP
    with pytest.raises(DataError, match="no split 'val'"):
        open_dataset(folder, WIDOWX, map=MAP, split="val")
    with pytest.raises(DataError, match="give a `DatasetMap`"):
        open_dataset(folder, WIDOWX)


def test_rlds_on_the_hub_is_refused_with_the_way_out(tmp_path: Path, loopback_hub: LoopbackHub):
    loopback_hub.commit_folder("tester/rlds", write_rlds(tmp_path / "rlds", foreign()), kind="datasets")
    with pytest.raises(DataError, match=r"tester/rlds: RLDS is read from local folders only.*hf download"):
        open_dataset("tester/rlds", WIDOWX, map=MAP)


def test_what_was_looked_for_and_found_is_said(tmp_path: Path, own_recording: Path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"Looked for: meta/info\.json.*metadata\.json.*Found: \['notes\.txt'\]"):
        open_dataset(tmp_path, ROBOT)
    with pytest.raises(DataError, match="Only RLDS has splits"):
        open_dataset(own_recording, split="train")
    with pytest.raises(UnknownRobotError):
        open_dataset(own_recording, "aloha")


def test_a_map_is_a_file_or_a_public_data_sets(tmp_path: Path):
    droid = get_source("droid").map
    assert read_map("droid") == droid
    (tmp_path / "own.json").write_text(json.dumps(droid.to_dict()))
    assert read_map(str(tmp_path / "own.json")) == droid
    (tmp_path / "own").write_text(json.dumps(droid.to_dict()))
    assert read_map(str(tmp_path / "own")) == droid, "whatever the file is called"
    with pytest.raises(ValueError, match="There is no source 'nobody', and no file; known sources are"):
        read_map("nobody")
