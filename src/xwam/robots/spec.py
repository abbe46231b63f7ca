"""What a robot is: frozen data that is checked when it is made, saved as JSON beside the weights."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from xwam.geometry.matrix_checks import rotation_problem
from xwam.robots import spec_checks
from xwam.robots.layout import COMMAND_FORMS, VectorLayout, vector_layout
from xwam.robots.records import Matrix, Record

IDENTITY: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class CameraSpec(Record):
    """One physical camera; OpenCV axes, pixel centres at +0.5.

    Args:
        name (`str`): Key in `Observation.images`.
        size (`tuple[int, int]`): Size (H, W) of its images, in pixels.
        arm (`str`, *optional*): Arm that carries it; `None` for a camera that stands still.
        intrinsics (`Matrix`, *optional*): Camera matrix `(3, 3)` in pixels of `size`.
        base_from_camera (`Matrix`, *optional*): Pose `(4, 4)` of a standing camera in the base frame, in metres.
        tool_from_camera (`Matrix`, *optional*): Hand-eye calibration `(4, 4)` of a carried camera, in metres.
        depth_range (`tuple[float, float]`, *optional*): Nearest and farthest measured depth, in metres, the ends of the
            depth image; `None` for a camera that measures no depth.
        is_reported (`bool`): Observations bring what is left `None` here, in `Observation.cameras`.
    """

    name: str
    size: tuple[int, int]
    arm: str | None = None
    intrinsics: Matrix | None = None
    base_from_camera: Matrix | None = None
    tool_from_camera: Matrix | None = None
    depth_range: tuple[float, float] | None = None
    is_reported: bool = False

    def _problems(self) -> Iterator[str]:
        yield from spec_checks.camera_problems(self)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Calibration that neither this spec nor the observations bring."""
        pose = "base_from_camera" if self.arm is None else "tool_from_camera"
        return () if self.is_reported else tuple(f for f in ("intrinsics", pose) if getattr(self, f) is None)


@dataclass(frozen=True)
class GripperSpec(Record):
    """How an opening, 0 closed to 1 open, is written in commands and in the model's vectors.

    Args:
        command_open (`float`): Command value that opens.
        command_closed (`float`): Command value that closes.
        state_open (`float`, *optional*, defaults to `1.0`): Value of the state channel when open, before normalisation.
        state_closed (`float`, *optional*, defaults to `0.0`): Value of the state channel when closed, before normalisation.
        state_sign (`float`, *optional*, defaults to `1.0`): Sign of the state channel after normalisation.
        action_sign (`float`, *optional*, defaults to `1.0`): Sign of the action channel after normalisation.
        action_normalized (`bool`, *optional*, defaults to `True`): Whether quantiles apply to the action channel.
    """

    command_open: float
    command_closed: float
    state_open: float = 1.0
    state_closed: float = 0.0
    state_sign: float = 1.0
    action_sign: float = 1.0
    action_normalized: bool = True

    def _problems(self) -> Iterator[str]:
        for kind in ("command", "state"):
            if getattr(self, f"{kind}_open") == getattr(self, f"{kind}_closed"):
                yield f"`{kind}_open` and `{kind}_closed` must differ, but both are {getattr(self, f'{kind}_open')}"
        for field in ("state_sign", "action_sign"):
            if getattr(self, field) not in (-1.0, 1.0):
                yield f"`{field}` must be 1 or -1, but is {getattr(self, field)}"


@dataclass(frozen=True)
class ArmSpec(Record):
    """One arm.

    Args:
        name (`str`): Key in `Observation.arms` or `Observation.joints`.
        gripper (`GripperSpec` or `None`): Gripper convention; `None` where it is unknown.
        num_joints (`int`, *optional*): Number of joints of an arm whose state is in joints; `None` for a tool pose.
        model_from_tool (`Matrix`, *optional*): Rotation `(3, 3)` from the robot's tool axes to the model's; `None` where it
            is unknown.
    """

    name: str
    gripper: GripperSpec | None
    num_joints: int | None = None
    model_from_tool: Matrix | None = IDENTITY

    def _problems(self) -> Iterator[str]:
        yield from spec_checks.name_problems(self.name)
        if self.num_joints is not None and not 1 <= self.num_joints <= spec_checks.MAX_JOINTS:
            yield f"`num_joints` must be from 1 to {spec_checks.MAX_JOINTS}, but is {self.num_joints}"
        if self.model_from_tool is not None and (problem := rotation_problem(self.model_from_tool)):
            yield f"`model_from_tool` {problem}"

    @property
    def unknown(self) -> tuple[str, ...]:
        """Fields that the user must still give."""
        return tuple(field for field in ("gripper", "model_from_tool") if getattr(self, field) is None)


@dataclass(frozen=True)
class RawScale(Record):
    """What one raw command moves in one control period, per unit, so that raw commands can be integrated.

    Args:
        translation (`float`): Metres along each base axis.
        rotation (`float`): Radians of the axis-angle vector in the base frame.
        gripper (`float`): Change of the opening in one period towards the commanded side, however large the command.
        limit (`float`, *optional*, defaults to `1.0`): Size to which the controller holds each number of a command.
    """

    translation: float
    rotation: float
    gripper: float
    limit: float = 1.0

    def _problems(self) -> Iterator[str]:
        for field in ("translation", "rotation", "gripper", "limit"):
            if getattr(self, field) <= 0:
                yield f"`{field}` must be positive, but is {getattr(self, field)}"


SMALLEST_RANGE = 1e-6  # between two quantiles, channel units; a flat channel is divided by this, in both directions


@dataclass(frozen=True)
class Quantiles(Record):
    """1 % and 99 % quantiles of every channel, in the order of `state_columns` and `action_columns`.

    Channels that pass through, quaternions and raw grippers, hold -1 and 1. Everything is in the model's frames.
    """

    state_low: tuple[float, ...]
    state_high: tuple[float, ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]


@dataclass(frozen=True)
class RobotSpec(Record):
    """A robot as the model sees it. A field that is `None` is unknown and named in `unknown`.

    Args:
        name (`str`): Name of the robot, carried by observations and action chunks.
        arms (`tuple[ArmSpec, ...]`): Arms in the model's order.
        cameras (`tuple[CameraSpec, ...]`): Cameras in the model's order.
        command_kind (`str` or `None`): One of `COMMAND_FORMS`.
        control_period (`float` or `None`): Seconds between commands.
        state_slots (`tuple[int, ...]`): Slot of each of `state_columns` in the model's state vector.
        action_slots (`tuple[int, ...]`): Slot of each of `action_columns` in the model's action vector.
        model_from_base (`Matrix`, *optional*): Rotation `(3, 3)` from the robot's base frame to the model's.
        quantiles (`Quantiles`, *optional*): Normalisation of states and actions; see `with_quantiles`.
        clip (`bool`, *optional*, defaults to `False`): Whether normalised values are held to [-1, 1] when encoding.
        raw_scale (`RawScale`, *optional*): Only for raw commands that may be integrated.
        image_size (`tuple[int, int]`): Size (H, W) of the images the model sees.
        crop_ratio (`float`, *optional*, defaults to `0.95`): Share of each side that the centre crop keeps.
        depth_encoding (`str`, *optional*, defaults to `"inverse"`): What the model's depth images mean. `"inverse"` and
            `"linear"`: metres between the ends of `CameraSpec.depth_range`, by the formulas of `geometry.depth`.
            `"relative"`: inverse depth with an unknown scale and shift per view, as in the released checkpoints.
        num_frames (`int`, *optional*, defaults to `9`): RGB frames of a window, 1 + 4 n.
        actions_per_frame (`int`, *optional*, defaults to `4`): Commands between two frames.
        state_dim (`int`, *optional*, defaults to `16`): Length of the model's state vector.
        action_dim (`int`, *optional*, defaults to `14`): Length of the model's action vector.
        source (`str`): Where these facts come from.
        notes (`tuple[str, ...]`): What a user should know, such as choices that no source settles.
    """

    name: str
    arms: tuple[ArmSpec, ...]
    cameras: tuple[CameraSpec, ...]
    command_kind: str | None
    control_period: float | None
    state_slots: tuple[int, ...]
    action_slots: tuple[int, ...]
    model_from_base: Matrix | None = IDENTITY
    quantiles: Quantiles | None = None
    clip: bool = False
    raw_scale: RawScale | None = None
    image_size: tuple[int, int] = (256, 320)
    crop_ratio: float = 0.95
    depth_encoding: str = "inverse"
    num_frames: int = 9
    actions_per_frame: int = 4
    state_dim: int = 16
    action_dim: int = 14
    source: str = ""
    notes: tuple[str, ...] = ()

    def _problems(self) -> Iterator[str]:
        yield from spec_checks.number_problems(self)
        structure = list(spec_checks.structure_problems(self))
        yield from structure
        if not structure:  # layouts of a robot with broken arms mean nothing
            yield from spec_checks.slot_problems(self)
            yield from spec_checks.quantile_problems(self)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What the user must still give, as paths such as `"cameras.wrist.intrinsics"`."""
        fields = ("command_kind", "control_period", "model_from_base", "quantiles")
        own = tuple(field for field in fields if getattr(self, field) is None)
        arms = tuple(f"arms.{arm.name}.{field}" for arm in self.arms for field in arm.unknown)
        return own + arms + tuple(f"cameras.{camera.name}.{f}" for camera in self.cameras for f in camera.unknown)

    def require(self, *names: str, purpose: str) -> None:
        """Check that fields are known; `"arms"` and `"cameras"` stand for everything in them.

        Args:
            names (`str`): Fields of this spec.
            purpose (`str`): What they are needed for, such as `"encode states"`.

        Raises:
            ValueError: If one of them is unknown.
        """
        lacking = [path for path in self.unknown if path.split(".")[0] in names]
        if lacking:
            hint = " Quantiles come with a checkpoint; set them with `spec.with_quantiles(...)`."
            raise ValueError(
                f"Cannot {purpose} of robot {self.name!r}: unknown is {', '.join(lacking)}; give it with "
                f"`dataclasses.replace`.{hint if 'quantiles' in lacking else ''}"
            )

    def with_quantiles(
        self,
        state_low: Sequence[float],
        state_high: Sequence[float],
        action_low: Sequence[float],
        action_high: Sequence[float],
    ) -> "RobotSpec":
        """The same robot with quantiles, each in the order of `state_columns` or `action_columns`."""
        return replace(
            self, quantiles=Quantiles(tuple(state_low), tuple(state_high), tuple(action_low), tuple(action_high))
        )

    @property
    def state_layout(self) -> VectorLayout:
        """State channels in the model's state vector."""
        return vector_layout(self._arm_shapes, "pose", self.state_slots, self.state_dim)

    @property
    def action_layout(self) -> VectorLayout:
        """Action channels in the model's action vector."""
        form = "raw" if self.command_kind == "raw" else "pose_delta"
        return vector_layout(self._arm_shapes, form, self.action_slots, self.action_dim)

    @property
    def command_layout(self) -> VectorLayout:
        """Columns of the commands, which live outside the model."""
        self.require("command_kind", purpose="name the commands")
        return vector_layout(self._arm_shapes, COMMAND_FORMS[str(self.command_kind)])

    @property
    def state_columns(self) -> tuple[str, ...]:
        """Name of every state channel, such as `"left_qw"`."""
        return self.state_layout.columns

    @property
    def action_columns(self) -> tuple[str, ...]:
        """Name of every action channel, such as `"left_delta_x"`."""
        return self.action_layout.columns

    @property
    def command_columns(self) -> tuple[str, ...]:
        """Name of every column of `ActionChunk.commands`."""
        return self.command_layout.columns

    @property
    def command_units(self) -> tuple[str, ...]:
        """Unit of every column of `ActionChunk.commands`: `"m"`, `"rad"`, `"1"` or `"controller"`."""
        return self.command_layout.units

    @property
    def state_is_normalized(self) -> tuple[bool, ...]:
        """Per state channel: whether quantiles apply; quaternions pass through."""
        passed = {f"{arm.name}_rotation" for arm in self.arms}
        return tuple(part not in passed for part, width in self.state_layout.parts for _ in range(width))

    @property
    def action_is_normalized(self) -> tuple[bool, ...]:
        """Per action channel: whether quantiles apply; raw grippers may pass through."""
        passed = {f"{arm.name}_gripper" for arm in self.arms if arm.gripper and not arm.gripper.action_normalized}
        return tuple(part not in passed for part, width in self.action_layout.parts for _ in range(width))

    @property
    def num_actions(self) -> int:
        """Commands of a chunk."""
        return (self.num_frames - 1) * self.actions_per_frame

    @property
    def _arm_shapes(self) -> tuple[tuple[str, int | None], ...]:
        return tuple((arm.name, arm.num_joints) for arm in self.arms)
