"""Where a data set keeps what a robot's recording needs, and in which units: plain data that JSON carries."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

from xwam.checkpoints.json_files import read_json
from xwam.data import lerobot_layout as layout
from xwam.data.readers.rotation_forms import WIDTHS
from xwam.robots.records import Record
from xwam.robots.spec import ArmSpec, RobotSpec


class StoredFeature(NamedTuple):
    """What a data set tells of one of its features.

    Args:
        names (`tuple[str, ...]`): Names of its numbers, where it has some.
        width (`int`, *optional*): How many numbers a row has; `None` for what is not numbers.
    """

    names: tuple[str, ...] = ()
    width: int | None = None


@dataclass(frozen=True)
class Columns(Record):
    """Numbers of one feature.

    Args:
        feature (`str`): Name of the feature in the data set.
        entries (`tuple[int, ...]`): Which of its numbers, from 0; nested lists are counted row by row. All where neither
            `entries` nor `names` is given.
        names (`tuple[str, ...]`): The same by the names that the data set gives them.
        scale (`float`, *optional*, defaults to `1.0`): What each number is multiplied by, such as 0.001 for millimetres.
    """

    feature: str
    entries: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    scale: float = 1.0

    def places(self, stored: StoredFeature) -> tuple[int, ...]:
        """Which numbers of a feature they are.

        Args:
            stored (`StoredFeature`): What the data set tells of the feature.

        Raises:
            ValueError: If the feature has no such numbers; the message begins with what it has.
        """
        if stored.width is None:
            raise ValueError("no numbers")
        has = f"{stored.width} numbers" + (f" {list(stored.names)}" if stored.names else " without names")
        if self.names:
            if len(stored.names) not in (0, stored.width):
                raise ValueError(f"{has}, which are not as many names; give `entries`")
            if strangers := [name for name in self.names if name not in stored.names]:
                raise ValueError(f"{has}, not {strangers}")
            if twins := [name for name in self.names if stored.names.count(name) > 1]:
                raise ValueError(f"{has}, of which {twins} stand for several; give `entries`")
            return tuple(stored.names.index(name) for name in self.names)
        entries = self.entries or tuple(range(stored.width))
        if max(entries, default=0) >= stored.width:
            raise ValueError(f"{has}, not entries {list(entries)}")
        return entries

    def _problems(self) -> Iterator[str]:
        if self.entries and self.names:
            yield "`entries` and `names` must not both be given"
        if any(entry < 0 for entry in self.entries):
            yield f"`entries` must not be negative, but are {self.entries}"
        if self.scale == 0:
            yield "`scale` must not be zero"


@dataclass(frozen=True)
class ArmMap(Record):
    """State or command of one arm. What is `None` is not in the data set: it becomes zero and not valid.

    Args:
        name (`str`): Name of the arm in the `RobotSpec`.
        position (`Columns`, *optional*): Three numbers, in metres after `scale`.
        rotation (`Columns`, *optional*): As many numbers as `rotation_form` has.
        rotation_form (`str`, *optional*, defaults to `"quaternion_wxyz"`): `"quaternion_wxyz"`, `"quaternion_xyzw"`,
            `"axis_angle"`, `"matrix"` (nine numbers, row by row), `"rot6d"` (first two columns of the matrix, one after
            the other), `"rot6d_rows"` (first two rows); Euler angles by their axes as SciPy writes them, such as
            `"euler_xyz"` for turns about the fixed axes x, y, z in this order (roll, pitch, yaw) and `"euler_ZYX"` for turns
            about the moving axes; `"as_stored"` for raw commands, which no one converts.
        joints (`Columns`, *optional*): Joint positions, in radians after `scale`.
        gripper (`Columns`, *optional*): One number.
        gripper_closed (`float`, *optional*, defaults to `0.0`): Its value, after `scale`, when closed.
        gripper_open (`float`, *optional*, defaults to `1.0`): Its value, after `scale`, when open.
    """

    name: str
    position: Columns | None = None
    rotation: Columns | None = None
    rotation_form: str = "quaternion_wxyz"
    joints: Columns | None = None
    gripper: Columns | None = None
    gripper_closed: float = 0.0
    gripper_open: float = 1.0

    def _problems(self) -> Iterator[str]:
        if self.rotation_form not in WIDTHS:
            yield f"`rotation_form` must be one of {sorted(WIDTHS)}, but is {self.rotation_form!r}"
        if self.gripper_closed == self.gripper_open:
            yield f"`gripper_closed` and `gripper_open` must differ, but both are {self.gripper_open}"
        if self.joints is not None and (self.position is not None or self.rotation is not None):
            yield "an arm has either `joints` or `position` and `rotation`"

    @property
    def parts(self) -> dict[str, Columns]:
        """Columns by the part of the robot's vectors that they fill."""
        own = {"position": self.position, "rotation": self.rotation, "joints": self.joints, "gripper": self.gripper}
        return {part: columns for part, columns in own.items() if columns is not None}


@dataclass(frozen=True)
class CameraMap(Record):
    """One camera. What is `None` is not in the data set.

    Args:
        name (`str`): Name of the camera in the `RobotSpec`.
        image (`str`, *optional*): Feature with its RGB images.
        depth (`str`, *optional*): Feature with its depth.
        depth_scale (`float`, *optional*): Metres per unit of depth that is stored as whole numbers, such as 0.001; `None`
            where the data set says it itself, as LeRobot's depth videos do.
        base_from_camera (`str`, *optional*): Feature with its pose in the robot's base: 16 numbers, row by row, in metres.
        intrinsics (`str`, *optional*): Feature with its matrix: 9 numbers, row by row, in pixels of the stored images.
    """

    name: str
    image: str | None = None
    depth: str | None = None
    depth_scale: float | None = None
    base_from_camera: str | None = None
    intrinsics: str | None = None

    def _problems(self) -> Iterator[str]:
        if self.depth_scale is not None and not 0 < self.depth_scale < math.inf:
            yield f"`depth_scale` must be a positive number of metres, but is {self.depth_scale}"

    @property
    def features(self) -> tuple[str, ...]:
        """Features that this camera names."""
        own = (self.image, self.depth, self.base_from_camera, self.intrinsics)
        return tuple(feature for feature in own if feature is not None)


@dataclass(frozen=True)
class DatasetMap(Record):
    """Where a data set keeps states, commands, cameras and instructions of a robot.

    Args:
        states (`tuple[ArmMap, ...]`): State of each arm.
        commands (`tuple[ArmMap, ...]`): Command to each arm; empty where the next state is the command.
        cameras (`tuple[CameraMap, ...]`): Cameras; those of the robot that are not here were not recorded.
        instructions (`tuple[str, ...]`): Features with the instruction, for layouts that keep it in rows (RLDS), of which one
            must be there; empty for LeRobot, which has a table of tasks.
        next_state_is_command (`bool`, *optional*, defaults to `False`): The data set has no commands: what the robot measured
            at the next row is taken for the command of this one. The last row of an episode then has none.
        gripper_is_delta (`bool`, *optional*, defaults to `False`): For delta commands: the gripper's number is the change of
            the opening, too. Else it is the opening to reach, and the change is taken from the state of the same row.
        rate (`float`, *optional*): Rows per second, for layouts that do not say it (RLDS); else the robot's commands per
            second are taken.
        source (`str`, *optional*, defaults to `''`): Where these facts come from.
        notes (`tuple[str, ...]`): What is assumed or unknown.
    """

    states: tuple[ArmMap, ...]
    commands: tuple[ArmMap, ...] = ()
    cameras: tuple[CameraMap, ...] = ()
    instructions: tuple[str, ...] = ()
    next_state_is_command: bool = False
    gripper_is_delta: bool = False
    rate: float | None = None
    source: str = ""
    notes: tuple[str, ...] = ()

    def _problems(self) -> Iterator[str]:
        if self.rate is not None and self.rate <= 0:
            yield f"`rate` must be positive, but is {self.rate}"
        if self.next_state_is_command and self.commands:
            yield "`commands` must be empty where `next_state_is_command`"
        for field in ("states", "commands", "cameras"):
            names = [entry.name for entry in getattr(self, field)]
            if len(set(names)) < len(names):
                yield f"`{field}` must name each once, but name {names}"
        for arm in self.states:
            if arm.rotation is not None and arm.rotation_form == "as_stored":
                yield f"the state of arm {arm.name!r} must say how its rotation is written, but it is 'as_stored'"

    @classmethod
    def identity(cls, robot: RobotSpec) -> Self:
        """The map of this library's own LeRobot recordings, whose columns have the robot's names.

        Args:
            robot (`RobotSpec`): The robot.
        """
        is_raw = robot.command_kind == "raw"
        return cls(
            states=tuple(_own_arm(arm, layout.STATE_KEY, _STATE_NAMES, 0.0, 1.0) for arm in robot.arms),
            commands=tuple(
                _own_arm(
                    arm,
                    layout.ACTION_KEY,
                    _COMMAND_NAMES[str(robot.command_kind)],
                    arm.gripper.command_closed if arm.gripper else 0.0,
                    arm.gripper.command_open if arm.gripper else 1.0,
                    "as_stored" if is_raw else None,
                )
                for arm in robot.arms
                if robot.command_kind is not None
            ),
            cameras=tuple(
                CameraMap(
                    name=camera.name,
                    image=layout.image_key(camera.name),
                    depth=layout.depth_key(camera.name),
                    base_from_camera=layout.pose_key(camera.name),
                    intrinsics=layout.intrinsics_key(camera.name),
                )
                for camera in robot.cameras
            ),
            gripper_is_delta=robot.command_kind == "delta_end_effector",
        )

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """A map from a JSON file that holds what `to_dict` gives.

        Args:
            path (`str` or `Path`): The file.

        Raises:
            CheckpointConfigError: If it is not JSON.
            ValueError: If it is no map.
        """
        return cls.from_dict(read_json(Path(path)))

    def limited_to(self, features: Collection[str]) -> Self:
        """The same map without camera features that a data set does not have, and without cameras that it has no images of.

        Args:
            features (`Collection[str]`): Names of the features it has.
        """

        def known(feature: str | None) -> str | None:
            return feature if feature in features else None

        cameras = [
            replace(
                camera,
                image=known(camera.image),
                depth=known(camera.depth),
                base_from_camera=known(camera.base_from_camera),
                intrinsics=known(camera.intrinsics),
            )
            for camera in self.cameras
        ]
        return replace(self, cameras=tuple(camera for camera in cameras if camera.image))


_STATE_NAMES = {"position": ("x", "y", "z"), "rotation": ("qw", "qx", "qy", "qz"), "gripper": ("gripper",)}
_DELTA_NAMES = {
    "position": ("delta_x", "delta_y", "delta_z"),
    "rotation": ("delta_rx", "delta_ry", "delta_rz"),
    "gripper": ("delta_gripper",),
}
_COMMAND_NAMES = {
    "raw": {"position": ("x", "y", "z"), "rotation": ("rx", "ry", "rz"), "gripper": ("gripper",)},
    "absolute_end_effector": _STATE_NAMES,
    "joint_position": _STATE_NAMES,
    "delta_end_effector": _DELTA_NAMES,
}


def _own_arm(
    arm: ArmSpec,
    feature: str,
    names: Mapping[str, tuple[str, ...]],
    closed: float,
    opened: float,
    rotation_form: str | None = None,
) -> ArmMap:
    """An arm whose columns are named as `robots.layout` names them."""

    def columns(parts: tuple[str, ...]) -> Columns:
        return Columns(feature, names=tuple(f"{arm.name}_{part}" for part in parts))

    own = ArmMap(arm.name, gripper=columns(names["gripper"]), gripper_closed=closed, gripper_open=opened)
    if arm.num_joints is not None:
        return replace(own, joints=columns(tuple(f"joint_{number}" for number in range(1, arm.num_joints + 1))))
    return replace(
        own,
        position=columns(names["position"]),
        rotation=columns(names["rotation"]),
        rotation_form=rotation_form or ("axis_angle" if names is _DELTA_NAMES else "quaternion_wxyz"),
    )
