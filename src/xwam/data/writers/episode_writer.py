"""One episode, frame by frame, into a folder of its own that appears when the episode is finished."""

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xwam.data import lerobot_layout as layout
from xwam.data.depth_codes import NO_DEPTH
from xwam.data.video.writer import VideoWriter
from xwam.data.writers.durable_files import publish_folder, write_json
from xwam.data.writers.feature_statistics import PixelCounts, column_statistics, statistics_to_json
from xwam.data.writers.recording_format import RecordingFormat, observed_state
from xwam.structures import Observation

NUMBERS_FILE, SIMULATOR_FILE, EPISODE_FILE = "numbers.parquet", "simulator.parquet", "episode.json"
PARTIAL_PREFIX = ".partial-"


@dataclass(frozen=True)
class EpisodeDescription:
    """Where an episode comes from: all that is needed to run it again. Values are plain, as JSON has them.

    Args:
        environment (`str`): Name as given to `make_env`.
        seed (`int`): Seed of the episode.
        options (`Mapping[str, Any]`): What else `make_env` was given.
        versions (`Mapping[str, str]`): Of the environment and what it depends on.
        expert (`Mapping[str, Any]`): Who acted, and how.
    """

    environment: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    expert: Mapping[str, Any] = field(default_factory=dict)


class EpisodeWriter:
    """Takes the frames of one episode. Images go to the encoders at once; only numbers are kept until the end.

    In a `with` statement, an episode that was not published by the end is gone.

    Args:
        folder (`Path`): Where finished episodes are; the episode becomes its subfolder `key`.
        key (`str`): Name of the episode in the folder; order of names is order of episodes.
        description (`EpisodeDescription`): Where it comes from.
        recording_format (`RecordingFormat`): The form of its frames.
    """

    def __init__(
        self, folder: Path, key: str, description: EpisodeDescription, recording_format: RecordingFormat
    ) -> None:
        self._folder, self._key, self._description, self._format = folder, key, description, recording_format
        self._partial = folder / f"{PARTIAL_PREFIX}{key}-{secrets.token_hex(4)}"
        self._videos: dict[str, VideoWriter] = {}
        self._counts: dict[str, PixelCounts] = {}
        self._columns: dict[str, _Rows] = {}
        self._simulator: dict[str, _Rows] = {}
        self._instruction: str | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def add(self, observation: Observation, command: np.ndarray, *, simulator_state: np.ndarray | None = None) -> None:
        """Record a frame: what was known, and what was then commanded.

        Args:
            observation (`Observation`): With images, in the dataset's form.
            command (`np.ndarray` of shape `(columns,)`): In the order of the robot's `command_columns`.
            simulator_state (`np.ndarray` of shape `(numbers,)`, *optional*): The simulator's whole state at the observation.

        Raises:
            ObservationError: If the observation is not in the dataset's form, or no policy could take it: not the robot's, or in
                other units.
            ValueError: If the command has another shape or is not finite, the instruction changes, frames with and without
                simulator state are mixed, or the episode was published. Nothing of this frame is kept then.
        """
        self._expect_open()
        self._check(observation, command, simulator_state)
        if not self._columns:
            self._open()
            self._instruction = observation.instruction
        row = {
            layout.STATE_KEY: observed_state(self._format.robot, observation),
            layout.ACTION_KEY: np.asarray(command, dtype=np.float32),
        }
        for camera in self._format.cameras:
            self._add_frame(layout.image_key(camera.name), observation.images[camera.name])
            if camera.has_depth:
                code = camera.encode_depth(observation.depths[camera.name])
                self._add_frame(layout.depth_key(camera.name), code)
            if camera.is_calibrated:
                calibration = observation.cameras[camera.name]
                row[layout.pose_key(camera.name)] = np.ravel(calibration.base_from_camera).astype(np.float32)
                row[layout.intrinsics_key(camera.name)] = np.ravel(calibration.intrinsics).astype(np.float32)
        for name, value in row.items():
            self._columns.setdefault(name, _Rows()).add(value)
        self._simulator.setdefault("command", _Rows()).add(np.asarray(command, dtype=np.float64))
        if simulator_state is not None:
            self._simulator.setdefault("state", _Rows()).add(np.asarray(simulator_state, dtype=np.float64))

    def publish(self, *, is_success: bool, num_steps: int | None = None) -> bool:
        """Finish the episode; it is there when this returns, whatever happens then.

        Args:
            is_success (`bool`): Whether the task was done.
            num_steps (`int`, *optional*): Commands until it was done; else all.

        Returns:
            `bool`: Whether it is this episode that is there, and not one of the same key that came before.

        Raises:
            ValueError: If the episode has no frame, or was published or discarded before.
        """
        self._expect_open()
        length = len(self._simulator["command"]) if self._simulator else 0
        if not length:
            raise ValueError(f"The episode {self._key!r} has no frame.")
        for video in self._videos.values():
            video.close()
        self._videos = {}
        columns = {name: rows.stacked() for name, rows in self._columns.items()}
        done_from = (num_steps or length) - 1 if is_success else length
        columns[layout.SUCCESS_KEY] = np.arange(length) >= done_from
        columns["timestamp"] = (np.arange(length) / self._format.fps).astype(np.float32)
        columns["frame_index"] = np.arange(length, dtype=np.int64)
        statistics = {name: column_statistics(values) for name, values in columns.items()}
        has_gaps = {layout.depth_key(camera.name) for camera in self._format.cameras if not camera.has_levels}
        for name, counts in self._counts.items():
            statistics[name] = counts.statistics(ignored=NO_DEPTH if name in has_gaps else None)
        pq.write_table(table_of(columns), self._partial / NUMBERS_FILE)
        simulator = {name: pa.array(list(rows.stacked())) for name, rows in self._simulator.items()}
        pq.write_table(pa.table(simulator), self._partial / SIMULATOR_FILE)
        write_json(
            self._partial / EPISODE_FILE,
            {
                "key": self._key,
                "length": length,
                "instruction": self._instruction,
                "success": bool(is_success),
                "num_steps": num_steps or length,
                **asdict(self._description),
                "statistics": statistics_to_json(statistics),
            },
        )
        self._columns, self._is_closed = {}, True
        return publish_folder(self._partial, self._folder / self._key)

    def discard(self) -> None:
        """Forget the episode, unless it was published; calling it twice is harmless."""
        for video in self._videos.values():
            video.close(is_complete=False)
        self._videos, self._columns, self._is_closed = {}, {}, True
        shutil.rmtree(self._partial, ignore_errors=True)

    def _expect_open(self) -> None:
        if self._is_closed:
            raise ValueError(f"The episode {self._key!r} is over: it was published or discarded.")

    def _check(self, observation: Observation, command: np.ndarray, simulator_state: np.ndarray | None) -> None:
        self._format.check(observation)
        expected = (len(self._format.robot.command_columns),)
        if np.shape(command) != expected or not np.isfinite(command).all():
            raise ValueError(f"A command must be finite numbers of shape {expected}, but is {np.asarray(command)}.")
        if self._instruction not in (None, observation.instruction):
            raise ValueError(f"The instruction was {self._instruction!r}, but now is {observation.instruction!r}.")
        if self._simulator and (simulator_state is not None) != ("state" in self._simulator):
            raise ValueError("Either all frames of an episode bring the simulator's state or none does.")
        if simulator_state is not None and (rows := self._simulator.get("state")) is not None:
            rows.check("The simulator's state", simulator_state)

    def _open(self) -> None:
        self._partial.mkdir(parents=True)
        for name, feature in self._format.video_features.items():
            height, width, channels = feature["shape"]
            is_depth = layout.is_depth_map(feature)
            self._videos[name] = VideoWriter(
                self._partial / f"{name}.mp4",
                (height, width),
                self._format.fps,
                is_depth=is_depth,
                pixel_format=self._format.pixel_format,
                crf=self._format.crf,
            )
            self._counts[name] = PixelCounts(np.arange(256) / 255, channels)
        for camera in self._format.cameras:
            if camera.has_depth:
                self._counts[layout.depth_key(camera.name)] = PixelCounts(camera.depth_of_code, 1)

    def _add_frame(self, name: str, frame: np.ndarray) -> None:
        self._videos[name].add(frame)
        self._counts[name].add(frame)


def table_of(columns: Mapping[str, np.ndarray]) -> pa.Table:
    """A table of columns: scalars, and vectors as lists of fixed length.

    Args:
        columns (`Mapping[str, np.ndarray]`): Values of shape `(rows,)` or `(rows, channels)` by name.
    """
    arrays = {}
    for name, values in columns.items():
        array = pa.array(np.ravel(values))
        arrays[name] = array if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(array, values.shape[1])
    return pa.table(arrays)


class _Rows:
    """Equal rows in one growing block; thousands of small arrays would scatter over the memory that frames come and go in."""

    def __init__(self) -> None:
        self._bytes, self._shape, self._dtype = bytearray(), (0,), np.dtype(np.float64)

    def add(self, row: np.ndarray) -> None:
        if not self._bytes:
            self._shape, self._dtype = row.shape, row.dtype
        self._bytes += row.tobytes()

    def check(self, name: str, row: np.ndarray) -> None:
        if np.shape(row) != self._shape:
            raise ValueError(f"{name} must keep the shape {self._shape}, but has {np.shape(row)}.")

    def stacked(self) -> np.ndarray:
        return np.frombuffer(self._bytes, dtype=self._dtype).reshape(-1, *self._shape)

    def __len__(self) -> int:
        return len(self.stacked())
