"""What a world model is compared with as a policy: the mean of all demonstrations, and a network that clones them blindly."""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from xwam.policies.demonstrated_chunks import DemonstratedChunks
from xwam.robots.processor import RobotProcessor
from xwam.robots.spec import RobotSpec
from xwam.structures import ActionChunk, Observation
from xwam.utils.random_weights import seeded_weights


class TrainedBaseline(ABC):
    """A policy without eyes that was fitted to demonstrations; `xwam.policies.baseline_files` stores it.

    Args:
        robot (`RobotSpec`): Robot to command, with the quantiles of the demonstrations.
    """

    name: str
    uses_images = False
    module: nn.Module  # everything that was fitted

    def __init__(self, robot: RobotSpec) -> None:
        robot.require("control_period", purpose="command it")
        self.processor = RobotProcessor(robot)

    @property
    def robot(self) -> RobotSpec:
        """Robot that is commanded."""
        return self.processor.spec

    @property
    def num_actions(self) -> int:
        """Commands in a chunk, K."""
        return self.processor.num_actions

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the policy is made with besides the robot and what was fitted, JSON-able."""

    @property
    def identity(self) -> Mapping[str, object]:
        """Everything that the actions depend on: what was fitted and the robot, by hash."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(
                f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode() + tensor.contiguous().numpy().tobytes()
            )
        facts = json.dumps([self.robot.to_dict(), self.settings], sort_keys=True)
        return {"weights": digest.hexdigest(), "settings": hashlib.sha256(facts.encode()).hexdigest()}

    def reset(self, seed: int) -> None:  # noqa: B027 - a policy without a memory
        """Begin an episode; there is nothing to remember."""

    @torch.no_grad()
    def infer(self, observation: Observation, *, seed: int) -> ActionChunk:
        """A chunk of commands; nothing about it is random.

        Args:
            observation (`Observation`): What the robot knows; images are not looked at.
            seed (`int`): Not used.

        Raises:
            ObservationError: If a state does not fit the robot.
        """
        return self.processor.decode_actions(self.actions(observation), observation)

    @abstractmethod
    def actions(self, observation: Observation) -> torch.Tensor:
        """Normalised actions `(K, A)` for an observation.

        Args:
            observation (`Observation`): What the robot knows.
        """


class MeanActionPolicy(TrainedBaseline):
    """Answers everything with the mean chunk of the demonstrations.

    Args:
        robot (`RobotSpec`): Robot to command.
        chunk (`torch.Tensor` of shape `(K, A)`, *optional*): Normalised actions; all zero where not given.

    Raises:
        ValueError: If the chunk has another shape.
    """

    name = "mean_action"

    def __init__(self, robot: RobotSpec, chunk: torch.Tensor | None = None) -> None:
        super().__init__(robot)
        shape = (robot.num_actions, robot.action_dim)
        chunk = torch.zeros(shape) if chunk is None else chunk.float()
        if chunk.shape != shape:
            raise ValueError(f"`chunk` must have shape {shape}, but has {tuple(chunk.shape)}.")
        self.module = nn.Module()
        self.module.register_buffer("chunk", chunk)

    @classmethod
    def fit(cls, robot: RobotSpec, chunks: DemonstratedChunks) -> "MeanActionPolicy":
        """The mean over all windows of what is known of each action.

        Args:
            robot (`RobotSpec`): Robot to command.
            chunks (`DemonstratedChunks`): What it was shown.
        """
        known = chunks.action_mask.double().sum(dim=0)
        return cls(robot, (chunks.actions.double().sum(dim=0) / known.clamp(min=1)).float())

    @property
    def settings(self) -> dict[str, Any]:
        """There are none."""
        return {}

    def actions(self, observation: Observation) -> torch.Tensor:
        """The mean chunk `(K, A)`."""
        return self.module.get_buffer("chunk")


@dataclass(frozen=True)
class CloningConfig:
    """How a network clones demonstrations.

    Args:
        width (`int`, *optional*, defaults to `256`): Of the hidden layers.
        num_layers (`int`, *optional*, defaults to `3`): Hidden layers.
        steps (`int`, *optional*, defaults to `4000`): Optimizer steps.
        batch_size (`int`, *optional*, defaults to `256`): Windows of a step, drawn with replacement.
        learning_rate (`float`, *optional*, defaults to `0.001`): Of AdamW at the start; it falls to zero along a cosine.
        seed (`int`, *optional*, defaults to `0`): Of the weights and the draws.
    """

    width: int = 256
    num_layers: int = 3
    steps: int = 4000
    batch_size: int = 256
    learning_rate: float = 1e-3
    seed: int = 0


class ClonedPolicy(TrainedBaseline):
    """Behaviour cloning without eyes: state and words in, a chunk of actions out, by plain regression.

    The network is given the robot's normalised state and which words of a fixed vocabulary, that of the instructions it was
    shown, stand in the instruction. Words that it was not shown are not seen. It learns where the arm usually goes from here,
    and cannot know where anything lies.

    Args:
        robot (`RobotSpec`): Robot to command.
        vocabulary (`Sequence[str]`): Words, see `words_of`.
        width (`int`, *optional*, defaults to `256`): Of the hidden layers.
        num_layers (`int`, *optional*, defaults to `3`): Hidden layers.

    Raises:
        ValueError: If a word stands twice or a size is not positive.
    """

    name = "behaviour_cloning"

    def __init__(self, robot: RobotSpec, vocabulary: Sequence[str], *, width: int = 256, num_layers: int = 3) -> None:
        super().__init__(robot)
        if len(set(vocabulary)) < len(vocabulary):
            raise ValueError("`vocabulary` must hold every word once.")
        if width < 1 or num_layers < 1:
            raise ValueError(f"`width` and `num_layers` must be positive, but are {width} and {num_layers}.")
        self.vocabulary, self._width, self._num_layers = tuple(vocabulary), width, num_layers
        sizes = [len(robot.state_slots) + len(vocabulary), *[width] * num_layers]
        layers = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.SiLU())]
        self.module = nn.Sequential(*layers, nn.Linear(width, robot.num_actions * len(robot.action_slots)))

    @classmethod
    def fit(cls, robot: RobotSpec, chunks: DemonstratedChunks, config: CloningConfig | None = None) -> "ClonedPolicy":
        """Train a new network; equal data, config and machine give equal weights, and the caller's random state is left alone.

        Args:
            robot (`RobotSpec`): Robot to command.
            chunks (`DemonstratedChunks`): What it is shown.
            config (`CloningConfig`, *optional*): How it learns.
        """
        config = CloningConfig() if config is None else config
        vocabulary = sorted({word for own in chunks.instructions for text in own for word in words_of(text)})
        with seeded_weights(config.seed):
            policy = cls(robot, vocabulary, width=config.width, num_layers=config.num_layers)
        policy._learn(chunks, config)
        return policy

    @property
    def settings(self) -> dict[str, Any]:
        """Vocabulary and sizes."""
        return {"vocabulary": list(self.vocabulary), "width": self._width, "num_layers": self._num_layers}

    def actions(self, observation: Observation) -> torch.Tensor:
        """The network's answer `(K, A)`."""
        state = self.processor.encode_states([{**observation.arms, **observation.joints}])
        return self._predict(state, self._words(observation.instruction)[None])[0]

    def _predict(self, states: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Actions `(N, K, A)` of states `(N, R)` and words `(N, vocabulary)`."""
        answer = self.module(torch.cat([states[:, list(self.robot.state_slots)], words], dim=1))
        actions = answer.new_zeros(len(answer), self.num_actions, self.robot.action_dim)
        actions[..., list(self.robot.action_slots)] = answer.unflatten(1, (self.num_actions, -1))
        return actions

    def _words(self, instruction: str) -> torch.Tensor:
        """Which words of the vocabulary stand in an instruction, `(vocabulary,)`."""
        spoken = set(words_of(instruction))
        return torch.tensor([float(word in spoken) for word in self.vocabulary])

    def _learn(self, chunks: DemonstratedChunks, config: CloningConfig) -> None:
        words = torch.stack([self._words(text) for own in chunks.instructions for text in own])
        counts = torch.tensor([len(own) for own in chunks.instructions])
        first = counts.cumsum(0) - counts
        generator = torch.Generator().manual_seed(config.seed)
        optimizer = torch.optim.AdamW(self.module.parameters(), lr=config.learning_rate, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
        for _ in range(config.steps):
            rows = torch.randint(len(chunks), (config.batch_size,), generator=generator)
            episodes = chunks.episodes[rows]
            phrasing = torch.randint(1 << 30, (config.batch_size,), generator=generator) % counts[episodes]
            answer = self._predict(chunks.states[rows], words[first[episodes] + phrasing])
            mask = chunks.action_mask[rows]
            loss = ((answer - chunks.actions[rows]) * mask).square().sum() / mask.sum().clamp(min=1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def words_of(instruction: str) -> list[str]:
    """The words of an instruction in lower case, without punctuation.

    Args:
        instruction (`str`): The task in words.
    """
    return re.findall(r"\w+", instruction.lower())
