"""Which windows a data set has, and one of them as a `Clip`."""

import math
from dataclasses import dataclass

import numpy as np

from xwam.data.readers.base import EpisodeReader
from xwam.errors import DataError
from xwam.robots.spec import RobotSpec
from xwam.structures import Clip

RATE_TOLERANCE = 0.01  # relative; data sets declare 30 for 29.97 frames per second
TARGET_KINDS = ("absolute_end_effector", "joint_position")  # a later command makes an earlier one needless


@dataclass(frozen=True)
class WindowShape:
    """How a window lies over the rows of an episode.

    Command j of a window that begins at row t is that of row t + (j + 1) k − 1, and state j that of row t + j k, where k is
    `rows_per_command`: with k = 2 every second command counts, and the last of each pair is taken. Frame f is seen at row
    t + f · `actions_per_frame` · k. Only commands that name a target are skipped: raw ones and deltas would lose motion.

    Source: `RobotDataset` of the release, where k is `action_skip` and `frame_skip` is `actions_per_frame` · k.

    Args:
        num_frames (`int`): RGB frames F of a window.
        actions_per_frame (`int`): Commands between two frames.
        rows_per_command (`int`, *optional*, defaults to `1`): Rows from one command to the next.
    """

    num_frames: int
    actions_per_frame: int
    rows_per_command: int = 1

    @classmethod
    def of(cls, robot: RobotSpec, rows_per_command: int = 1) -> "WindowShape":
        """The window that a robot's model sees.

        Args:
            robot (`RobotSpec`): The robot.
            rows_per_command (`int`, *optional*, defaults to `1`): Rows from one command to the next.

        Raises:
            ValueError: If there are no such rows, or commands would be skipped that cannot be.
        """
        if rows_per_command < 1:
            raise ValueError(f"`rows_per_command` must be at least 1, but is {rows_per_command}.")
        if rows_per_command > 1 and robot.command_kind not in TARGET_KINDS:
            raise ValueError(
                f"Commands of {robot.name!r} are of kind {robot.command_kind!r}, which cannot be skipped without losing "
                f"motion, but `rows_per_command` is {rows_per_command}."
            )
        return cls(robot.num_frames, robot.actions_per_frame, rows_per_command)

    @property
    def num_actions(self) -> int:
        """Commands K of a window."""
        return (self.num_frames - 1) * self.actions_per_frame

    @property
    def span(self) -> int:
        """Rows from the first to the last that a window touches."""
        return self.num_actions * self.rows_per_command

    def count(self, length: int) -> int:
        """Windows of an episode, one per row at which one can begin.

        Args:
            length (`int`): Rows of the episode.
        """
        return max(length - self.span, 0)

    def frame_rows(self, start: int) -> list[int]:
        """Rows of the frames of the window that begins at row `start`."""
        step = self.actions_per_frame * self.rows_per_command
        return list(range(start, start + self.span + 1, step))


def check_rate(reader: EpisodeReader, robot: RobotSpec, rows_per_command: int = 1) -> None:
    """Whether commands of a data set come at the robot's own rate.

    Args:
        reader (`EpisodeReader`): The data set.
        robot (`RobotSpec`): The robot; one without a control period takes any rate.
        rows_per_command (`int`, *optional*, defaults to `1`): Rows from one command to the next.

    Raises:
        DataError: If they do not, by more than `RATE_TOLERANCE`.
    """
    period, seconds = robot.control_period, rows_per_command / reader.rate
    if period is None or math.isclose(seconds, period, rel_tol=RATE_TOLERANCE):
        return
    fitting = round(period * reader.rate)
    if robot.command_kind not in TARGET_KINDS:
        hint = "Commands of this kind cannot be left out: record at the robot's rate, or describe it with this `control_period`."
    elif fitting > 1 and math.isclose(fitting / reader.rate, period, rel_tol=RATE_TOLERANCE):
        hint = f"`rows_per_command` = {fitting} would fit."
    else:
        hint = "No `rows_per_command` fits: record at the robot's rate, or describe it with another `control_period`."
    raise DataError(
        f"Its rows come {reader.rate:g} times a second, so that commands of {rows_per_command} row(s) are {seconds:.4g} s apart, but "
        f"robot {robot.name!r} takes one every {period:.4g} s. {hint}",
        dataset=reader.name,
    )


def read_clip(reader: EpisodeReader, episode: int, start: int, shape: WindowShape, *, instruction: int = 0) -> Clip:
    """One window of a data set.

    Args:
        reader (`EpisodeReader`): The data set.
        episode (`int`): Index into its episodes.
        start (`int`): Row at which the window begins.
        shape (`WindowShape`): How it lies over the rows.
        instruction (`int`, *optional*, defaults to `0`): Which of the episode's instructions to take, counted round.

    Raises:
        DataError: If the data are not what they must be.
        IndexError: If the window does not lie in the episode.
    """
    entry = reader.episodes[episode]
    if not 0 <= start < shape.count(entry.length):
        raise IndexError(f"Episode {entry.key} of {entry.length} rows has no window at row {start}.")
    if not entry.instructions:
        raise DataError("There is no instruction.", dataset=reader.name, episode=entry.key)
    step, rows = shape.rows_per_command, shape.frame_rows(start)
    states = reader.read_states(episode, start, start + shape.span + 1)
    commands = reader.read_commands(episode, start, start + shape.span)
    images = {camera: reader.read_images(episode, camera, rows) for camera in reader.cameras}
    depths = {camera: reader.read_depths(episode, camera, rows) for camera in reader.depth_cameras}
    calibrations = {camera: reader.read_calibration(episode, camera, rows) for camera in reader.cameras}
    return Clip(
        robot=reader.robot.name,
        instruction=entry.instructions[instruction % len(entry.instructions)],
        images=images,
        states=states.values[::step],
        commands=commands.values[step - 1 :: step],
        state_is_valid=states.is_valid[::step],
        command_is_valid=commands.is_valid[step - 1 :: step],
        depths=depths if reader.depth_is_metric else {},
        relative_depths={} if reader.depth_is_metric else depths,
        intrinsics={name: own.intrinsics for name, own in calibrations.items() if own.intrinsics is not None},
        base_from_camera={
            name: own.base_from_camera for name, own in calibrations.items() if own.base_from_camera is not None
        },
        source=f"{reader.name}/{entry.key}@{start}",
    )


class WindowIndex:
    """All windows of a data set under numbers from 0, without a list of them.

    Args:
        reader (`EpisodeReader`): The data set.
        shape (`WindowShape`): How windows lie over rows.
    """

    def __init__(self, reader: EpisodeReader, shape: WindowShape) -> None:
        counts = [shape.count(episode.length) for episode in reader.episodes]
        self._ends = np.cumsum(counts, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, number: int) -> tuple[int, int]:
        """Index of the episode and row at which the window begins."""
        if not 0 <= number < len(self):
            raise IndexError(f"There are {len(self)} windows, but number {number} was asked for.")
        episode = int(np.searchsorted(self._ends, number, side="right"))
        return episode, number - (int(self._ends[episode - 1]) if episode else 0)
