"""What every episode of one dataset has in common: the robot, the cameras as recorded, and the features this makes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from xwam.data import lerobot_layout as layout
from xwam.data import level_codes
from xwam.data.depth_codes import DepthCode
from xwam.data.video import writer as video_files
from xwam.data.video.writer import LEAST_DEPTH_SIDE, RGB_CRF
from xwam.errors import ObservationError
from xwam.robots.observation_checks import check_start, depth_unit_problem
from xwam.robots.records import Record
from xwam.robots.spec import RobotSpec
from xwam.structures import ArmState, Observation

PIXEL_FORMATS = ("yuv444p", "yuv420p")


@dataclass(frozen=True)
class CameraFormat(Record):
    """One camera as recorded.

    Args:
        name (`str`): Key in `Observation.images`.
        size (`tuple[int, int]`): Height and width, in pixels.
        depth_range (`tuple[float, float]`, *optional*): Nearest and farthest depth that has a code, in metres; `None` for a
            camera without depth in metres.
        is_calibrated (`bool`): Whether observations bring its pose and camera matrix.
        has_levels (`bool`): Whether its depth has no unit: `uint8` levels of inverse depth, 255 near.
    """

    name: str
    size: tuple[int, int]
    depth_range: tuple[float, float] | None = None
    is_calibrated: bool = False
    has_levels: bool = False

    @property
    def has_depth(self) -> bool:
        """Whether depth is recorded, in metres or in levels."""
        return self.has_levels or self.depth_range is not None

    @property
    def depth_code(self) -> DepthCode:
        """Code of its depth in metres."""
        assert self.depth_range is not None, "only asked of cameras with depth in metres"
        return DepthCode(*self.depth_range)

    @property
    def depth_of_code(self) -> np.ndarray:
        """What each 12-bit code stands for, `(4096,)`: metres, or levels from 0 to 1."""
        return level_codes.shares() if self.has_levels else self.depth_code.depths

    def encode_depth(self, depth: np.ndarray) -> np.ndarray:
        """12-bit codes of depth, `uint16` of the same shape.

        Args:
            depth (`np.ndarray`): Metres, or `uint8` levels where `has_levels`.
        """
        return level_codes.encode(depth) if self.has_levels else self.depth_code.encode(depth)

    def _problems(self) -> Iterator[str]:
        if self.has_levels and self.depth_range is not None:
            yield "`depth_range` must be left out where `has_levels`: levels have no metres"


@dataclass(frozen=True)
class RecordingFormat(Record):
    """The form of all episodes of a dataset. Two recordings fit into one folder if theirs are equal.

    Args:
        robot (`RobotSpec`): The robot.
        cameras (`tuple[CameraFormat, ...]`): Cameras in the robot's order.
        pixel_format (`str`, *optional*, defaults to `"yuv444p"`): Of RGB videos; `"yuv420p"` for players that know no other.
        crf (`int`, *optional*, defaults to `RGB_CRF`): Quality of RGB videos; lower is better.
        depth_source (`str`): Where depth comes from if no sensor and no simulator measured it, as one or more sentences.
    """

    robot: RobotSpec
    cameras: tuple[CameraFormat, ...]
    pixel_format: str = "yuv444p"
    crf: int = RGB_CRF
    depth_source: str = ""

    def _problems(self) -> Iterator[str]:
        if self.pixel_format not in PIXEL_FORMATS:
            yield f"`pixel_format` must be one of {list(PIXEL_FORMATS)}, but is {self.pixel_format!r}"
        if not self.cameras:
            yield "`cameras` must not be empty"
        period = self.robot.control_period
        if period is None or abs(1 / period - round(1 / period)) > 1e-6:
            yield f"LeRobot counts whole frames per second, but the robot's control period is {period} s"
        for camera in self.cameras:
            if self.pixel_format == "yuv420p" and any(side % 2 for side in camera.size):
                yield f"images of {camera.name!r} must have even sides for yuv420p, but are {camera.size}"
            if camera.has_depth and min(camera.size) < LEAST_DEPTH_SIDE:
                yield f"images of {camera.name!r} must be {LEAST_DEPTH_SIDE} pixels or more for depth, but are {camera.size}"
        keys = [
            key for camera in self.cameras for key in (layout.image_key(camera.name), layout.depth_key(camera.name))
        ]
        if len(set(keys)) < len(keys):
            yield f"names of cameras collide in {sorted(keys)}"

    @classmethod
    def of(
        cls,
        robot: RobotSpec,
        observation: Observation,
        *,
        with_depth: bool = True,
        pixel_format: str = "yuv444p",
        crf: int = RGB_CRF,
    ) -> Self:
        """The form of recordings that go on like this observation.

        Args:
            robot (`RobotSpec`): The robot; all its cameras are recorded.
            observation (`Observation`): Any of its observations, with images.
            with_depth (`bool`, *optional*, defaults to `True`): Whether to record depth where there is some.
            pixel_format (`str`, *optional*, defaults to `"yuv444p"`): Of RGB videos.
            crf (`int`, *optional*, defaults to `RGB_CRF`): Quality of RGB videos.

        Raises:
            ObservationError: If a camera of the robot is missing, or one is there that the robot does not have.
            ValueError: If the robot cannot be recorded.
        """
        names = [camera.name for camera in robot.cameras]
        if sorted(observation.images) != sorted(names):
            raise ObservationError(f"`images` must be of cameras {names}, but are of {sorted(observation.images)}.")
        default = DepthCode()
        cameras = []
        for camera in robot.cameras:
            has_depth = with_depth and camera.name in observation.depths
            cameras.append(
                CameraFormat(
                    name=camera.name,
                    size=np.shape(observation.images[camera.name])[:2],
                    depth_range=(camera.depth_range or (default.near, default.far)) if has_depth else None,
                    is_calibrated=camera.name in observation.cameras,
                )
            )
        return cls(robot=robot, cameras=tuple(cameras), pixel_format=pixel_format, crf=crf)

    @property
    def fps(self) -> int:
        """Frames, and commands, per second."""
        assert self.robot.control_period is not None, "checked in _problems"
        return round(1 / self.robot.control_period)

    @property
    def number_features(self) -> dict[str, dict[str, Any]]:
        """Features that are columns of numbers, but for LeRobot's own."""
        found = {
            layout.STATE_KEY: _numbers("float32", self.robot.state_columns),
            layout.ACTION_KEY: _numbers("float32", self.robot.command_columns),
        }
        for camera in self.cameras:
            if camera.is_calibrated:
                found[layout.pose_key(camera.name)] = _numbers("float32", _entries(4))
                found[layout.intrinsics_key(camera.name)] = _numbers("float32", _entries(3))
        return found | {layout.SUCCESS_KEY: {"dtype": "bool", "shape": [1], "names": None}}

    @property
    def video_features(self) -> dict[str, dict[str, Any]]:
        """Features that are videos: RGB of every camera, depth where there is some."""
        found = {}
        for camera in self.cameras:
            found[layout.image_key(camera.name)] = self._video_feature(camera, is_depth=False)
            if camera.has_depth:
                found[layout.depth_key(camera.name)] = self._video_feature(camera, is_depth=True)
        return found

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """All features, as `info.json` lists them."""
        return self.number_features | self.video_features | layout.DEFAULT_FEATURES

    def check(self, observation: Observation) -> None:
        """Whether an observation can be recorded in this form.

        Args:
            observation (`Observation`): What came.

        Raises:
            ObservationError: If it cannot; the message names the field, what was expected and what came.
        """
        check_start(self.robot, observation)
        for camera in self.cameras:
            for problem in _camera_problems(camera, observation):
                raise ObservationError(problem)

    def _video_feature(self, camera: CameraFormat, *, is_depth: bool) -> dict[str, Any]:
        channels = 1 if is_depth else 3
        info: dict[str, Any] = {
            "video.height": camera.size[0],
            "video.width": camera.size[1],
            "video.codec": "hevc" if is_depth else "h264",
            "video.pix_fmt": "gray12le" if is_depth else self.pixel_format,
            "video.fps": self.fps,
            "video.channels": channels,
            "has_audio": False,
            "video.g": video_files.GOP,
            "video.crf": None if is_depth else self.crf,
            "video.preset": video_files.DEPTH_PRESET if is_depth else video_files.RGB_PRESET,
            "video.fast_decode": 0,
            "video.video_backend": "pyav",
            "video.extra_options": {"x265-params": "lossless=1"} if is_depth else {},
            "is_depth_map": is_depth,
        }
        if is_depth:
            code = {} if camera.has_levels else camera.depth_code.to_info()
            info |= {**code, "depth_unit": level_codes.UNIT if camera.has_levels else "m"}
        names = ["height", "width", "channels"]
        return {"dtype": "video", "shape": [*camera.size, channels], "names": names, "info": info}


def observed_state(robot: RobotSpec, observation: Observation) -> np.ndarray:
    """The arms' state as one vector, in the robot's own frames and exactly as observed.

    Args:
        robot (`RobotSpec`): The robot.
        observation (`Observation`): What came.

    Returns:
        `np.ndarray` of shape `(channels,)`: `float32`, in the order of the robot's `state_columns`.
    """
    parts: list[Any] = []
    for arm in robot.arms:
        state = observation.arms[arm.name] if arm.num_joints is None else observation.joints[arm.name]
        pose = (state.position, state.quaternion) if isinstance(state, ArmState) else (state.positions,)
        parts += [*pose, [state.gripper]]
    return np.concatenate(parts).astype(np.float32)


def _numbers(dtype: str, names: tuple[str, ...]) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [len(names)], "names": list(names)}


def _entries(size: int) -> tuple[str, ...]:
    return tuple(f"{row}{column}" for row in range(size) for column in range(size))


def _camera_problems(camera: CameraFormat, observation: Observation) -> Iterator[str]:
    image = observation.images.get(camera.name)
    if image is None:
        yield f"`images` must have {camera.name!r}, but has {sorted(observation.images)}."
    elif image.dtype != np.uint8 or image.shape != (*camera.size, 3):
        yield (
            f"Images of {camera.name!r} must be uint8 of shape {(*camera.size, 3)}, but are {image.dtype} of shape "
            f"{image.shape}."
        )
    if camera.has_depth:
        yield from _depth_problems(camera, observation.depths.get(camera.name))
    if camera.is_calibrated:
        calibration = observation.cameras.get(camera.name)
        if calibration is None:
            yield f"`cameras` must have {camera.name!r}, but has {sorted(observation.cameras)}."
        elif not (np.isfinite(calibration.intrinsics).all() and np.isfinite(calibration.base_from_camera).all()):
            yield f"The calibration of {camera.name!r} must be finite."


def _depth_problems(camera: CameraFormat, depth: np.ndarray | None) -> Iterator[str]:
    label = f"Depth of {camera.name!r}"
    if depth is None or depth.shape != camera.size:
        came = "missing" if depth is None else f"of shape {depth.shape}"
        yield f"{label} must be of shape {camera.size}, but is {came}."
    elif camera.has_levels:
        if depth.dtype != np.uint8:
            yield f"{label} must be uint8 levels, but is {depth.dtype}."
    elif depth.dtype.kind != "f":
        yield f"{label} must be floating point metres, but is {depth.dtype}."
    elif problem := depth_unit_problem(depth, camera.depth_range):
        yield f"{label} {problem}."
    elif (depth < 0).any():
        yield f"{label} must not be negative, but {np.nanmin(depth)} m is in it."
