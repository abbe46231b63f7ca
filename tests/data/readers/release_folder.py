"""A data set in the release's layout, written without this library's writer, and what the release makes of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from xwam.data.video.writer import VideoWriter
from xwam.robots.spec import RobotSpec

SIZE = (32, 48)
PERIOD = 20


def episode(robot: RobotSpec, length: int, seed: int, *, rotation: str = "matrix", start: int = 0) -> dict[str, Any]:
    """JSON of an episode with random poses in the model's frames."""
    rng = np.random.default_rng(seed)

    def poses() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for arm in robot.arms:
            turns = Rotation.random(length, random_state=rng)
            stored = turns.as_rotvec() if rotation == "axis_angle" else turns.as_matrix().reshape(length, 9)
            found[f"{arm.name}_ee_pos"] = rng.normal(size=(length, 3)).tolist()
            found[f"{arm.name}_ee_rotm"] = stored.tolist()
            found[f"{arm.name}_gripper_pos"] = rng.uniform(size=(length, 1)).tolist()
        return found

    raw = {"raw_actions": rng.uniform(-1, 1, size=(length, 7 * len(robot.arms))).tolist()}
    return {
        "num_frames": length,
        "instructions": [" lift it ", "", "pick it up"],
        "observations": {
            camera.name: {
                "type": "static",
                "rgb_path": f"video/{camera.name}.mp4",
                "depth_path": f"depth/{camera.name}.mp4",
                "start": start,
                "end": start + length,
                "fps": PERIOD,
            }
            for camera in robot.cameras
        },
        "proprios": poses(),
        "actions": raw if robot.command_kind == "raw" else poses(),
    }


def write(folder: Path, robot: RobotSpec, episodes: list[dict[str, Any]], *, metadata: bool = True) -> Path:
    """The folder, with one video per camera that all episodes lie in: the brightness of a frame is its number."""
    keys = [f"chunk-0000/episode_{number:07d}" for number in range(len(episodes))]
    (folder / "data/chunk-0000").mkdir(parents=True)
    for key, content in zip(keys, episodes, strict=True):
        (folder / f"data/{key}.json").write_text(json.dumps(content))
    if metadata:
        lengths = {key: content["num_frames"] for key, content in zip(keys, episodes, strict=True)}
        (folder / "metadata.json").write_text(json.dumps(lengths))
    first = episodes[0]["observations"]
    frames = max(one["observations"][camera]["end"] for one in episodes for camera in one["observations"])
    for media in first.values():
        for path in (folder / media["rgb_path"], folder / media["depth_path"]):
            path.parent.mkdir(exist_ok=True)
            with VideoWriter(path, SIZE, PERIOD, crf=1) as video:
                for number in range(frames):
                    video.add(np.full((*SIZE, 3), number, dtype=np.uint8))
    return folder


def expected_states(robot: RobotSpec, content: dict[str, Any], rows: np.ndarray) -> np.ndarray:
    """State vectors as the release makes them, `(rows, R)`."""
    assert robot.quantiles is not None
    values = np.concatenate(
        [
            part
            for arm in robot.arms
            for part in (
                _numbers(content, "proprios", arm.name, "ee_pos")[rows],
                _canonical(_turns(content, "proprios", arm.name)[rows]),
                _numbers(content, "proprios", arm.name, "gripper_pos")[rows],
            )
        ],
        axis=1,
    )
    low, high = np.array(robot.quantiles.state_low), np.array(robot.quantiles.state_high)
    scaled = 2 * (values - low) / np.maximum(high - low, 1e-6) - 1
    return _padded(np.where(robot.state_is_normalized, scaled, values), robot.state_dim)


def expected_actions(robot: RobotSpec, content: dict[str, Any], start: int, count: int, skip: int = 1) -> np.ndarray:
    """Action vectors as the release makes them, `(count, A)`."""
    assert robot.quantiles is not None
    if robot.command_kind == "raw":
        values = np.array(content["actions"]["raw_actions"])[start : start + count]
        values[:, 6::7] *= -1
    else:
        measured = start + skip * np.arange(count)
        commanded, parts = measured + skip - 1, []
        for arm in robot.arms:
            gripper = _numbers(content, "proprios", arm.name, "gripper_pos")
            turn = (
                _turns(content, "actions", arm.name)[commanded] * _turns(content, "proprios", arm.name)[measured].inv()
            )
            moved = _numbers(content, "actions", arm.name, "ee_pos")[commanded]
            parts += [moved - _numbers(content, "proprios", arm.name, "ee_pos")[measured], turn.as_rotvec()]
            parts.append(gripper[measured + skip] - gripper[measured])
        values = np.concatenate(parts, axis=1)
    low, high = np.array(robot.quantiles.action_low), np.array(robot.quantiles.action_high)
    scaled = 2 * (values - low) / np.maximum(high - low, 1e-6) - 1
    return _padded(np.where(robot.action_is_normalized, scaled, values), robot.action_dim)


def _numbers(content: dict[str, Any], group: str, arm: str, name: str) -> np.ndarray:
    return np.array(content[group][f"{arm}_{name}"])


def _turns(content: dict[str, Any], group: str, arm: str) -> Rotation:
    stored = _numbers(content, group, arm, "ee_rotm")
    return Rotation.from_rotvec(stored) if stored.shape[1] == 3 else Rotation.from_matrix(stored.reshape(-1, 3, 3))


def _canonical(turns: Rotation) -> np.ndarray:
    quaternions = turns.as_quat()[:, [3, 0, 1, 2]]
    return np.where(quaternions[:, :1] < 0, -quaternions, quaternions)


def _padded(values: np.ndarray, size: int) -> np.ndarray:
    return np.pad(values, ((0, 0), (0, size - values.shape[1])))
