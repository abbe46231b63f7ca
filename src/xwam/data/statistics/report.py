"""What was found about every channel: its quantiles, its extremes, and whether they can be normalised by."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from xwam.robots.spec import SMALLEST_RANGE

SMALLEST_SHARE = 1e-4  # of a channel's scale, below which its quantiles tell nothing
NOTE = "Quantiles: "  # how the line in a robot's notes begins
LARGEST_NORMALIZED = 50.0  # how far beyond [-1, 1] a value may lie before its channel counts as a rare event


@dataclass(frozen=True)
class ChannelStatistics:
    """One channel, in the model's frames and before normalisation.

    Args:
        name (`str`): Column of the state or of the action.
        kind (`str`): `"state"` or `"action"`.
        low (`float`): What becomes -1.
        high (`float`): What becomes 1.
        lowest (`float`): Smallest value seen.
        highest (`float`): Largest value seen.
        num_rows (`int`, *optional*, defaults to `0`): Rows that counted.
        is_passed (`bool`, *optional*, defaults to `False`): Whether it is not normalised, or not in the data.
    """

    name: str
    kind: str
    low: float
    high: float
    lowest: float
    highest: float
    num_rows: int = 0
    is_passed: bool = False

    @property
    def largest_normalized(self) -> float:
        """Size of the largest number that the model would see."""
        span = max(self.high - self.low, SMALLEST_RANGE)
        return max(abs(2 * (value - self.low) / span - 1) for value in (self.lowest, self.highest))

    @property
    def problem(self) -> str:
        """Why the quantiles should not be normalised by, as a sentence; empty where they can be."""
        if self.is_passed:
            return ""
        span, scale = self.high - self.low, max(abs(self.lowest), abs(self.highest))
        if not self.num_rows:
            return "It never moves."
        if span < max(SMALLEST_SHARE * scale, SMALLEST_RANGE):
            return f"98 % of its values lie within {span:.3g}, but the largest is {scale:.3g}."
        if self.largest_normalized > LARGEST_NORMALIZED:
            return f"Rare values become {self.largest_normalized:.0f} where others become 1."
        return ""

    def widened(self) -> "ChannelStatistics":
        """The same channel with a range that makes no large numbers: all values, or one unit about a constant."""
        low, high = min(self.low, self.lowest), max(self.high, self.highest)
        if high - low < max(SMALLEST_SHARE * max(abs(low), abs(high)), SMALLEST_RANGE):
            middle = (low + high) / 2
            return replace(self, low=middle - 1, high=middle + 1)
        if self.low == -self.high:
            high = max(high, -low)
            low = -high
        return replace(self, low=low, high=high)


PASSED = ChannelStatistics("", "", -1.0, 1.0, -1.0, 1.0, is_passed=True)


@dataclass(frozen=True)
class StatisticsReport:
    """How quantiles came about.

    Args:
        robot (`str`): Name of the robot.
        sources (`tuple[str, ...]`): Data sets.
        num_episodes (`int`): Episodes that were read.
        num_rows (`int`): Their rows.
        rows_per_command (`int`): See `WindowShape`.
        rank_error (`float`): By how much of all rows a quantile may be off; zero where all rows were kept.
        channels (`tuple[ChannelStatistics, ...]`): Of states, then of actions.
    """

    robot: str
    sources: tuple[str, ...]
    num_episodes: int
    num_rows: int
    rows_per_command: int
    rank_error: float
    channels: tuple[ChannelStatistics, ...]

    @property
    def degenerate(self) -> tuple[ChannelStatistics, ...]:
        """Channels with a problem."""
        return tuple(channel for channel in self.channels if channel.problem)

    @property
    def note(self) -> str:
        """One line for the robot's notes."""
        skip = f", every {self.rows_per_command}th command" if self.rows_per_command > 1 else ""
        return f"{NOTE}{self.num_rows} rows of {self.num_episodes} episodes of {', '.join(self.sources)}{skip}."

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        channels = [{**asdict(channel), "problem": channel.problem} for channel in self.channels]
        return {**asdict(self), "channels": channels}
