"""One episode of the release's layout: JSON with poses in the model's frames, into states and commands of the robot."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xwam.data.readers.base import Numbers
from xwam.data.readers.rotation_forms import rotation_fault, to_quaternions
from xwam.errors import DataError
from xwam.robots.layout import VectorLayout
from xwam.robots.spec import ArmSpec, RobotSpec

ARMS = ("left", "right")  # the order of `raw_actions`
_RAW = "actions.raw_actions"
# Name and width of each part of a pose; rotations are axis-angle vectors or matrices row by row.
_PARTS = {"position": ("ee_pos", (3,)), "rotation": ("ee_rotm", (9, 3)), "gripper": ("gripper_pos", (1,))}
_ROTATION_FORMS = {3: "axis_angle", 9: "matrix"}


@dataclass(frozen=True)
class Media:
    """What one camera saw in an episode.

    Args:
        image_path (`str`): File with its RGB frames, relative to the data set.
        depth_path (`str` or `None`): File with its depth frames, where there is one.
        start (`int`): Frame of row 0 in both.
        end (`int` or `None`): Frame at which the episode ends, where it is told.
        fps (`float` or `None`): Frames per second, where they are told.
    """

    image_path: str
    depth_path: str | None
    start: int
    end: int | None
    fps: float | None


@dataclass(frozen=True, eq=False)
class ReleaseEpisode:
    """An episode in the robot's terms.

    Args:
        instructions (`tuple[str, ...]`): The task in words.
        facts (`dict[str, Any]`): What this library's recorder adds.
        media (`dict[str, Media]`): By the camera's name in the data set.
        states (`Numbers`): One row per frame.
        commands (`Numbers`): One row per frame, or one fewer.
    """

    instructions: tuple[str, ...]
    facts: dict[str, Any]
    media: dict[str, Media]
    states: Numbers
    commands: Numbers


class EpisodeParser:
    """Parses the JSON of episodes.

    Args:
        robot (`RobotSpec`): The robot.
        dataset (`str`): Name of the data set, for messages.

    Raises:
        ValueError: If the layout has no place for the robot's arms or commands, or frames and grippers are unknown.
    """

    def __init__(self, robot: RobotSpec, dataset: str) -> None:
        robot.require("arms", "command_kind", "model_from_base", purpose="read the release's layout")
        if robot.command_kind not in ("raw", "absolute_end_effector"):
            raise ValueError(
                f"The release's layout has no commands of the kind {robot.command_kind!r} of {robot.name!r}."
            )
        if any(arm.num_joints is not None or arm.name not in ARMS for arm in robot.arms):
            raise ValueError(f"The release's layout holds poses of arms {ARMS}, but {robot.name!r} has others.")
        self._robot, self._dataset = robot, dataset

    def parse(self, key: str, content: Mapping[str, Any], length: int) -> ReleaseEpisode:
        """One episode.

        Args:
            key (`str`): Its name.
            content (`Mapping[str, Any]`): Its JSON.
            length (`int`): Rows that it must have.

        Raises:
            DataError: If it is not what the layout promises.
        """
        count = _whole(content.get("num_frames"))
        if count is None or count < length:
            raise self._fault(f"must be at least {length}, but is {content.get('num_frames')!r}", key, "num_frames")
        texts = self._field(content, "instructions", list, key)
        poses, actions = (self._field(content, name, dict, key) for name in ("proprios", "actions"))
        return ReleaseEpisode(
            instructions=tuple(text.strip() for text in texts if isinstance(text, str) and text.strip()),
            facts=self._field(content, "xwam", dict, key),
            media=self.media(key, content),
            states=self._poses(poses, "proprios", self._robot.state_layout, key, length),
            commands=self._raw_commands(actions, key, length)
            if self._robot.command_kind == "raw"
            else self._poses(actions, "actions", self._robot.command_layout, key, length),
        )

    def media(self, key: str, content: Mapping[str, Any]) -> dict[str, Media]:
        """What each camera saw, by its name in the data set; see `parse`."""
        entries = self._field(content, "observations", dict, key)
        return {name: self._media(entry, key, f"observations.{name}") for name, entry in entries.items()}

    def _field(self, content: Mapping[str, Any], name: str, kind: type, key: str) -> Any:
        value = content.get(name) or kind()
        if not isinstance(value, kind):
            raise self._fault(f"must be a {kind.__name__}, but is a {type(value).__name__}", key, name)
        return value

    def _media(self, entry: Any, key: str, feature: str) -> Media:
        entry = entry if isinstance(entry, dict) else {}
        image, depth = entry.get("rgb_path"), entry.get("depth_path")
        start, end, fps = _whole(entry.get("start", 0)), entry.get("end"), entry.get("fps")
        if not isinstance(image, str) or not isinstance(depth, str | None):
            raise self._fault(
                f"`rgb_path` and `depth_path` must be paths, but are {image!r} and {depth!r}", key, feature
            )
        if start is None or start < 0 or (end is not None and _whole(end) is None):
            raise self._fault(
                f"`start` and `end` must be frames, but are {entry.get('start')!r} and {end!r}", key, feature
            )
        if fps is not None and (isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < 1000):
            raise self._fault(f"`fps` must be a rate, but is {fps!r}", key, feature)
        return Media(image, depth, start, end, None if fps is None else float(fps))

    def _poses(self, source: dict[str, Any], group: str, layout: VectorLayout, key: str, length: int) -> Numbers:
        """Poses and openings of all arms in the robot's own frames and units."""
        found = _nothing(layout, length)
        for arm in self._robot.arms:
            for part, (name, widths) in _PARTS.items():
                feature = f"{group}.{arm.name}_{name}"
                stored = self._array(
                    source.get(f"{arm.name}_{name}"), widths, key, feature, length - (group == "actions")
                )
                if stored is None:
                    continue
                if part == "rotation" and (problem := rotation_fault(stored, _ROTATION_FORMS[stored.shape[1]])):
                    raise self._fault(problem[1], key, feature, problem[0])
                _fill(found, layout.part(f"{arm.name}_{part}"), self._own(arm, part, stored, group))
        return found

    def _own(self, arm: ArmSpec, part: str, stored: np.ndarray, group: str) -> np.ndarray:
        """Numbers of one part out of the model's frames and units."""
        if part == "gripper":
            assert arm.gripper is not None, "required when the parser was made"
            closed, opened = arm.gripper.state_closed, arm.gripper.state_open
            opening = (stored - closed) / (opened - closed)
            closed, opened = arm.gripper.command_closed, arm.gripper.command_open
            return closed + opening * (opened - closed) if group == "actions" else opening
        import torch  # readers are opened without it

        from xwam.robots.states import base_poses

        if part == "position":
            unturned = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
            return base_poses(self._robot, arm, torch.from_numpy(stored), unturned)[0].numpy()
        turned = torch.from_numpy(to_quaternions(stored, _ROTATION_FORMS[stored.shape[1]]))
        return base_poses(self._robot, arm, torch.zeros(1, 3, dtype=torch.float64), turned)[1].numpy()

    def _raw_commands(self, source: dict[str, Any], key: str, length: int) -> Numbers:
        """Commands of the robot's own controller, with the gripper as the controller has it."""
        layout = self._robot.command_layout
        found = _nothing(layout, length)
        if source and "raw_actions" not in source:
            raise self._fault(f"is missing: {self._robot.name!r} has raw commands, not {sorted(source)}", key, _RAW)
        stored = self._array(source.get("raw_actions"), (7, 14), key, _RAW, length - 1)
        if stored is None:
            return found
        for arm in self._robot.arms:
            own = stored[:, 7 * ARMS.index(arm.name) :][:, :7]
            assert arm.gripper is not None, "required when the parser was made"
            for part, columns in {"position": slice(0, 3), "rotation": slice(3, 6), "gripper": slice(6, 7)}.items():
                sign = -arm.gripper.action_sign if part == "gripper" else 1  # the release's reader flips it
                if own.shape[1]:
                    _fill(found, layout.part(f"{arm.name}_{part}"), sign * own[:, columns])
        return found

    def _array(self, raw: Any, widths: tuple[int, ...], key: str, feature: str, rows: int) -> np.ndarray | None:
        """Finite numbers `(at least rows, width)`, or `None` where there are none."""
        if raw is None:
            return None
        try:
            array = np.asarray(raw, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._fault("must hold numbers in rows of one width", key, feature) from error
        array = array.reshape(-1, widths[0]) if array.ndim == 1 and array.size % widths[0] == 0 else array
        array = array.reshape(-1, 9) if array.ndim == 3 and array.shape[1:] == (3, 3) else array
        if array.ndim != 2 or array.shape[1] not in widths or len(array) < rows:
            wanted = " or ".join(str(width) for width in widths)
            raise self._fault(f"must have shape ({rows}, {wanted}), but has {array.shape}", key, feature)
        if not (is_finite := np.isfinite(array)).all():
            row, column = (int(index) for index in np.argwhere(~is_finite)[0])
            raise self._fault(f"number {column} is {array[row, column]}", key, feature, row)
        return array

    def _fault(self, problem: str, key: str, feature: str, row: int | None = None) -> DataError:
        return DataError(f"{feature} {problem}.", dataset=self._dataset, episode=key, feature=feature, row=row)


def _nothing(layout: VectorLayout, length: int) -> Numbers:
    shape = (length, len(layout.columns))
    return Numbers(np.zeros(shape), np.zeros(shape, dtype=bool))


def _fill(numbers: Numbers, columns: slice, values: np.ndarray) -> None:
    rows = slice(0, min(len(values), len(numbers.values)))
    numbers.values[rows, columns], numbers.is_valid[rows, columns] = values[rows], True


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
