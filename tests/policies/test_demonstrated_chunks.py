"""What the baselines are shown is what a model is trained on, without a single image being read."""

import numpy as np
import pytest
import torch
from memory_reader import MemoryReader, filmed, pose_recording, raw_recording

from xwam.data.streams.windows import WindowShape, read_clip
from xwam.errors import DataError
from xwam.policies.demonstrated_chunks import demonstrated_chunks
from xwam.robots.processor import RobotProcessor
from xwam.robots.registry import get_robot


class Blind(MemoryReader):
    """A data set whose images nobody may ask for."""

    def read_images(self, episode, camera, rows):
        raise AssertionError("an image was read")

    read_depths = read_images


@pytest.mark.parametrize(("name", "make"), [("mujoco_panda", raw_recording), ("robotwin", pose_recording)])
def test_every_window_is_that_of_the_processor(name, make):
    robot = get_robot(name)
    if robot.quantiles is None:
        robot = robot.with_quantiles(
            *(
                [value] * len(columns)
                for columns in (robot.state_columns, robot.action_columns)
                for value in (-1.0, 1.0)
            )
        )
    recordings = [filmed(make(seed, length=length), robot) for seed, length in enumerate((40, 20, 37))]
    for recording in recordings:
        recording.depths.clear()  # not every robot here has a range for it
    recordings[2].states[3, 0] = np.nan
    chunks = demonstrated_chunks(Blind(robot, recordings), robot)
    reader, processor, shape = MemoryReader(robot, recordings), RobotProcessor(robot), WindowShape.of(robot)
    assert chunks.episodes.tolist() == [0] * 8 + [2] * 5
    for number, (episode, row) in enumerate([*((0, row) for row in range(8)), *((2, row) for row in range(5))]):
        clip = processor.encode_clip(read_clip(reader, episode, row, shape))
        torch.testing.assert_close(chunks.states[number], clip.states[0])
        torch.testing.assert_close(chunks.actions[number], clip.actions)
        torch.testing.assert_close(chunks.action_mask[number], clip.action_mask.float())


def test_short_and_wordless_episodes_are_refused_in_words():
    robot = get_robot("mujoco_panda")
    with pytest.raises(DataError, match="No episode is longer than a window of 32 commands"):
        demonstrated_chunks(MemoryReader(robot, [raw_recording(0, length=32)]), robot)
    silent = raw_recording(0)
    silent.instructions = ()
    with pytest.raises(DataError, match="no instruction"):
        demonstrated_chunks(MemoryReader(robot, [silent]), robot)
