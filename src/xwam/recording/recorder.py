"""The watcher that writes an episode while it happens."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np

from xwam.data.writers.dataset_writer import DatasetWriter
from xwam.data.writers.episode_writer import EpisodeDescription, EpisodeWriter
from xwam.data.writers.recording_format import RecordingFormat
from xwam.envs.base import Environment
from xwam.policies.closed_loop import EpisodeOutcome
from xwam.structures import ActionChunk, Observation


class EpisodeRecorder:
    """Hands every observation and command of an episode to a dataset writer; a `Watcher` for `run_episode`.

    Use it in a `with` statement. The episode is kept if the task was done, or if failures are wanted.

    Args:
        writer (`DatasetWriter`): Where to.
        key (`str`): Name of the episode there.
        environment (`Environment`): Where it happens; if it has `state()`, the simulator's state is recorded too.
        description (`EpisodeDescription`): Where the episode comes from.
        keep_failures (`bool`, *optional*, defaults to `False`): Whether episodes without success are kept.
        format_options (`Any`): What `RecordingFormat.of` takes besides, such as `with_depth=False`.
    """

    def __init__(
        self,
        writer: DatasetWriter,
        key: str,
        environment: Environment,
        description: EpisodeDescription,
        *,
        keep_failures: bool = False,
        **format_options: Any,
    ) -> None:
        self._writer, self._key, self._environment, self._description = writer, key, environment, description
        self._keep_failures, self._format_options = keep_failures, format_options
        self._state: Callable[[], np.ndarray] | None = getattr(environment, "state", None)
        self._episode: EpisodeWriter | None = None
        self.is_kept = False
        self.num_frames = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._episode is not None:
            self._episode.discard()

    def wants_images(self, step: int) -> bool:
        """Always: every frame is recorded.

        Args:
            step (`int`): Number of the command.
        """
        return True

    def saw(
        self,
        step: int,
        observation: Observation,
        command: np.ndarray,
        chunk: ActionChunk | None = None,
        index_in_chunk: int = 0,
    ) -> None:
        """Record a frame.

        Args:
            step (`int`): Number of the command.
            observation (`Observation`): What is known before it.
            command (`np.ndarray` of shape `(columns,)`): The command.
            chunk (`ActionChunk`, *optional*): Not used.
            index_in_chunk (`int`, *optional*, defaults to `0`): Not used.
        """
        if self._episode is None:
            form = RecordingFormat.of(self._environment.robot, observation, **self._format_options)
            self._episode = self._writer.episode(self._key, self._description, form)
        state = None if self._state is None else self._state()
        self._episode.add(observation, command, simulator_state=state)
        self.num_frames += 1

    def ended(self, observation: Observation, outcome: EpisodeOutcome) -> None:
        """Publish the episode if it is wanted.

        Args:
            observation (`Observation`): What is known after the last command; not recorded, since no command follows.
            outcome (`EpisodeOutcome`): How it went.
        """
        if self._episode is not None and (outcome.is_success or self._keep_failures):
            self._episode.publish(is_success=outcome.is_success, num_steps=outcome.num_steps)
            self.is_kept = True
