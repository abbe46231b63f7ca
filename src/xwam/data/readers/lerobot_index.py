"""Where the episodes of a LeRobot data set lie: its metadata, for v2.0, v2.1 and v3.0.

Source: `huggingface/lerobot`, `src/lerobot/datasets` of 0.6.2 for v3.0 and of 0.3 for v2.1.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xwam.data import lerobot_layout as layout
from xwam.data.dataset_map import StoredFeature
from xwam.data.readers.base import Episode
from xwam.data.readers.dataset_files import DatasetFiles, fill_pattern
from xwam.data.readers.parquet_rows import unreadable
from xwam.errors import DataError

OLD_VERSIONS = ("v2.0", "v2.1")
FRAME_TOLERANCE = 0.25  # of a frame, between a stored time and the frame that it means
_JSON_FACTS = ("options", "versions", "expert")  # columns that this library's writer keeps as JSON
_COUNTS = ("episode_index", "length", "data/chunk_index", "data/file_index", "dataset_from_index")
_PLACES = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")


@dataclass(frozen=True)
class Stretch:
    """A run of rows or frames in one file.

    Args:
        path (`str`): Name of the file.
        start (`int`): First of them.
        length (`int`): How many.
        total (`int`, *optional*): How many the file must have in all, where the metadata tell.
    """

    path: str
    start: int
    length: int
    total: int | None = None


class LeRobotIndex:
    """The metadata of one data set.

    Args:
        files (`DatasetFiles`): Its files.

    Raises:
        DataError: If they are not what LeRobot writes.
    """

    def __init__(self, files: DatasetFiles) -> None:
        self._files = files
        self.info = files.read_json(layout.INFO_FILE)
        self.version = str(self.info.get("codebase_version"))
        if self.version not in (layout.VERSION, *OLD_VERSIONS):
            raise self._fault(f"Versions {[*OLD_VERSIONS, layout.VERSION]} are read, but this is {self.version!r}.")
        self.features = self._feature_table()
        fps = self.info.get("fps")
        if not isinstance(fps, (int, float)) or isinstance(fps, bool) or not 0 < fps < math.inf:
            raise self._fault(f"`fps` must be a positive number, but is {fps!r}.")
        self.fps = float(fps)
        self._chunk_size = self.info.get("chunks_size", layout.CHUNK_SIZE)
        if not isinstance(self._chunk_size, int) or self._chunk_size < 1:
            raise self._fault(f"`chunks_size` must be a positive whole number, but is {self._chunk_size!r}.")
        self._places: dict[str, np.ndarray] = {}
        self.episodes = self._new_episodes() if self.version == layout.VERSION else self._old_episodes()

    def stored_features(self) -> dict[str, StoredFeature]:
        """What the data set tells of each of its features."""
        return {name: _stored(feature) for name, feature in self.features.items()}

    def data(self, episode: int) -> Stretch:
        """Rows of an episode in its parquet file.

        Args:
            episode (`int`): Index of the episode.
        """
        length = self.episodes[episode].length
        if self.version != layout.VERSION:
            return Stretch(self._old_path("data_path", episode), 0, length, length)
        path = self._new_path("data_path", "data", episode)
        return Stretch(path, int(self._places["start"][episode]), length, int(self._places["total"][episode]))

    def video(self, episode: int, feature: str) -> Stretch:
        """Frames of an episode in one of its videos.

        Args:
            episode (`int`): Index of the episode.
            feature (`str`): The video's feature.

        Raises:
            DataError: If the metadata give it another number of frames than the episode has rows, or none at all.
        """
        length = self.episodes[episode].length
        if self.version != layout.VERSION:
            return Stretch(self._old_path("video_path", episode, video_key=feature), 0, length, length)
        kind = f"videos/{feature}"
        if f"{kind}/from_timestamp" not in self._places:
            raise self._fault("The table of episodes does not say where this video lies.", feature=feature)
        ends = [float(self._places[f"{kind}/{end}_timestamp"][episode]) * self.fps for end in ("from", "to")]
        start = round(ends[0]) if np.isfinite(ends[0]) else -1
        if start < 0 or not np.isfinite(ends).all() or abs(ends[0] - start) > FRAME_TOLERANCE:
            raise self._fault(
                f"The video begins at frame {ends[0]:.3f}, which is none.", self.episodes[episode].key, feature
            )
        if abs(ends[1] - ends[0] - length) > FRAME_TOLERANCE + 0.5:
            raise self._fault(
                f"The episode has {length} rows, but {ends[1] - ends[0]:.2f} frames.",
                self.episodes[episode].key,
                feature,
            )
        if (after := self._next_start(kind, episode)) < ends[0] + length - FRAME_TOLERANCE:
            raise self._fault(
                f"The episode has frames {start} to {start + length} of its video, but another begins at {after:.2f}.",
                self.episodes[episode].key,
                feature,
            )
        return Stretch(self._new_path("video_path", kind, episode, video_key=feature), start, length)

    def _next_start(self, kind: str, episode: int) -> float:
        """Frame at which the next episode in the same video begins; merged data sets are known to get this wrong."""
        starts, name = self._places[f"{kind}/from_timestamp"] * self.fps, f"{kind}/next"
        if name not in self._places:
            empty = np.zeros(len(starts))
            chunks, files = (self._places.get(f"{kind}/{part}_index", empty) for part in ("chunk", "file"))
            order = np.lexsort((starts, files, chunks))
            order = order[self._places["length"][order] > 0]
            is_same = (np.diff(chunks[order]) == 0) & (np.diff(files[order]) == 0)
            self._places[name] = np.full(len(starts), np.inf)
            self._places[name][order[:-1][is_same]] = starts[order[1:][is_same]]
        return float(self._places[name][episode])

    def _feature_table(self) -> dict[str, dict[str, Any]]:
        features = self.info.get("features")
        if not isinstance(features, dict) or not all(isinstance(own, dict) for own in features.values()):
            raise self._fault("`features` must be an object of objects.")
        return features

    def _new_episodes(self) -> list[Episode]:
        names = [name for name in self._files.names("meta/episodes") if name.endswith(".parquet")]
        if not names:
            raise self._fault("There is no table of episodes.", path="meta/episodes")
        table = pa.concat_tables([self._episode_table(name) for name in names], promote_options="default")
        if missing := [name for name in ("tasks", *_COUNTS) if name not in table.column_names]:
            raise self._fault(f"The table of episodes lacks columns {missing}.", path="meta/episodes")
        for name in table.column_names:
            if name in _COUNTS or name.rpartition("/")[2] in _PLACES:
                self._places[name] = self._place_column(name, table[name])
        order = np.argsort(self._places["episode_index"], kind="stable")
        table = table.take(order)
        self._places = {name: column[order] for name, column in self._places.items()}
        lengths = self._places["length"]
        self._check_order(self._places["episode_index"])
        self._place_rows(lengths)
        places = set(self._places) | {"tasks", "dataset_to_index"}
        facts = table.select(
            [name for name in table.column_names if name not in places and "/" not in name]
        ).to_pylist()
        tasks = table["tasks"].to_pylist()
        try:
            return [
                _episode(index, int(lengths[index]), tasks[index], fact)
                for index, fact in enumerate(facts or [{}] * len(tasks))
            ]
        except ValueError as error:
            raise self._fault(f"{error}.", path="meta/episodes") from error

    def _place_column(self, name: str, column: pa.ChunkedArray) -> np.ndarray:
        """A column that says where something lies: whole numbers for what is counted, else numbers."""
        is_count, kind = name in _COUNTS, column.type
        if not (pa.types.is_integer(kind) or (pa.types.is_floating(kind) and not is_count)):
            wanted = "whole numbers" if is_count else "numbers"
            raise self._fault(f"Column {name} must hold {wanted}, but holds {kind}.", path="meta/episodes")
        values = np.asarray(column.to_numpy())
        if is_count and (column.null_count or (values < 0).any()):
            bad = "nothing" if column.null_count else values.min()
            raise self._fault(f"Column {name} must hold whole numbers from 0, but holds {bad}.", path="meta/episodes")
        return values

    def _episode_table(self, name: str) -> pa.Table:
        try:
            with self._files.open(name) as opened, pq.ParquetFile(opened) as file:
                wanted = [column for column in file.schema_arrow.names if not column.startswith("stats/")]
                return file.read(columns=wanted)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(self._files, name, error) from error

    def _place_rows(self, lengths: np.ndarray) -> None:
        """First row of each episode in its file, and how many rows that file has."""
        files = np.stack([self._places["data/chunk_index"], self._places["data/file_index"]], axis=1)
        first_index = self._places["dataset_from_index"]
        _, group = np.unique(files, axis=0, return_inverse=True)
        group = group.reshape(-1)  # NumPy 2.0 keeps an axis too many
        begins = np.full(group.max(initial=0) + 1, np.iinfo(np.int64).max)
        np.minimum.at(begins, group, first_index)
        totals = np.zeros(len(begins), dtype=np.int64)
        np.add.at(totals, group, lengths)
        self._places |= {"start": first_index - begins[group], "total": totals[group]}

    def _old_episodes(self) -> list[Episode]:
        entries = self._files.read_json_lines("meta/episodes.jsonl")
        try:
            entries.sort(key=lambda entry: entry["episode_index"])
            self._check_order(np.array([entry["episode_index"] for entry in entries]))
            own = ("episode_index", "length", "tasks")
            return [
                _episode(
                    entry["episode_index"],
                    _count(entry["length"]),
                    entry["tasks"],
                    {name: value for name, value in entry.items() if name not in own},
                )
                for entry in entries
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise self._fault(
                f"Every line must have `episode_index`, `length` and `tasks` ({type(error).__name__}: {error}).",
                path="meta/episodes.jsonl",
            ) from error

    def _check_order(self, numbers: np.ndarray) -> None:
        if not np.array_equal(numbers, np.arange(len(numbers))):
            raise self._fault("Episodes must be numbered from 0 without gaps.")

    def _new_path(self, template: str, kind: str, episode: int, **names: str) -> str:
        try:
            places = {name: int(self._places[f"{kind}/{name}"][episode]) for name in ("chunk_index", "file_index")}
        except (KeyError, ValueError) as error:
            raise self._fault(f"The table of episodes does not say where {kind!r} lies.") from error
        return self._format(template, **places, **names)

    def _old_path(self, template: str, episode: int, **names: str) -> str:
        return self._format(template, episode_chunk=episode // self._chunk_size, episode_index=episode, **names)

    def _format(self, template: str, **values: Any) -> str:
        try:
            return fill_pattern(self.info.get(template), **values)
        except ValueError as error:
            raise self._fault(f"`{template}` is no pattern of file names: {error}.") from error

    def _fault(
        self, problem: str, episode: str | None = None, feature: str | None = None, path: str = layout.INFO_FILE
    ) -> DataError:
        return DataError(problem, dataset=self._files.name, episode=episode, feature=feature, path=path)


def _episode(index: int, length: int, tasks: Any, facts: Mapping[str, Any]) -> Episode:
    if not isinstance(tasks, str | list | None):
        raise ValueError(f"`tasks` of episode {index} must be a list of texts, but is {tasks!r}")
    own = {name: _plain(value) if name in _JSON_FACTS else value for name, value in facts.items() if value is not None}
    key = own.pop("key", None)
    written = [tasks] if isinstance(tasks, str) else tasks or []
    instructions = dict.fromkeys(task.strip() for task in written if isinstance(task, str) and task.strip())
    return Episode(str(key or f"episode_{index:06d}"), length, tuple(instructions), own)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"a number of rows must be whole and not negative, but is {value!r}")
    return value


def _plain(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


def _stored(feature: Mapping[str, Any]) -> StoredFeature:
    if feature.get("dtype") in ("video", "image", "string"):
        return StoredFeature()
    shape = feature.get("shape")
    is_shape = isinstance(shape, (list, tuple)) and all(isinstance(size, int) for size in shape)
    return StoredFeature(tuple(_names_in(feature.get("names"))), math.prod(shape) if is_shape and shape else 1)


def _names_in(names: Any) -> Iterator[str]:
    """Names of columns out of a list, or of an object of lists as some robots write it."""
    if isinstance(names, str):
        yield names
    elif isinstance(names, dict):
        for own in names.values():
            yield from _names_in(own)
    elif isinstance(names, list):
        for own in names:
            yield from _names_in(own)
