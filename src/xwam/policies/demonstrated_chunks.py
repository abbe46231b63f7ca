"""What a data set shows about acting: a state, the task in words, and the actions that followed; no image is read."""

from dataclasses import dataclass

import numpy as np
import torch

from xwam.data.readers.base import EpisodeReader
from xwam.data.streams.windows import WindowShape
from xwam.errors import DataError
from xwam.robots.clips import action_channels, state_channels, valid_action_channels, valid_state_channels
from xwam.robots.layout import VectorLayout
from xwam.robots.spec import RobotSpec
from xwam.robots.vector_codec import VectorCodec


@dataclass(frozen=True, eq=False)
class DemonstratedChunks:
    """All windows of a data set, in the model's units.

    Args:
        states (`torch.Tensor` of shape `(N, R)`): Normalised states at which the windows begin, float32; 0 where not measured.
        actions (`torch.Tensor` of shape `(N, K, A)`): Normalised actions, float32; 0 where not known.
        action_mask (`torch.Tensor` of shape `(N, K, A)`): float32, 1 where the action is known.
        episodes (`torch.Tensor` of shape `(N,)`): Episode of each window, int64.
        instructions (`tuple[tuple[str, ...], ...]`): The task in words, for every episode.
    """

    states: torch.Tensor
    actions: torch.Tensor
    action_mask: torch.Tensor
    episodes: torch.Tensor
    instructions: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.states)


def demonstrated_chunks(reader: EpisodeReader, robot: RobotSpec) -> DemonstratedChunks:
    """Read the numbers of every window that a model of the robot is trained on.

    Args:
        reader (`EpisodeReader`): The data set.
        robot (`RobotSpec`): The robot, with its quantiles.

    Raises:
        DataError: If there is no window, an episode has no instruction, or the data are not what they must be.
        ValueError: If the spec lacks what is needed.
    """
    robot.require("command_kind", "model_from_base", "quantiles", "arms", purpose="encode demonstrations")
    shape = WindowShape.of(robot)
    parts: list[tuple[torch.Tensor, ...]] = []
    for number, episode in enumerate(reader.episodes):
        if not episode.instructions:
            raise DataError("There is no instruction.", dataset=reader.name, episode=episode.key)
        if count := shape.count(episode.length):
            parts.append(_windows(reader, robot, number, count, shape.num_actions))
    if not parts:
        raise DataError(f"No episode is longer than a window of {shape.span} commands.", dataset=reader.name)
    states, actions, mask, episodes = (torch.cat(own) for own in zip(*parts, strict=True))
    return DemonstratedChunks(
        states, actions, mask, episodes, tuple(episode.instructions for episode in reader.episodes)
    )


def _windows(
    reader: EpisodeReader, robot: RobotSpec, episode: int, count: int, num_actions: int
) -> tuple[torch.Tensor, ...]:
    """States, actions, mask and episode of all windows of one episode, as `RobotProcessor.encode_clip` has them."""
    length = reader.episodes[episode].length
    states, commands = reader.read_states(episode, 0, length), reader.read_commands(episode, 0, length - 1)
    starts, _ = _vectors(
        VectorCodec.of_states(robot),
        robot.state_layout,
        state_channels(robot, states.values[:count]),
        valid_state_channels(robot, states.is_valid[:count]),
    )
    actions, mask = _vectors(
        VectorCodec.of_actions(robot),
        robot.action_layout,
        action_channels(robot, states.values, commands.values),
        valid_action_channels(robot, states.is_valid, commands.is_valid),
    )
    rows = torch.arange(count)[:, None] + torch.arange(num_actions)
    return starts, actions[rows], mask[rows], torch.full((count,), episode)


def _vectors(
    codec: VectorCodec, layout: VectorLayout, channels: torch.Tensor, is_valid: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.zeros(len(channels), layout.size)
    mask[:, list(layout.slots)] = torch.from_numpy(is_valid).float()
    return codec.encode(channels).float() * mask, mask
