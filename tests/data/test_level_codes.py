"""Levels without a unit in the codes of a depth video: nothing is lost, and a data set is either metres or levels."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic_episodes import ROBOT, command, description, observation

from xwam.data import level_codes
from xwam.data.readers.lerobot import LeRobotReader
from xwam.data.writers.lerobot_writer import LeRobotWriter
from xwam.data.writers.recording_format import CameraFormat, RecordingFormat
from xwam.errors import DataError, ObservationError

LEVELS = np.arange(256, dtype=np.uint8)


def test_every_level_comes_back_and_codes_fit_into_12_bits():
    codes = level_codes.encode(LEVELS)
    assert (codes.dtype, codes.max()) == (np.uint16, 4080)
    np.testing.assert_array_equal(level_codes.decode(codes), LEVELS)
    np.testing.assert_allclose(level_codes.shares()[codes], LEVELS / 255, rtol=1e-6)


def seen_with_levels(seed: int = 0):
    seen, rng = observation(0, seed), np.random.default_rng(seed)
    seen.depths.update(
        {name: rng.integers(0, 256, depth.shape, dtype=np.uint8) for name, depth in seen.depths.items()}
    )
    return seen


def form(**changes) -> RecordingFormat:
    seen = observation(0)
    cameras = [CameraFormat(name, image.shape[:2], has_levels=True, **changes) for name, image in seen.images.items()]
    return RecordingFormat(ROBOT, tuple(cameras))


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    with LeRobotWriter(tmp_path / "levels") as writer:
        with writer.episode("one", description(0), form()) as episode:
            episode.add(seen_with_levels(), command(0))
            episode.publish(is_success=True)
        writer.finish()
    return tmp_path / "levels"


def test_a_recording_keeps_levels_and_their_statistics(recorded: Path):
    with LeRobotReader(recorded) as reader:
        assert not reader.depth_is_metric
        for camera in reader.cameras:
            np.testing.assert_array_equal(reader.read_depths(0, camera, [0])[0], seen_with_levels().depths[camera])
    statistics = json.loads((recorded / "meta/stats.json").read_text())
    feature = f"observation.images.{reader.cameras[0]}_depth"
    mean = seen_with_levels().depths[reader.cameras[0]].mean() / 255
    assert statistics[feature]["mean"][0][0][0] == pytest.approx(mean, rel=1e-6)  # level 0 counts, too


def test_metres_and_levels_in_one_data_set_are_refused(recorded: Path, tmp_path: Path):
    folder = shutil.copytree(recorded, tmp_path / "mixed")
    info = json.loads((folder / "meta/info.json").read_text())
    first = next(name for name in info["features"] if name.endswith("_depth"))
    info["features"][first]["info"]["depth_unit"] = "m"
    (folder / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(DataError, match="in metres or in levels everywhere"):
        LeRobotReader(folder)


def test_a_form_with_levels_takes_nothing_else(tmp_path: Path):
    with pytest.raises(ValueError, match="`depth_range` must be left out where `has_levels`"):
        form(depth_range=(0.1, 1.0))
    with pytest.raises(ObservationError, match="must be uint8 levels, but is float32"):
        form().check(observation(0))
