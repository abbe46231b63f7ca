import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import release_folder as layout
import synthetic_episodes as synthetic

from xwam.data.readers import release
from xwam.data.readers.release import ReleaseReader
from xwam.data.streams.windows import WindowShape, read_clip
from xwam.data.writers.release_writer import ReleaseWriter
from xwam.errors import DamagedVideoError, DataError
from xwam.robots.processor import RobotProcessor
from xwam.robots.registry import get_robot
from xwam.robots.spec import RobotSpec

LENGTH = 80


def with_quantiles(name: str) -> RobotSpec:
    robot, rng = get_robot(name), np.random.default_rng(0)
    states, actions = (rng.uniform(0.5, 2, len(own)) for own in (robot.state_columns, robot.action_columns))
    passed = [np.array(own) for own in (robot.state_is_normalized, robot.action_is_normalized)]
    states, actions = np.where(passed[0], states, 1), np.where(passed[1], actions, 1)
    low = np.where(passed[0], -0.3 * states, -1)
    return replace(robot, image_size=layout.SIZE, depth_encoding="relative").with_quantiles(
        low, states, -actions, actions
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "dataset"
    with ReleaseWriter(folder) as writer:
        for seed in range(3):
            synthetic.write_episode(writer, seed)
        writer.finish()
    return folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    robot = get_robot("robocasa")
    episodes = [layout.episode(robot, LENGTH, 0), layout.episode(robot, 30, 1, start=LENGTH)]
    return layout.write(tmp_path_factory.mktemp("foreign") / "dataset", robot, episodes)


@pytest.fixture
def changed(foreign: Path, tmp_path: Path) -> Any:
    """Makes a copy whose first episode was changed by a function."""

    def change(edit: Any) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(foreign, folder)
        path = folder / "data/chunk-0000/episode_0000000.json"
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))
        return folder

    return change


def test_what_the_writer_wrote_is_read_back(recorded: Path):
    reader = ReleaseReader(recorded, synthetic.ROBOT)
    assert (reader.name, reader.rate, reader.depth_is_metric) == ("dataset", 20.0, True)
    assert reader.cameras == reader.depth_cameras == tuple(synthetic.CAMERAS)
    assert [episode.length for episode in reader.episodes] == [synthetic.length(seed) for seed in range(3)]
    for seed, episode in enumerate(reader.episodes):
        assert episode.instructions == (f"task {seed % 2}",)
        assert (episode.facts["seed"], episode.facts["key"]) == (seed, synthetic.key(seed))
        seen = [observation for observation, _, _ in synthetic.frames(seed)]
        states, commands = (
            reader.read_states(seed, 0, episode.length),
            reader.read_commands(seed, 0, episode.length - 1),
        )
        assert states.is_valid.all()
        assert commands.is_valid.all()
        arms = [observation.arms["left"] for observation in seen]
        np.testing.assert_allclose(states.values[:, :3], [arm.position for arm in arms], rtol=1e-6)
        inner = np.abs(np.einsum("ij,ij->i", states.values[:, 3:7], [arm.quaternion for arm in arms]))
        np.testing.assert_allclose(inner, 1, rtol=1e-6)
        np.testing.assert_allclose(states.values[:, 7], [arm.gripper for arm in arms], rtol=1e-6)
        given = [command for _, command, _ in synthetic.frames(seed)][:-1]
        np.testing.assert_allclose(commands.values, given, rtol=1e-6)
        rows = range(0, episode.length, 2)
        for camera in reader.cameras:
            images = np.stack([seen[row].images[camera] for row in rows]).astype(float)
            difference = reader.read_images(seed, camera, rows) - images
            assert 10 * np.log10(255**2 / np.mean(difference**2)) > 38


def test_depth_is_metric_within_a_level_and_what_was_not_measured_is_zero(recorded: Path):
    reader = ReleaseReader(recorded, synthetic.ROBOT)
    ranges = {camera.name: camera.depth_range for camera in synthetic.ROBOT.cameras}
    for camera in reader.cameras:
        depth = np.stack([observation.depths[camera] for observation, _, _ in synthetic.frames(1)])
        read = reader.read_depths(1, camera, range(len(depth)))
        assert (read.dtype, read.shape) == (np.float32, depth.shape)
        near, far = ranges[camera]
        inside = (depth > near) & (depth < 0.9 * far)
        inside[:, :4, :10] = False  # around the holes the codec smears
        step = depth[inside] ** 2 * (1 / near - 1 / far) / 255
        assert np.median(np.abs(read[inside] - depth[inside]) / step) < 1
        assert (read[:, 0, :2] == 0).mean() > 0.5
        assert read.max() <= far * 1.001


def test_without_planes_depth_comes_as_levels(recorded: Path, tmp_path: Path):
    folder = tmp_path / "plain"
    shutil.copytree(recorded, folder)
    (folder / "xwam.json").unlink()
    metric, relative = ReleaseReader(recorded, synthetic.ROBOT), ReleaseReader(folder, synthetic.ROBOT)
    assert not relative.depth_is_metric
    levels = relative.read_depths(0, synthetic.CAMERAS[0], [0, 1])
    assert levels.dtype == np.uint8
    near, far = next(camera.depth_range for camera in synthetic.ROBOT.cameras)
    metres = metric.read_depths(0, synthetic.CAMERAS[0], [0, 1])
    measured = levels > 0
    np.testing.assert_allclose(
        1 / metres[measured], levels[measured] / 255 * (1 / near - 1 / far) + 1 / far, rtol=1e-5
    )
    assert (metres[~measured] == 0).all()


@pytest.mark.parametrize("rotation", ["matrix", "axis_angle"])
@pytest.mark.parametrize(("name", "skip"), [("robocasa", 1), ("robotwin", 1), ("robotwin", 2), ("mujoco_panda", 1)])
def test_vectors_are_those_of_the_release(tmp_path: Path, name: str, skip: int, rotation: str):
    robot = with_quantiles(name)
    contents = [layout.episode(robot, LENGTH, seed, rotation=rotation, start=LENGTH * seed) for seed in range(2)]
    reader = ReleaseReader(layout.write(tmp_path / "dataset", robot, contents), robot)
    processor, shape = RobotProcessor(robot), WindowShape.of(robot, skip)
    for episode, start in ((0, 0), (1, 7), (1, LENGTH - shape.span - 1)):
        own = processor.encode_clip(read_clip(reader, episode, start, shape))
        states = layout.expected_states(robot, contents[episode], np.array(shape.frame_rows(start)))
        actions = layout.expected_actions(robot, contents[episode], start, shape.num_actions, skip)
        np.testing.assert_allclose(own.states, states, atol=1e-6)
        np.testing.assert_allclose(own.actions, actions, atol=1e-6)
        assert own.state_mask.sum(dim=1).unique().tolist() == [len(robot.state_columns)]
        assert own.action_mask.all(dim=0).sum() == len(robot.action_columns)


def test_episodes_of_one_video_lie_behind_each_other(foreign: Path):
    reader = ReleaseReader(foreign, get_robot("robocasa"))
    for episode, start in ((0, 0), (1, LENGTH)):
        frames = reader.read_images(episode, reader.cameras[0], [0, 3, 29])
        np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), [start, start + 3, start + 29], atol=1)
    with pytest.raises(IndexError, match="rows 0 to 30"):
        reader.read_images(1, reader.cameras[0], [30])


def test_instructions_are_stripped_and_empty_ones_left_out(foreign: Path):
    assert ReleaseReader(foreign, get_robot("robocasa")).episodes[1].instructions == ("lift it", "pick it up")


def test_without_metadata_episodes_are_looked_for_and_nothing_is_written(foreign: Path, tmp_path: Path):
    folder = tmp_path / "plain"
    shutil.copytree(foreign, folder)
    (folder / "metadata.json").unlink()
    late = folder / "data/chunk-0000/episode_0000001.json"
    content = json.loads(late.read_text())
    late.write_text(json.dumps({**content, "num_frames": content.pop("num_frames")}))  # behind the first bytes
    reader = ReleaseReader(folder, get_robot("robocasa"))
    assert [(episode.key, episode.length) for episode in reader.episodes] == [
        ("chunk-0000/episode_0000000", LENGTH),
        ("chunk-0000/episode_0000001", 30),
    ]
    assert not (folder / "metadata.json").exists()


def test_episodes_are_read_when_they_are_needed_and_few_are_kept(
    foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "lazy"
    shutil.copytree(foreign, folder)
    (folder / "data/chunk-0000/episode_0000001.json").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    reader = ReleaseReader(folder, get_robot("robocasa"))
    before = reader.read_states(0, 0, 5).values
    with pytest.raises(DataError, match=r"data set lazy, episode chunk-0000/episode_0000001, .*Git LFS pointer"):
        reader.read_states(1, 0, 5)
    shutil.copy(foreign / "data/chunk-0000/episode_0000001.json", folder / "data/chunk-0000/episode_0000001.json")
    (folder / "data/chunk-0000/episode_0000000.json").write_text("gone")
    np.testing.assert_array_equal(reader.read_states(0, 0, 5).values, before)
    monkeypatch.setattr(release, "KEPT_EPISODES", 1)
    reader.read_states(1, 0, 5)
    with pytest.raises(DataError, match="not JSON"):
        reader.read_states(0, 0, 5)


def test_a_reader_travels_to_a_worker_without_what_it_keeps(foreign: Path):
    reader = ReleaseReader(foreign, get_robot("robocasa"), name="kitchen")
    reader.read_states(0, 0, 5)
    payload = pickle.dumps(reader)
    assert len(payload) < 20_000
    arrived = pickle.loads(payload)  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(arrived.read_states(1, 0, 5).values, reader.read_states(1, 0, 5).values)
    assert (arrived.name, arrived.episodes[1].instructions) == ("kitchen", ("lift it", "pick it up"))


def test_a_data_set_is_opened_without_torch(foreign: Path):
    code = (
        "import sys; from xwam.data.readers.release import ReleaseReader; from xwam.robots.registry import get_robot; "
        f"ReleaseReader({str(foreign)!r}, get_robot('robocasa')); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_camera_names_are_refused_unless_they_are_given(tmp_path: Path):
    robot = get_robot("robocasa")
    content = layout.episode(robot, 40, 0)
    names = ("left", "right", "wrist")
    content["observations"] = dict(zip(names, content["observations"].values(), strict=True))
    folder = layout.write(tmp_path / "dataset", robot, [content])
    with pytest.raises(DataError, match=r"has cameras \['left', 'right', 'wrist'\], but 'robocasa' has"):
        ReleaseReader(folder, robot)
    own = [camera.name for camera in robot.cameras]
    reader = ReleaseReader(folder, robot, cameras=dict(zip(own, names, strict=True)))
    assert reader.cameras == tuple(own)
    assert reader.read_images(0, own[2], [1]).shape == (1, *layout.SIZE, 3)
    assert ReleaseReader(folder, robot, cameras={own[1]: "right"}).cameras == (own[1],)
    with pytest.raises(DataError, match="Give `cameras`"):
        ReleaseReader(folder, robot, cameras={own[1]: "top"})


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.mp4", "video/../../secret.mp4", "C:\\secret.mp4"])
def test_a_path_that_leads_out_of_the_folder_is_refused(changed: Any, path: str):
    camera = get_robot("robocasa").cameras[0].name
    reader = ReleaseReader(
        changed(lambda content: content["observations"][camera].update(rgb_path=path)), get_robot("robocasa")
    )
    with pytest.raises(DataError, match=f"feature {camera}.*leads out of the folder"):
        reader.read_images(0, camera, [0])


def test_a_key_that_leads_out_of_the_folder_is_refused(changed: Any):
    folder = changed(lambda content: None)
    (folder / "metadata.json").write_text('{"../../secret": 40}')
    with pytest.raises(DataError, match="leads out of the folder"):
        ReleaseReader(folder, get_robot("robocasa"))


def test_a_missing_and_a_broken_video_are_named(changed: Any):
    folder = changed(lambda content: None)
    reader = ReleaseReader(folder, get_robot("robocasa"))
    first, second, third = reader.cameras
    (folder / f"video/{first}.mp4").unlink()
    (folder / f"video/{second}.mp4").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match="no such file"):
        reader.read_images(0, first, [0])
    with pytest.raises(DamagedVideoError, match=f"data set changed, episode .*0, feature {second}, .*Git LFS pointer"):
        reader.read_images(0, second, [0])
    assert reader.read_images(0, third, [0]).any() is not None


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c.update(num_frames=70), "`?num_frames`? must be at least 80, but is 70"),
        (
            lambda c: c["proprios"]["left_ee_pos"][5].__setitem__(1, float("nan")),
            "row 5: .*left_ee_pos number 1 is nan",
        ),
        (lambda c: c["proprios"]["left_ee_pos"].__setitem__(5, None), "left_ee_pos must hold numbers"),
        (lambda c: c["proprios"]["left_ee_pos"][5].__setitem__(1, 10**400), "left_ee_pos must hold numbers"),
        (lambda c: c["proprios"]["left_ee_pos"].pop(), r"shape \(80, 3\), but has \(79, 3\)"),
        (lambda c: c["proprios"]["left_ee_rotm"][3].__setitem__(0, 5.0), "row 3: .*not a rotation"),
        (lambda c: c["proprios"].update(left_ee_rotm=[[1.0, 0, 0, 0]] * 80), "9 or 3"),
        (lambda c: c["actions"].update(raw_actions=[[0.0] * 6] * 80), "7 or 14"),
        (lambda c: c.update(actions={"left_ee_pos": []}), "raw_actions is missing"),
        (lambda c: c.update(instructions="lift"), "instructions must be a list"),
        (lambda c: c.update(proprios=[1]), "proprios must be a dict"),
    ],
)
def test_what_the_layout_does_not_promise_is_named(changed: Any, edit: Any, words: str):
    reader = ReleaseReader(changed(edit), get_robot("robocasa"))
    with pytest.raises(DataError, match=f"data set changed, episode chunk-0000/episode_0000000, .*{words}"):
        reader.read_states(0, 0, 10)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda media: media.update(rgb_path=3), "`rgb_path` and `depth_path` must be paths"),
        (lambda media: media.update(start=-1), "`start` and `end` must be frames"),
        (lambda media: media.update(fps=0), "`fps` must be a rate"),
        (lambda media: media.pop("fps"), "must have the same `fps`"),
    ],
)
def test_a_camera_that_cannot_be_used_is_named_when_the_data_set_is_opened(changed: Any, edit: Any, words: str):
    camera = get_robot("robocasa").cameras[0].name
    with pytest.raises(DataError, match=words):
        ReleaseReader(changed(lambda content: edit(content["observations"][camera])), get_robot("robocasa"))


def test_a_video_that_ends_before_the_episode_is_named(changed: Any):
    camera = get_robot("robocasa").cameras[0].name
    folder = changed(lambda content: content["observations"][camera].update(end=50))
    reader = ReleaseReader(folder, get_robot("robocasa"))
    assert len(reader.read_images(0, camera, [49])) == 1
    with pytest.raises(DataError, match=r"row 50.*ends before frame 50"):
        reader.read_images(0, camera, [48, 50])


def test_what_is_absent_is_zero_and_not_valid(changed: Any):
    folder = changed(lambda c: (c["proprios"].pop("left_gripper_pos"), c.pop("actions")))
    reader = ReleaseReader(folder, get_robot("robocasa"))
    states, commands = reader.read_states(0, 0, 10), reader.read_commands(0, 0, 10)
    assert states.is_valid[:, :7].all()
    assert not states.is_valid[:, 7].any()
    assert not commands.is_valid.any()
    assert not commands.values.any()


def test_robots_without_a_place_in_the_layout_are_refused(foreign: Path):
    with pytest.raises(ValueError, match="droid"):
        ReleaseReader(foreign, get_robot("droid"))
    with pytest.raises(ValueError, match="no commands of the kind 'delta_end_effector'"):
        ReleaseReader(foreign, replace(get_robot("robocasa"), command_kind="delta_end_effector"))


def test_an_empty_folder_is_no_data_set(tmp_path: Path):
    with pytest.raises(DataError, match="no episodes"):
        ReleaseReader(tmp_path, get_robot("robocasa"))
