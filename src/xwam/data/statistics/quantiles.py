"""Quantiles of a robot's recordings in one pass over their numbers, by the rules of the release; no video is opened.

Source: `scripts/compute_stats.py` of the release. Every row counts once, not once per window. Actions of tool poses, raw ones
too, get bounds ±max(|1 %|, |99 %|). Changes of a gripper's opening count only where they are at least 1 % of half the
opening's own range. Grippers of all arms are one channel. Quaternions and raw grippers pass through.

The release has no joints. Here joint states and joint commands get their plain quantiles: a bound that is symmetric about zero
would waste most of the range of an elbow that is always bent.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from xwam.data.readers.base import EpisodeReader
from xwam.data.statistics.quantile_sketch import MotionSketch, QuantileSketch, weighted_quantiles
from xwam.data.statistics.report import NOTE, PASSED, ChannelStatistics, StatisticsReport
from xwam.data.statistics.rows import ChannelRows, action_rows, state_rows
from xwam.data.streams.windows import WindowShape
from xwam.robots.layout import VectorLayout
from xwam.robots.spec import SMALLEST_RANGE, RobotSpec

SHARES = np.array([0.01, 0.99])
STATIC_SHARE = 0.01  # normalised change of an opening below which a gripper stands still; the release's threshold


def compute_quantiles(
    readers: Sequence[EpisodeReader],
    robot: RobotSpec,
    shape: WindowShape | None = None,
    *,
    episodes: Sequence[Sequence[int]] | None = None,
    widen: bool = False,
    on_episode: Callable[[int], object] | None = None,
) -> tuple[RobotSpec, StatisticsReport]:
    """Quantiles of every channel of a robot's states and actions over data sets.

    Args:
        readers (`Sequence[EpisodeReader]`): Data sets of the robot; all their rows count alike.
        robot (`RobotSpec`): The robot; quantiles that it has are replaced.
        shape (`WindowShape`, *optional*): How windows lie over rows, for `rows_per_command`; every row by default.
        episodes (`Sequence[Sequence[int]]`, *optional*): Which episodes of each reader; else all.
        widen (`bool`, *optional*, defaults to `False`): Whether degenerate channels get a range that can do no harm, see
            `ChannelStatistics.widened`; else they keep the release's numbers and are only reported.
        on_episode (`Callable`, *optional*): Called with the number of rows after each episode.

    Returns:
        `tuple[RobotSpec, StatisticsReport]`: The robot with its quantiles, and how they came about.

    Raises:
        DataError: If the numbers of an episode cannot be read.
        ValueError: If the robot's commands or frames are unknown, a reader is of another robot, there is no row, or no episode that is long enough.
    """
    robot.require("command_kind", "model_from_base", "arms", purpose="compute quantiles")
    for reader in readers:
        if reader.robot.name != robot.name:
            raise ValueError(f"{reader.name} must be of robot {robot.name!r}, but is of {reader.robot.name!r}.")
    sketches = _Sketches(robot, (shape or WindowShape.of(robot)).rows_per_command)
    num_episodes = 0
    for number, reader in enumerate(readers):
        for episode in range(len(reader.episodes)) if episodes is None else episodes[number]:
            length = reader.episodes[episode].length
            sketches.add(reader, episode, length)
            num_episodes += 1
            if on_episode is not None:
                on_episode(length)
    if not sketches.num_rows:
        raise ValueError(f"There are no rows to take quantiles of in {[reader.name for reader in readers]}.")
    if sketches.longest < sketches.rows_per_command:
        raise ValueError(
            f"`rows_per_command` is {sketches.rows_per_command}, but the longest episode of {[reader.name for reader in readers]} has "
            f"{sketches.longest} rows."
        )
    channels = tuple(sketches.channels())
    report = StatisticsReport(
        robot=robot.name,
        sources=tuple(reader.name for reader in readers),
        num_episodes=num_episodes,
        num_rows=sketches.num_rows,
        rows_per_command=sketches.rows_per_command,
        rank_error=sketches.rank_error,
        channels=channels,
    )
    used = [channel.widened() if widen and channel.problem else channel for channel in channels]
    states, actions = ([channel for channel in used if channel.kind == kind] for kind in ("state", "action"))
    return _with_quantiles(robot, states, actions, report), report


class _Sketches:
    """One sketch per part of the state and of the action; grippers of equal convention share one."""

    def __init__(self, robot: RobotSpec, rows_per_command: int) -> None:
        self._robot, self.rows_per_command, self.num_rows, self.longest = robot, rows_per_command, 0, 0
        self._parts: dict[str, QuantileSketch] = {}
        self._motions: dict[str, MotionSketch] = {}

    @property
    def rank_error(self) -> float:
        return max((sketch.rank_error for sketch in (*self._parts.values(), *self._motions.values())), default=0.0)

    def add(self, reader: EpisodeReader, episode: int, length: int) -> None:
        states, commands = reader.read_states(episode, 0, length), reader.read_commands(episode, 0, length)
        self.num_rows += length
        self.longest = max(self.longest, length)
        self._add_states(state_rows(self._robot, states))
        self._add_actions(action_rows(self._robot, states, commands, self.rows_per_command))

    def channels(self) -> Iterator[ChannelStatistics]:
        robot = self._robot
        for kind, layout, is_normalized in (
            ("state", robot.state_layout, robot.state_is_normalized),
            ("action", robot.action_layout, robot.action_is_normalized),
        ):
            parts = {part: self._part_channels(kind, part) for part, _ in _normalized_parts(layout, is_normalized)}
            for part, width in layout.parts:
                columns = layout.columns[layout.part(part)]
                found = parts.get(part) or [PASSED] * width
                for column, channel in zip(columns, found, strict=True):
                    yield replace(channel, kind=kind, name=column)

    def _add_states(self, rows: ChannelRows) -> None:
        layout = self._robot.state_layout
        for part, _ in _normalized_parts(layout, self._robot.state_is_normalized):
            there = rows.is_valid[:, layout.part(part)].all(axis=1)
            self._part(f"state {self._key(part)}", layout, part).add(rows.channels[there, layout.part(part)])

    def _add_actions(self, rows: ChannelRows) -> None:
        layout = self._robot.action_layout
        for part, _ in _normalized_parts(layout, self._robot.action_is_normalized):
            there = rows.is_valid[:, layout.part(part)].all(axis=1)
            values = rows.channels[there, layout.part(part)]
            if self._is_motion(part):
                smallest = STATIC_SHARE * SMALLEST_RANGE / 2
                self._motions.setdefault(self._key(part), MotionSketch(smallest)).add(values[:, 0])
            else:
                self._part(f"action {self._key(part)}", layout, part).add(values)

    def _part_channels(self, kind: str, part: str) -> list[ChannelStatistics] | None:
        if kind == "action" and self._is_motion(part):
            return self._motion_channel(part)
        sketch = self._parts.get(f"{kind} {self._key(part)}")
        if sketch is None or not sketch.num_rows:
            return None
        low, high = sketch.quantiles(SHARES)
        if kind == "action" and self._robot.command_kind != "joint_position":
            low, high = _symmetric(low, high)
        ends = np.stack([low, high, sketch.lowest, sketch.highest], axis=-1).tolist()
        return [
            ChannelStatistics("", kind, low, high, lowest, highest, sketch.num_rows)
            for low, high, lowest, highest in ends
        ]

    def _motion_channel(self, part: str) -> list[ChannelStatistics] | None:
        motion, sketch = self._motions.get(self._key(part)), self._parts.get(f"state {self._key(part)}")
        if motion is None or sketch is None or not sketch.num_rows:
            return None
        closed, opened = (float(value) for value in sketch.quantiles(SHARES)[:, 0])
        span = max((opened - closed) / self._state_scale(part), SMALLEST_RANGE)
        values, weights = motion.select(lambda deltas: np.abs(2.0 * deltas / span) >= STATIC_SHARE)
        if not len(values):
            return [ChannelStatistics("", "action", 0.0, 0.0, 0.0, 0.0)]
        low, high = (float(end) for end in _symmetric(*weighted_quantiles(values, weights, SHARES)))
        lowest, highest = float(values.min()), float(values.max())
        return [ChannelStatistics("", "action", low, high, lowest, highest, int(weights.sum()))]

    def _state_scale(self, part: str) -> float:
        """State values per unit of opening."""
        gripper = next(arm.gripper for arm in self._robot.arms if part == f"{arm.name}_gripper")
        assert gripper is not None, "required by compute_quantiles"
        return abs(gripper.state_open - gripper.state_closed)

    def _part(self, key: str, layout: VectorLayout, part: str) -> QuantileSketch:
        if key not in self._parts:
            self._parts[key] = QuantileSketch(dict(layout.parts)[part])
        return self._parts[key]

    def _key(self, part: str) -> str:
        """Grippers whose openings are written alike are one."""
        for arm in self._robot.arms:
            if part == f"{arm.name}_gripper":
                assert arm.gripper is not None, "required by compute_quantiles"
                return f"gripper {arm.gripper.state_closed:g} … {arm.gripper.state_open:g}"
        return part

    def _is_motion(self, part: str) -> bool:
        """Whether an action part is the change of an opening."""
        return part.endswith("_gripper") and self._robot.command_kind in (
            "delta_end_effector",
            "absolute_end_effector",
        )


def _normalized_parts(layout: VectorLayout, is_normalized: Sequence[bool]) -> Iterator[tuple[str, int]]:
    for part, width in layout.parts:
        if all(is_normalized[layout.part(part)]):
            yield part, width


def _symmetric(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    bound = np.maximum(np.abs(low), np.abs(high))
    return -bound, bound


def _with_quantiles(
    robot: RobotSpec, states: list[ChannelStatistics], actions: list[ChannelStatistics], report: StatisticsReport
) -> RobotSpec:
    """The robot with these quantiles, and a note that says where they come from."""
    ends = ([c.low for c in states], [c.high for c in states], [c.low for c in actions], [c.high for c in actions])
    notes = [note for note in robot.notes if not note.startswith(NOTE)]
    return replace(robot.with_quantiles(*ends), notes=(*notes, report.note))
