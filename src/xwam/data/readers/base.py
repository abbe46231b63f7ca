"""What every reader of a data set answers, whatever the layout on the disk."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np

from xwam.robots.spec import RobotSpec


@dataclass(frozen=True)
class Episode:
    """What is known of an episode before anything of it is read.

    Args:
        key (`str`): Its name in the data set.
        length (`int`): Rows: instants at which a state was measured.
        instructions (`tuple[str, ...]`): The task in words; any of them will do. Empty where nobody wrote one.
        facts (`dict[str, Any]`): What else the layout tells, such as seed and success.
    """

    key: str
    length: int
    instructions: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Numbers:
    """Columns of numbers of consecutive rows.

    Args:
        values (`np.ndarray` of shape `(rows, columns)`): float64; zero where not valid.
        is_valid (`np.ndarray` of shape `(rows, columns)`): bool; false where the data set has no such column.
    """

    values: np.ndarray
    is_valid: np.ndarray


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration of one camera.

    Args:
        intrinsics (`np.ndarray` of shape `(3, 3)`, *optional*): Camera matrix in pixels of the stored images.
        base_from_camera (`np.ndarray` of shape `(frames, 4, 4)`, *optional*): Poses in metres.
    """

    intrinsics: np.ndarray | None = None
    base_from_camera: np.ndarray | None = None


class EpisodeReader(ABC):
    """Random access to the episodes of one data set, in the terms of one robot.

    Opening reads metadata only. What a window needs is read when it is asked for, and no more: never a whole episode of video.
    A reader can be pickled, and opens its files again where it arrives; it is not shared between threads.

    Every method but `close` raises `DataError`, which names data set, episode, feature and file, where the data are not what
    the layout promises; numbers that are not finite are such a case.

    Args:
        name (`str`): Name of the data set, for messages.
        robot (`RobotSpec`): The robot.
        rate (`float`): Rows per second, as the data set declares.
        episodes (`Sequence[Episode]`): Its episodes, in a fixed order.
    """

    def __init__(self, name: str, robot: RobotSpec, rate: float, episodes: Sequence[Episode]) -> None:
        self.name, self.robot, self.rate, self.episodes = name, robot, rate, episodes

    @property
    @abstractmethod
    def cameras(self) -> tuple[str, ...]:
        """Cameras of the robot that the data set has videos of, in the robot's order."""

    @property
    @abstractmethod
    def depth_cameras(self) -> tuple[str, ...]:
        """Those of them with depth."""

    @property
    def depth_is_metric(self) -> bool:
        """Whether depth comes in metres; else as stored levels without a unit."""
        return True

    @abstractmethod
    def read_states(self, episode: int, start: int, stop: int) -> Numbers:
        """States of rows `start` to `stop`, columns as in `RobotSpec.state_columns`, as `Clip.states` has them.

        Args:
            episode (`int`): Index into `episodes`.
            start (`int`): First row.
            stop (`int`): One after the last row.
        """

    @abstractmethod
    def read_commands(self, episode: int, start: int, stop: int) -> Numbers:
        """Commands given at rows `start` to `stop`, columns as in `RobotSpec.command_columns`."""

    @abstractmethod
    def read_images(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        """RGB `uint8` of shape `(frames, H, W, 3)` at increasing rows.

        Raises:
            DamagedVideoError: If the video cannot be decoded, or its decoder had to invent pixels.
        """

    @abstractmethod
    def read_depths(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        """Depth at increasing rows: metres, `float32` of shape `(frames, H, W)`, zero where nothing was measured.

        Where `depth_is_metric` is false: `uint8` levels of the same shape, 255 near.
        """

    def read_calibration(self, episode: int, camera: str, rows: Sequence[int]) -> Calibration:
        """Calibration at increasing rows, as far as the data set has it; the spec's own is not repeated here."""
        return Calibration()

    def read_timestamps(self, episode: int) -> np.ndarray | None:
        """Seconds of every row since the episode began, `(length,)` float64; `None` where the data set has none."""
        return None

    def close(self) -> None:  # noqa: B027 - a reader that holds nothing open has nothing to close
        """Give back open files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
