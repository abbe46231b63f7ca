"""Channels of every row of an episode, before normalisation, as a window that begins at that row would have them first."""

from dataclasses import dataclass

import numpy as np

from xwam.data.readers.base import Numbers
from xwam.robots.clips import action_channels, state_channels, valid_action_channels, valid_state_channels
from xwam.robots.spec import RobotSpec


@dataclass(frozen=True, eq=False)
class ChannelRows:
    """Channels of consecutive rows.

    Args:
        channels (`np.ndarray` of shape `(rows, channels)`): float64.
        is_valid (`np.ndarray` of shape `(rows, channels)`): bool.
    """

    channels: np.ndarray
    is_valid: np.ndarray


def state_rows(robot: RobotSpec, states: Numbers) -> ChannelRows:
    """State channels of every row.

    Args:
        robot (`RobotSpec`): The robot.
        states (`Numbers`): All rows of an episode.
    """
    return ChannelRows(state_channels(robot, states.values).numpy(), valid_state_channels(robot, states.is_valid))


def action_rows(robot: RobotSpec, states: Numbers, commands: Numbers, rows_per_command: int = 1) -> ChannelRows:
    """Action channels of every row t that has a command: that of row t + k − 1, seen from the state of row t.

    The last rows have no opening to come; there the change of the gripper is not valid.

    Args:
        robot (`RobotSpec`): The robot.
        states (`Numbers`): All rows of an episode.
        commands (`Numbers`): All rows of the episode.
        rows_per_command (`int`, *optional*, defaults to `1`): Rows k from one command to the next.
    """
    step = rows_per_command
    num_rows = max(len(commands.values) - step + 1, 0)
    width = len(robot.action_columns)
    found = ChannelRows(np.zeros((num_rows, width)), np.zeros((num_rows, width), dtype=bool))
    grippers = [robot.action_layout.part(f"{arm.name}_gripper") for arm in robot.arms]
    for phase in range(min(step, num_rows)):  # rows that are `step` apart follow each other in one clip
        own = Numbers(commands.values[phase + step - 1 :: step], commands.is_valid[phase + step - 1 :: step])
        count = len(own.values)
        places = np.minimum(phase + step * np.arange(count + 1), len(states.values) - 1)
        has_next = phase + step * np.arange(1, count + 1) < len(states.values)
        found.channels[phase::step] = action_channels(robot, states.values[places], own.values).numpy()
        is_valid = valid_action_channels(robot, states.is_valid[places], own.is_valid)
        for gripper in grippers if robot.command_kind == "absolute_end_effector" else ():
            is_valid[:, gripper] &= has_next[:, None]
        found.is_valid[phase::step] = is_valid
    return found
