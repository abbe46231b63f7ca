"""A data set whose rows are their own numbers: state and command of row t hold t, and so does every pixel."""

from collections.abc import Sequence

import numpy as np

from xwam.data.readers.base import Calibration, Episode, EpisodeReader, Numbers
from xwam.robots.registry import get_robot
from xwam.robots.spec import RobotSpec

ROBOT = get_robot("mujoco_panda")


class ArrayReader(EpisodeReader):
    """Episodes of the given lengths."""

    def __init__(
        self,
        lengths: Sequence[int] = (40, 10, 50),
        robot: RobotSpec = ROBOT,
        name: str = "arrays",
        instructions: tuple[str, ...] = ("lift it", "pick it up"),
        *,
        is_metric: bool = True,
    ) -> None:
        self._is_metric = is_metric
        super().__init__(name, robot, 20.0, [Episode(f"{i:03d}", n, instructions) for i, n in enumerate(lengths)])

    cameras = property(lambda self: tuple(camera.name for camera in self.robot.cameras))
    depth_cameras = property(lambda self: self.cameras[:2])
    depth_is_metric = property(lambda self: self._is_metric)

    def read_states(self, episode: int, start: int, stop: int) -> Numbers:
        return self._rows(start, stop, len(self.robot.state_columns))

    def read_commands(self, episode: int, start: int, stop: int) -> Numbers:
        return self._rows(start, stop, len(self.robot.command_columns))

    def read_images(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        frames = np.zeros((len(rows), 4, 6, 3), dtype=np.uint8)
        frames[:] = np.array(rows, dtype=np.uint8)[:, None, None, None]
        return frames

    def read_depths(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        depths = np.ones((len(rows), 4, 6)) * np.array(rows)[:, None, None]
        return depths.astype(np.float32 if self._is_metric else np.uint8)

    def read_calibration(self, episode: int, camera: str, rows: Sequence[int]) -> Calibration:
        is_standing = camera == self.cameras[0]
        return Calibration(np.eye(3), np.tile(np.eye(4), (len(rows), 1, 1)) if is_standing else None)

    @staticmethod
    def _rows(start: int, stop: int, columns: int) -> Numbers:
        values = np.repeat(np.arange(start, stop, dtype=np.float64)[:, None], columns, axis=1)
        return Numbers(values, np.ones(values.shape, dtype=bool))
