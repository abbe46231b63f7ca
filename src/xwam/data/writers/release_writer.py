"""Episodes into the layout of the X-WAM release: JSON and mp4 per episode.

This layout is lossy. Depth is a video of 8-bit inverse depth: at 1 m, between 0.3 m and 5 m, one level is 12 mm, and the codec
adds its own error; pixels without depth become the farthest. Calibration, simulator states and exact commands have no place
in it, and numbers are in the model's frames, not the robot's. Write LeRobot v3 unless the release's own code must read it.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq

from xwam.data import lerobot_layout as layout
from xwam.data.video.writer import VideoWriter
from xwam.data.writers.dataset_writer import DatasetWriter, read_plain
from xwam.data.writers.durable_files import write_json
from xwam.data.writers.episode_writer import EPISODE_FILE, NUMBERS_FILE, EpisodeDescription, EpisodeWriter
from xwam.data.writers.recording_format import CameraFormat, RecordingFormat
from xwam.robots.spec import RobotSpec
from xwam.structures import ArmState

OWN_FILE = "xwam.json"
EPISODES_PER_CHUNK = 1000
DEPTH_CRF = 10
COMMAND_KINDS = ("raw", "absolute_end_effector")  # those that the layout has a place for

_README = """# Robot episodes in the layout of the X-WAM release

Made by xwam for `sharinka0715/X-WAM`. **Depth is lossy**: 8-bit inverse depth between the near and far plane of each camera,

    level = 255 (1/depth - 1/far) / (1/near - 1/far)

in an H.264 video; where nothing was measured it is 0, as at the far plane. Calibration and exact commands are not kept.
Near and far planes in metres and the robot's specification are in `xwam.json`. Poses are in the model's frames.
The same episodes without loss: `xwam record --format lerobot`.
"""


class ReleaseWriter(DatasetWriter):
    """Writes the release's layout, with the losses that the module's docstring names."""

    kind = "dataset of xwam in the release's layout"

    def episode(self, key: str, description: EpisodeDescription, recording_format: RecordingFormat) -> EpisodeWriter:
        """Begin an episode, see `DatasetWriter.episode`.

        Args:
            key (`str`): Its name.
            description (`EpisodeDescription`): Where it comes from.
            recording_format (`RecordingFormat`): The form of its frames.

        Raises:
            ValueError: If the layout has no place for the robot's arms, commands or cameras.
        """
        _expect_representable(recording_format)
        return super().episode(key, description, recording_format)

    def _is_own(self) -> bool:
        return (self.folder / OWN_FILE).is_file()

    def _finished_format(self) -> RecordingFormat | None:
        return RecordingFormat.from_dict(self._own()["format"]) if self._is_own() else None

    def _finished_keys(self) -> Sequence[str]:
        return self._own()["keys"] if self._is_own() else []

    def _finished_skipped(self) -> dict[str, Any]:
        return self._own()["skipped"] if self._is_own() else {}

    def _own(self) -> dict[str, Any]:
        return read_plain(self.folder / OWN_FILE)

    def _build(self, built: Path, keys: Sequence[str], recording_format: RecordingFormat) -> None:
        there = list(self._finished_keys())
        metadata = read_plain(self.folder / "metadata.json") if there else {}
        for number, key in enumerate(keys, start=len(there)):
            name = f"chunk-{number // EPISODES_PER_CHUNK:04d}/episode_{number:07d}"
            metadata[name] = _build_episode(built, name, self.staging / "episodes" / key, recording_format)
        write_json(built / "metadata.json", metadata)
        own = {"format": recording_format.to_dict(), "keys": [*there, *keys], "skipped": self.skipped_notes()}
        write_json(built / OWN_FILE, own)
        source = recording_format.depth_source
        readme = _README + (f"\n## Where depth comes from\n\n{source}\n" if source else "")
        (built / "README.md").write_text(readme, encoding="utf-8")


def _build_episode(built: Path, name: str, folder: Path, recording_format: RecordingFormat) -> int:
    """Write one episode and return its number of frames."""
    header = read_plain(folder / EPISODE_FILE)
    length, robot = int(header["length"]), recording_format.robot
    observations: dict[str, dict[str, Any]] = {}
    arm_of_camera = {camera.name: camera.arm for camera in robot.cameras}
    for camera in recording_format.cameras:
        places = {kind: f"{kind}/{camera.name}/{name}.mp4" for kind in ("video", "depth")}
        for place in places.values():
            (built / place).parent.mkdir(parents=True, exist_ok=True)
        _link(folder / f"{layout.image_key(camera.name)}.mp4", built / places["video"])
        _write_depth(
            folder / f"{layout.depth_key(camera.name)}.mp4", built / places["depth"], camera, recording_format
        )
        observations[camera.name] = {
            "type": "static" if arm_of_camera[camera.name] is None else "dynamic",
            "rgb_path": places["video"],
            "depth_path": places["depth"],
            "start": 0,
            "end": length,
            "fps": recording_format.fps,
        }
    table = pq.read_table(folder / NUMBERS_FILE)
    states, commands = (
        np.stack(table[column].to_pylist()).astype(np.float64) for column in (layout.STATE_KEY, layout.ACTION_KEY)
    )
    write_json(
        built / "data" / f"{name}.json",
        {
            "num_frames": length,
            "instructions": [header["instruction"]],
            "observations": observations,
            "proprios": _arms(robot, states),
            "actions": {"raw_actions": _raw_commands(robot, commands).tolist()}
            if robot.command_kind == "raw"
            else _arms(robot, _with_openings(robot, commands)),
            "xwam": {
                field: header[field] for field in ("key", "environment", "seed", "options", "versions", "expert")
            },
        },
        indent=None,
    )
    return length


def _arms(robot: RobotSpec, poses: np.ndarray) -> dict[str, Any]:
    """Positions, rotations as nine numbers row by row and openings `(S, …)` of tool poses `(S, channels)`, by arm."""
    import torch

    from xwam.geometry.rotations import quaternion_to_matrix
    from xwam.robots.states import states_to_channels

    layouts = robot.state_layout
    parts = {part: layouts.part(part) for part, _ in layouts.parts}
    states = [
        {
            arm.name: ArmState(
                position=row[parts[f"{arm.name}_position"]],
                quaternion=row[parts[f"{arm.name}_rotation"]],
                gripper=float(row[parts[f"{arm.name}_gripper"]][0]),
            )
            for arm in robot.arms
        }
        for row in poses
    ]
    channels = states_to_channels(robot, states)
    found: dict[str, Any] = {}
    for arm in robot.arms:
        quaternions = channels[:, parts[f"{arm.name}_rotation"]]
        rotations = quaternion_to_matrix(torch.nn.functional.normalize(quaternions, dim=-1))
        found[f"{arm.name}_ee_pos"] = channels[:, parts[f"{arm.name}_position"]].tolist()
        found[f"{arm.name}_ee_rotm"] = rotations.flatten(1).tolist()
        found[f"{arm.name}_gripper_pos"] = channels[:, parts[f"{arm.name}_gripper"]].tolist()
    return found


def _with_openings(robot: RobotSpec, commands: np.ndarray) -> np.ndarray:
    """Absolute commands with the opening that they ask for in the place of the gripper's own number."""
    import torch

    from xwam.robots.actions import gripper_opening

    found = commands.copy()
    for arm in robot.arms:
        assert arm.gripper is not None, "checked by _expect_representable"
        part = robot.command_layout.part(f"{arm.name}_gripper")
        found[:, part] = gripper_opening(arm.gripper, torch.from_numpy(commands[:, part])).numpy()
    return found


def _raw_commands(robot: RobotSpec, commands: np.ndarray) -> np.ndarray:
    """Raw commands with the gripper's sign such that the release's reader, which flips it, finds the model's."""
    turned = commands.copy()
    for arm in robot.arms:
        assert arm.gripper is not None, "checked by _expect_representable"
        turned[:, robot.command_layout.part(f"{arm.name}_gripper")] *= -arm.gripper.action_sign
    return turned


def _write_depth(source: Path, target: Path, camera: CameraFormat, recording_format: RecordingFormat) -> None:
    level_of_code = _level_of_code(camera)
    pixel_format = "yuv420p" if all(side % 2 == 0 for side in camera.size) else "yuv444p"
    with (
        av.open(str(source)) as video,
        VideoWriter(target, camera.size, recording_format.fps, pixel_format=pixel_format, crf=DEPTH_CRF) as writer,
    ):
        for frame in video.decode(video=0):
            levels = level_of_code[frame.to_ndarray(format="gray12le")]
            writer.add(np.repeat(levels[..., None], 3, axis=-1))


def _level_of_code(camera: CameraFormat) -> np.ndarray:
    """Level of each 12-bit code, `uint8` of shape `(4096,)`."""
    shares = camera.depth_of_code.astype(np.float64)
    if not camera.has_levels:
        assert camera.depth_range is not None, "checked by _expect_representable"
        near, far = camera.depth_range
        shares[1:] = (1 / shares[1:] - 1 / far) / (1 / near - 1 / far)  # code 0, nothing measured, stays 0
    return np.rint(255 * shares.clip(0, 1)).astype(np.uint8)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _expect_representable(recording_format: RecordingFormat) -> None:
    robot = recording_format.robot
    robot.require("arms", "command_kind", "model_from_base", purpose="write the release's layout")
    if robot.command_kind not in COMMAND_KINDS:
        raise ValueError(
            f"The release's layout holds commands of kinds {list(COMMAND_KINDS)}, but {robot.name!r} has "
            f"{robot.command_kind!r}. Write LeRobot v3 instead."
        )
    if any(arm.num_joints is not None for arm in robot.arms) or {arm.name for arm in robot.arms} - {"left", "right"}:
        raise ValueError(
            f"The release's layout holds tool poses of arms left and right, but {robot.name!r} has others."
        )
    if lacking := [camera.name for camera in recording_format.cameras if not camera.has_depth]:
        raise ValueError(f"The release's layout needs depth of every camera, but {lacking} have none.")
