"""What only the files of a LeRobot data set can have wrong: columns that are declared but not there, statistics, video lengths."""

import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xwam.data import lerobot_layout as layout
from xwam.data.checks.findings import Finding, finding_of
from xwam.data.checks.times import RATE_TOLERANCE
from xwam.data.readers.dataset_files import DatasetFiles
from xwam.data.readers.lerobot import LeRobotReader
from xwam.data.video.reader import Video
from xwam.errors import DataError

OLD_STATS_FILE = "meta/episodes_stats.jsonl"


def lerobot_findings(files: DatasetFiles, reader: LeRobotReader | None) -> Iterator[Finding]:
    """What is wrong with the files.

    Args:
        files (`DatasetFiles`): The data set.
        reader (`LeRobotReader` or `None`): The same; `None` if it cannot be opened.
    """
    try:
        info = files.read_json(layout.INFO_FILE)
        features = info.get("features") or {}
        if not isinstance(features, dict) or not all(isinstance(own, dict) for own in features.values()):
            yield Finding("unreadable", "an object of objects", f"{layout.INFO_FILE}: `features` is something else")
            return
        yield from _column_findings(files, features)
        yield from _statistics_findings(files, features)
    except DataError as error:
        yield finding_of(error)
    if reader is not None:
        yield from _video_findings(files, reader, float(info["fps"]))


def _column_findings(files: DatasetFiles, features: dict[str, Any]) -> Iterator[Finding]:
    declared = [name for name, feature in features.items() if feature.get("dtype") != "video"]
    reported: set[str] = set()
    for name in files.names("data"):
        if not name.endswith(".parquet"):
            continue
        try:
            there = pq.read_schema(files.open(name)).names
        except (pa.ArrowException, OSError) as error:
            yield Finding("unreadable", "a parquet file", f"{name}: {error}")
            continue
        for column in declared:
            if column not in there and column not in reported:
                reported.add(column)
                yield Finding("missing_column", f"a column, as {layout.INFO_FILE} declares", f"none in {name}", column)


def _statistics_findings(files: DatasetFiles, features: dict[str, Any]) -> Iterator[Finding]:
    if not files.exists(layout.STATS_FILE):
        if not files.exists(OLD_STATS_FILE):
            yield Finding("missing_statistics", layout.STATS_FILE, "no such file")
        return
    statistics = files.read_json(layout.STATS_FILE)
    for name in (layout.STATE_KEY, layout.ACTION_KEY):
        if name in features and name not in statistics:
            yield Finding("missing_statistics", "statistics of every feature", "none", name)
    for name, own in statistics.items():
        if not all(math.isfinite(number) for number in _flat(own)):
            yield Finding("missing_statistics", "finite statistics", "NaN or infinity", name)


def _flat(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _flat(entry)
    elif isinstance(value, int | float):
        yield value


def _video_findings(files: DatasetFiles, reader: LeRobotReader, rate: float) -> Iterator[Finding]:
    ends: dict[tuple[str, str], tuple[int, str]] = {}  # last frame that an episode has in each file, and which episode
    names = [name for camera in reader.map.cameras for name in (camera.image, camera.depth) if name is not None]
    for feature in names:
        for episode, entry in enumerate(reader.episodes):
            try:
                stretch = reader.video_of(episode, feature)
            except DataError:
                continue  # comes up again where its frames are read
            if stretch is not None:
                last = max(ends.get((feature, stretch.path), (0, "")), (stretch.start + stretch.length, entry.key))
                ends[feature, stretch.path] = last
    for (feature, path), (end, key) in ends.items():
        try:
            with Video(files.video(path)) as video:
                num_frames, fps = video.num_frames, video.fps
        except DataError:
            continue
        if num_frames > end:
            yield Finding("long_camera", f"{end} frames in {path}", f"{num_frames}", feature, None, key)
        if fps and abs(fps / rate - 1) > RATE_TOLERANCE:
            yield Finding("wrong_fps", f"{rate:.4g} per second, as declared", f"{fps:.4g} in {path}", feature)
