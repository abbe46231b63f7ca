"""A small LeRobot data set in which nothing is wrong, and defects planted into copies of it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from memory_reader import ROBOT, Recording, filmed, raw_recording

from xwam.data import lerobot_layout as layout
from xwam.data.video.writer import VideoWriter
from xwam.data.writers.episode_writer import EpisodeDescription
from xwam.data.writers.lerobot_writer import LeRobotWriter
from xwam.data.writers.recording_format import RecordingFormat
from xwam.structures import ArmState, Camera, Observation

SIZE = (48, 64)
SMALL = replace(ROBOT, cameras=tuple(replace(camera, size=SIZE, intrinsics=None) for camera in ROBOT.cameras))
LEFT, RIGHT, WRIST = (camera.name for camera in ROBOT.cameras)
LENGTHS = (50, 55, 60, 52)


def write_clean(folder: Path) -> Path:
    with LeRobotWriter(folder) as writer:
        for seed, length in enumerate(LENGTHS):
            _write(writer, seed, filmed(raw_recording(seed, length=length), SMALL, SIZE))
        writer.finish()
    return folder


def copy(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def change_column(folder: Path, column: str, change: Callable[[np.ndarray, np.ndarray], None]) -> None:
    """`change` gets the values of a column `(rows, width)` and the episode of each row, and works in place."""
    (path,) = (folder / "data").glob("*/*.parquet")
    table = pq.read_table(path)
    values = np.stack(table[column].to_numpy()).astype(np.float32).reshape(len(table), -1)
    change(values, table["episode_index"].to_numpy())
    flat = pa.array(values.ravel())
    array = flat if values.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    pq.write_table(table.set_column(table.column_names.index(column), column, array), path)


def drop_column(folder: Path, column: str) -> None:
    (path,) = (folder / "data").glob("*/*.parquet")
    pq.write_table(pq.read_table(path).drop_columns([column]), path)


def change_frames(folder: Path, camera: str, change: Callable[[list[np.ndarray]], list[np.ndarray]]) -> None:
    (path,) = (folder / "videos" / layout.image_key(camera)).glob("*/*.mp4")
    with av.open(str(path)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    with VideoWriter(path, SIZE, 20) as writer:
        for frame in change(frames):
            writer.add(frame)


def change_info(folder: Path, change: Callable[[dict], None]) -> None:
    path = folder / layout.INFO_FILE
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def _write(writer: LeRobotWriter, seed: int, recording: Recording) -> None:
    def observation(row: int) -> Observation:
        state = recording.states[row]
        return Observation(
            images={name: frames[row] for name, frames in recording.images.items()},
            depths={name: frames[row] for name, frames in recording.depths.items()},
            cameras={
                name: Camera(own.intrinsics, own.base_from_camera[row]) for name, own in recording.calibrations.items()
            },
            arms={"left": ArmState(state[:3], state[3:7], float(state[7]))},
            instruction=f"task {seed % 2}",
            time=0.05 * row,
        )

    form = RecordingFormat.of(SMALL, observation(0))
    with writer.episode(f"episode-{seed}", EpisodeDescription("smooth/curves", seed), form) as episode:
        for row, command in enumerate(recording.commands):
            episode.add(observation(row), command)
        episode.publish(is_success=True)
