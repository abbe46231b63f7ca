"""Episodes of a dataset that this package recorded, as far as running them again needs them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from xwam.data import lerobot_layout as layout
from xwam.data.writers.lerobot_writer import read_episodes


@dataclass(frozen=True)
class StoredEpisode:
    """Where an episode comes from and where its numbers are.

    Args:
        key (`str`): Its name among the recordings.
        index (`int`): Its number in the dataset.
        environment (`str`): Name as `make_env` takes it.
        seed (`int`): Seed of the episode.
        options (`Mapping[str, Any]`): What else the environment was made with.
        versions (`Mapping[str, str]`): Of the environment, when it was recorded.
        expert (`Mapping[str, Any]`): Who acted.
        is_success (`bool`): Whether the task was done.
        num_steps (`int`): Commands until then.
        files (`tuple[str, str]`): Parquet files with its numbers and with the simulator's, below the dataset's folder.
    """

    key: str
    index: int
    environment: str
    seed: int
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    expert: Mapping[str, Any]
    is_success: bool
    num_steps: int
    files: tuple[str, str]


@dataclass(frozen=True, eq=False)
class StoredNumbers:
    """What happened in an episode.

    Args:
        commands (`np.ndarray` of shape `(frames, columns)`): Exactly as they were executed, `float64`.
        robot_states (`np.ndarray` of shape `(frames, channels)`): `observation.state`, `float32`.
        simulator_states (`np.ndarray` of shape `(frames, numbers)` or `None`): Before each command, `float64`.
    """

    commands: np.ndarray
    robot_states: np.ndarray
    simulator_states: np.ndarray | None


def list_stored_episodes(folder: Path) -> list[StoredEpisode]:
    """Episodes of a dataset in their order.

    Args:
        folder (`Path`): A dataset that `LeRobotWriter` made.

    Raises:
        ValueError: If it is none, such as a dataset in the release's layout, which cannot be run again.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}.")
    if not (folder / layout.RECORDING_FILE).is_file():
        raise ValueError(
            f"{folder} is no LeRobot dataset recorded by xwam; other datasets say too little to run again."
        )
    episodes = []
    for row in read_episodes(folder).to_pylist():
        places = {name: row[f"data/{name}"] for name in ("chunk_index", "file_index")}
        episodes.append(
            StoredEpisode(
                key=row["key"],
                index=row["episode_index"],
                environment=row["environment"],
                seed=row["seed"],
                options={
                    name: own for name, own in json.loads(row["options"]).items() if name != layout.ESTIMATED_DEPTH
                },
                versions=json.loads(row["versions"]),
                expert=json.loads(row["expert"]),
                is_success=row["success"],
                num_steps=row["num_steps"],
                files=(layout.DATA_PATH.format(**places), layout.SIMULATOR_PATH.format(**places)),
            )
        )
    return episodes


def read_numbers(folder: Path, episode: StoredEpisode) -> StoredNumbers:
    """The numbers of one episode; nothing of the others is read.

    Args:
        folder (`Path`): The dataset.
        episode (`StoredEpisode`): Which.
    """
    own = [("episode_index", "=", episode.index)]
    numbers = pq.read_table(folder / episode.files[0], columns=[layout.STATE_KEY], filters=own)
    simulator = pq.read_table(folder / episode.files[1], columns=["command", "state"], filters=own)
    has_states = simulator["state"].null_count == 0
    return StoredNumbers(
        commands=np.array(simulator["command"].to_pylist(), dtype=np.float64),
        robot_states=np.array(numbers[layout.STATE_KEY].to_pylist(), dtype=np.float32),
        simulator_states=np.array(simulator["state"].to_pylist(), dtype=np.float64) if has_states else None,
    )
