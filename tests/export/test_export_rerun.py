"""A recording passes Rerun's own checker, and its chunk reader finds every frame, point, pose and number at its time."""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from export_samples import NUM_FRAMES, PERIOD, WRIST, make_cloud, make_future

pytest.importorskip("rerun", reason="the Rerun SDK is not installed")

from rerun.chunk import RrdReader

from xwam.export.rerun import write_rrd
from xwam.structures import JointState

VIEWS = list(make_future().cameras)
CLOUDS = [make_cloud(seed, 40 + seed) for seed in range(NUM_FRAMES)]


def cli(command: str, path: Path) -> subprocess.CompletedProcess:
    """Rerun's command line on a file."""
    return subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", command, str(path)], capture_output=True, text=True, check=False
    )


def rows(path: Path) -> dict[str, list[tuple[float | None, dict]]]:
    """By entity: seconds (`None` where static) and the components of every row."""
    found = defaultdict(list)
    for chunk in RrdReader(path).stream():
        batch = chunk.to_record_batch()
        assert set(chunk.timeline_names) <= {"time"}, "one timeline"
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
        for index in range(chunk.num_rows):
            time = None if chunk.is_static else columns["time"][index].total_seconds()
            parts = {name: values[index] for name, values in columns.items() if ":" in name and values[index]}
            found[chunk.entity_path].append((time, parts))
    return {entity: sorted(own, key=lambda row: (row[0] is not None, row[0])) for entity, own in found.items()}


@pytest.fixture(scope="module")
def future():
    return make_future()


@pytest.fixture(scope="module")
def path(future, tmp_path_factory):
    path = tmp_path_factory.mktemp("rrd") / "new" / "future.rrd"
    write_rrd(path, future, CLOUDS)
    assert [file.name for file in path.parent.iterdir()] == ["future.rrd"]
    return path


@pytest.fixture(scope="module")
def recorded(path):
    return rows(path)


def moving(recorded, entity: str, component: str) -> dict[float, list]:
    """Values of a component over time."""
    return {time: parts[component] for time, parts in recorded[entity] if time is not None and component in parts}


def test_the_viewers_own_checker_takes_it(path, tmp_path):
    done = cli("verify", path)
    assert done.returncode == 0, done.stderr
    assert "1 file verified without error" in done.stdout + done.stderr
    cut = tmp_path / "cut.rrd"
    cut.write_bytes(path.read_bytes()[:-1000])
    assert cli("verify", cut).returncode != 0, "the checker can say no"


def test_clouds_stand_at_their_frames_with_their_points(recorded):
    positions = moving(recorded, "/base/cloud", "Points3D:positions")
    colours = moving(recorded, "/base/cloud", "Points3D:colors")
    assert list(positions) == pytest.approx([f * PERIOD for f in range(NUM_FRAMES)])
    for cloud, points, own in zip(CLOUDS, positions.values(), colours.values(), strict=True):
        np.testing.assert_array_equal(np.array(points, np.float32), cloud.points)
        rgba = np.array(own, np.uint32)
        np.testing.assert_array_equal(np.stack([rgba >> 24, rgba >> 16 & 255, rgba >> 8 & 255], 1), cloud.colours)


@pytest.mark.parametrize("view", VIEWS)
def test_images_and_depth_are_exact(recorded, future, view):
    height, width = future.frames[view].shape[1:3]
    pictures = moving(recorded, f"/base/{view}/rgb", "Image:buffer")
    for frame, (time, buffer) in enumerate(pictures.items()):
        assert time == pytest.approx(frame * PERIOD)
        read = np.frombuffer(bytes(buffer[0]), np.uint8).reshape(height, width, 3)
        np.testing.assert_array_equal(read, future.frames[view][frame])
    depths = moving(recorded, f"/base/{view}/depth", "DepthImage:buffer")
    assert len(pictures) == len(depths) == NUM_FRAMES
    for buffer, depth in zip(depths.values(), future.depths[view], strict=True):
        np.testing.assert_array_equal(np.frombuffer(bytes(buffer[0]), np.float32).reshape(height, width), depth)
    assert set(map(tuple, moving(recorded, f"/base/{view}/depth", "DepthImage:meter").values())) == {(1.0,)}


def test_cameras_move_with_the_arm(recorded, future):
    translations = moving(recorded, f"/base/{WRIST}", "Transform3D:translation")
    rotations = moving(recorded, f"/base/{WRIST}", "Transform3D:mat3x3")
    for pose, translation, rotation in zip(
        future.base_from_camera[WRIST], translations.values(), rotations.values(), strict=True
    ):
        np.testing.assert_allclose(translation[0], pose[:3, 3], rtol=1e-6)
        np.testing.assert_allclose(np.array(rotation[0]).reshape(3, 3).T, pose[:3, :3], atol=1e-6)  # column by column
    ((_, pinhole),) = [row for row in recorded[f"/base/{WRIST}"] if row[0] is None]
    matrix = np.array(pinhole["Pinhole:image_from_camera"][0]).reshape(3, 3).T
    np.testing.assert_allclose(matrix, future.intrinsics[WRIST], rtol=1e-6)
    assert pinhole["Pinhole:resolution"][0] == [160, 128]
    assert pinhole["Pinhole:camera_xyz"][0] == [3, 2, 5], "right, down, forward"
    assert recorded["/base"][0][1]["ViewCoordinates:xyz"][0] == [3, 5, 1], "right, forward, up: z is up"


def test_states_and_actions_stand_at_their_own_times(recorded, future):
    heights = moving(recorded, "/states/left_z", "Scalars:scalars")
    assert list(heights) == pytest.approx([f * PERIOD for f in range(NUM_FRAMES)])
    assert [value[0] for value in heights.values()] == pytest.approx([s["left"].position[2] for s in future.states])
    for index, column in enumerate(future.actions.columns):
        values = moving(recorded, f"/actions/{column}", "Scalars:scalars")
        assert list(values) == pytest.approx([k * future.actions.period for k in range(12)])
        assert [value[0] for value in values.values()] == pytest.approx(future.actions.commands[:, index].tolist())
    quaternion = next(iter(moving(recorded, "/base/arms/left", "Transform3D:quaternion").values()))[0]
    w, x, y, z = future.states[0]["left"].quaternion
    assert quaternion == pytest.approx([x, y, z, w], abs=1e-6)


def test_what_the_depth_is_can_be_read(recorded):
    text = recorded["/about"][0][1]["TextDocument:text"][0]
    assert "Measured by a sensor or a simulator" in text
    assert "choose the blue cube" in text


def test_the_layout_is_brought_along(path):
    assert len(RrdReader(path).blueprints()) == 1
    assert len(RrdReader(path).recordings()) == 1


def test_a_future_without_depth_calibration_and_actions_is_recorded_too(tmp_path):
    joints = tuple({"left": JointState(np.arange(7) / 10, 0.5)} for _ in range(NUM_FRAMES))
    bare = make_future(depths={}, depth_kind="none", intrinsics={}, base_from_camera={}, states=joints, actions=None)
    write_rrd(tmp_path / "future.rrd", bare)
    assert cli("verify", tmp_path / "future.rrd").returncode == 0
    recorded = rows(tmp_path / "future.rrd")
    assert {f"/base/{view}/rgb" for view in VIEWS} <= set(recorded)
    assert not {"/base/cloud", f"/base/{VIEWS[0]}/depth"} & set(recorded)
    for number in range(1, 8):  # columns of robots are named from 1
        values = moving(recorded, f"/states/left_joint_{number}", "Scalars:scalars")
        assert values[0.0] == pytest.approx([(number - 1) / 10])


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in .rrd"):
        write_rrd(tmp_path / "future.rr", make_future())
    with pytest.raises(ValueError, match="must hold 4 clouds, one a frame, or none, but holds 1"):
        write_rrd(tmp_path / "future.rrd", make_future(), CLOUDS[:1])
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
def test_an_error_on_the_way_leaves_no_file_open(tmp_path, future, monkeypatch):
    monkeypatch.setattr("xwam.export.rerun._log_actions", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError) as raised:  # which keeps every local of the call alive
        write_rrd(tmp_path / "future.rrd", future)
    links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert raised.value.args
    assert not [link for link in links if str(tmp_path) in link]
    assert not list(tmp_path.iterdir())
