"""Windows lie where the release's lie, and a clip holds what its window touches."""

from dataclasses import replace

import numpy as np
import pytest
from array_reader import ROBOT, ArrayReader

from xwam.data.streams.windows import WindowIndex, WindowShape, read_clip
from xwam.errors import DataError

SHAPE = WindowShape.of(ROBOT)  # 9 frames, 32 commands
SKIPPING = WindowShape(num_frames=9, actions_per_frame=4, rows_per_command=2)


def test_a_window_begins_at_every_row_whose_last_frame_is_in_the_episode():
    assert [SHAPE.count(length) for length in (32, 33, 34, 0)] == [0, 1, 2, 0]
    assert SHAPE.frame_rows(1) == [1, 5, 9, 13, 17, 21, 25, 29, 33]


def test_states_frames_and_commands_belong_together():
    clip = read_clip(ArrayReader(), 0, 3, SHAPE)
    assert clip.states[:, 0].tolist() == list(range(3, 36))
    assert clip.commands[:, 0].tolist() == list(range(3, 35))
    for frame in range(9):
        assert clip.images[ArrayReader().cameras[0]][frame, 0, 0, 0] == clip.states[4 * frame, 0]
    assert clip.state_is_valid.all()
    assert clip.command_is_valid.all()
    assert clip.source == "arrays/000@3"


def test_of_skipped_commands_the_last_of_each_group_counts():
    clip = read_clip(ArrayReader((80,)), 0, 5, SKIPPING)
    assert clip.states[:, 0].tolist() == list(range(5, 70, 2))
    assert clip.commands[:, 0].tolist() == list(range(6, 70, 2))
    assert clip.images[ArrayReader().cameras[0]][:, 0, 0, 0].tolist() == list(range(5, 70, 8))


def test_the_windows_are_those_of_the_release():
    """Indices of `RobotDataset`: frames by `frame_skip`, actions by `action_skip`, states `action_skip - 1` before them."""
    for k in (1, 2, 3):
        shape, start = WindowShape(9, 4, k), 7
        frame_skip, action_skip = 4 * k, k
        assert shape.frame_rows(start) == list(range(start, start + 9 * frame_skip, frame_skip))
        action_rows = np.arange(start + action_skip - 1, start + 8 * frame_skip, action_skip)
        clip = read_clip(ArrayReader((200,)), 0, start, shape)
        assert clip.commands[:, 0].tolist() == action_rows.tolist()
        assert clip.states[:-1, 0].tolist() == (action_rows - action_skip + 1).tolist()
        assert clip.states[1:, 0].tolist() == (action_rows + 1).tolist()  # where the gripper is measured again


def test_depth_has_a_unit_or_none():
    metric, relative = (read_clip(ArrayReader(is_metric=flag), 0, 0, SHAPE) for flag in (True, False))
    assert list(metric.depths) == list(relative.relative_depths) == list(ArrayReader().depth_cameras)
    assert not metric.relative_depths
    assert not relative.depths
    assert metric.depths[ArrayReader().cameras[0]].dtype == np.float32


def test_calibration_is_there_as_far_as_it_is_known():
    clip, cameras = read_clip(ArrayReader(), 0, 0, SHAPE), ArrayReader().cameras
    assert sorted(clip.intrinsics) == sorted(cameras)
    assert list(clip.base_from_camera) == [cameras[0]]
    assert clip.base_from_camera[cameras[0]].shape == (9, 4, 4)


def test_any_of_the_instructions_can_be_taken():
    taken = [read_clip(ArrayReader(), 0, 0, SHAPE, instruction=number).instruction for number in range(3)]
    assert taken == ["lift it", "pick it up", "lift it"]


def test_an_episode_without_words_is_refused():
    with pytest.raises(DataError, match="data set arrays, episode 000: There is no instruction"):
        read_clip(ArrayReader(instructions=()), 0, 0, SHAPE)


@pytest.mark.parametrize("start", [-1, 8, 1000])
def test_a_window_outside_of_the_episode_is_refused(start: int):
    with pytest.raises(IndexError, match=f"of 40 rows has no window at row {start}"):
        read_clip(ArrayReader(), 0, start, SHAPE)


def test_windows_are_numbered_through_all_episodes():
    index = WindowIndex(ArrayReader(), SHAPE)  # 8, 0 and 18 windows
    assert len(index) == 26
    assert [index[number] for number in (0, 7, 8, 25)] == [(0, 0), (0, 7), (2, 0), (2, 17)]
    for number in (-1, 26):
        with pytest.raises(IndexError, match="There are 26 windows"):
            index[number]
    assert len(WindowIndex(ArrayReader((3,)), SHAPE)) == 0


@pytest.mark.parametrize("kind", ["raw", "delta_end_effector"])
def test_commands_that_add_up_are_not_skipped(kind: str):
    robot = replace(ROBOT, command_kind=kind, raw_scale=None)
    with pytest.raises(ValueError, match=f"of kind '{kind}', which cannot be skipped without losing motion"):
        WindowShape.of(robot, rows_per_command=2)


def test_commands_that_name_a_target_may_be_skipped():
    robot = replace(ROBOT, command_kind="absolute_end_effector", raw_scale=None)
    assert WindowShape.of(robot, rows_per_command=2).span == 64
    with pytest.raises(ValueError, match="must be at least 1, but is 0"):
        WindowShape.of(ROBOT, rows_per_command=0)
