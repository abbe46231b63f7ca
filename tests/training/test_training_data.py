"""Episodes are held out evenly, quantiles are computed once, and other data are recognised."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "data"))

from synthetic_episodes import ROBOT, command, description, key, observation

from xwam.data.readers.base import Numbers
from xwam.data.readers.open import open_dataset
from xwam.data.readers.selection import Selection
from xwam.data.streams.mixture import Mixture
from xwam.data.writers.lerobot_writer import LeRobotWriter
from xwam.data.writers.recording_format import RecordingFormat
from xwam.errors import DataError
from xwam.robots.processor import RobotProcessor
from xwam.training.training_data import (
    data_identity,
    hold_out,
    robot_with_quantiles,
    validation_batches,
)

BARE = replace(ROBOT, quantiles=None)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training_data") / "recording"
    with LeRobotWriter(folder) as writer:
        for seed in range(5):
            form = RecordingFormat.of(ROBOT, observation(0, seed))
            with writer.episode(key(seed), description(seed), form) as episode:
                for frame in range(34):
                    episode.add(observation(frame, seed), command(frame, seed))
                episode.publish(is_success=True)
        writer.finish()
    return open_dataset(folder, BARE)


@pytest.mark.parametrize(("asked", "held"), [(0, []), (1, [2]), (8, [2])])
def test_at_most_a_fifth_is_held_out(reader, asked, held):
    trained, apart = hold_out(reader, asked)
    assert list(() if apart is None else apart.numbers) == held
    assert len(trained.episodes) == 5 - len(held)


def test_too_few_episodes_are_all_trained_on_and_that_is_said(reader, caplog):
    few = Selection(reader, [0, 1, 2, 3])
    assert hold_out(few, 8) == (few, None)
    assert "No episode of" in caplog.text
    assert "since it has only 4" in caplog.text
    caplog.clear()
    assert hold_out(few, 0) == (few, None)
    assert not caplog.text


def test_held_out_episodes_are_spread_evenly_and_never_trained_on(reader):
    many = Selection(reader, [0, 1, 2, 3, 4] * 8)
    trained, apart = hold_out(many, 4)
    assert apart.numbers == (5, 15, 25, 35)
    assert not set(apart.numbers) & set(trained.numbers)
    assert len(trained.numbers) == 36


def test_quantiles_are_computed_once_and_then_read(reader, tmp_path, caplog):
    caplog.set_level("INFO")
    found = robot_with_quantiles(BARE, [reader], tmp_path / "robot.json")
    assert found.quantiles is not None
    assert "has no quantiles: reading the numbers" in caplog.text
    caplog.clear()
    assert robot_with_quantiles(BARE, [reader], tmp_path / "robot.json") == found
    assert "are those of" in caplog.text
    assert robot_with_quantiles(ROBOT, [], tmp_path / "none.json") is ROBOT
    for change in ({"name": "other"}, {"crop_ratio": 0.5}, {"image_size": (32, 64)}):
        (field,) = change
        with pytest.raises(DataError, match=f"of a robot with another {field} than the '.*' that is given"):
            robot_with_quantiles(replace(BARE, **change), [], tmp_path / "robot.json")


class InDegrees(Selection):
    """The same rows, read with another map."""

    def read_states(self, episode, start, stop):
        found = super().read_states(episode, start, stop)
        return Numbers(found.values * 2, found.is_valid)


def test_quantiles_of_other_data_are_not_taken(reader, tmp_path, caplog):
    """As where a first call was wrong."""
    wrong = robot_with_quantiles(BARE, [InDegrees(reader, range(5))], tmp_path / "robot.json")
    caplog.clear()
    found = robot_with_quantiles(BARE, [reader], tmp_path / "robot.json")
    assert "are of other data" in caplog.text
    assert found != wrong
    assert found == robot_with_quantiles(BARE, [reader], tmp_path / "fresh" / "robot.json")
    (tmp_path / "robot_quantiles_of.json").unlink()  # as where the file was put there by hand
    assert robot_with_quantiles(BARE, [Selection(reader, [0])], tmp_path / "robot.json") == found


def test_data_at_another_rate_are_refused_before_their_numbers_are_read(reader, tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "rate", 30.0)
    for robot in (BARE, ROBOT):
        with pytest.raises(DataError, match="Its rows come 30 times a second"):
            robot_with_quantiles(robot, [reader], tmp_path / "robot.json")
    assert not list(tmp_path.iterdir())


def test_other_data_have_another_identity(reader):
    processor = RobotProcessor(ROBOT)
    bare = Selection(reader, range(5))
    whole = data_identity(Mixture.of(bare, processor))
    assert whole == data_identity(Mixture.of(Selection(reader, range(5)), processor))
    assert whole != data_identity(Mixture.of(Selection(reader, range(4)), processor))
    lows = (ROBOT.quantiles.state_low[0] - 1, *ROBOT.quantiles.state_low[1:])
    other = RobotProcessor(replace(ROBOT, quantiles=replace(ROBOT.quantiles, state_low=lows)))
    assert whole != data_identity(Mixture.of(bare, other))
    cropped = RobotProcessor(replace(ROBOT, crop_ratio=0.5))
    assert whole != data_identity(Mixture.of(bare, cropped))
    assert whole != data_identity(Mixture.of(InDegrees(reader, range(5)), processor))
    (entry,) = whole.values()
    assert (entry["episodes"], entry["windows"]) == (5, 10)


def test_validation_takes_the_same_clips_each_time(reader):
    processor = RobotProcessor(ROBOT)

    def sources():
        batches = list(validation_batches([reader], processor, num_clips=5, batch_size=2))
        assert [len(batch) for batch in batches] == [2, 2, 1]
        return [source for batch in batches for source in batch.sources]

    assert sources() == sources()
    assert len(set(sources())) == 5


def test_rows_between_commands_count_for_quantiles_and_validation(reader, tmp_path):
    """Raw commands cannot be skipped, which is how one sees that both look at the windows of the training."""
    with pytest.raises(ValueError, match="cannot be skipped without losing motion, but `rows_per_command` is 2"):
        robot_with_quantiles(BARE, [reader], tmp_path / "robot.json", rows_per_command=2)
    options = {"num_clips": 5, "batch_size": 5}
    with pytest.raises(ValueError, match="cannot be skipped without losing motion, but `rows_per_command` is 2"):
        list(validation_batches([reader], RobotProcessor(ROBOT), rows_per_command=2, **options))
