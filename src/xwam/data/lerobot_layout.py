"""The LeRobot v3 format as facts that its writer and its reader share: where files lie and how features are named.

Source: `huggingface/lerobot` 0.6.1, `src/lerobot/datasets`. The folder `simulator/` and the files `meta/xwam*.json` are this
package's own; LeRobot does not look at them.
"""

from typing import Any

VERSION = "v3.0"
CHUNK_SIZE = 1000  # files of one chunk folder
DATA_FILE_BYTES = 100 * 2**20
VIDEO_FILE_BYTES = 200 * 2**20

INFO_FILE = "meta/info.json"
STATS_FILE = "meta/stats.json"
TASKS_FILE = "meta/tasks.parquet"
ROBOT_FILE = "meta/xwam_robot.json"  # RobotSpec.to_dict(), with hand-eye and per-camera depth range
RECORDING_FILE = "meta/xwam.json"  # cameras as recorded, seeds that were skipped

_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{_FILE}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{_FILE}.mp4"
EPISODES_PATH = f"meta/episodes/{_FILE}.parquet"
SIMULATOR_PATH = f"simulator/{_FILE}.parquet"  # same chunk and file as the episode's data

STATE_KEY = "observation.state"
ACTION_KEY = "action"
SUCCESS_KEY = "next.success"
ESTIMATED_DEPTH = "estimated_depth"  # in the options of labelled episodes; no environment takes it

DEFAULT_FEATURES: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}


def image_key(camera: str) -> str:
    """Feature of a camera's RGB video."""
    return f"observation.images.{camera}"


def depth_key(camera: str) -> str:
    """Feature of a camera's depth video, named as LeRobot's own robots name it."""
    return f"observation.images.{camera}_depth"


def pose_key(camera: str) -> str:
    """Feature of a camera's pose in the robot base: 16 numbers, row by row."""
    return f"observation.cameras.{camera}.base_from_camera"


def intrinsics_key(camera: str) -> str:
    """Feature of a camera's matrix: 9 numbers, row by row, in pixels of the stored images."""
    return f"observation.cameras.{camera}.intrinsics"


def file_after(chunk_index: int, file_index: int) -> tuple[int, int]:
    """Chunk and file that follow.

    Args:
        chunk_index (`int`): Chunk of the last file.
        file_index (`int`): Its number in the chunk.
    """
    return (chunk_index + 1, 0) if file_index == CHUNK_SIZE - 1 else (chunk_index, file_index + 1)


def is_depth_map(feature: dict[str, Any]) -> bool:
    """Whether a feature of `info.json` is a depth video, by any of the marks that LeRobot has used.

    Args:
        feature (`dict[str, Any]`): Its entry.
    """
    info, old = feature.get("info") or {}, feature.get("video_info") or {}
    return bool(info.get("is_depth_map") or info.get("video.is_depth_map") or old.get("video.is_depth_map"))
