import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import synthetic_episodes as synthetic
import torch
from scipy.spatial.transform import Rotation
from synthetic_episodes import CAMERAS, ROBOT, contents, write_episode

from xwam.data.readers.open import open_dataset
from xwam.data.writers.recording_format import RecordingFormat
from xwam.data.writers.release_writer import ReleaseWriter
from xwam.geometry.depth import depth_to_image
from xwam.robots.registry import get_robot


def record(folder: Path, seeds: range) -> Path:
    with ReleaseWriter(folder) as writer:
        for seed in seeds:
            write_episode(writer, seed)
        writer.finish()
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("release") / "dataset", range(3))


def episode_of(folder: Path, number: int) -> dict[str, Any]:
    return json.loads((folder / f"data/chunk-0000/episode_{number:07d}.json").read_text())


def video(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_numbers_are_where_the_release_looks_for_them(dataset: Path):
    metadata = json.loads((dataset / "metadata.json").read_text())
    assert metadata == {f"chunk-0000/episode_{seed:07d}": synthetic.length(seed) for seed in range(3)}
    for seed in range(3):
        episode = episode_of(dataset, seed)
        seen = [one.arms["left"] for one, _, _ in synthetic.frames(seed)]
        assert next(iter(episode)) == "num_frames", "the release looks for it in the first bytes"
        assert episode["instructions"] == [f"task {seed % 2}"]
        np.testing.assert_allclose(episode["proprios"]["left_ee_pos"], [arm.position for arm in seen], rtol=1e-6)
        rotations = Rotation.from_quat([arm.quaternion[[1, 2, 3, 0]] for arm in seen]).as_matrix()
        np.testing.assert_allclose(episode["proprios"]["left_ee_rotm"], rotations.reshape(-1, 9), atol=1e-6)
        np.testing.assert_allclose(
            np.ravel(episode["proprios"]["left_gripper_pos"]), [arm.gripper for arm in seen], rtol=1e-6
        )
        commands = np.stack([command for _, command, _ in synthetic.frames(seed)])
        np.testing.assert_allclose(episode["actions"]["raw_actions"], commands, rtol=1e-6)


def test_videos_are_where_the_numbers_say(dataset: Path):
    episode = episode_of(dataset, 1)
    assert {name: one["type"] for name, one in episode["observations"].items()} == dict(
        zip(CAMERAS, ("static", "static", "dynamic"), strict=True)
    )
    for name, one in episode["observations"].items():
        assert (one["start"], one["end"], one["fps"]) == (0, episode["num_frames"], 20)
        seen = [frame for frame, _, _ in synthetic.frames(1)]
        pictures = np.stack([frame.images[name] for frame in seen]).astype(float)
        assert 10 * np.log10(255**2 / np.mean((video(dataset / one["rgb_path"]) - pictures) ** 2)) > 38
        near, far = next(camera.depth_range for camera in ROBOT.cameras if camera.name == name)
        depths = torch.from_numpy(np.stack([frame.depths[name] for frame in seen]))
        image, _ = depth_to_image(depths, torch.full((len(seen),), near), torch.full((len(seen),), far))
        stored = video(dataset / one["depth_path"])[..., 0] / 127.5 - 1
        assert np.abs(stored - image[:, 0].numpy()).mean() < 2 / 255, "about a level of 8 bits"


def test_episodes_are_added_behind_the_others(dataset: Path, tmp_path: Path):
    record(record(tmp_path / "later", range(2)), range(2, 3))
    later, once = contents(tmp_path / "later"), contents(dataset)
    assert later == once


def test_the_folder_says_that_it_is_lossy(dataset: Path):
    assert "lossy" in (dataset / "README.md").read_text()


@pytest.mark.parametrize("robot", ["droid", "no depth"])
def test_what_has_no_place_is_refused_before_anything_is_written(tmp_path: Path, robot: str):
    form = RecordingFormat.of(ROBOT, synthetic.observation(0), with_depth=robot != "no depth")
    if robot == "droid":
        form = replace(form, robot=get_robot("droid"))
    with ReleaseWriter(tmp_path / "new") as writer, pytest.raises(ValueError, match=r"[Rr]elease|unknown"):
        writer.episode("a", synthetic.description(0), form)
    assert contents(tmp_path / "new") == {}


@pytest.mark.parametrize(("closed", "opened"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (0.0, 0.1)])
def test_absolute_commands_come_back_with_their_gripper_as_it_was(tmp_path: Path, closed: float, opened: float):
    arm = replace(ROBOT.arms[0], gripper=replace(ROBOT.arms[0].gripper, command_closed=closed, command_open=opened))
    robot = replace(ROBOT, arms=(arm,), command_kind="absolute_end_effector", raw_scale=None, quantiles=None)
    openings = np.linspace(0, 1, 6)
    with ReleaseWriter(tmp_path / "new") as writer:
        form = RecordingFormat.of(robot, synthetic.observation(0, 0))
        with writer.episode(synthetic.key(0), synthetic.description(0), form) as episode:
            for frame, opening in enumerate(openings):
                seen = synthetic.observation(frame, 0)
                own = seen.arms["left"]
                episode.add(seen, np.array([*own.position, *own.quaternion, closed + opening * (opened - closed)]))
            episode.publish(is_success=True)
        writer.finish()
    stored = episode_of(tmp_path / "new", 0)["actions"]["left_gripper_pos"]
    np.testing.assert_allclose(np.ravel(stored), openings, atol=1e-6)
    with open_dataset(tmp_path / "new", robot) as reader:
        read = reader.read_commands(0, 0, len(openings) - 1).values[:, -1]
    np.testing.assert_allclose(read, (closed + openings * (opened - closed))[:-1], atol=1e-6)
