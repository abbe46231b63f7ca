"""One or several data sets as the source of one stream, each with the robot that recorded it."""

from collections.abc import Sequence
from dataclasses import dataclass

from xwam.data.readers.base import EpisodeReader
from xwam.data.streams.windows import WindowShape, check_rate
from xwam.errors import DataError
from xwam.robots.processor import RobotProcessor


@dataclass(frozen=True, eq=False)
class MixturePart:
    """A data set and how its windows become the model's.

    Args:
        reader (`EpisodeReader`): The data set.
        processor (`RobotProcessor`): Its robot, with quantiles.
        share (`float`, *optional*): Share of the samples, up to a factor common to all parts; by default every window of
            every part is as likely as any other.
        rows_per_command (`int`, *optional*, defaults to `1`): Rows from one command to the next, see `WindowShape`.
    """

    reader: EpisodeReader
    processor: RobotProcessor
    share: float | None = None
    rows_per_command: int = 1

    @property
    def shape(self) -> WindowShape:
        """How windows lie over rows."""
        return WindowShape.of(self.processor.spec, self.rows_per_command)

    @property
    def counts(self) -> list[int]:
        """Windows of each episode."""
        shape = self.shape
        return [shape.count(episode.length) for episode in self.reader.episodes]


class Mixture:
    """Data sets of one or several robots whose windows fit into one batch.

    Args:
        parts (`Sequence[MixturePart]`): At least one.
        any_rate (`bool`, *optional*, defaults to `False`): Whether rows may come at another rate than the robot's commands.

    Raises:
        DataError: If a data set has no window, a robot other than its processor's, or another rate.
        ValueError: If there is no part, the parts' tensors have different sizes, only some have a share, or a spec lacks what
            is needed.
    """

    def __init__(self, parts: Sequence[MixturePart], *, any_rate: bool = False) -> None:
        self.parts = tuple(parts)
        if not self.parts:
            raise ValueError("A mixture must have at least one data set, but has none.")
        for part in self.parts:
            part.processor.spec.require(
                "command_kind", "model_from_base", "quantiles", "arms", purpose=f"train on {part.reader.name!r}"
            )
            _check_robot(part)
            _check_windows(part)
            if not any_rate:
                check_rate(part.reader, part.processor.spec, part.rows_per_command)
        _check_sizes(self.parts)
        if len({part.share is None for part in self.parts}) == 2:
            given = {part.reader.name: part.share for part in self.parts}
            raise ValueError(f"Either all data sets of a mixture have a share or none, but shares are {given}.")

    @classmethod
    def of(
        cls,
        readers: EpisodeReader | Sequence[EpisodeReader],
        processor: RobotProcessor,
        *,
        rows_per_command: int = 1,
        any_rate: bool = False,
    ) -> "Mixture":
        """Data sets of one robot, every window as likely as any other.

        Args:
            readers (`EpisodeReader` or `Sequence[EpisodeReader]`): The data sets.
            processor (`RobotProcessor`): Their robot.
            rows_per_command (`int`, *optional*, defaults to `1`): Rows from one command to the next.
            any_rate (`bool`, *optional*, defaults to `False`): Whether rows may come at another rate than the commands.
        """
        several = [readers] if isinstance(readers, EpisodeReader) else readers
        parts = [MixturePart(reader, processor, rows_per_command=rows_per_command) for reader in several]
        return cls(parts, any_rate=any_rate)

    @property
    def shares(self) -> list[float]:
        """Share of the samples of each part, up to a common factor."""
        return [float(sum(part.counts)) if part.share is None else part.share for part in self.parts]

    @property
    def num_windows(self) -> int:
        """Windows of all parts together."""
        return sum(sum(part.counts) for part in self.parts)


def _check_robot(part: MixturePart) -> None:
    ours, theirs = part.processor.spec, part.reader.robot
    for field in ("name", "state_columns", "command_columns"):
        if getattr(ours, field) != getattr(theirs, field):
            raise DataError(
                f"The processor is of a robot with {field} {getattr(ours, field)}, but the data set's is "
                f"{getattr(theirs, field)}.",
                dataset=part.reader.name,
            )


def _check_windows(part: MixturePart) -> None:
    lengths, span = [episode.length for episode in part.reader.episodes], part.shape.span
    if not lengths:
        raise DataError("There are no episodes.", dataset=part.reader.name)
    if not any(part.counts):
        raise DataError(
            f"No episode holds a window: one needs {span + 1} rows, but the {len(lengths)} episodes have "
            f"{min(lengths)} to {max(lengths)}.",
            dataset=part.reader.name,
        )


def _check_sizes(parts: Sequence[MixturePart]) -> None:
    fields = ("image_size", "num_views", "num_frames", "num_actions", "state_dim", "action_dim")
    for field in fields:
        sizes = [(part.reader.name, getattr(part.processor, field)) for part in parts]  # names may be equal
        if len({size for _, size in sizes}) > 1:
            found = ", ".join(f"{name!r}: {size}" for name, size in sizes)
            raise ValueError(f"All robots of a mixture must have one `{field}`, but they have {found}.")
