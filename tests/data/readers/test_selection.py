"""Chosen episodes are read as those of the whole data set."""

import numpy as np
import pytest
from data.array_reader import ArrayReader

from xwam.data.readers.selection import Selection
from xwam.data.streams.windows import WindowShape, read_clip


def test_an_episode_is_the_one_that_was_chosen():
    reader = ArrayReader(lengths=(40, 35, 50))
    chosen = Selection(reader, [2, 0])
    assert [episode.key for episode in chosen.episodes] == ["002", "000"]
    shape = WindowShape.of(reader.robot)
    found, expected = read_clip(chosen, 0, 5, shape), read_clip(reader, 2, 5, shape)
    assert found.source == expected.source
    for name in ("states", "commands", "state_is_valid", "command_is_valid"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name in ("images", "depths", "intrinsics", "base_from_camera"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.keys() == theirs.keys()
        for camera, values in theirs.items():
            np.testing.assert_array_equal(ours[camera], values)


def test_what_is_known_of_the_data_set_stays():
    reader = ArrayReader(is_metric=False)
    chosen = Selection(reader, [1])
    for name in ("name", "robot", "rate", "cameras", "depth_cameras", "depth_is_metric"):
        assert getattr(chosen, name) == getattr(reader, name)
    assert chosen.read_timestamps(0) is None


def test_an_episode_that_is_not_there_cannot_be_chosen():
    with pytest.raises(IndexError):
        Selection(ArrayReader(), [3])
