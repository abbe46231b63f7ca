"""LeRobot data sets, v2.0 to v3.0, in a folder or on the hub: the inverse of `xwam.data.writers.lerobot_writer`."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from xwam.data import lerobot_layout as layout
from xwam.data import level_codes
from xwam.data.dataset_map import DatasetMap
from xwam.data.depth_codes import DepthCode
from xwam.data.readers.dataset_files import DatasetFiles
from xwam.data.readers.lerobot_index import LeRobotIndex, Stretch
from xwam.data.readers.mapped import MappedReader
from xwam.data.readers.parquet_rows import ParquetRows, to_numbers
from xwam.data.video.reader import Video
from xwam.errors import DamagedVideoError, DataError
from xwam.robots.spec import RobotSpec

_UNITS = {"m": 1.0, "mm": 0.001}  # metres


class LeRobotReader(MappedReader):
    """A LeRobot data set of version 2.0, 2.1 or 3.0.

    Rows and frames are found by their number; stored timestamps are only handed on, since real ones jitter and drift.
    Depth at the code of nothing measured and at the code of `far` or beyond comes as zero.

    Args:
        source (`str` or `Path`): A local folder, `"user/name"` for a dataset on the hub, or `"hf://datasets/user/name"`,
            of which only what is asked for is downloaded.
        robot (`RobotSpec`, *optional*): The robot; else the one that the data set names in `meta/xwam_robot.json`.
        map (`DatasetMap`, *optional*): Where states, commands and cameras are; else columns and cameras must have the
            robot's names, as in the recordings of this library.
        name (`str`, *optional*): Name for messages; else the folder's or the repository's.
        revision (`str`, *optional*): Branch, tag or commit on the hub.

    Raises:
        DataError: If the source is no such data set, or does not fit the robot.
    """

    def __init__(
        self,
        source: str | Path,
        robot: RobotSpec | None = None,
        *,
        map: DatasetMap | None = None,
        name: str | None = None,
        revision: str | None = None,
    ) -> None:
        self._files = DatasetFiles(source, revision)
        self._files.name = name or self._files.name
        self._index = LeRobotIndex(self._files)
        robot = robot if robot is not None else _own_robot(self._files)
        features = self._index.stored_features()
        map = map if map is not None else DatasetMap.identity(robot).limited_to(features)
        super().__init__(self._files.name, robot, self._index.fps, self._index.episodes, map, features)
        self._table = ParquetRows(self._files)
        self._check_cameras()

    @property
    def depth_is_metric(self) -> bool:
        """Whether depth comes in metres; else as levels without a unit, which all depth features then declare."""
        return not any(self._has_levels(self._image_feature(camera, is_depth=True)) for camera in self.depth_cameras)

    def read_images(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        """RGB `uint8` of shape `(frames, H, W, 3)` at increasing rows."""
        return self._read_pictures(episode, self._image_feature(camera, is_depth=False), rows, is_depth=False)

    def read_depths(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        """Depth at increasing rows: metres, `float32` of shape `(frames, H, W)`, zero where nothing was measured.

        Where `depth_is_metric` is false: `uint8` levels of the same shape, 255 near.
        """
        feature = self._image_feature(camera, is_depth=True)
        stored = self._read_pictures(episode, feature, rows, is_depth=True)
        if self._index.features[feature].get("dtype") == "image":
            scale = self._camera(camera).depth_scale or self._unit(feature)
            return stored.astype(np.float32) * np.float32(scale)
        if stored.dtype != np.uint16:
            raise DataError("Depth must be a video of 12 bits, but has 8.", dataset=self.name, feature=feature)
        if self._has_levels(feature):
            return level_codes.decode(stored)
        code = self._depth_code(feature)
        return np.where(code.is_measured(stored), code.decode(stored), np.float32(0))

    def read_timestamps(self, episode: int) -> np.ndarray | None:
        """Seconds of every row, `(length,)` float64, as they are stored."""
        if "timestamp" not in self._index.features:
            return None
        length = self.episodes[episode].length
        return self.read_features(["timestamp"], episode, 0, length)["timestamp"][:, 0]

    def video_of(self, episode: int, feature: str) -> Stretch | None:
        """Frames of an episode in a video file, for those who look at files; `None` for a feature that is no video.

        Args:
            episode (`int`): Index into `episodes`.
            feature (`str`): Name of the feature.
        """
        return self._index.video(episode, feature) if self._index.features[feature].get("dtype") == "video" else None

    def close(self) -> None:
        """Give back open files."""
        self._table.close()
        self._files.close()

    def read_features(self, features: Sequence[str], episode: int, start: int, stop: int) -> dict[str, np.ndarray]:
        """Numbers of rows `start` to `stop` as they are stored, float64 `(rows, width)` by feature."""
        found = {}
        for feature in features:
            column = self._column(feature, episode, start, stop)
            try:
                found[feature] = to_numbers(column, self.features[feature].width)
            except DataError as error:
                raise self._rows(episode, start).fault(error.problem, feature, error.row or 0) from error
        return found

    def _column(self, feature: str, episode: int, start: int, stop: int) -> pa.ChunkedArray:
        """Rows of one column, in a file that has as many rows as it must, and of the right episode."""
        entry, stretch = self.episodes[episode], self._index.data(episode)
        if not 0 <= start <= stop <= entry.length:
            raise IndexError(
                f"Episode {entry.key} has rows 0 to {entry.length}, but {start} to {stop} were asked for."
            )
        if (count := self._table.num_rows(stretch.path)) != stretch.total:
            raise DataError(
                f"The episodes of the file have {stretch.total} rows, but the file has {count}.",
                dataset=self.name,
                episode=entry.key,
                path=stretch.path,
            )
        first, last = stretch.start + start, stretch.start + stop
        if "episode_index" in self._index.features:
            numbers = to_numbers(self._table.column(stretch.path, "episode_index", first, last), 1)
            if (numbers != episode).any():
                raise DataError(
                    f"Rows {first} to {last} must be of episode {episode}, but are of {np.unique(numbers).astype(int)}.",
                    dataset=self.name,
                    episode=entry.key,
                    path=stretch.path,
                )
        return self._table.column(stretch.path, feature, first, last)

    def _read_pictures(self, episode: int, feature: str, rows: Sequence[int], *, is_depth: bool) -> np.ndarray:
        if self._index.features[feature].get("dtype") == "image":
            read = functools.partial(self._still, episode, feature)
            return self._stills(episode, feature, rows, read, is_depth=is_depth)
        return self._read_frames(episode, feature, rows, is_depth=is_depth)

    def _read_frames(self, episode: int, feature: str, rows: Sequence[int], *, is_depth: bool) -> np.ndarray:
        key, stretch = self.episodes[episode].key, self._index.video(episode, feature)
        self._check_rows(episode, rows)
        with Video(self._files.video(stretch.path), dataset=self.name, episode=key, feature=feature) as video:
            end = stretch.start + stretch.length
            if video.num_frames < end or stretch.total not in (None, video.num_frames):
                raise DamagedVideoError(
                    f"The episode has {stretch.length} rows, which are frames {stretch.start} to {end} of a video of "
                    f"{video.num_frames} frames.",
                    dataset=self.name,
                    episode=key,
                    feature=feature,
                    path=stretch.path,
                )
            return video.read([stretch.start + row for row in rows], is_depth=is_depth)

    def _still(self, episode: int, feature: str, row: int) -> bytes:
        value = self._column(feature, episode, row, row + 1)[0].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        return content if isinstance(content, bytes) else b""

    def _check_cameras(self) -> None:
        for camera in self.map.cameras:
            for feature, is_depth in ((camera.image, False), (camera.depth, True)):
                if feature is None:
                    continue
                own = self._index.features[feature]
                if own.get("dtype") not in ("video", "image"):
                    raise DataError(
                        f"Images are needed, but it is {own.get('dtype')!r}.", dataset=self.name, feature=feature
                    )
                if layout.is_depth_map(own) != is_depth and own.get("dtype") == "video":
                    kind = "depth" if is_depth else "RGB"
                    raise DataError(f"It must be a video of {kind}, but is not.", dataset=self.name, feature=feature)
        depths = [camera.depth for camera in self.map.cameras if camera.depth]
        for feature in depths:
            self._depth_code(feature)
        with_levels = [feature for feature in depths if self._has_levels(feature)]
        if with_levels and len(with_levels) < len(depths):
            raise DataError(
                f"Depth must be in metres or in levels everywhere, but {with_levels} only are levels.",
                dataset=self.name,
            )

    def _has_levels(self, feature: str) -> bool:
        return (self._index.features[feature].get("info") or {}).get("depth_unit") == level_codes.UNIT

    def _depth_code(self, feature: str) -> DepthCode:
        own = self._index.features[feature]
        try:
            return DepthCode.from_info({**(own.get("video_info") or {}), **(own.get("info") or {})})
        except (TypeError, ValueError) as error:
            raise DataError(
                f"The code of its depth is not valid: {error}", dataset=self.name, feature=feature
            ) from error

    def _unit(self, feature: str) -> float:
        """Metres per unit of depth that is stored as whole numbers."""
        unit = (self._index.features[feature].get("info") or {}).get("depth_unit")
        if unit not in _UNITS:
            problem = f"The unit of its depth must be one of {sorted(_UNITS)}, but is {unit!r}; give `depth_scale`."
            raise DataError(problem, dataset=self.name, feature=feature)
        return _UNITS[unit]


def _own_robot(files: DatasetFiles) -> RobotSpec:
    if not files.exists(layout.ROBOT_FILE):
        raise DataError("The data set does not say which robot it is of; give one.", dataset=files.name)
    try:
        return RobotSpec.from_dict(files.read_json(layout.ROBOT_FILE))
    except ValueError as error:
        raise DataError(f"The file describes no robot: {error}", dataset=files.name, path=layout.ROBOT_FILE) from error
