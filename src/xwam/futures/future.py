"""A future in physical units, dreamt by a model or seen by a robot: the same form, so that one can be held against the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xwam.structures import ActionChunk, ArmState, Camera, DepthCalibration, JointState

DEPTH_KINDS = ("metric", "calibrated", "measured", "estimated", "relative", "none")


@dataclass(frozen=True, eq=False)
class Future:
    """What follows one observation. Frame 0 is the observed instant; frame f comes `frame_period` · f seconds later.

    All images are the model's: resized and cropped as at inference, and so are the camera matrices.

    Args:
        robot (`str`): Name of the `RobotSpec`.
        instruction (`str`): The task in words.
        frame_period (`float`): Seconds between frames.
        frames (`Mapping[str, np.ndarray]`): RGB `uint8` of shape `(F, H, W, 3)` by camera, in the robot's order.
        depths (`Mapping[str, np.ndarray]`): Distance along the optical axis in metres, `float32` of shape `(F, H, W)` by
            camera; zero where nothing is known. Cameras without depth are left out.
        depth_kind (`str`): One of `DEPTH_KINDS`. `"metric"`: decoded by the range the robot declares; `"calibrated"`: fitted to
            a measured frame 0, see `depth_calibrations`; `"measured"`: by a sensor or a simulator; `"estimated"`: by a depth
            model from RGB; `"relative"`: known only up to scale and shift, `depths` is empty; `"none"`: there is none.
        depth_calibrations (`Mapping[str, DepthCalibration]`): By camera, where depth was calibrated.
        intrinsics (`Mapping[str, np.ndarray]`): Camera matrices `(3, 3)` in pixels of the frames, where they are known.
        base_from_camera (`Mapping[str, np.ndarray]`): Camera poses `(F, 4, 4)` in metres, where they are known; OpenCV axes.
        states (`tuple[Mapping[str, ArmState | JointState], ...]`): State of every arm at the F frames.
        actions (`ActionChunk`, *optional*): Commands that lead there, in physical units.
    """

    robot: str
    instruction: str
    frame_period: float
    frames: Mapping[str, np.ndarray]
    depths: Mapping[str, np.ndarray] = field(default_factory=dict)
    depth_kind: str = "none"
    depth_calibrations: Mapping[str, DepthCalibration] = field(default_factory=dict)
    intrinsics: Mapping[str, np.ndarray] = field(default_factory=dict)
    base_from_camera: Mapping[str, np.ndarray] = field(default_factory=dict)
    states: tuple[Mapping[str, ArmState | JointState], ...] = ()
    actions: ActionChunk | None = None

    @property
    def num_frames(self) -> int:
        """Frames F."""
        return len(next(iter(self.frames.values())))

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in the robot's order."""
        return tuple(self.frames)

    def with_cameras(self, names: Sequence[str]) -> "Future":
        """The same future seen by some of its cameras only.

        Args:
            names (`Sequence[str]`): Some of `cameras`; their order stays.

        Raises:
            ValueError: If one of them is none, or none is left.
        """
        if not names or not set(names) <= set(self.frames):
            raise ValueError(f"`names` must be some of {list(self.frames)}, but are {list(names)}.")
        kept: dict[str, Any] = {}
        for part in ("frames", "depths", "depth_calibrations", "intrinsics", "base_from_camera"):
            own = getattr(self, part)
            kept[part] = {name: own[name] for name in self.frames if name in names and name in own}
        if not kept["depths"] and self.depth_kind != "relative":
            kept["depth_kind"] = "none"
        return replace(self, **kept)

    def check_frame(self, frame: Any) -> None:
        """Refuse what is no frame of this future.

        Args:
            frame (`Any`): What was asked for.

        Raises:
            ValueError: If it is no whole number from 0 to F − 1.
        """
        if isinstance(frame, bool) or not isinstance(frame, int | np.integer) or not 0 <= frame < self.num_frames:
            raise ValueError(f"`frame` must be a whole number from 0 to {self.num_frames - 1}, but is {frame!r}.")

    def camera(self, name: str, frame: int) -> Camera:
        """Calibration of one camera at one frame.

        Args:
            name (`str`): One of `cameras`.
            frame (`int`): From 0 to F − 1.

        Raises:
            ValueError: If there is no such frame, or the calibration is unknown.
        """
        self.check_frame(frame)
        if name not in self.intrinsics or name not in self.base_from_camera:
            known = sorted(set(self.intrinsics) & set(self.base_from_camera))
            raise ValueError(f"The calibration of camera {name!r} is unknown; known are {known}.")
        return Camera(self.intrinsics[name], self.base_from_camera[name][frame])
