"""All numbers of one episode, and parts of them by arm."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xwam.data.readers.base import EpisodeReader, Numbers
from xwam.robots.layout import VectorLayout
from xwam.robots.spec import ArmSpec, RobotSpec


@dataclass(frozen=True, eq=False)
class EpisodeNumbers:
    """States and commands of one episode.

    Args:
        robot (`RobotSpec`): The robot.
        rate (`float`): Rows per second.
        states (`Numbers`): Of every row.
        commands (`Numbers`): Of every row.
    """

    robot: RobotSpec
    rate: float
    states: Numbers
    commands: Numbers

    @classmethod
    def read(cls, reader: EpisodeReader, episode: int) -> "EpisodeNumbers":
        """Those of an episode.

        Args:
            reader (`EpisodeReader`): The data set.
            episode (`int`): Index into its episodes.
        """
        length = reader.episodes[episode].length
        states, commands = reader.read_states(episode, 0, length), reader.read_commands(episode, 0, length)
        return cls(reader.robot, reader.rate, states, commands)

    def state(self, arm: ArmSpec, part: str) -> np.ndarray | None:
        """One part of an arm's state, such as `"position"`, `(rows, width)`; `None` where it is not complete."""
        return _part(self.states, self.robot.state_layout, f"{arm.name}_{part}")

    def command(self, arm: ArmSpec, part: str) -> np.ndarray | None:
        """One part of the commands to an arm, `(rows, width)`; `None` where it is not complete."""
        return _part(self.commands, self.robot.command_layout, f"{arm.name}_{part}")

    def moved(self, first: int, last: int) -> tuple[float, str] | None:
        """How far the robot gets from where it is at row `first` until row `last`: metres, with a radian for a third of one.

        Args:
            first (`int`): First row.
            last (`int`): Last row.

        Returns:
            `tuple[float, str]`, *optional*: The largest distance of any arm, and in words, with its own unit; `None` where no
                state is known.
        """
        return max((way for arm in self.robot.arms for way in self._ways(arm, first, last)), default=None)

    def _ways(self, arm: ArmSpec, first: int, last: int) -> Iterator[tuple[float, str]]:
        part, metres, unit = ("position", 1.0, "m") if arm.num_joints is None else ("joints", 1 / 3, "rad")
        values = self.state(arm, part)
        if values is not None:
            way = float(np.linalg.norm(values[first : last + 1] - values[first], axis=1).max())
            yield metres * way, f"the robot moves by {way:.2f} {unit}"


def _part(numbers: Numbers, layout: VectorLayout, name: str) -> np.ndarray | None:
    own = layout.part(name)
    return numbers.values[:, own] if numbers.is_valid[:, own].all() else None
