"""Demonstrations of scripted experts into a dataset: so many successful episodes of every task, in several processes."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from xwam.data.writers.dataset_writer import DatasetWriter
from xwam.data.writers.episode_writer import EpisodeDescription
from xwam.data.writers.lerobot_writer import LeRobotWriter
from xwam.data.writers.release_writer import ReleaseWriter
from xwam.policies.base import Policy
from xwam.policies.closed_loop import run_episode
from xwam.policies.scripted import ScriptedPolicy
from xwam.recording.environment_slot import EnvironmentSlot
from xwam.recording.recorder import EpisodeRecorder
from xwam.utils.jobs import run_jobs
from xwam.utils.seeding import seed_from

WRITER_OF_FORMAT: Mapping[str, type[DatasetWriter]] = {"lerobot": LeRobotWriter, "release": ReleaseWriter}
MOST_FAILURES = 0.5  # of the seeds of one environment, after which something must be wrong
_FEW_SEEDS = 10  # too few to judge


@dataclass(frozen=True)
class Recipe:
    """How the episodes of one environment are made. Episodes of equal recipes and seeds are equal.

    Args:
        environment (`str`): Name as `make_env` takes it.
        options (`Mapping[str, Any]`): What else `make_env` is given; plain values.
        expert (`Mapping[str, Any]`): What `ScriptedPolicy` is given; plain values.
        extra_steps (`tuple[int, int]`, *optional*, defaults to `(4, 8)`): Least and most commands after success; each seed
            has its own number.
        with_depth (`bool`, *optional*, defaults to `True`): Whether depth is recorded.
        pixel_format (`str`, *optional*, defaults to `"yuv444p"`): Of RGB videos.
    """

    environment: str
    options: Mapping[str, Any] = field(default_factory=dict)
    expert: Mapping[str, Any] = field(default_factory=dict)
    extra_steps: tuple[int, int] = (4, 8)
    with_depth: bool = True
    pixel_format: str = "yuv444p"

    def key(self, seed: int) -> str:
        """Name of an episode, the same for the same recipe: environment, digest of the rest, seed.

        Args:
            seed (`int`): Its seed.
        """
        rest: list[Any] = [dict(self.options), dict(self.expert), list(self.extra_steps)]
        if (self.with_depth, self.pixel_format) != (True, "yuv444p"):  # as before there were others
            rest.append([self.with_depth, self.pixel_format])
        digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:6]
        return f"{self.environment.replace('/', '.')}-{digest}-{seed:07d}"

    def num_extra_steps(self, seed: int) -> int:
        """Commands after success in the episode of a seed.

        Args:
            seed (`int`): Its seed.
        """
        least, most = self.extra_steps
        return least + seed_from("extra steps", self.environment, seed) % (most - least + 1)


@dataclass(frozen=True)
class Job:
    """One episode to make.

    Args:
        recipe (`Recipe`): How.
        seed (`int`): Which.
    """

    recipe: Recipe
    seed: int


@dataclass(frozen=True)
class JobResult:
    """What became of a job.

    Args:
        is_kept (`bool`): Whether it gave an episode.
        num_frames (`int`): Its frames.
    """

    is_kept: bool
    num_frames: int


def record_demonstrations(
    folder: str | Path,
    recipes: Sequence[Recipe],
    *,
    episodes: int,
    output_format: str = "lerobot",
    num_processes: int = 1,
    first_seed: int = 0,
    on_result: Callable[[Job, JobResult], None] | None = None,
) -> dict[str, list[int]]:
    """Record successful episodes of every recipe and make them a dataset. Go on after a crash by calling it again.

    Seeds are tried from `first_seed` upwards; those whose episode fails are skipped and noted in the dataset. Which
    episodes there are depends neither on the number of processes nor on crashes.

    Args:
        folder (`str` or `Path`): The dataset: new, or one to go on with.
        recipes (`Sequence[Recipe]`): What to record.
        episodes (`int`): How many of each recipe there are at the end, those that are there already included.
        output_format (`str`, *optional*, defaults to `"lerobot"`): `"lerobot"` or `"release"`.
        num_processes (`int`, *optional*, defaults to `1`): Processes that record.
        first_seed (`int`, *optional*, defaults to `0`): Where seeds begin.
        on_result (`Callable`, *optional*): Called after each episode, for a progress bar.

    Returns:
        `dict[str, list[int]]`: Skipped seeds by environment.

    Raises:
        ValueError: If an argument is out of range, or the folder holds something else.
        RuntimeError: If so many episodes of a recipe fail that something must be wrong; all others are a dataset then.
    """
    if episodes < 1:
        raise ValueError(f"`episodes` must be at least 1, but is {episodes}.")
    with open_writer(output_format, folder) as writer:

        def progress() -> list[_Progress]:
            outcomes = writer.outcomes()
            return [_Progress.of(recipe, outcomes, episodes, first_seed) for recipe in recipes]

        while jobs := [Job(own.recipe, seed) for own in progress() if not own.is_hopeless for seed in own.new]:
            work = partial(_Worker, output_format, Path(folder))
            for job, result in run_jobs(work, jobs, num_processes=num_processes):
                if on_result is not None:
                    on_result(job, result)
        writer.finish()
        reached, outcomes = progress(), writer.outcomes()
    if hopeless := [str(own) for own in reached if own.is_hopeless]:
        raise RuntimeError("; ".join(hopeless))
    skipped: dict[str, list[int]] = {}
    for recipe in recipes:
        skipped.setdefault(recipe.environment, []).extend(_skipped(outcomes, recipe, first_seed))
    return skipped


def open_writer(output_format: str, folder: str | Path) -> DatasetWriter:
    """The writer of a format.

    Args:
        output_format (`str`): `"lerobot"` or `"release"`.
        folder (`str` or `Path`): The dataset's folder.

    Raises:
        ValueError: If there is no such format, or the folder holds something else.
    """
    if output_format not in WRITER_OF_FORMAT:
        raise ValueError(f"`output_format` must be one of {sorted(WRITER_OF_FORMAT)}, but is {output_format!r}.")
    return WRITER_OF_FORMAT[output_format](folder)


class _Progress(NamedTuple):
    """How far a recipe has come: seeds to try next, and how many of those before them gave an episode and were tried."""

    recipe: Recipe
    new: list[int]
    num_kept: int
    num_tried: int

    @classmethod
    def of(cls, recipe: Recipe, outcomes: Mapping[str, bool], episodes: int, first_seed: int) -> Self:
        """The seeds that come next are as many as episodes are missing and can be hoped for."""
        new: list[int] = []
        seed, num_kept, num_tried = first_seed, 0, 0
        while num_kept + len(new) < episodes:
            outcome = outcomes.get(recipe.key(seed))
            num_kept, num_tried = num_kept + (outcome is True), num_tried + (outcome is not None)
            if outcome is None:
                new.append(seed)
            seed += 1
        return cls(recipe, new, num_kept, num_tried)

    @property
    def is_hopeless(self) -> bool:
        """Whether so many seeds failed that something must be wrong, and no more are tried."""
        failed = self.num_tried - self.num_kept
        return bool(self.new) and self.num_tried >= _FEW_SEEDS and failed > MOST_FAILURES * self.num_tried

    def __str__(self) -> str:
        recipe = self.recipe
        return (
            f"Only {self.num_kept} of {self.num_tried} seeds of {recipe.environment} succeeded with options "
            f"{dict(recipe.options)} and expert {dict(recipe.expert)}; see `xwam evaluate --policy scripted`."
        )


def _skipped(outcomes: Mapping[str, bool], recipe: Recipe, first_seed: int) -> list[int]:
    seeds, seed = [], first_seed
    while (outcome := outcomes.get(recipe.key(seed))) is not None:
        if not outcome:
            seeds.append(seed)
        seed += 1
    return seeds


class _Worker:
    """Does jobs in one process."""

    def __init__(self, output_format: str, folder: Path) -> None:
        self._writer = open_writer(output_format, folder)
        self._slot = EnvironmentSlot()
        self._recipe: Recipe | None = None
        self._policy: Policy | None = None

    def __call__(self, job: Job) -> JobResult:
        recipe, key = job.recipe, job.recipe.key(job.seed)
        environment = self._slot.open(recipe.environment, recipe.options)
        if recipe != self._recipe or self._policy is None:
            self._policy = ScriptedPolicy(environment, **recipe.expert)  # type: ignore[arg-type]
            self._recipe = recipe
        description = EpisodeDescription(
            environment=recipe.environment,
            seed=job.seed,
            options=dict(recipe.options),
            versions=dict(environment.versions),
            expert={"policy": self._policy.name, **recipe.expert, "extra_steps": recipe.num_extra_steps(job.seed)},
        )
        form: dict[str, Any] = {"with_depth": recipe.with_depth, "pixel_format": recipe.pixel_format}
        with EpisodeRecorder(self._writer, key, environment, description, **form) as recorder:
            outcome = run_episode(
                environment,
                self._policy,
                seed=job.seed,
                extra_steps=recipe.num_extra_steps(job.seed),
                watchers=[recorder],
            )
        if not recorder.is_kept:
            self._writer.skip(key, {"environment": recipe.environment, "seed": job.seed, "steps": outcome.num_steps})
        return JobResult(recorder.is_kept, recorder.num_frames)
