"""Windows of a data set by number and without chance: for evaluation."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Dataset

from xwam.data.readers.base import EpisodeReader
from xwam.data.streams.windows import WindowShape, check_rate, read_clip
from xwam.robots.clips import EncodedClip
from xwam.robots.processor import RobotProcessor
from xwam.structures import Clip


class ClipDataset(Dataset):
    """Windows under numbers from 0, cut at the centre and not changed in colour.

    Args:
        reader (`EpisodeReader`): The data set.
        processor (`RobotProcessor`, *optional*): Its robot: items are `EncodedClip`; without, they are `Clip`.
        stride (`int`, *optional*, defaults to `1`): Rows from the beginning of one window of an episode to that of the next.
        rows_per_command (`int`, *optional*, defaults to `1`): Rows from one command to the next, see `WindowShape`.
        any_rate (`bool`, *optional*, defaults to `False`): Whether rows may come at another rate than the robot's commands.

    Raises:
        DataError: If the rows come at another rate.
        ValueError: If `stride` is not positive.
    """

    def __init__(
        self,
        reader: EpisodeReader,
        processor: RobotProcessor | None = None,
        *,
        stride: int = 1,
        rows_per_command: int = 1,
        any_rate: bool = False,
    ) -> None:
        if stride < 1:
            raise ValueError(f"`stride` must be at least 1, but is {stride}.")
        self.reader, self.processor, self.stride = reader, processor, stride
        robot = reader.robot if processor is None else processor.spec
        self.shape = WindowShape.of(robot, rows_per_command)
        if not any_rate:
            check_rate(reader, robot, rows_per_command)
        counts = [-(-self.shape.count(episode.length) // stride) for episode in reader.episodes]
        self._ends = np.cumsum(counts, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, number: int) -> Clip | EncodedClip:
        """The window of this number; from the end where it is negative."""
        episode, row = self.place(number)
        clip = read_clip(self.reader, episode, row, self.shape)
        return clip if self.processor is None else self.processor.encode_clip(clip)

    def __iter__(self) -> Iterator[Clip | EncodedClip]:
        return (self[number] for number in range(len(self)))

    def place(self, number: int) -> tuple[int, int]:
        """Episode and row at which a window begins.

        Args:
            number (`int`): Its number; from the end where it is negative.

        Raises:
            IndexError: If there is no such window.
        """
        if not -len(self) <= number < len(self):
            raise IndexError(f"There are {len(self)} windows, but number {number} was asked for.")
        number %= len(self)
        episode = int(np.searchsorted(self._ends, number, side="right"))
        return episode, (number - (int(self._ends[episode - 1]) if episode else 0)) * self.stride
