"""Features of a data set into the columns of a robot, by a `DatasetMap`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from xwam.data.dataset_map import ArmMap, DatasetMap, StoredFeature
from xwam.data.readers.base import Numbers
from xwam.data.readers.map_fit import fit_problems
from xwam.data.readers.rotation_forms import rotation_fault, to_axis_angles, to_quaternions
from xwam.errors import DataError
from xwam.robots.layout import VectorLayout
from xwam.robots.spec import ArmSpec, GripperSpec, RobotSpec

Features = Mapping[str, np.ndarray]  # rows of numbers `(rows, width)` by feature


@dataclass(frozen=True)
class Rows:
    """Where numbers come from, for messages.

    Args:
        dataset (`str`): Name of the data set.
        episode (`str`): Key of the episode.
        start (`int`): First row that was read.
    """

    dataset: str
    episode: str
    start: int

    def fault(self, problem: str, feature: str, row: int) -> DataError:
        """The error for one of the rows that were read, counted from the first of them."""
        return DataError(problem, dataset=self.dataset, episode=self.episode, feature=feature, row=self.start + row)


@dataclass(frozen=True)
class _Part:
    """Some columns of a robot's vector, and the numbers that they come from."""

    arm: ArmMap
    kind: str  # "position", "rotation", "joints" or "gripper"
    target: slice
    feature: str
    entries: tuple[int, ...]
    names: tuple[str, ...]
    scale: float

    def pick(self, features: Features, rows: Rows) -> np.ndarray:
        """The numbers `(rows, width)`, finite, scaled and, if they are a rotation, one."""
        picked = features[self.feature][:, self.entries]
        is_finite = np.isfinite(picked)
        if not is_finite.all():
            row, column = (int(place) for place in np.argwhere(~is_finite)[0])
            entry = self.entries[column]
            name = f"{entry} ({self.names[entry]})" if entry < len(self.names) else str(entry)
            raise rows.fault(f"Column {name} holds {picked[row, column]}.", self.feature, row)
        picked = picked if self.scale == 1 else picked * self.scale
        if self.kind == "rotation" and (found := rotation_fault(picked, self.arm.rotation_form)):
            raise rows.fault(f"{found[1]}.", self.feature, found[0])
        return picked


class NumberReading:
    """States and commands of one robot out of the features of one data set.

    Args:
        dataset_map (`DatasetMap`): Where they are.
        robot (`RobotSpec`): The robot.
        features (`Mapping[str, StoredFeature]`): What the data set has.
        dataset (`str`): Its name, for messages.

    Raises:
        DataError: If map, robot and data set do not fit together.
    """

    def __init__(
        self, dataset_map: DatasetMap, robot: RobotSpec, features: Mapping[str, StoredFeature], dataset: str
    ) -> None:
        if problems := list(fit_problems(dataset_map, robot, features)):
            raise DataError(f"The map does not fit: {'; '.join(problems)}.", dataset=dataset)
        self._map, self._robot = dataset_map, robot
        self._arms = {arm.name: arm for arm in robot.arms}
        self._states = list(_parts(dataset_map.states, robot.state_layout, features))
        commands = dataset_map.commands
        self._commands = list(_parts(commands, robot.command_layout, features)) if commands else []
        self._openings = {part.arm.name: part for part in self._states if part.kind == "gripper"}

    @property
    def state_features(self) -> list[str]:
        """Features that states are made of."""
        return list(dict.fromkeys(part.feature for part in self._states))

    @property
    def command_features(self) -> list[str]:
        """Features that commands are made of."""
        own = [part.feature for part in self._commands]
        needs_states = self.next_state_is_command or self._needs_openings
        return list(dict.fromkeys([*own, *(self.state_features if needs_states else [])]))

    @property
    def next_state_is_command(self) -> bool:
        """Whether commands are made of the features of the row after theirs."""
        return self._map.next_state_is_command

    def states(self, features: Features, rows: Rows) -> Numbers:
        """States of all rows.

        Args:
            features (`Features`): Rows of `state_features`.
            rows (`Rows`): Which they are.

        Raises:
            DataError: If a number cannot be used.
        """
        found = _nothing(features, self._robot.state_layout)
        for part in self._states:
            stored = part.pick(features, rows)
            if part.kind == "rotation":
                stored = to_quaternions(stored, part.arm.rotation_form)
            found.values[:, part.target] = _opening(part.arm, stored) if part.kind == "gripper" else stored
            found.is_valid[:, part.target] = True
        return found

    def commands(self, features: Features, rows: Rows) -> Numbers:
        """Commands of all rows; with `next_state_is_command`, of all rows but the last.

        Args:
            features (`Features`): Rows of `command_features`.
            rows (`Rows`): Which they are.

        Raises:
            DataError: If a number cannot be used.
        """
        if self.next_state_is_command:
            return self._next_states(self.states(features, rows))
        found = _nothing(features, self._robot.command_layout)
        for part in self._commands:
            stored = part.pick(features, rows)
            if part.kind == "gripper":
                stored = self._gripper_command(part.arm, stored, features, rows)
            elif part.kind == "rotation" and part.arm.rotation_form != "as_stored":
                convert = to_axis_angles if self._is_delta else to_quaternions
                stored = convert(stored, part.arm.rotation_form)
            found.values[:, part.target] = stored
            found.is_valid[:, part.target] = True
        return found

    @property
    def _is_delta(self) -> bool:
        return self._robot.command_kind == "delta_end_effector"

    @property
    def _needs_openings(self) -> bool:
        return self._is_delta and not self._map.gripper_is_delta and any(p.kind == "gripper" for p in self._commands)

    def _next_states(self, states: Numbers) -> Numbers:
        values, is_valid = states.values[1:].copy(), states.is_valid[1:]
        for name, arm in self._arms.items():
            own = self._robot.command_layout.part(f"{name}_gripper")
            if is_valid[:, own].any():
                values[:, own] = _command_value(arm, values[:, own])
        return Numbers(values, is_valid)

    def _gripper_command(self, arm: ArmMap, stored: np.ndarray, features: Features, rows: Rows) -> np.ndarray:
        """What the robot's own convention writes for a stored number."""
        spec = self._arms[arm.name]
        if self._needs_openings:
            state = self._openings[arm.name]
            return _command_change(spec, _opening(arm, stored) - _opening(state.arm, state.pick(features, rows)))
        ends = (arm.gripper_closed, arm.gripper_open)
        if spec.gripper is None or ends == (spec.gripper.command_closed, spec.gripper.command_open):
            return stored
        if self._is_delta:
            return _command_change(spec, stored / (arm.gripper_open - arm.gripper_closed))
        return _command_value(spec, _opening(arm, stored))


def _parts(arms: tuple[ArmMap, ...], layout: VectorLayout, features: Mapping[str, StoredFeature]) -> Iterator[_Part]:
    for arm in arms:
        for kind, columns in arm.parts.items():
            stored = features[columns.feature]
            target = layout.part(f"{arm.name}_{kind}")
            entries = columns.places(stored)
            yield _Part(arm, kind, target, columns.feature, entries, stored.names, columns.scale)


def _nothing(features: Features, layout: VectorLayout) -> Numbers:
    shape = (len(next(iter(features.values()))) if features else 0, len(layout.columns))
    return Numbers(np.zeros(shape), np.zeros(shape, dtype=bool))


def _opening(arm: ArmMap, stored: np.ndarray) -> np.ndarray:
    """Opening, 0 closed to 1 open."""
    closed, opened = arm.gripper_closed, arm.gripper_open
    return stored if (closed, opened) == (0, 1) else (stored - closed) / (opened - closed)


def _gripper(arm: ArmSpec) -> GripperSpec:
    assert arm.gripper is not None, "`fit_problems` refuses such maps"
    return arm.gripper


def _command_value(arm: ArmSpec, opening: np.ndarray) -> np.ndarray:
    gripper = _gripper(arm)
    return gripper.command_closed + opening * (gripper.command_open - gripper.command_closed)


def _command_change(arm: ArmSpec, change: np.ndarray) -> np.ndarray:
    gripper = _gripper(arm)
    return change * (gripper.command_open - gripper.command_closed)
