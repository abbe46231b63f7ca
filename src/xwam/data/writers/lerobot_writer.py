"""Episodes into a LeRobot v3 dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from xwam.data import lerobot_layout as layout
from xwam.data.writers.dataset_writer import DatasetWriter, read_plain
from xwam.data.writers.durable_files import write_json
from xwam.data.writers.feature_statistics import statistics_from_json
from xwam.data.writers.lerobot_build import DatasetBuild, Predecessor
from xwam.data.writers.recording_format import RecordingFormat


class LeRobotWriter(DatasetWriter):
    """Writes a LeRobot v3 dataset. Episodes appended to a finished dataset go to files of their own."""

    kind = "LeRobot dataset of xwam"

    def _is_own(self) -> bool:
        return (self.folder / layout.RECORDING_FILE).is_file() and (self.folder / layout.INFO_FILE).is_file()

    def _finished_format(self) -> RecordingFormat | None:
        return read_format(self.folder) if self._is_own() else None

    def _finished_keys(self) -> Sequence[str]:
        return read_episodes(self.folder, ["key"])["key"].to_pylist() if self._is_own() else []

    def _finished_skipped(self) -> dict[str, Any]:
        return read_plain(self.folder / layout.RECORDING_FILE)["skipped"] if self._is_own() else {}

    def _build(self, built: Path, keys: Sequence[str], recording_format: RecordingFormat) -> None:
        build = DatasetBuild(built, self.staging / "episodes", keys, recording_format, self._predecessor())
        build.write_numbers()
        for feature in recording_format.video_features:
            build.write_videos(feature)
        build.write_metadata()
        plain = recording_format.to_dict()
        write_json(built / layout.ROBOT_FILE, plain.pop("robot"))
        write_json(built / layout.RECORDING_FILE, {"version": 1, "format": plain, "skipped": self.skipped_notes()})

    def _predecessor(self) -> Predecessor:
        if not self._is_own():
            return Predecessor()
        info = read_plain(self.folder / layout.INFO_FILE)
        last = read_episodes(self.folder).slice(info["total_episodes"] - 1).to_pylist()[0]
        kinds = [name.removesuffix("/chunk_index") for name in last if name.endswith("/chunk_index")]
        return Predecessor(
            num_episodes=info["total_episodes"],
            num_frames=info["total_frames"],
            tasks=tuple(pd.read_parquet(self.folder / layout.TASKS_FILE).index),
            statistics=statistics_from_json(read_plain(self.folder / layout.STATS_FILE)),
            last_file={kind: (last[f"{kind}/chunk_index"], last[f"{kind}/file_index"]) for kind in kinds},
        )


def read_format(folder: Path) -> RecordingFormat:
    """The form of a dataset's episodes.

    Args:
        folder (`Path`): A dataset that `LeRobotWriter` made.

    Raises:
        ValueError: If it is none.
    """
    recording = read_plain(folder / layout.RECORDING_FILE)
    return RecordingFormat.from_dict({**recording["format"], "robot": read_plain(folder / layout.ROBOT_FILE)})


def read_episodes(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """The table of a dataset's episodes, in their order.

    Args:
        folder (`Path`): A LeRobot v3 dataset.
        columns (`list[str]`, *optional*): What to read; else all but statistics.
    """
    paths = sorted((folder / "meta" / "episodes").glob("*/*.parquet"))
    if not paths:
        raise ValueError(f"{folder} has no table of episodes.")
    wanted = columns or [name for name in pq.read_schema(paths[0]).names if not name.startswith("stats/")]
    return pa.concat_tables([pq.read_table(path, columns=wanted) for path in paths])
