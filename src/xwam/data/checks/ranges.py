"""Columns over the whole data set: missing, constant, or in another unit."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xwam.data.checks.findings import Finding
from xwam.data.readers.base import Numbers
from xwam.robots.actions import gripper_opening
from xwam.robots.layout import VectorLayout
from xwam.robots.observation_checks import GRIPPER_TOLERANCE, MAX_JOINT_ANGLE
from xwam.robots.spec import ArmSpec, RobotSpec

REACH = 3.0  # metres from the base, beyond arms on tables
LARGEST_STEP = 0.5  # metres of one command
TURN = 2 * math.pi
LEAST_OPENING = 0.15  # that a gripper reaches in some episode
TICKS = 400.0  # degrees end at 360
CONSTANT = 1e-4  # of the largest value


@dataclass(frozen=True, eq=False)
class Ranges:
    """Extremes of every column over rows in which it was there.

    Args:
        low (`np.ndarray` of shape `(columns,)`): Smallest value; infinity for a column that never was there.
        high (`np.ndarray` of shape `(columns,)`): Largest value.
        is_whole (`np.ndarray` of shape `(columns,)`): bool: whether all were whole numbers.
    """

    low: np.ndarray
    high: np.ndarray
    is_whole: np.ndarray

    @classmethod
    def of(cls, numbers: Numbers) -> "Ranges":
        """Those of one episode's states or commands."""
        there = numbers.is_valid
        return cls(
            np.where(there, numbers.values, np.inf).min(axis=0, initial=np.inf),
            np.where(there, numbers.values, -np.inf).max(axis=0, initial=-np.inf),
            (~there | (numbers.values == np.rint(numbers.values))).all(axis=0),
        )

    def __or__(self, other: "Ranges") -> "Ranges":
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Ranges(low, high, self.is_whole & other.is_whole)

    @property
    def is_there(self) -> np.ndarray:
        """Which columns were there in some row."""
        return self.low <= self.high

    @property
    def largest(self) -> np.ndarray:
        """Size of the largest value of every column; zero where there was none."""
        return np.where(self.is_there, np.maximum(np.abs(self.low), np.abs(self.high)), 0.0)


def range_findings(robot: RobotSpec, states: Ranges, commands: Ranges) -> Iterator[Finding]:
    """What the extremes of all columns tell.

    Args:
        robot (`RobotSpec`): The robot.
        states (`Ranges`): Of all episodes.
        commands (`Ranges`): Of all episodes.
    """
    for kind, layout, ranges in (("state", robot.state_layout, states), ("command", robot.command_layout, commands)):
        yield from _missing(kind, layout, ranges)
        yield from _constant(kind, layout, ranges)
        for arm in robot.arms:
            yield from _units(robot, arm, kind, layout, ranges)
    for arm in robot.arms:
        yield from _gripper_states(arm, robot.state_layout, states)
        yield from _gripper_commands(robot, arm, commands)


def _missing(kind: str, layout: VectorLayout, ranges: Ranges) -> Iterator[Finding]:
    for column, is_there in zip(layout.columns, ranges.is_there, strict=True):
        if not is_there:
            yield Finding("missing_column", "a number in every row", "none in any episode", f"{kind} {column}")


def _constant(kind: str, layout: VectorLayout, ranges: Ranges) -> Iterator[Finding]:
    for index, column in enumerate(layout.columns):
        if ranges.is_there[index] and ranges.high[index] - ranges.low[index] <= CONSTANT * ranges.largest[index]:
            came = f"{ranges.high[index]:.6g} in every row"
            yield Finding("constant_channel", "a number that changes", came, f"{kind} {column}")


def _units(robot: RobotSpec, arm: ArmSpec, kind: str, layout: VectorLayout, ranges: Ranges) -> Iterator[Finding]:
    if kind == "command" and robot.command_kind == "raw":
        return  # a controller's own numbers
    is_delta = kind == "command" and robot.command_kind == "delta_end_effector"
    if arm.num_joints is not None:
        own = layout.part(f"{arm.name}_joints")
        largest, is_whole = ranges.largest[own], ranges.is_whole[own]
        if largest.max() > MAX_JOINT_ANGLE or np.median(largest) > TURN:
            is_ticks = bool(is_whole[largest > TURN].all()) or largest.max() > TICKS
            guess = "whole numbers, as servo ticks" if is_ticks else "as degrees"
            yield _unit("joint angles in radians", largest, guess, f"{kind} {arm.name}_joints")
        return
    largest = ranges.largest[layout.part(f"{arm.name}_position")]
    if largest.max() > (LARGEST_STEP if is_delta else REACH):
        guess = "as millimetres" if largest.max() > 30 * REACH or is_delta else "as centimetres or millimetres"
        yield _unit("metres", largest, guess, f"{kind} {arm.name}_position")
    turns = ranges.largest[layout.part(f"{arm.name}_rotation")]
    if is_delta and turns.max() > math.pi:
        yield _unit("turns of one command in radians", turns, "as degrees", f"{kind} {arm.name}_rotation")


def _unit(expected: str, largest: np.ndarray, guess: str, feature: str) -> Finding:
    return Finding("unit", expected, f"up to {largest.max():.4g}, {guess}", feature)


def _gripper_states(arm: ArmSpec, layout: VectorLayout, ranges: Ranges) -> Iterator[Finding]:
    index = layout.part(f"{arm.name}_gripper").start
    low, high, feature = ranges.low[index], ranges.high[index], f"state {arm.name}_gripper"
    if not ranges.is_there[index]:
        return
    if low < -GRIPPER_TOLERANCE or high > 1 + GRIPPER_TOLERANCE:
        guess = ", as servo ticks" if ranges.is_whole[index] and high > 1.5 else ""
        yield Finding("gripper_range", "from 0, closed, to 1, open", f"{low:.4g} to {high:.4g}{guess}", feature)
    elif high < LEAST_OPENING and high > low:
        yield Finding("narrow_gripper", "an opening near 1 in some row", f"{low:.4g} to {high:.4g}", feature)


def _gripper_commands(robot: RobotSpec, arm: ArmSpec, ranges: Ranges) -> Iterator[Finding]:
    if arm.gripper is None or robot.command_kind not in ("joint_position", "absolute_end_effector"):
        return
    index = robot.command_layout.part(f"{arm.name}_gripper").start
    if not ranges.is_there[index]:
        return
    ends = [float(gripper_opening(arm.gripper, end)) for end in (ranges.low[index], ranges.high[index])]
    if min(ends) < -GRIPPER_TOLERANCE or max(ends) > 1 + GRIPPER_TOLERANCE:
        expected = f"from {arm.gripper.command_closed:g}, closed, to {arm.gripper.command_open:g}, open"
        came = f"{ranges.low[index]:.4g} to {ranges.high[index]:.4g}"
        yield Finding("gripper_range", expected, came, f"command {arm.name}_gripper")
