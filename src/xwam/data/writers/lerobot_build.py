"""The files of a LeRobot v3 dataset from finished episodes: packets and columns are copied, nothing is encoded again."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from xwam.data import lerobot_layout as layout
from xwam.data.video.writer import join_videos
from xwam.data.writers.dataset_writer import read_plain
from xwam.data.writers.durable_files import write_json
from xwam.data.writers.episode_writer import EPISODE_FILE, NUMBERS_FILE, SIMULATOR_FILE
from xwam.data.writers.feature_statistics import (
    Statistics,
    aggregate,
    column_statistics,
    statistics_from_json,
    statistics_to_json,
)
from xwam.data.writers.recording_format import RecordingFormat

EPISODES_PER_FILE = 5000  # rows of one file of meta/episodes
_ROWS_AT_ONCE = 100
_DESCRIPTION = ("key", "environment", "seed", "success", "num_steps")  # columns of meta/episodes beside LeRobot's
_PLAIN_DESCRIPTION = ("options", "versions", "expert")  # the same, as JSON

File = tuple[int, int]  # chunk index and file index


@dataclass(frozen=True)
class Predecessor:
    """What the dataset holds already.

    Args:
        num_episodes (`int`): Its episodes.
        num_frames (`int`): Their frames.
        tasks (`tuple[str, ...]`): Its instructions, in the order of their indices.
        statistics (`dict[str, Statistics]`, *optional*): Over all of it.
        last_file (`Mapping[str, File]`): Last file of each kind: `"data"`, `"meta/episodes"`, `"videos/<feature>"`.
    """

    num_episodes: int = 0
    num_frames: int = 0
    tasks: tuple[str, ...] = ()
    statistics: dict[str, Statistics] | None = None
    last_file: Mapping[str, File] = field(default_factory=dict)

    def next_file(self, kind: str) -> File:
        """The first free file of a kind."""
        return layout.file_after(*self.last_file[kind]) if kind in self.last_file else (0, 0)


class DatasetBuild:
    """Writes the files that a dataset gains from new episodes. Memory does not grow with pixels or frames.

    Args:
        built (`Path`): Where the files go, at the places they have in the dataset.
        staging (`Path`): Folder of finished episodes.
        keys (`Sequence[str]`): Which, in order.
        recording_format (`RecordingFormat`): Their form.
        predecessor (`Predecessor`): What is there before them.
    """

    def __init__(
        self,
        built: Path,
        staging: Path,
        keys: Sequence[str],
        recording_format: RecordingFormat,
        predecessor: Predecessor,
    ) -> None:
        self._built, self._format, self._before = built, recording_format, predecessor
        self._folders = [staging / key for key in keys]
        headers = [read_plain(folder / EPISODE_FILE) for folder in self._folders]
        self._lengths = [int(header["length"]) for header in headers]
        self._starts = [int(n) for n in np.cumsum([predecessor.num_frames, *self._lengths])]
        instructions = [str(header["instruction"]) for header in headers]
        self._tasks = list(dict.fromkeys([*predecessor.tasks, *instructions]))
        self._task_of_episode = [self._tasks.index(instruction) for instruction in instructions]
        self._places: list[dict[str, Any]] = [{} for _ in keys]

    def write_numbers(self) -> None:
        """Join the numbers of episodes, one row group each, and in files beside them what only a replay needs."""
        order = list(self._format.number_features) + list(layout.DEFAULT_FEATURES)
        for places, members in self._packed([folder / NUMBERS_FILE for folder in self._folders], "data"):
            paths = [self._built / path.format(**places) for path in (layout.DATA_PATH, layout.SIMULATOR_PATH)]
            with _TableWriter(paths[0]) as numbers, _TableWriter(paths[1]) as simulator:
                for number in members:
                    self._places[number] |= {f"data/{name}": value for name, value in places.items()}
                    table = pq.read_table(self._folders[number] / NUMBERS_FILE)
                    for name, values in self._index_columns(number).items():
                        table = table.append_column(name, pa.array(values))
                    numbers.add(table.select(order))
                    simulator.add(self._simulator_table(number))

    def write_videos(self, feature: str) -> None:
        """Join the videos of one feature.

        Args:
            feature (`str`): Its name.
        """
        kind, paths = f"videos/{feature}", [folder / f"{feature}.mp4" for folder in self._folders]
        for places, members in self._packed(paths, kind):
            target = self._built / layout.VIDEO_PATH.format(video_key=feature, **places)
            target.parent.mkdir(parents=True, exist_ok=True)
            join_videos([paths[number] for number in members], target)
            frame = 0
            for number in members:
                start, frame = frame, frame + self._lengths[number]
                times = {"from_timestamp": start / self._format.fps, "to_timestamp": frame / self._format.fps}
                self._places[number] |= {f"{kind}/{name}": value for name, value in (places | times).items()}

    def write_metadata(self) -> None:
        """Write `meta`: the table of episodes, tasks, statistics and, last, the facts of the whole."""
        total = self._before.statistics
        count, (chunk, file) = len(self._folders), self._before.next_file("meta/episodes")
        for start in range(0, count, EPISODES_PER_FILE):
            places = {"chunk_index": chunk, "file_index": file}
            with _TableWriter(self._built / layout.EPISODES_PATH.format(**places)) as episodes:
                end = min(start + EPISODES_PER_FILE, count)
                for first in range(start, end, _ROWS_AT_ONCE):
                    rows = []
                    for number in range(first, min(first + _ROWS_AT_ONCE, end)):
                        row, own = self._episode_row(number)
                        rows.append(row | {f"meta/episodes/{name}": value for name, value in places.items()})
                        total = aggregate([total, own] if total else [own])
                    episodes.add(pa.Table.from_pylist(rows))
            chunk, file = layout.file_after(chunk, file)
        write_json(self._built / layout.STATS_FILE, statistics_to_json(total or {}))
        index = pd.Index(self._tasks, name="task")
        pd.DataFrame({"task_index": range(len(index))}, index=index).to_parquet(self._built / layout.TASKS_FILE)
        write_json(self._built / layout.INFO_FILE, self._info())

    def _packed(self, paths: Sequence[Path], kind: str) -> Iterator[tuple[dict[str, int], list[int]]]:
        """Chunk and file index of each new file, and the episodes that it takes by LeRobot's limit of size."""
        limit = layout.DATA_FILE_BYTES if kind == "data" else layout.VIDEO_FILE_BYTES
        chunk, file = self._before.next_file(kind)
        members: list[int] = []
        total = 0
        for number, path in enumerate(paths):
            size = path.stat().st_size
            if members and total + size >= limit:
                yield {"chunk_index": chunk, "file_index": file}, members
                (chunk, file), members, total = layout.file_after(chunk, file), [], 0
            members.append(number)
            total += size
        yield {"chunk_index": chunk, "file_index": file}, members

    def _index_columns(self, number: int) -> dict[str, np.ndarray]:
        length, start = self._lengths[number], self._starts[number]
        return {
            "episode_index": np.full(length, self._before.num_episodes + number, dtype=np.int64),
            "index": np.arange(start, start + length, dtype=np.int64),
            "task_index": np.full(length, self._task_of_episode[number], dtype=np.int64),
        }

    def _simulator_table(self, number: int) -> pa.Table:
        table = pq.read_table(self._folders[number] / SIMULATOR_FILE)
        length = self._lengths[number]
        states = table["state"] if "state" in table.column_names else pa.nulls(length, pa.list_(pa.float64()))
        return pa.table(
            {
                "episode_index": np.full(length, self._before.num_episodes + number, dtype=np.int64),
                "frame_index": np.arange(length, dtype=np.int64),
                "command": table["command"],
                "state": states,
            }
        )

    def _episode_row(self, number: int) -> tuple[dict[str, Any], dict[str, Statistics]]:
        """One row of `meta/episodes`, and the episode's statistics."""
        episode = read_plain(self._folders[number] / EPISODE_FILE)
        found = statistics_from_json(episode["statistics"])
        found |= {name: column_statistics(values) for name, values in self._index_columns(number).items()}
        own = {feature: found[feature] for feature in self._format.features}
        row = {
            "episode_index": self._before.num_episodes + number,
            "tasks": [episode["instruction"]],
            "length": self._lengths[number],
            "dataset_from_index": self._starts[number],
            "dataset_to_index": self._starts[number + 1],
            **self._places[number],
            **{name: episode[name] for name in _DESCRIPTION},
            **{name: json.dumps(episode[name], sort_keys=True) for name in _PLAIN_DESCRIPTION},
        }
        for feature, statistics in statistics_to_json(own).items():
            row |= {f"stats/{feature}/{name}": value for name, value in statistics.items()}
        return row, own

    def _info(self) -> dict[str, Any]:
        num_episodes = self._before.num_episodes + len(self._folders)
        return {
            "codebase_version": layout.VERSION,
            "robot_type": self._format.robot.name,
            "total_episodes": num_episodes,
            "total_frames": self._starts[-1],
            "total_tasks": len(self._tasks),
            "chunks_size": layout.CHUNK_SIZE,
            "data_files_size_in_mb": layout.DATA_FILE_BYTES // 2**20,
            "video_files_size_in_mb": layout.VIDEO_FILE_BYTES // 2**20,
            "fps": self._format.fps,
            "splits": {"train": f"0:{num_episodes}"},
            "data_path": layout.DATA_PATH,
            "video_path": layout.VIDEO_PATH,
            "features": self._format.features,
        }


class _TableWriter:
    """A parquet file of tables with one schema, each a row group of its own."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._writer = path, None

    def add(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="snappy", use_dictionary=True)
        self._writer.write_table(table.cast(self._writer.schema), row_group_size=max(len(table), 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
