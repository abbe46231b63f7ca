"""Stored demonstrations run again, to look at them with other eyes: depth, calibration, another image size.

So the paper got its depth for RoboCasa and RoboTwin, whose demonstrations have none.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xwam.data.writers.dataset_writer import DatasetWriter, plain_key
from xwam.data.writers.episode_writer import EpisodeDescription, EpisodeWriter
from xwam.data.writers.lerobot_writer import LeRobotWriter
from xwam.data.writers.recording_format import RecordingFormat, observed_state
from xwam.envs.base import Environment
from xwam.envs.robosuite_demonstrations import list_demonstrations, load_demonstration
from xwam.recording.demonstrations import JobResult, open_writer
from xwam.recording.environment_slot import EnvironmentSlot
from xwam.recording.replayable import ReplayableEnvironment
from xwam.recording.stored_episodes import StoredEpisode, StoredNumbers, list_stored_episodes, read_numbers
from xwam.structures import Observation
from xwam.utils.differences import first_difference
from xwam.utils.jobs import run_jobs

MODES = ("commands", "states")
STATE_TOLERANCE = 1e-6  # of the simulator's numbers, in their own units
ROBOT_TOLERANCE = 1e-5  # of the robot's state: metres, quaternion, opening


@dataclass(frozen=True)
class ReplayOptions:
    """How to run demonstrations again.

    Args:
        mode (`str`, *optional*, defaults to `'commands'`): `"commands"` executes the stored commands and checks that every
            stored state comes about; `"states"` puts the simulator into each stored state, which also works where the
            simulator's arithmetic has changed.
        environment_options (`Mapping[str, Any]`): What the environment is given instead of what it was recorded with, such
            as `image_size`.
        with_depth (`bool`, *optional*, defaults to `True`): Whether depth is recorded.
        pixel_format (`str`, *optional*, defaults to `"yuv444p"`): Of RGB videos.

    Raises:
        ValueError: If the mode is none.
    """

    mode: str = "commands"
    environment_options: Mapping[str, Any] = field(default_factory=dict)
    with_depth: bool = True
    pixel_format: str = "yuv444p"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"`mode` must be one of {list(MODES)}, but is {self.mode!r}.")


@dataclass(frozen=True)
class HDF5Episode:
    """A demonstration in robomimic's HDF5 layout.

    Args:
        path (`str`): The file.
        name (`str`): Its name there, such as `"demo_0"`.
        environment (`str`): Name as `make_env` takes it.
    """

    path: str
    name: str
    environment: str

    @property
    def key(self) -> str:
        """Its name among the recordings."""
        digest = hashlib.sha256(str(Path(self.path).resolve()).encode()).hexdigest()[:6]
        stem, name = (plain_key(text) for text in (Path(self.path).stem, self.name))
        number = int("".join(character for character in self.name if character.isdigit()) or 0)  # orders 2 before 10
        return f"{self.environment.replace('/', '.')}-{stem}-{digest}-{number:07d}-{name}"


def replay_dataset(source: str | Path, folder: str | Path, options: ReplayOptions, **settings: Any) -> int:
    """Run all episodes of a recorded LeRobot dataset again and write what is seen as a new dataset.

    Args:
        source (`str` or `Path`): The dataset.
        folder (`str` or `Path`): The new one, or one to go on with.
        options (`ReplayOptions`): How.
        settings (`Any`): `output_format`, `num_processes`, `on_result` as in `record_demonstrations`.

    Returns:
        `int`: Episodes that were added.

    Raises:
        ValueError: If the source cannot be run again, or leads to other states than the stored ones; the episodes before are
            kept.
    """
    if Path(source).resolve() == Path(folder).resolve():
        raise ValueError(f"The new dataset needs a folder of its own, not {folder} that is run again.")
    return _replay(Path(source), folder, list_stored_episodes(Path(source)), options, **settings)


def replay_hdf5(
    source: str | Path, environment: str, folder: str | Path, options: ReplayOptions, **settings: Any
) -> int:
    """Look at all demonstrations of a robomimic HDF5 file again and write what is seen as a new dataset.

    The simulator is put into each stored state; whether a demonstration is a success is asked of it after the last command.

    Args:
        source (`str` or `Path`): The file.
        environment (`str`): Its environment, such as `"robosuite/Lift"`.
        folder (`str` or `Path`): The new dataset, or one to go on with.
        options (`ReplayOptions`): How; the mode is always `"states"`.
        settings (`Any`): `output_format`, `num_processes`, `on_result` as in `record_demonstrations`.

    Returns:
        `int`: Episodes that were added.

    Raises:
        ValueError: If the file is none, or of another environment.
    """
    episodes = [HDF5Episode(str(source), name, environment) for name in list_demonstrations(source)]
    return _replay(None, folder, episodes, options, **settings)


def _replay(
    source: Path | None,
    folder: str | Path,
    episodes: Sequence[StoredEpisode | HDF5Episode],
    options: ReplayOptions,
    *,
    output_format: str = "lerobot",
    num_processes: int = 1,
    on_result: Callable[[Any, JobResult], None] | None = None,
) -> int:
    make_worker = partial(_Worker, output_format, Path(folder), source, options)
    with open_writer(output_format, folder) as writer:
        done = {key for key, is_kept in writer.outcomes().items() if is_kept}
        same = [episode for episode in episodes if episode.key in done]
        if same:
            _expect_options(writer, same, options)
            writer.expect_form(make_worker().form(same[0]))
        jobs = [episode for episode in episodes if episode.key not in writer.outcomes()]
        for job, result in run_jobs(make_worker, jobs, num_processes=num_processes) if jobs else ():
            if on_result is not None:
                on_result(job, result)
        return writer.finish()


def _expect_options(
    writer: DatasetWriter, episodes: Sequence[StoredEpisode | HDF5Episode], options: ReplayOptions
) -> None:
    """Refuse a data set whose episodes were looked at in a world with other options, as far as it tells."""
    there = writer.waiting_options()
    if isinstance(writer, LeRobotWriter) and any(episode.key not in there for episode in episodes):
        there |= {stored.key: dict(stored.options) for stored in list_stored_episodes(writer.folder)}
    for episode in episodes:
        here = json.loads(json.dumps(_options_again(episode, options)))  # as they are stored
        if episode.key in there and (difference := first_difference(there[episode.key], here)):
            name, was, now = difference
            raise ValueError(
                f"{writer.folder} holds episodes of a world with {name} {was!r}, but now it is {now!r}; choose another folder."
            )


def _options_again(episode: StoredEpisode | HDF5Episode, options: ReplayOptions) -> dict[str, Any]:
    """What the environment of an episode is made with now."""
    recorded = {"with_depth": options.with_depth} if isinstance(episode, HDF5Episode) else episode.options
    return {**recorded, **options.environment_options}


class _Run(NamedTuple):
    """An episode that is run again.

    Args:
        environment (`Environment`): Where.
        frames (`Iterator`): Observation, command and state of the simulator, one after the other.
        judge (`Callable`): Says of the last command whether the task is done.
        description (`EpisodeDescription`): Where the episode comes from.
        num_steps (`int`, *optional*): Commands until the task was done, where that is known.
    """

    environment: Environment
    frames: Iterator[tuple[Observation, np.ndarray, np.ndarray | None]]
    judge: Callable[[np.ndarray], bool]
    description: EpisodeDescription
    num_steps: int | None = None


class _Worker:
    """Runs episodes again in one process."""

    def __init__(self, output_format: str, folder: Path, source: Path | None, options: ReplayOptions) -> None:
        self._writer: DatasetWriter = open_writer(output_format, folder)
        self._source, self._options, self._slot = source, options, EnvironmentSlot()

    def __call__(self, episode: StoredEpisode | HDF5Episode) -> JobResult:
        run = self._begin(episode)
        written: EpisodeWriter | None = None
        count = 0
        try:
            for observation, command, state in run.frames:
                count += 1
                if written is None:
                    written = self._writer.episode(episode.key, run.description, self._form(run, observation))
                written.add(observation, command, simulator_state=state)
            if written is not None:
                written.publish(is_success=run.judge(command), num_steps=run.num_steps)
        finally:
            if written is not None:
                written.discard()
        return JobResult(written is not None, count)

    def form(self, episode: StoredEpisode | HDF5Episode) -> RecordingFormat:
        """The form that an episode would have now."""
        run = self._begin(episode)
        observation, _, _ = next(run.frames)
        return self._form(run, observation)

    def _form(self, run: _Run, observation: Observation) -> RecordingFormat:
        options = self._options
        return RecordingFormat.of(
            run.environment.robot, observation, with_depth=options.with_depth, pixel_format=options.pixel_format
        )

    def _begin(self, episode: StoredEpisode | HDF5Episode) -> _Run:
        options = _options_again(episode, self._options)
        environment = self._slot.open(episode.environment, options)
        if isinstance(episode, HDF5Episode):
            description = EpisodeDescription(
                environment=episode.environment,
                seed=0,
                options=options,
                versions=dict(environment.versions),
                expert={"source": Path(episode.path).name, "demonstration": episode.name},
            )
            frames = _frames_of_hdf5(environment, episode)
            return _Run(environment, frames, lambda command: environment.step(command).is_success, description)
        assert self._source is not None, "set for stored episodes"
        description = EpisodeDescription(
            environment=episode.environment,
            seed=episode.seed,
            options=options,
            versions=dict(environment.versions),
            expert=dict(episode.expert),
        )
        frames = _frames_again(environment, episode, read_numbers(self._source, episode), self._options.mode)
        return _Run(environment, frames, lambda _: episode.is_success, description, episode.num_steps)


def _frames_again(
    environment: Environment, episode: StoredEpisode, numbers: StoredNumbers, mode: str
) -> Iterator[tuple[Observation, np.ndarray, np.ndarray | None]]:
    """Frames of an episode that is run again from its seed."""
    get_state = getattr(environment, "state", None)
    set_state = getattr(environment, "set_state", None)
    stored = numbers.simulator_states
    if mode == "states" and (stored is None or set_state is None):
        raise ValueError(f"Episode {episode.key!r} has no states of the simulator; run its commands instead.")
    environment.reset(episode.seed)
    for frame, command in enumerate(numbers.commands):
        if mode == "states" and stored is not None and set_state is not None:
            set_state(stored[frame])
        state = None if get_state is None else get_state()
        if state is not None and stored is not None:
            _expect_equal("simulator's state", state, stored[frame], STATE_TOLERANCE, episode, frame, environment)
        observation = environment.observe()
        robot_state = observed_state(environment.robot, observation)
        _expect_equal(
            "robot's state", robot_state, numbers.robot_states[frame], ROBOT_TOLERANCE, episode, frame, environment
        )
        yield observation, command, state
        if mode == "commands":
            environment.step(command)


def _frames_of_hdf5(
    environment: Environment, episode: HDF5Episode
) -> Iterator[tuple[Observation, np.ndarray, np.ndarray | None]]:
    """Frames of a demonstration whose states are shown one after the other."""
    if not isinstance(environment, ReplayableEnvironment):
        raise ValueError(f"{episode.environment} cannot show stored states; robosuite and RoboCasa can.")
    demonstration = load_demonstration(episode.path, episode.name)
    width = len(environment.robot.command_columns)
    if demonstration["actions"].shape[1] < width:
        raise ValueError(
            f"Actions of {episode.name!r} in {episode.path} must have at least {width} columns, but have "
            f"{demonstration['actions'].shape[1]}."
        )
    observation = environment.start_replay(demonstration)
    for frame, (state, action) in enumerate(zip(demonstration["states"], demonstration["actions"], strict=True)):
        if frame:
            environment.set_state(state)
            observation = environment.observe()
        yield observation, action[:width], state


def _expect_equal(
    what: str,
    came: np.ndarray,
    stored: np.ndarray,
    tolerance: float,
    episode: StoredEpisode,
    frame: int,
    environment: Environment,
) -> None:
    """The episode goes as it went, else say where it parts."""
    if came.shape == stored.shape and np.allclose(came, stored, rtol=0, atol=tolerance):
        return
    by = f"by {np.abs(came - stored).max():.3g}" if came.shape == stored.shape else f"in shape, {came.shape}"
    raise ValueError(
        f"Episode {episode.key!r} goes another way when it is run again: at frame {frame} the {what} differs from the stored one "
        f"{by}. It was recorded with {dict(episode.versions)}, and here is {dict(environment.versions)}."
    )
