"""A data set in memory for streams: small noisy pictures, unit quaternions, openings, and faults on request. Workers can have it."""

import time
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from array_reader import ArrayReader

from xwam.data.readers.base import Calibration, Numbers
from xwam.errors import DamagedVideoError
from xwam.robots.processor import RobotProcessor
from xwam.robots.registry import get_robot
from xwam.robots.spec import RobotSpec

ROBOT = replace(get_robot("mujoco_panda"), image_size=(32, 48), num_frames=5)  # windows of 17 rows
PROCESSOR = RobotProcessor(ROBOT)


class WindowReader(ArrayReader):
    """Episodes of the given lengths.

    `damaged` episodes have no picture that can be decoded; reading a picture of a row in `hanging` never ends.
    """

    def __init__(
        self,
        lengths: Sequence[int] = (40, 10, 50),
        robot: RobotSpec = ROBOT,
        name: str = "noise",
        *,
        damaged: Collection[int] = (),
        hanging: Collection[int] = (),
        has_depth: bool = False,
    ) -> None:
        super().__init__(lengths, robot, name)
        self.damaged, self.hanging, self.has_depth = set(damaged), set(hanging), has_depth

    depth_cameras = property(lambda self: self.cameras if self.has_depth else ())

    def read_states(self, episode: int, start: int, stop: int) -> Numbers:
        numbers = super().read_states(episode, start, stop)
        values = numbers.values.copy()
        for part, width in self.robot.state_layout.parts:
            if part.endswith("_rotation"):
                values[:, self.robot.state_layout.part(part)] = np.eye(width)[0]
            elif part.endswith("_gripper"):
                values[:, self.robot.state_layout.part(part)] /= 1000
        return Numbers(values, numbers.is_valid)

    def read_images(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        if episode in self.damaged:
            raise DamagedVideoError(
                "Frame 3 is damaged.", dataset=self.name, episode=self.episodes[episode].key, feature=camera
            )
        if self.hanging.intersection(rows):
            time.sleep(600)
        seed = [episode, self.cameras.index(camera), rows[0]]
        return np.random.default_rng(seed).integers(0, 256, (len(rows), 16, 24, 3), dtype=np.uint8)

    def read_depths(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        return np.random.default_rng([episode, rows[0]]).uniform(0, 6, (len(rows), 16, 24)).astype(np.float32)

    def read_calibration(self, episode: int, camera: str, rows: Sequence[int]) -> Calibration:
        return Calibration(np.array([[20.0, 0, 12], [0, 20.0, 8], [0, 0, 1]]))
