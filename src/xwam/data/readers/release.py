"""Data sets in the layout of the X-WAM release, in a folder or on the hub: the inverse of `xwam.data.writers.release_writer`."""

import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xwam.data.readers.base import Episode, EpisodeReader, Numbers
from xwam.data.readers.dataset_files import LFS_POINTER, DatasetFiles
from xwam.data.readers.release_episode import EpisodeParser, Media, ReleaseEpisode
from xwam.data.video.reader import Video
from xwam.data.writers.recording_format import RecordingFormat
from xwam.errors import DataError, UnsafeFileError
from xwam.robots.spec import RobotSpec

METADATA_FILE = "metadata.json"
OWN_FILE = "xwam.json"  # what this library's writer adds
KEPT_EPISODES = 64  # parsed ones, some 300 bytes per row each
_HEAD_BYTES = 8192  # of an episode, in which its length is looked for
_EPISODE_FILE = re.compile(r"data/(chunk-[^/]+/episode_[^/]+)\.json")
_NUM_FRAMES = re.compile(rb'"num_frames"\s*:\s*(\d+)')


class ReleaseReader(EpisodeReader):
    """A data set in the release's layout.

    Poses come back in the robot's own frames. Depth has a unit only where `xwam.json` tells near and far; its level 0, which
    means far or nothing measured, is nothing measured here.

    Args:
        folder (`str` or `Path`): A local folder, `"user/name"` for a dataset on the hub, or `"hf://datasets/user/name"`.
        robot (`RobotSpec`): The robot.
        name (`str`, *optional*): Name for messages; else the folder's or the repository's.
        cameras (`Mapping[str, str]`, *optional*): Name in the data set of each of the robot's cameras; else they are the same.
        revision (`str`, *optional*): Branch, tag or commit on the hub.

    Raises:
        DataError: If the folder is no such data set, or its cameras are not the robot's.
        ValueError: If the layout has no place for the robot's arms or commands.
    """

    def __init__(
        self,
        folder: str | Path,
        robot: RobotSpec,
        *,
        name: str | None = None,
        cameras: Mapping[str, str] | None = None,
        revision: str | None = None,
    ) -> None:
        self._files = DatasetFiles(folder, revision)
        self._files.name = name or self._files.name
        self._parser = EpisodeParser(robot, self._files.name)
        self._kept: OrderedDict[int, ReleaseEpisode] = OrderedDict()
        lengths = self._lengths()
        episodes = [_LazyEpisode(key, length, self, i) for i, (key, length) in enumerate(lengths.items())]
        super().__init__(self._files.name, robot, 0.0, episodes)
        first = self._parser.media(episodes[0].key, self._content(episodes[0].key))
        self._stored_name = self._matched(first, cameras)
        self._with_depth = {own for own, stored in self._stored_name.items() if first[stored].depth_path is not None}
        rates = {media.fps for media in first.values()}
        rate = rates.pop()
        if rate is None or rates:
            raise self._fault("All cameras must have the same `fps`, and one of them at least must be there.", 0)
        self.rate = rate
        self._depth_of_level = self._depth_tables()

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras of the robot that the data set has videos of, in the robot's order."""
        return tuple(self._stored_name)

    @property
    def depth_cameras(self) -> tuple[str, ...]:
        """Those of them with depth."""
        return tuple(camera for camera in self._stored_name if camera in self._with_depth)

    @property
    def depth_is_metric(self) -> bool:
        """Whether `xwam.json` tells the near and far planes of all cameras with depth."""
        return bool(self._with_depth) and self._with_depth <= self._depth_of_level.keys()

    def read_states(self, episode: int, start: int, stop: int) -> Numbers:
        """States of rows `start` to `stop`, columns as in `RobotSpec.state_columns`."""
        return self._slice(self.parsed(episode).states, episode, start, stop)

    def read_commands(self, episode: int, start: int, stop: int) -> Numbers:
        """Commands given at rows `start` to `stop`, columns as in `RobotSpec.command_columns`."""
        return self._slice(self.parsed(episode).commands, episode, start, stop)

    def read_images(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        """RGB `uint8` of shape `(frames, H, W, 3)` at increasing rows."""
        return self._read_video(episode, camera, rows, is_depth=False)

    def read_depths(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        """Depth at increasing rows: metres, `float32`, zero where nothing was measured; without planes `uint8` levels."""
        levels = self._read_video(episode, camera, rows, is_depth=True)
        if levels.dtype != np.uint8:
            raise self._fault("Depth must be a video of 8 bits.", episode, camera)
        return self._depth_of_level[camera][levels] if self.depth_is_metric else levels

    def parsed(self, episode: int) -> ReleaseEpisode:
        """An episode without its videos; the last ones that were asked for are kept.

        Args:
            episode (`int`): Index into `episodes`.
        """
        if episode not in self._kept:
            entry = self.episodes[episode]
            self._kept[episode] = self._parser.parse(entry.key, self._content(entry.key), entry.length)
        self._kept.move_to_end(episode)
        while len(self._kept) > KEPT_EPISODES:
            self._kept.popitem(last=False)
        return self._kept[episode]

    def close(self) -> None:
        """Give back open files."""
        self._files.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict()}

    def _lengths(self) -> dict[str, int]:
        """Rows of every episode: what the metadata say, else what the episodes say themselves."""
        if self._files.exists(METADATA_FILE):
            lengths = self._files.read_json(METADATA_FILE)
        else:
            matches = map(_EPISODE_FILE.fullmatch, self._files.names("data"))
            lengths = {match[1]: self._length_of(match[1]) for match in matches if match}
        if not lengths:
            raise DataError("There are no episodes `data/chunk-*/episode_*.json`.", dataset=self._files.name)
        for key, length in lengths.items():
            if not isinstance(length, int) or isinstance(length, bool) or length < 1:
                raise DataError(f"An episode cannot have {length!r} rows.", dataset=self._files.name, episode=key)
        return lengths

    def _length_of(self, key: str) -> Any:
        head = self._bytes(key, _HEAD_BYTES)
        found = _NUM_FRAMES.search(head)
        return int(found[1]) if found else self._content(key).get("num_frames")

    def _content(self, key: str) -> dict[str, Any]:
        content = self._bytes(key)
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            reason = "this is a Git LFS pointer" if content.startswith(LFS_POINTER) else error
            raise DataError(
                f"The episode is not JSON: {reason}.", dataset=self._files.name, episode=key, path=_path_of(key)
            ) from error
        if not isinstance(value, dict):
            raise DataError(
                "The episode is no JSON object.", dataset=self._files.name, episode=key, path=_path_of(key)
            )
        return value

    def _bytes(self, key: str, count: int = -1) -> bytes:
        try:
            file = self._files.open(_path_of(key))
        except UnsafeFileError as error:
            raise DataError(str(error), dataset=self._files.name, episode=key) from error
        try:
            return file.read(count)
        finally:
            if self._files.folder is not None:  # remote ones stay open, with what was read of them
                file.close()

    def _matched(self, stored: Mapping[str, Media], cameras: Mapping[str, str] | None) -> dict[str, str]:
        """Name in the data set of each of the robot's cameras that is there, in the robot's order."""
        wanted = {camera.name: camera.name for camera in self.robot.cameras} if cameras is None else cameras
        found = {
            camera.name: wanted[camera.name] for camera in self.robot.cameras if wanted.get(camera.name) in stored
        }
        stray = set(stored) - set(found.values()) if cameras is None else set(wanted) - set(found)
        if not found or stray:
            own = [camera.name for camera in self.robot.cameras]
            raise self._fault(
                f"The data set has cameras {sorted(stored)}, but {self.robot.name!r} has {own}. "
                f"Give `cameras`, the name in the data set of each of the robot's.",
                0,
            )
        return found

    def _depth_tables(self) -> dict[str, np.ndarray]:
        """Metres of every level, `float32` of shape `(256,)`, by camera."""
        if not self._files.exists(OWN_FILE):
            return {}
        try:
            form = RecordingFormat.from_dict(self._files.read_json(OWN_FILE)["format"])
        except (KeyError, ValueError) as error:
            raise DataError(f"The file cannot be used: {error}.", dataset=self.name, path=OWN_FILE) from error
        ranges = {camera.name: camera.depth_range for camera in form.cameras}
        planes = {own: ranges.get(stored) for own, stored in self._stored_name.items()}
        return {camera: _depth_of_levels(*pair) for camera, pair in planes.items() if pair is not None}

    def _read_video(self, episode: int, camera: str, rows: Sequence[int], *, is_depth: bool) -> np.ndarray:
        media = self.parsed(episode).media.get(self._stored_name[camera])
        path = None if media is None else media.depth_path if is_depth else media.image_path
        if media is None or path is None:
            raise self._fault(
                f"The episode has no {'depth' if is_depth else 'video'} of this camera.", episode, camera
            )
        frames = [media.start + row for row in rows]
        length = self.episodes[episode].length
        if frames and not 0 <= min(rows) <= max(rows) < length:
            raise IndexError(f"Episode {episode} has rows 0 to {length}, but {list(rows)} were asked for.")
        if media.end is not None and frames and max(frames) >= media.end:
            raise self._fault(f"The video ends before frame {media.end}.", episode, camera, row=max(rows))
        key = self.episodes[episode].key
        try:
            file = self._files.video(path)
        except UnsafeFileError as error:
            raise self._fault(str(error), episode, camera) from error
        with Video(file, dataset=self.name, episode=key, feature=camera) as video:
            return video.read(frames, is_depth=is_depth)

    def _slice(self, numbers: Numbers, episode: int, start: int, stop: int) -> Numbers:
        if not 0 <= start <= stop <= len(numbers.values):
            raise IndexError(f"Episode {episode} has no rows {start} to {stop}.")
        return Numbers(numbers.values[start:stop], numbers.is_valid[start:stop])

    def _fault(self, problem: str, episode: int, feature: str | None = None, row: int | None = None) -> DataError:
        key = self.episodes[episode].key
        return DataError(problem, dataset=self.name, episode=key, feature=feature, row=row)


class _LazyEpisode(Episode):
    """Its instructions and facts are in its own file, which is read when they are asked for."""

    def __init__(self, key: str, length: int, reader: ReleaseReader, number: int) -> None:
        for field, value in {"key": key, "length": length, "_reader": reader, "_number": number}.items():
            object.__setattr__(self, field, value)

    @property
    def instructions(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._reader.parsed(self._number).instructions

    @property
    def facts(self) -> dict[str, Any]:  # type: ignore[override]
        return self._reader.parsed(self._number).facts


def _path_of(key: str) -> str:
    return f"data/{key}.json"


def _depth_of_levels(near: float, far: float) -> np.ndarray:
    depths = 1 / (np.arange(256) / 255 * (1 / near - 1 / far) + 1 / far)
    depths[0] = 0
    return depths.astype(np.float32)
