"""Commands of stored episodes, executed again."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xwam.data.lerobot_layout import EPISODES_PATH, ESTIMATED_DEPTH, SIMULATOR_PATH
from xwam.policies.baselines import StillPolicy
from xwam.robots.spec import RobotSpec
from xwam.structures import ActionChunk, Observation

# Of environments, and of depth that was estimated afterwards; commands lead to the same states
PICTURE_OPTIONS = ("image_size", "shadows", "multisampling", ESTIMATED_DEPTH)


def stored_seeds(folder: str | Path, environment: str, *, options: Mapping[str, Any] | None = None) -> dict[int, int]:
    """Seeds of the episodes that a dataset holds of an environment, by the episode's index.

    Args:
        folder (`str` or `Path`): LeRobot dataset that `xwam record` made.
        environment (`str`): Name of the environment.
        options (`Mapping[str, Any]`, *optional*): What else the environment was made with; what only changes its pictures, such
            as `image_size`, need not be the same.

    Raises:
        ValueError: If the folder is no such dataset, or holds no such episode, or two with the same seed.
    """
    folder, asked = Path(folder), _without_pictures(options or {})
    rows = _rows(folder, EPISODES_PATH, ["episode_index", "environment", "seed", "options"])
    seeds = {
        row["episode_index"]: row["seed"]
        for row in rows
        if row["environment"] == environment and _without_pictures(json.loads(row["options"])) == asked
    }
    if not seeds:
        raise ValueError(f"{folder} holds no episode of {environment} with options {asked}.")
    if len(set(seeds.values())) < len(seeds):
        raise ValueError(f"{folder} holds several episodes of {environment} with the same seed: which to replay?")
    return seeds


def stored_commands(
    folder: str | Path, environment: str, *, options: Mapping[str, Any] | None = None
) -> dict[int, np.ndarray]:
    """Commands of the episodes that a dataset holds of an environment, as exact as they were executed.

    Args:
        folder (`str` or `Path`): As for `stored_seeds`, likewise the others.
        environment (`str`): Name of the environment.
        options (`Mapping[str, Any]`, *optional*): What else the environment was made with.

    Returns:
        `dict[int, np.ndarray]`: Commands `(steps, columns)`, float64, by seed of the episode.

    Raises:
        ValueError: As `stored_seeds`.
    """
    seed_of_episode = stored_seeds(folder, environment, options=options)
    found: dict[int, list[list[float]]] = {}
    for row in _rows(Path(folder), SIMULATOR_PATH, ["episode_index", "frame_index", "command"]):
        if row["episode_index"] in seed_of_episode:
            found.setdefault(seed_of_episode[row["episode_index"]], []).append(row["command"])
    return {seed: np.asarray(commands, np.float64) for seed, commands in found.items()}


class ReplayPolicy:
    """Answers with the commands that were stored for the seed of the episode, all at once.

    In a deterministic world the episode then goes as it went when it was stored. Where it does not, and the task is not done
    when the commands end, the robot is held still and the episode counts as it ends: as no success.

    Args:
        robot (`RobotSpec`): Robot that the commands are for.
        commands_by_seed (`Mapping[int, np.ndarray]`): Stored commands `(steps, columns)` by seed of the episode.

    Raises:
        ValueError: If there is no episode, or commands have another number of columns or numbers that are not finite.
    """

    name = "replay"
    uses_images = False

    def __init__(self, robot: RobotSpec, commands_by_seed: Mapping[int, np.ndarray]) -> None:
        robot.require("command_kind", "control_period", purpose="replay commands")
        if not commands_by_seed:
            raise ValueError("`commands_by_seed` must hold at least one episode, but is empty.")
        width, digest = len(robot.command_columns), hashlib.sha256()
        for seed, commands in sorted(commands_by_seed.items()):
            if np.ndim(commands) != 2 or np.shape(commands)[1] != width or not len(commands):
                raise ValueError(
                    f"`commands_by_seed[{seed}]` must have shape (steps, {width}), but has {np.shape(commands)}."
                )
            if not np.isfinite(commands).all():
                raise ValueError(f"`commands_by_seed[{seed}]` must be finite, but holds NaN or infinity.")
            digest.update(f"{seed} {len(commands)}\n".encode() + np.asarray(commands, "<f8").tobytes())
        self.robot, self._commands_by_seed = robot, dict(commands_by_seed)
        self._still = StillPolicy(robot)
        self.identity: Mapping[str, object] = {"commands": digest.hexdigest()}
        self._episode: int | None = None
        self._origin = 0.0  # time of the first observation, in seconds

    def reset(self, seed: int) -> None:
        """Begin the episode that was stored for this seed.

        Raises:
            ValueError: If there is none.
        """
        if seed not in self._commands_by_seed:
            raise ValueError(
                f"There is no stored episode with seed {seed}; stored are {_ranges(self._commands_by_seed)}."
            )
        self._episode, self._origin = seed, np.nan

    def infer(self, observation: Observation, *, seed: int) -> ActionChunk:
        """The stored commands from the time of the observation on, or one that moves nothing where they are all executed.

        Raises:
            ValueError: If no episode was begun.
        """
        if self._episode is None:
            raise ValueError("Call `reset` with the seed of a stored episode first.")
        if np.isnan(self._origin):
            self._origin = observation.time
        period = float(self.robot.control_period or 0)
        commands = self._commands_by_seed[self._episode]
        step = round((observation.time - self._origin) / period)
        if step >= len(commands):
            return self._still.infer(observation, seed=seed)
        return ActionChunk(
            robot=self.robot.name,
            commands=np.asarray(commands[step:], np.float64),
            columns=self.robot.command_columns,
            period=period,
            start_time=observation.time,
        )


def _without_pictures(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in PICTURE_OPTIONS}


def _ranges(seeds: Mapping[int, np.ndarray]) -> str:
    known = sorted(seeds)
    return str(known) if len(known) <= 10 else f"{len(known)} from {known[0]} to {known[-1]}"


def _rows(folder: Path, pattern: str, columns: list[str]) -> list[dict[str, Any]]:
    """Rows of all files of one kind, in the order of the dataset."""
    kind = pattern.partition("/chunk")[0]
    try:
        tables = [
            pq.read_table(path, columns=columns) for path in sorted((folder / kind).glob("chunk-*/file-*.parquet"))
        ]
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{folder} is no LeRobot dataset of `xwam record`: {error}.") from error
    if not tables:
        raise ValueError(
            f"{folder} is no LeRobot dataset of `xwam record`: it holds no {kind}/chunk-*/file-*.parquet."
        )
    return pa.concat_tables(tables).to_pylist()
