"""What crosses the border between the robot and the model: NumPy, physical units, no batch axis.

Letters are those of docs/conventions.md. Torch begins in `robots/processor.py`. Two of these are equal only where they are the
same object: their arrays have no single truth value to compare by.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class ArmState:
    """One arm in the robot base frame.

    Args:
        position (`np.ndarray` of shape `(3,)`): Tool position, in metres.
        quaternion (`np.ndarray` of shape `(4,)`): Tool orientation, (w, x, y, z), unit length.
        gripper (`float`): Opening, 0 closed to 1 open.
    """

    position: np.ndarray
    quaternion: np.ndarray
    gripper: float


@dataclass(frozen=True, eq=False)
class JointState:
    """One arm by its joints.

    Args:
        positions (`np.ndarray` of shape `(J,)`): Joint positions, in radians.
        gripper (`float`): Opening, 0 closed to 1 open.
    """

    positions: np.ndarray
    gripper: float


@dataclass(frozen=True, eq=False)
class Camera:
    """Calibration of one camera at one instant. OpenCV axes: x right, y down, z forward; pixel centres at +0.5.

    Args:
        intrinsics (`np.ndarray` of shape `(3, 3)`): Camera matrix in pixels of the image it belongs to.
        base_from_camera (`np.ndarray` of shape `(4, 4)`): Pose of the camera in the robot base frame, in metres.
    """

    intrinsics: np.ndarray
    base_from_camera: np.ndarray


@dataclass(frozen=True, eq=False)
class Observation:
    """What the robot knows at one instant.

    Args:
        images (`Mapping[str, np.ndarray]`): RGB `uint8` of shape `(H, W, 3)` by camera name.
        instruction (`str`): The task in words.
        arms (`Mapping[str, ArmState]`): Tool poses by arm name, for robots whose state is a pose.
        joints (`Mapping[str, JointState]`): Joint positions by arm name, for robots whose state is in joints.
        time (`float`): Seconds on the robot's clock, from one fixed origin.
        robot (`str`, *optional*): Name of the `RobotSpec` that made this; checked when given.
        depths (`Mapping[str, np.ndarray]`): Measured depth in metres, `float32` of shape `(H, W)` by camera name; zero or
            NaN where the sensor saw nothing.
        cameras (`Mapping[str, Camera]`): Calibration by camera name, where it is known.
    """

    images: Mapping[str, np.ndarray]
    instruction: str
    arms: Mapping[str, ArmState] = field(default_factory=dict)
    joints: Mapping[str, JointState] = field(default_factory=dict)
    time: float = 0.0
    robot: str | None = None
    depths: Mapping[str, np.ndarray] = field(default_factory=dict)
    cameras: Mapping[str, Camera] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ActionChunk:
    """Commands for the next `K` control ticks, ready for the robot named in `robot`.

    Args:
        robot (`str`): Name of the `RobotSpec` whose command space this is.
        commands (`np.ndarray` of shape `(K, columns)`): Physical units, one column per name in `columns`.
        columns (`tuple[str, ...]`): Name of each column, such as `"left_delta_x"`, with its unit in `RobotSpec`.
        period (`float`): Seconds between commands.
        start_time (`float`): Time of the observation the chunk answers, in seconds.
        timings (`Mapping[str, float]`): Seconds that each stage of the inference took.
    """

    robot: str
    commands: np.ndarray
    columns: tuple[str, ...]
    period: float
    start_time: float = 0.0
    timings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Clip:
    """One window of a recording, in physical units and in the robot's own frames: what a model is trained on.

    Row j of `states` is what the robot measured when command j was given, so there is one more state than commands. Frame f
    was seen with state f · `actions_per_frame`. Invalid numbers are zero.

    Args:
        robot (`str`): Name of the `RobotSpec` whose columns these are.
        instruction (`str`): The task in words.
        images (`Mapping[str, np.ndarray]`): RGB `uint8` of shape `(F, H, W, 3)` by camera name. A camera of the robot that is
            not here was not recorded: the model sees black and learns nothing of it.
        states (`np.ndarray` of shape `(K + 1, columns)`): float64, columns as in `RobotSpec.state_columns`: metres, unit
            quaternions (w, x, y, z), radians, openings 0 closed to 1 open.
        commands (`np.ndarray` of shape `(K, columns)`): float64, columns as in `RobotSpec.command_columns`.
        state_is_valid (`np.ndarray` of shape `(K + 1, columns)`): bool.
        command_is_valid (`np.ndarray` of shape `(K, columns)`): bool.
        depths (`Mapping[str, np.ndarray]`): Measured depth in metres, `float32` of shape `(F, H, W)` by camera name; zero
            where nothing was measured.
        relative_depths (`Mapping[str, np.ndarray]`): For recordings whose depth has no unit: depth images as they are
            stored, `uint8` of shape `(F, H, W)` by camera name, 255 near. A camera is in one of the two mappings at most.
        intrinsics (`Mapping[str, np.ndarray]`): Camera matrices `(3, 3)` in pixels of the images, where they are known.
        base_from_camera (`Mapping[str, np.ndarray]`): Camera poses `(F, 4, 4)` in metres, where they are known.
        source (`str`): Where it comes from: data set, episode and first row, for messages and for finding it again.
    """

    robot: str
    instruction: str
    images: Mapping[str, np.ndarray]
    states: np.ndarray
    commands: np.ndarray
    state_is_valid: np.ndarray
    command_is_valid: np.ndarray
    depths: Mapping[str, np.ndarray] = field(default_factory=dict)
    relative_depths: Mapping[str, np.ndarray] = field(default_factory=dict)
    intrinsics: Mapping[str, np.ndarray] = field(default_factory=dict)
    base_from_camera: Mapping[str, np.ndarray] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Coloured points in the robot base frame.

    Args:
        points (`np.ndarray` of shape `(M, 3)`): Metres, float32.
        colours (`np.ndarray` of shape `(M, 3)`): RGB `uint8`.
        normals (`np.ndarray` of shape `(M, 3)`, *optional*): Unit vectors towards the camera that saw the point, float32; zero where
            neighbouring pixels do not tell.
        confidence (`np.ndarray` of shape `(M,)`, *optional*): Agreement of the views from 0 to 1, float32.
    """

    points: np.ndarray
    colours: np.ndarray
    normals: np.ndarray | None = None
    confidence: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class DepthCalibration:
    """How depth without a unit became metres in one view: 1/metres = scale · level + shift, fitted to the measured frame 0.

    Level 1 is the near end of the depth image and 0 its far end.

    Args:
        scale (`float`): Per metre, positive.
        shift (`float`): Per metre.
        residual (`float`): Median of |predicted − measured| / measured over the inliers.
        inlier_share (`float`): Share of the measured pixels that the fit explains, from 0 to 1.
        num_pixels (`int`): Measured pixels that were looked at.
    """

    scale: float
    shift: float
    residual: float
    inlier_share: float
    num_pixels: int

    @property
    def statement(self) -> str:
        """What a reader of the depth must know, in words."""
        return (
            f"calibrated on the measured frame 0, not metric: median error {self.residual:.1%} over "
            f"{self.inlier_share:.0%} of {self.num_pixels} measured pixels"
        )
