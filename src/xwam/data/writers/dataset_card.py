"""The README of a recorded LeRobot dataset with a picture, and its way to the Hugging Face Hub."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image

from xwam.data import lerobot_layout as layout
from xwam.data.writers.dataset_writer import STAGING, read_plain
from xwam.data.writers.lerobot_writer import read_episodes, read_format
from xwam.data.writers.recording_format import CameraFormat, RecordingFormat
from xwam.robots.spec import RobotSpec

CARD_FILE, PICTURE_FILE = "README.md", "preview.jpg"
_MOST_ROWS = 10  # of the picture: one per environment


def write_card(folder: str | Path, *, license_name: str | None = None, repo_id: str | None = None) -> Path:
    """Write `README.md` and `preview.jpg` of a finished dataset, replacing those that are there.

    Args:
        folder (`str` or `Path`): A dataset that `LeRobotWriter` made.
        license_name (`str`, *optional*): SPDX identifier of the dataset's licence; left open by default.
        repo_id (`str`, *optional*): Where the dataset is on the hub, for the example of use.

    Returns:
        `Path`: The card.

    Raises:
        ValueError: If the folder holds no such dataset.
    """
    folder = Path(folder)
    form, info = read_format(folder), read_plain(folder / layout.INFO_FILE)
    rows = read_episodes(folder).to_pylist()
    first_rows = list({row["environment"]: row for row in reversed(rows)}.values())[::-1]
    Image.fromarray(_picture(folder, form, info["fps"], first_rows[:_MOST_ROWS])).save(
        folder / PICTURE_FILE, quality=90
    )
    skipped = read_plain(folder / layout.RECORDING_FILE)["skipped"]
    has_depth = any(camera.has_depth for camera in form.cameras)
    seen = ["RGB", *(["depth"] if has_depth else []), *(["calibration"] if _is_calibrated(form) else [])]
    sections = [
        _front_matter(license_name, has_depth),
        f"# {info['total_episodes']} episodes of `{form.robot.name}`",
        f"Demonstrations recorded with [xwam](https://pypi.org/project/xwam/) in LeRobot {layout.VERSION}: "
        f"{info['total_frames']} frames at {info['fps']} Hz, {' and '.join([', '.join(seen[:-1]), seen[-1]] if seen[1:] else seen)} of {len(form.cameras)} cameras.",
        f"![first frames, a row per environment]({PICTURE_FILE})",
        _tasks(rows, skipped),
        _cameras(form),
        _conventions(form.robot),
        _usage(repo_id or "user/my-robot"),
    ]
    card = folder / CARD_FILE
    card.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return card


def push_to_hub(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    license_name: str | None = None,
) -> str:
    """Publish a finished dataset with its card, tagged as LeRobot wants it.

    Args:
        folder (`str` or `Path`): A dataset that `LeRobotWriter` made.
        repo_id (`str`): Repository, such as `"user/my-robot"`; made if it is new.
        private (`bool`, *optional*): Whether a new repository is private; else the account's default.
        token (`str`, *optional*): Access token; else the stored one.
        license_name (`str`, *optional*): SPDX identifier of the dataset's licence.

    Returns:
        `str`: Hash of the commit.

    Raises:
        ValueError: If the folder holds no such dataset, or episodes that are not yet part of it.
    """
    folder = Path(folder)
    if any((folder / STAGING / "episodes").glob("[!.]*")):
        raise ValueError(f"{folder} has episodes that are not yet part of the dataset; finish the recording first.")
    write_card(folder, license_name=license_name, repo_id=repo_id)
    api = HfApi(token=token)
    api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    commit = api.upload_folder(
        repo_id=repo_id,
        folder_path=folder,
        repo_type="dataset",
        ignore_patterns=[f"{STAGING}/*"],
        delete_patterns=["data/*", "meta/*", "videos/*", "simulator/*"],  # of a former state of the dataset
        commit_message="Upload dataset with xwam",
    )
    try:
        api.delete_tag(repo_id, tag=layout.VERSION, repo_type="dataset")
    except HfHubHTTPError as error:
        if error.response.status_code != 404:
            raise
    api.create_tag(repo_id, tag=layout.VERSION, revision=commit.oid, repo_type="dataset")
    return commit.oid


def _is_calibrated(form: RecordingFormat) -> bool:
    return any(camera.is_calibrated for camera in form.cameras)


def _front_matter(license_name: str | None, has_depth: bool) -> str:
    lines = ["---", *([f"license: {json.dumps(license_name)}"] if license_name else [])]
    lines += ["task_categories:", "- robotics", "tags:", "- LeRobot", "- xwam", *(["- depth"] if has_depth else [])]
    return "\n".join([*lines, "configs:", "- config_name: default", "  data_files: data/*/*.parquet", "---"])


def _tasks(rows: list[dict[str, Any]], skipped: dict[str, Any]) -> str:
    episodes = Counter(row["environment"] for row in rows)
    frames, words = Counter[str](), dict[str, str]()
    for row in rows:
        frames[row["environment"]] += row["length"]
        words.setdefault(row["environment"], " ".join(row["tasks"][0].split()).replace("|", "\\|"))
    failed = Counter(note.get("environment") for note in skipped.values())
    lines = ["| environment | episodes | frames | seeds skipped | an instruction |", "| --- | --: | --: | --: | --- |"]
    lines += [
        f"| `{name}` | {episodes[name]} | {frames[name]} | {failed[name]} | {words[name]} |" for name in episodes
    ]
    experts = sorted({_without_extra_steps(row["expert"]) for row in rows})
    versions = sorted({row["versions"] for row in rows})
    notes = [
        "Skipped seeds are those whose episode did not succeed; they are listed in `meta/xwam.json`.",
        f"Who acted: {'; '.join(f'`{expert}`' for expert in experts)}. Versions: {'; '.join(f'`{v}`' for v in versions)}.",
    ]
    return "## Tasks\n\n" + "\n".join(lines) + "\n\n" + "\n\n".join(notes)


def _without_extra_steps(expert: str) -> str:
    """Each seed has a number of its own, which says nothing here."""
    return json.dumps({name: value for name, value in json.loads(expert).items() if name != "extra_steps"})


def _cameras(form: RecordingFormat) -> str:
    lines = ["| camera | on | size | near (m) | far (m) |", "| --- | --- | --- | --: | --: |"]
    arms = {camera.name: camera.arm for camera in form.robot.cameras}
    for camera in form.cameras:
        near, far = camera.depth_range or ("–", "–")
        place = f"arm `{arms[camera.name]}`" if arms[camera.name] else "stand"
        lines.append(f"| `{camera.name}` | {place} | {camera.size[0]}×{camera.size[1]} | {near} | {far} |")
    depth = (
        "Depth is `observation.images.<camera>_depth`: lossless HEVC of 12-bit codes, LeRobot's logarithmic code between near "
        "and far (`video.depth_min`, `video.depth_max`, `video.shift` of the feature). Code 0 means that nothing was "
        "measured, code 4095 at far or beyond."
    )
    calibration = (
        "`observation.cameras.<camera>.base_from_camera` (4×4, row by row) and `.intrinsics` (3×3) belong to each frame. "
        "OpenCV axes, pixel centres at +0.5, metres. Hand-eye poses stand in `meta/xwam_robot.json`."
    )
    levels = (
        "Depth is `observation.images.<camera>_depth` without a unit: lossless HEVC of 12-bit codes, 16 · level, where level is "
        "inverse depth up to a scale and a shift that each episode and camera has of its own, 255 near. "
        "LeRobot's own reader would take the codes for metres; `xwam.data.readers.open.open_dataset` gives levels."
    )
    notes = [levels if any(camera.has_levels for camera in form.cameras) else depth]
    notes = notes if any(camera.has_depth for camera in form.cameras) else ["No depth was recorded."]
    notes += [form.depth_source] if form.depth_source else []
    notes += [calibration] if _is_calibrated(form) else ["The cameras are not calibrated."]
    return "\n\n".join(["## Cameras", "\n".join(lines), *notes])


def _conventions(robot: RobotSpec) -> str:
    units = zip(robot.command_columns, robot.command_units, strict=True)
    grippers = [
        f"command {arm.gripper.command_open:g} opens the gripper of arm `{arm.name}`, {arm.gripper.command_closed:g} closes it"
        for arm in robot.arms
        if arm.gripper is not None
    ]
    lines = [
        "- `observation.state`, in the robot's base frame: "
        + ", ".join(f"`{column}`" for column in robot.state_columns),
        "- Positions in metres, quaternions (w, x, y, z), joints in radians, grippers from 0 closed to 1 open.",
        f"- `action`, {robot.command_kind}: " + ", ".join(f"`{column}` ({unit})" for column, unit in units),
        f"- {'; '.join(grippers)}." if grippers else "- The gripper's convention is not declared.",
        "- A frame is what was known, and the command that was then executed.",
        "- `next.success` is true from the command on that completed the task.",
        "- The robot: `meta/xwam_robot.json` (`xwam.robots.registry.read_robot`).",
        "- `simulator/`: exact commands and, where there is one, the simulator's state, so that `xwam replay` can run the "
        "episodes again. LeRobot does not read it.",
    ]
    return "## Conventions\n\n" + "\n".join(lines)


def _usage(repo_id: str) -> str:
    return f"""## How to use

```python
from lerobot.datasets.lerobot_dataset import LeRobotDataset

dataset = LeRobotDataset("{repo_id}")
```

Episodes of simulators can be run again with other cameras:

```
hf download {repo_id} --repo-type dataset --local-dir recorded
xwam replay recorded --output bigger --image-size 256 320
```"""


def _picture(folder: Path, form: RecordingFormat, fps: int, rows: list[dict[str, Any]]) -> np.ndarray:
    """First frames: a row per environment, RGB and then depth of every camera; near is bright."""
    height, width = (max(camera.size[axis] for camera in form.cameras) for axis in (0, 1))
    kinds = [(camera, is_depth) for is_depth in (False, True) for camera in form.cameras]
    kinds = [(camera, is_depth) for camera, is_depth in kinds if not is_depth or camera.has_depth]
    sheet = np.zeros((height * len(rows), width * len(kinds), 3), dtype=np.uint8)
    for number, row in enumerate(rows):
        for column, (camera, is_depth) in enumerate(kinds):
            tile = _first_frame(folder, camera, is_depth, fps, row)
            top, left = number * height, column * width
            sheet[top : top + camera.size[0], left : left + camera.size[1]] = tile
    return sheet


def _first_frame(folder: Path, camera: CameraFormat, is_depth: bool, fps: int, row: dict[str, Any]) -> np.ndarray:
    key = layout.depth_key(camera.name) if is_depth else layout.image_key(camera.name)
    places = {name: row[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
    start = row[f"videos/{key}/from_timestamp"]
    with av.open(str(folder / layout.VIDEO_PATH.format(video_key=key, **places))) as video:
        stream = video.streams.video[0]
        assert stream.time_base is not None, "mp4 has one"
        video.seek(round(start / stream.time_base), stream=stream)
        frame = next(
            frame for frame in video.decode(stream) if round(float(frame.time or 0) * fps) >= round(start * fps)
        )
        if not is_depth:
            return frame.to_ndarray(format="rgb24")
        codes = frame.to_ndarray(format="gray12le")
    inverse = camera.depth_of_code.copy()
    if camera.depth_range is not None:
        near, far = camera.depth_range
        inverse[1:] = (1 / inverse[1:] - 1 / far) / (1 / near - 1 / far)
    shade = (255 * np.sqrt(inverse.clip(0, 1))).astype(np.uint8)[codes]
    return np.repeat(shade[..., None], 3, axis=-1)
