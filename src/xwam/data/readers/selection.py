"""Some episodes of a data set as a data set, such as those that are held out for validation."""

from collections.abc import Sequence

import numpy as np

from xwam.data.readers.base import Calibration, EpisodeReader, Numbers


class Selection(EpisodeReader):
    """Chosen episodes of a reader.

    Args:
        reader (`EpisodeReader`): The whole data set.
        numbers (`Sequence[int]`): Indices of its episodes, in the order they shall have.

    Raises:
        IndexError: If there is no such episode.
    """

    def __init__(self, reader: EpisodeReader, numbers: Sequence[int]) -> None:
        super().__init__(reader.name, reader.robot, reader.rate, [reader.episodes[number] for number in numbers])
        self.reader, self.numbers = reader, tuple(numbers)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Those of the whole data set."""
        return self.reader.cameras

    @property
    def depth_cameras(self) -> tuple[str, ...]:
        """Those of the whole data set."""
        return self.reader.depth_cameras

    @property
    def depth_is_metric(self) -> bool:
        """As the whole data set."""
        return self.reader.depth_is_metric

    def read_states(self, episode: int, start: int, stop: int) -> Numbers:
        """See `EpisodeReader`."""
        return self.reader.read_states(self.numbers[episode], start, stop)

    def read_commands(self, episode: int, start: int, stop: int) -> Numbers:
        """See `EpisodeReader`."""
        return self.reader.read_commands(self.numbers[episode], start, stop)

    def read_images(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        """See `EpisodeReader`."""
        return self.reader.read_images(self.numbers[episode], camera, rows)

    def read_depths(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        """See `EpisodeReader`."""
        return self.reader.read_depths(self.numbers[episode], camera, rows)

    def read_calibration(self, episode: int, camera: str, rows: Sequence[int]) -> Calibration:
        """See `EpisodeReader`."""
        return self.reader.read_calibration(self.numbers[episode], camera, rows)

    def read_timestamps(self, episode: int) -> np.ndarray | None:
        """See `EpisodeReader`."""
        return self.reader.read_timestamps(self.numbers[episode])

    def close(self) -> None:
        """Close the whole data set."""
        self.reader.close()
