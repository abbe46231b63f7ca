"""A data set whose episodes are arrays in memory, and smooth episodes in which nothing is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from xwam.data.readers.base import Calibration, Episode, EpisodeReader, Numbers
from xwam.robots.registry import get_robot
from xwam.robots.spec import RobotSpec

ROBOT = get_robot("mujoco_panda")
TWO_ARMS = get_robot("robotwin")
JOINTS = get_robot("droid")


@dataclass
class Recording:
    """One episode; columns that are NaN throughout are not in the data set."""

    states: np.ndarray
    commands: np.ndarray
    images: dict[str, np.ndarray] = field(default_factory=dict)
    depths: dict[str, np.ndarray] = field(default_factory=dict)
    timestamps: np.ndarray | None = None
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    instructions: tuple[str, ...] = ("do it",)
    facts: dict[str, Any] = field(default_factory=dict)


class MemoryReader(EpisodeReader):
    def __init__(self, robot: RobotSpec, recordings: Sequence[Recording], *, rate: float | None = None) -> None:
        episodes = [
            Episode(f"{number:03d}", len(one.states), one.instructions, one.facts)
            for number, one in enumerate(recordings)
        ]
        super().__init__("memory", robot, rate or 1 / robot.control_period, episodes)
        self.recordings = recordings

    cameras = property(lambda self: self._named("images"))
    depth_cameras = property(lambda self: self._named("depths"))

    def read_states(self, episode: int, start: int, stop: int) -> Numbers:
        return self._numbers(self.recordings[episode].states[start:stop])

    def read_commands(self, episode: int, start: int, stop: int) -> Numbers:
        return self._numbers(self.recordings[episode].commands[start:stop])

    def read_images(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        return self.recordings[episode].images[camera][list(rows)]

    def read_depths(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        return self.recordings[episode].depths[camera][list(rows)]

    def read_calibration(self, episode: int, camera: str, rows: Sequence[int]) -> Calibration:
        found = self.recordings[episode].calibrations.get(camera, Calibration())
        poses = found.base_from_camera
        return found if poses is None else replace(found, base_from_camera=poses[list(rows)])

    def read_timestamps(self, episode: int) -> np.ndarray | None:
        return self.recordings[episode].timestamps

    def _named(self, kind: str) -> tuple[str, ...]:
        there = {name for one in self.recordings for name in getattr(one, kind)}
        return tuple(camera.name for camera in self.robot.cameras if camera.name in there)

    @staticmethod
    def _numbers(values: np.ndarray) -> Numbers:
        return Numbers(np.nan_to_num(values), ~np.isnan(values))


def smooth(rng: np.random.Generator, length: int, channels: int, size: float = 1.0) -> np.ndarray:
    """Curves `(length, channels)` that wander within about ±size, in steps of a few hundredths of it."""
    time = np.linspace(0, length / 40, length)[:, None, None]
    waves = np.sin(2 * np.pi * (rng.uniform(0.2, 1.0, (1, channels, 3)) * time + rng.uniform(size=(1, channels, 3))))
    return size * waves.mean(axis=-1)


def gripper(rng: np.random.Generator, length: int) -> np.ndarray:
    """An opening `(length, 1)` that closes over some rows, stands still, and opens again."""
    shut, reopened = sorted(rng.choice(np.arange(6, length - 8), 2, replace=False))
    places = [0, shut, shut + 4, max(reopened, shut + 5), max(reopened, shut + 5) + 4]
    return np.interp(np.arange(length), places, [1.0, 1.0, 0.1, 0.1, 1.0])[:, None]


def poses(rng: np.random.Generator, length: int) -> np.ndarray:
    """Position, quaternion (w, x, y, z) with w ≥ 0 and opening `(length, 8)` of one arm that moves smoothly."""
    position = np.array([0.45, 0.0, 0.3]) + smooth(rng, length, 3, 0.2)
    turns = Rotation.from_rotvec(smooth(rng, length, 3, 0.8)).as_quat(canonical=True, scalar_first=True)
    return np.concatenate([position, turns, gripper(rng, length)], axis=1)


def pose_recording(seed: int, arms: int = 2, length: int = 60) -> Recording:
    """Absolute tool poses: the command is the pose of the next row."""
    rng = np.random.default_rng(seed)
    states = np.concatenate([poses(rng, length + 1) for _ in range(arms)], axis=1)
    return Recording(states[:-1], states[1:].copy())


def raw_recording(seed: int, length: int = 60) -> Recording:
    """One arm of the embedded world: commands are scaled changes of the pose, and which way the gripper goes."""
    rng = np.random.default_rng(seed)
    states = poses(rng, length + 1)
    turned = Rotation.from_quat(states[:, 3:7], scalar_first=True)
    turns = (turned[1:] * turned[:-1].inv()).as_rotvec()
    scale = ROBOT.raw_scale
    is_closing = (np.diff(states[:, 7]) < 0) | ((np.diff(states[:, 7]) == 0) & (states[:-1, 7] < 0.5))
    closing = np.where(is_closing, 1.0, -1.0)[:, None]
    commands = [np.diff(states[:, :3], axis=0) / scale.translation, turns / scale.rotation, closing]
    return Recording(states[:-1], np.concatenate(commands, axis=1))


def joint_recording(seed: int, length: int = 60) -> Recording:
    """Seven joints and a gripper; the command is the state of the next row."""
    rng = np.random.default_rng(seed)
    states = np.concatenate([smooth(rng, length + 1, 7, 1.5), gripper(rng, length + 1)], axis=1)
    return Recording(states[:-1], states[1:].copy())


def filmed(recording: Recording, robot: RobotSpec = ROBOT, size: tuple[int, int] = (32, 48)) -> Recording:
    """The same episode with a moving picture, depth and calibration of every camera of the robot."""
    for number, camera in enumerate(robot.cameras):
        recording.images[camera.name], recording.depths[camera.name] = _film(recording.states, number, size)
        focal = np.array([[60.0, 0, size[1] / 2], [0, 60.0, size[0] / 2], [0, 0, 1]])
        recording.calibrations[camera.name] = Calibration(focal, _camera_poses(recording.states, robot, number))
    recording.timestamps = np.arange(len(recording.states)) * robot.control_period
    return recording


def _film(states: np.ndarray, number: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    images, depths = [], []
    for state in states:
        image = np.stack([4 * rows + 20 * number, 3 * columns, 255 - 2 * rows - 2 * columns], axis=-1).clip(0, 255)
        spot = np.abs(np.sin(2 * state[:3]))  # moves by a pixel for a centimetre, or a hundredth of a radian
        top, left = int((height - 9) * spot[0]), int((width - 12) * spot[1])
        image[top : top + 9, left : left + 12] = (230, 40 * number, 30)
        image[-9:, : int((width - 12) * spot[2])] = (20, 200, 30)
        depth = 0.5 + 0.01 * rows + 0.2 * (columns > left)
        depth[:2, :4] = 0
        images.append(image.astype(np.uint8))
        depths.append(depth.astype(np.float32))
    return np.stack(images), np.stack(depths)


def _camera_poses(states: np.ndarray, robot: RobotSpec, number: int) -> np.ndarray:
    poses = np.tile(np.eye(4), (len(states), 1, 1))
    poses[:, :3, 3] = (0.1 * number, 0.0, 1.0)
    arms = [arm.name for arm in robot.arms if arm.num_joints is None]
    if robot.cameras[number].arm in arms:
        own = states[:, 8 * arms.index(robot.cameras[number].arm) :]
        tool = np.tile(np.eye(4), (len(states), 1, 1))
        tool[:, :3, :3] = Rotation.from_quat(own[:, 3:7], scalar_first=True).as_matrix()
        tool[:, :3, 3] = own[:, :3]
        hand_eye = np.eye(4)
        hand_eye[:3, :3] = Rotation.from_rotvec([0.3, 2.0, 0.1]).as_matrix()
        poses = tool @ hand_eye
    return poses
