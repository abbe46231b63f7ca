"""Small data sets as others write them, without their libraries: LeRobot v2.1 and v3.0, RLDS."""

import io
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from xwam.data.readers.tfrecord import masked_crc32c


@dataclass
class ForeignEpisode:
    """Numbers `(rows, ...)` and RGB images `(rows, H, W, 3)` by feature."""

    numbers: dict[str, np.ndarray]
    images: dict[str, np.ndarray]
    tasks: list[str] = field(default_factory=lambda: ["do it"])

    def __len__(self) -> int:
        return len(next(iter({**self.numbers, **self.images}.values())))


def moving_square(rows: int, size: tuple[int, int], shade: int) -> np.ndarray:
    """Frames that differ from each other: the frame's number is in the pixels."""
    frames = np.zeros((rows, *size, 3), dtype=np.uint8)
    frames[..., 1] = np.arange(size[1]) * 3
    frames[..., 2] = shade
    frames[..., 0] = (np.arange(rows) * 7 % 256)[:, None, None]
    return frames


def write_video(path: Path, frames: np.ndarray, fps: int, *, gop: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv444p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": "4", "g": str(gop), "preset": "ultrafast", "bf": "0"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_lerobot(
    folder: Path,
    episodes: Sequence[ForeignEpisode],
    *,
    version: str = "v3.0",
    fps: int = 20,
    names: Mapping[str, Any] | None = None,
    stills: Sequence[str] = (),
    episodes_per_file: int = 2,
) -> Path:
    """A LeRobot data set.

    Args:
        stills (`Sequence[str]`): Features whose images lie in the tables, not in videos.
        names (`Mapping[str, Any]`): `names` of features.
        episodes_per_file (`int`): For v3.0.
    """
    columns: dict[str, Any] = {
        "timestamp": ("float32", []),
        "frame_index": ("int64", []),
        "episode_index": ("int64", []),
    }
    columns |= {"index": ("int64", []), "task_index": ("int64", [])}
    features: dict[str, Any] = {
        name: {"dtype": dtype, "shape": [1], "names": None} for name, (dtype, _) in columns.items()
    }
    first = episodes[0]
    for name, values in first.numbers.items():
        shape = list(values.shape[1:]) or [1]
        features[name] = {"dtype": str(values.dtype), "shape": shape, "names": (names or {}).get(name)}
    for name, frames in first.images.items():
        dtype = "image" if name in stills else "video"
        features[name] = {"dtype": dtype, "shape": list(frames.shape[1:]), "names": ["height", "width", "channels"]}
    tasks = list(dict.fromkeys(task for episode in episodes for task in episode.tasks))
    is_new = version == "v3.0"
    chunk = "chunk-{chunk_index:03d}/file-{file_index:03d}" if is_new else "chunk-{episode_chunk:03d}"
    info = {
        "codebase_version": version,
        "robot_type": "foreign",
        "total_episodes": len(episodes),
        "total_frames": sum(map(len, episodes)),
        "total_tasks": len(tasks),
        "chunks_size": 1000,
        "fps": fps,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": f"data/{chunk}.parquet" if is_new else f"data/{chunk}/episode_{{episode_index:06d}}.parquet",
        "video_path": (
            f"videos/{{video_key}}/{chunk}.mp4"
            if is_new
            else f"videos/{chunk}/{{video_key}}/episode_{{episode_index:06d}}.mp4"
        ),
        "features": features,
    }
    (folder / "meta").mkdir(parents=True, exist_ok=True)
    (folder / "meta/info.json").write_text(json.dumps(info))
    starts = np.cumsum([0, *map(len, episodes)]).tolist()
    tables = [_table(episode, number, starts[number], fps, tasks, stills) for number, episode in enumerate(episodes)]
    if is_new:
        _write_new(folder, episodes, tables, starts, fps, stills, tasks, episodes_per_file)
    else:
        _write_old(folder, episodes, tables, fps, stills, tasks)
    return folder


def _table(
    episode: ForeignEpisode, number: int, start: int, fps: int, tasks: list[str], stills: Sequence[str]
) -> pa.Table:
    rows = len(episode)
    columns: dict[str, Any] = {
        "timestamp": np.arange(rows, dtype=np.float32) / np.float32(fps),
        "frame_index": np.arange(rows),
        "episode_index": np.full(rows, number),
        "index": np.arange(start, start + rows),
        "task_index": np.full(rows, tasks.index(episode.tasks[0])),
    }
    columns |= {name: values.tolist() if values.ndim > 1 else values for name, values in episode.numbers.items()}
    table = {}
    for name, values in columns.items():
        kind = pa.from_numpy_dtype(episode.numbers[name].dtype) if name in episode.numbers else None
        depth = episode.numbers[name].ndim - 1 if kind is not None else 0
        for _ in range(depth):
            kind = pa.list_(kind)
        table[name] = pa.array(values, type=kind)
    for name in stills:
        table[name] = pa.array([{"bytes": png(image), "path": "frame.png"} for image in episode.images[name]])
    return pa.table(table)


def _write_old(
    folder: Path,
    episodes: Sequence[ForeignEpisode],
    tables: list[pa.Table],
    fps: int,
    stills: Sequence[str],
    tasks: list[str],
) -> None:
    lines = [
        {"episode_index": number, "tasks": episode.tasks, "length": len(episode)}
        for number, episode in enumerate(episodes)
    ]
    (folder / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    lines = [{"task_index": number, "task": task} for number, task in enumerate(tasks)]
    (folder / "meta/tasks.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    (folder / "data/chunk-000").mkdir(parents=True, exist_ok=True)
    for number, (episode, table) in enumerate(zip(episodes, tables, strict=True)):
        pq.write_table(table, folder / f"data/chunk-000/episode_{number:06d}.parquet")
        for name, frames in episode.images.items():
            if name not in stills:
                write_video(folder / f"videos/chunk-000/{name}/episode_{number:06d}.mp4", frames, fps)


def _write_new(
    folder: Path,
    episodes: Sequence[ForeignEpisode],
    tables: list[pa.Table],
    starts: list[int],
    fps: int,
    stills: Sequence[str],
    tasks: list[str],
    episodes_per_file: int,
) -> None:
    rows = []
    for file, first in enumerate(range(0, len(episodes), episodes_per_file)):
        members = range(first, min(first + episodes_per_file, len(episodes)))
        place = {"chunk_index": 0, "file_index": file}
        path = folder / f"data/chunk-000/file-{file:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.concat_tables([tables[number] for number in members]), path)
        videos = [name for name in episodes[0].images if name not in stills]
        for name in videos:
            frames = np.concatenate([episodes[number].images[name] for number in members])
            write_video(folder / f"videos/{name}/chunk-000/file-{file:03d}.mp4", frames, fps)
        for number in members:
            row: dict[str, Any] = {
                "episode_index": number,
                "tasks": episodes[number].tasks,
                "length": len(episodes[number]),
                "dataset_from_index": starts[number],
                "dataset_to_index": starts[number + 1],
                **{f"data/{name}": value for name, value in place.items()},
                "stats/timestamp/min": [0.0],
            }
            begin = (starts[number] - starts[first]) / fps
            for name in videos:
                row |= {f"videos/{name}/{key}": value for key, value in place.items()}
                row |= {f"videos/{name}/from_timestamp": begin}
                row |= {f"videos/{name}/to_timestamp": begin + len(episodes[number]) / fps}
            rows.append(row)
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    pq.write_table(pa.table({"task_index": range(len(tasks)), "task": tasks}), folder / "meta/tasks.parquet")


def _varint(value: int) -> bytes:
    value, out = value % 2**64, bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def example(features: Mapping[str, Any]) -> bytes:
    """A `tf.train.Example`: lists of bytes, floats or integers by name."""
    entries = b""
    for name, values in features.items():
        if isinstance(values, list):
            own = _field(1, b"".join(_field(1, value) for value in values))
        elif values.dtype.kind == "f":
            own = _field(2, _field(1, values.astype("<f4").tobytes()))
        else:
            own = _field(3, _field(1, b"".join(_varint(int(value)) for value in values.ravel())))
        entries += _field(1, _field(1, name.encode()) + _field(2, own))
    return _field(1, entries)


def tfrecord(records: Sequence[bytes]) -> bytes:
    out = b""
    for record in records:
        length = struct.pack("<Q", len(record))
        out += length + struct.pack("<I", masked_crc32c(length)) + record + struct.pack("<I", masked_crc32c(record))
    return out


def write_rlds(folder: Path, episodes: Sequence[ForeignEpisode], *, instruction: str = "language_instruction") -> Path:
    """An RLDS data set with one shard, in a folder `1.0.0`."""
    version = folder / "1.0.0"
    version.mkdir(parents=True, exist_ok=True)
    steps: dict[str, Any] = {"is_first": _tensor([], "bool"), instruction: {"text": {}}}
    records = []
    for episode in episodes:
        own: dict[str, Any] = {"steps/is_first": (np.arange(len(episode)) == 0).astype(np.int64)}
        own[f"steps/{instruction}"] = [task.encode() for task in episode.tasks for _ in range(len(episode))][
            : len(episode)
        ]
        for name, values in episode.numbers.items():
            own[f"steps/{name}"] = values.astype(np.float32)
            steps[name] = _tensor(values.shape[1:], "float32")
        for name, frames in episode.images.items():
            own[f"steps/{name}"] = [png(frame) for frame in frames]
            steps[name] = {"image": {"shape": {"dimensions": [str(size) for size in frames.shape[1:]]}}}
        own["episode_metadata/file_path"] = [b"somewhere"]
        records.append(example(own))
    tree: dict[str, Any] = {}
    for name, leaf in steps.items():
        node = tree
        *parents, last = name.split("/")
        for parent in parents:
            node = node.setdefault(parent, {"featuresDict": {"features": {}}})["featuresDict"]["features"]
        node[last] = leaf
    features = {
        "featuresDict": {"features": {"steps": {"sequence": {"feature": {"featuresDict": {"features": tree}}}}}}
    }
    (version / "features.json").write_text(json.dumps(features))
    split = {"name": "train", "shardLengths": [str(len(records))]}
    split["filepathTemplate"] = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    info = {"name": "foreign", "fileFormat": "tfrecord", "splits": [split]}
    (version / "dataset_info.json").write_text(json.dumps(info))
    (version / "foreign-train.tfrecord-00000-of-00001").write_bytes(tfrecord(records))
    return folder


def _tensor(shape: Sequence[int], dtype: str) -> dict[str, Any]:
    return {"tensor": {"shape": {"dimensions": [str(size) for size in shape]}, "dtype": dtype}}
