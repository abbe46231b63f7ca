"""A future is a folder that is complete or not there, and reads back exactly; other libraries open each of its files."""

import json
import os
import struct
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import trimesh
from export_samples import NUM_FRAMES, PERIOD, make_future
from skimage import io
from skimage.metrics import peak_signal_noise_ratio

from xwam.export import future_files, future_folder
from xwam.export.future_folder import FORMATS, load_future, save_future, save_futures
from xwam.export.images import UNKNOWN_COLOUR
from xwam.futures.future import Future
from xwam.futures.point_clouds import point_cloud
from xwam.structures import DepthCalibration, JointState

VIEWS = list(make_future().cameras)
SMALL = ("json", "npz")
RGB_QUALITY = 32  # dB; halving the chroma of these sharp pictures alone leaves 33
LUMA_QUALITY = 40  # dB


@pytest.fixture(scope="module")
def future():
    return make_future()


@pytest.fixture(scope="module")
def saved(future, tmp_path_factory):
    """Everything that is installed, and what progress told."""
    pytest.importorskip("rerun", reason="the Rerun SDK is not installed")
    told = []
    folder = tmp_path_factory.mktemp("export") / "new" / "future"
    paths = save_future(folder, future, progress=lambda share, what: told.append((share, what)))
    return folder, paths, told


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def decode(path: Path) -> tuple[np.ndarray, float]:
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]), float(rate)


def assert_close_pictures(decoded: np.ndarray, frames: np.ndarray) -> None:
    assert peak_signal_noise_ratio(frames, decoded) > RGB_QUALITY
    luma = np.array([0.299, 0.587, 0.114])
    assert peak_signal_noise_ratio(frames @ luma, decoded @ luma, data_range=255) > LUMA_QUALITY
    other = np.roll(frames, 1, axis=0)  # the order of the frames is seen
    assert peak_signal_noise_ratio(other, decoded) < RGB_QUALITY


def assert_same(left, right) -> None:
    """Every array, number and word of two futures is equal."""
    assert (left.robot, left.instruction, left.frame_period) == (right.robot, right.instruction, right.frame_period)
    assert left.depth_kind == right.depth_kind
    fits = [{name: vars(fit) for name, fit in own.depth_calibrations.items()} for own in (left, right)]
    assert fits[0] == fits[1]
    for field in ("frames", "depths", "intrinsics", "base_from_camera"):
        ours, theirs = getattr(left, field), getattr(right, field)
        assert list(ours) == list(theirs)
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])
            assert ours[name].dtype == theirs[name].dtype
    assert len(left.states) == len(right.states)
    assert all(type(value) in (int, float) for fit in left.depth_calibrations.values() for value in vars(fit).values())
    for own, other in zip(left.states, right.states, strict=True):
        assert list(own) == list(other)
        for arm in own:
            assert type(own[arm]) is type(other[arm])
            for part, value in vars(own[arm]).items():
                np.testing.assert_array_equal(value, getattr(other[arm], part))
    assert (left.actions is None) == (right.actions is None)
    if left.actions is not None:
        np.testing.assert_array_equal(left.actions.commands, right.actions.commands)
        assert replace(left.actions, commands=None).__dict__ == replace(right.actions, commands=None).__dict__


# ---------------------------------------------------------------- what is in it


def test_every_file_is_told_and_there(saved, future):
    folder, paths, told = saved
    per_frame = [f"frame_{frame:04d}" for frame in range(NUM_FRAMES)]
    expected = {"future.json", "future.npz", "future.rrd", "clouds.glb", "views.mp4"}
    expected |= {f"{view}_{kind}.mp4" for view in VIEWS for kind in ("rgb", "depth")}
    expected |= {f"{kind}/{view}/{frame}.png" for kind in ("rgb", "depth") for view in VIEWS for frame in per_frame}
    expected |= {f"clouds/{frame}.ply" for frame in per_frame}
    assert files_in(folder) == expected
    assert {path.relative_to(folder).as_posix() for path in paths} == expected
    assert paths[0].name == "future.json"
    assert [what for _, what in told] == ["clouds", *FORMATS[1:], "done"]
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[-1][0] == 1
    assert [path.name for path in folder.parent.iterdir()] == ["future"]


def test_videos_have_the_frames_their_rate_and_their_colours(saved, future):
    folder, *_ = saved
    for view in VIEWS:
        frames, rate = decode(folder / f"{view}_rgb.mp4")
        assert frames.shape == future.frames[view].shape
        assert rate == pytest.approx(1 / PERIOD)
        assert_close_pictures(frames, future.frames[view])
        depth, rate = decode(folder / f"{view}_depth.mp4")
        assert depth.shape == frames.shape
        assert rate == pytest.approx(1 / PERIOD)


def test_the_picture_of_all_views_has_rgb_above_depth(saved, future):
    frames, rate = decode(saved[0] / "views.mp4")
    assert frames.shape == (NUM_FRAMES, 2 * 128, 3 * 160, 3)
    assert rate == pytest.approx(1 / PERIOD)
    for index, view in enumerate(VIEWS):
        left = 160 * index
        assert_close_pictures(frames[:, :128, left : left + 160], future.frames[view])
        own, _ = decode(saved[0] / f"{view}_depth.mp4")
        assert peak_signal_noise_ratio(own, frames[:, 128:, left : left + 160]) > 30


def test_pngs_are_the_exact_frames_and_depth_in_millimetres(saved, future):
    for view in VIEWS:
        for frame in range(NUM_FRAMES):
            name = f"{view}/frame_{frame:04d}.png"
            np.testing.assert_array_equal(io.imread(saved[0] / "rgb" / name), future.frames[view][frame])
            levels, depth = io.imread(saved[0] / "depth" / name), future.depths[view][frame]
            assert levels.dtype == np.uint16
            np.testing.assert_array_equal(levels == 0, depth == 0)
            assert np.abs(levels / 1000 - depth).max() < 0.00051


def test_clouds_are_those_of_the_future(saved, future):
    scene = trimesh.load(saved[0] / "clouds.glb")
    assert len(scene.geometry) == NUM_FRAMES
    for frame in range(NUM_FRAMES):
        cloud, name = point_cloud(future, frame), f"frame_{frame:04d}"
        read = trimesh.load(saved[0] / "clouds" / f"{name}.ply")
        assert len(read.vertices) == len(cloud.points) > 1000
        np.testing.assert_array_equal(read.vertices, cloud.points)
        np.testing.assert_array_equal(scene.geometry[name].vertices, cloud.points)


def test_the_npz_is_plain_numpy(saved, future):
    with np.load(saved[0] / "future.npz", allow_pickle=False) as arrays:
        assert set(arrays.files) == {f"{field}/{view}" for field in ("frames", "depths", "intrinsics", "base_from_camera") for view in VIEWS} | {
            "states/left/position", "states/left/quaternion", "states/left/gripper", "actions/commands",
        }  # fmt: skip
        np.testing.assert_array_equal(arrays[f"depths/{VIEWS[0]}"], future.depths[VIEWS[0]])
        np.testing.assert_array_equal(arrays["states/left/position"][2], future.states[2]["left"].position)


def test_the_json_tells_what_the_arrays_mean(saved, future):
    facts = json.loads((saved[0] / "future.json").read_text(encoding="utf-8"))
    assert (facts["num_frames"], facts["frame_period"], facts["image_size"]) == (NUM_FRAMES, PERIOD, [128, 160])
    assert facts["depth"]["note"] == "Measured by a sensor or a simulator."
    assert facts["units"]["depths"].startswith("m along the optical axis")
    assert facts["metres_per_level"] == 0.001
    assert facts["actions"]["units"] == ["controller"] * 7
    assert len(facts["actions"]["commands"]) == 12
    assert facts["states"][1]["left"]["position"] == pytest.approx(future.states[1]["left"].position.tolist())
    assert np.array(facts["cameras"][VIEWS[2]]["base_from_camera"]).shape == (NUM_FRAMES, 4, 4)
    assert facts["left_out"] == {}
    assert facts["versions"]["xwam"]


def test_clouds_take_the_options_of_fusion(tmp_path, future):
    options = {"voxel_size": 0.02, "depth_range": (0.1, 0.8), "with_normals": True, "with_confidence": True}
    save_future(tmp_path / "future", future, formats=("ply", "glb"), cloud_options=options)
    read = trimesh.load(tmp_path / "future" / "clouds" / "frame_0001.ply")
    cloud = point_cloud(future, 1, **options)
    np.testing.assert_array_equal(read.vertices, cloud.points)
    assert len(cloud.points) < len(point_cloud(future, 1).points) / 3
    header = (tmp_path / "future" / "clouds" / "frame_0001.ply").read_bytes().split(b"end_header")[0]
    assert b"property float nx" in header
    assert b"property float confidence" in header
    facts = json.loads((tmp_path / "future" / "future.json").read_text(encoding="utf-8"))
    assert facts["cloud_options"] == {**options, "depth_range": [0.1, 0.8]}


# ---------------------------------------------------------------- the round trip


def test_what_is_saved_is_loaded_exactly(saved, future):
    assert_same(load_future(saved[0]), future)


@pytest.mark.parametrize(
    "changes",
    [
        {"actions": None, "states": ()},
        {"depths": {}, "depth_kind": "relative"},
        {"intrinsics": {}, "base_from_camera": {}},
        {
            "states": tuple(
                {"left": JointState(np.arange(7, dtype=np.float32) / 3, 0.1 + 0.2)} for _ in range(NUM_FRAMES)
            )
        },
        {"depth_kind": "calibrated", "depth_calibrations": {VIEWS[0]: DepthCalibration(1 / 3, -0.1, 0.012, 0.8, 500)}},
        {
            "depth_kind": "estimated",
            "depth_calibrations": {
                VIEWS[1]: DepthCalibration(*np.array([1 / 3, -0.1, 0.012, 0.8], np.float32), np.int64(500))
            },
        },
        {"instruction": "“grüße” \n\\ 立方体"},
    ],
)
def test_every_form_of_a_future_comes_back(tmp_path, changes):
    future = make_future(**changes)
    save_future(tmp_path / "future", future, formats=SMALL)
    assert_same(load_future(tmp_path / "future"), future)


def test_a_future_with_depth_of_one_camera_is_drawn_grey_elsewhere(tmp_path):
    whole = make_future()
    future = make_future(depths={VIEWS[1]: whole.depths[VIEWS[1]]})
    save_future(tmp_path / "future", future, formats=("npz", "mp4"))
    assert_same(load_future(tmp_path / "future"), future)
    frames, _ = decode(tmp_path / "future" / "views.mp4")
    assert np.abs(frames[:, 128:, :150].astype(int) - UNKNOWN_COLOUR).max() < 12
    assert not (tmp_path / "future" / f"{VIEWS[0]}_depth.mp4").exists()


# ---------------------------------------------------------------- complete or not there


def test_an_earlier_export_is_replaced_as_a_whole(tmp_path, future):
    folder = tmp_path / "future"
    folder.mkdir()
    save_future(folder, future, formats=("npz", "png"))
    other = make_future(instruction="another")
    save_future(folder, other, formats=SMALL)
    assert files_in(folder) == {"future.json", "future.npz"}
    assert load_future(folder).instruction == "another"
    assert [path.name for path in tmp_path.iterdir()] == ["future"]


@pytest.mark.parametrize("foreign", ["thesis.tex", "depth/notes.txt", ".hidden"])
def test_a_folder_with_files_of_somebody_else_is_left_alone(tmp_path, future, foreign):
    folder = tmp_path / "future"
    save_future(folder, future, formats=SMALL)
    (folder / foreign).parent.mkdir(exist_ok=True)
    (folder / foreign).write_text("years of work")
    with pytest.raises(ValueError, match=f"but holds {foreign}; nothing was written"):
        save_future(folder, make_future(instruction="another"), formats=SMALL)
    assert (folder / foreign).read_text() == "years of work"
    assert load_future(folder).instruction == future.instruction
    assert [path.name for path in tmp_path.iterdir()] == ["future"]


def test_a_json_of_another_kind_owns_nothing(tmp_path, future):
    folder = tmp_path / "future"
    folder.mkdir()
    (folder / "future.json").write_text('{"files": ["future.json"]}')
    with pytest.raises(ValueError, match=r"but holds future\.json"):
        save_future(folder, future, formats=SMALL)
    (tmp_path / "file").write_text("a file")
    with pytest.raises(ValueError, match="must be a folder or not be there, but is a file"):
        save_future(tmp_path / "file", future, formats=SMALL)


def test_an_error_on_the_way_leaves_what_was_there(tmp_path, future, monkeypatch):
    folder = tmp_path / "future"
    save_future(folder, future, formats=SMALL)

    def stop(path, frame):
        raise OSError("No space left on device")

    monkeypatch.setattr(future_folder, "write_image", stop)
    with pytest.raises(OSError, match="No space left"):
        save_future(folder, make_future(instruction="another"), formats=("npz", "png"))
    with pytest.raises(OSError, match="No space left"):
        save_future(tmp_path / "second", future, formats=("npz", "png"))
    assert load_future(folder).instruction == future.instruction
    assert [path.name for path in tmp_path.iterdir()] == ["future"]


def test_where_the_new_folder_cannot_stand_the_old_one_comes_back(tmp_path, future, monkeypatch):
    folder, rename = tmp_path / "future", os.rename
    save_future(folder, future, formats=SMALL)
    calls = []

    def fail_once(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise PermissionError("busy")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_once)
    with pytest.raises(PermissionError, match="busy"):
        save_future(folder, make_future(instruction="another"), formats=SMALL)
    assert len(calls) == 3
    assert load_future(folder).instruction == future.instruction
    assert [path.name for path in tmp_path.iterdir()] == ["future"]


# ---------------------------------------------------------------- what cannot be written


def test_without_formats_what_cannot_be_is_left_out_and_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    monkeypatch.setitem(future_folder.LIBRARIES, "rrd", ("no_such_library", "rerun"))
    save_future(tmp_path / "future", make_future(depths={}, depth_kind="none"))
    left_out = json.loads((tmp_path / "future" / "future.json").read_text())["left_out"]
    assert set(left_out) == {"ply", "glb", "rrd"}
    assert left_out["ply"] == "Clouds need depth in metres, but `depth_kind` is 'none'."
    assert "pip install 'xwam[rerun]'" in left_out["rrd"]
    assert not list((tmp_path / "future").glob("*.rrd"))


def test_odd_frames_have_everything_but_videos(tmp_path):
    frames = {"front": np.zeros((2, 9, 12, 3), np.uint8)}
    odd = Future("a robot", "", 0.1, frames)
    save_future(tmp_path / "future", odd)
    left_out = json.loads((tmp_path / "future" / "future.json").read_text())["left_out"]
    assert left_out["mp4"] == "Videos need frames of even height and width, but these have (9, 12)."
    assert (tmp_path / "future" / "rgb" / "front" / "frame_0001.png").exists()
    with pytest.raises(ValueError, match="Videos need frames of even height"):
        save_future(tmp_path / "asked", odd, formats=("mp4",))
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("formats", [None, ("rrd",), ("ply",)])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"voxel_size": -0.01}, "`voxel_size` must be"),
        ({"depth_range": (1.0, 0.5)}, "`depth_range` must be"),
        ({"depth_range": {VIEWS[0]: (1.0, 0.5)}}, "`depth_range` must be"),
        ({"edge_threshold": 0.0}, "`edge_threshold` must be"),
    ],
)
def test_an_option_out_of_range_is_no_missing_cloud(tmp_path, future, formats, options, message):
    with pytest.raises(ValueError, match=message):
        save_future(tmp_path / "future", future, formats=formats, cloud_options=options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"cameras": ["no such camera"]}, {"depth_range": {VIEWS[0]: (0.1, 1.0)}}])
def test_a_recording_without_clouds_says_why(tmp_path, future, options):
    pytest.importorskip("rerun", reason="the Rerun SDK is not installed")
    save_future(tmp_path / "future", future, formats=("rrd",), cloud_options=options)
    left_out = json.loads((tmp_path / "future" / "future.json").read_text())["left_out"]
    assert list(left_out) == ["clouds of rrd"]
    assert left_out["clouds of rrd"].startswith(f"`{next(iter(options))}` must be")


def test_objects_are_not_pickled(tmp_path, future):
    actions = replace(future.actions, commands=future.actions.commands.astype(object))
    arrays = future_files.future_arrays
    with pytest.raises(ValueError, match=r"without pickles, but \['actions/commands'\] hold objects"):
        arrays(replace(future, actions=actions))
    with pytest.raises(ValueError, match=r"`actions\.commands` must be floating point"):
        save_future(tmp_path / "future", replace(future, actions=actions), formats=SMALL)
    assert not list(tmp_path.iterdir())


def test_what_was_asked_for_by_name_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setitem(future_folder.LIBRARIES, "rrd", ("no_such_library", "rerun"))
    with pytest.raises(ImportError, match=r"`no_such_library` is needed for the format 'rrd' of save_future"):
        save_future(tmp_path / "future", make_future(), formats=("rrd",))
    with pytest.raises(ValueError, match="Clouds need depth in metres, but `depth_kind` is 'relative'"):
        save_future(tmp_path / "future", make_future(depths={}, depth_kind="relative"), formats=("ply",))
    with pytest.raises(ValueError, match="must be calibrated"):
        save_future(tmp_path / "future", make_future(intrinsics={}), formats=("glb",))
    depths = dict(make_future().depths)
    depths[VIEWS[1]][2, 0, 0] = 70  # behind everything else
    far = make_future(depths=depths)
    with pytest.raises(ValueError, match=rf"`depths\['{VIEWS[1]}'\]` must be at most 65.535 m .* reaches 70 m"):
        save_future(tmp_path / "future", far, formats=("png",))
    with pytest.raises(ValueError, match=r"`formats` must be a list of some of .*, but has \['gif'\]"):
        save_future(tmp_path / "future", make_future(), formats=("npz", "gif"))
    with pytest.raises(ValueError, match=r"`formats` must be a list of some of .*, but has \['npz'\]"):
        save_future(tmp_path / "future", make_future(), formats="npz")
    assert not list(tmp_path.iterdir())


def test_a_future_that_is_not_valid_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="must be in metres, but the median is"):
        save_future(tmp_path / "future", make_future(depths={n: d * 1000 for n, d in make_future().depths.items()}))
    escaping = {"../outside": next(iter(make_future().frames.values()))}
    with pytest.raises(ValueError, match="A camera of `future` cannot be a file name"):
        save_future(
            tmp_path / "future",
            make_future(frames=escaping, depths={}, depth_kind="none", intrinsics={}, base_from_camera={}),
        )
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- damaged folders


def damage_npz(folder: Path) -> None:
    content = bytearray((folder / "future.npz").read_bytes())
    content[len(content) // 2] ^= 255
    (folder / "future.npz").write_bytes(content)


def pickle_npz(folder: Path) -> None:
    np.savez(folder / "future.npz", **{f"frames/{VIEWS[0]}": np.array([{}], dtype=object)})


def change(folder: Path, **facts) -> None:
    path = folder / "future.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "future.json").unlink(), "There is no file .*future.json"),
        (lambda folder: (folder / "future.json").write_text("{"), "is not strict JSON"),
        (
            lambda folder: change(folder, format="other"),
            "must be of format 'xwam.future', version 1, but says 'other'",
        ),
        (lambda folder: change(folder, format_version=2), "version 1, but says 'xwam.future', version 2"),
        (lambda folder: change(folder, cameras={"other": {}}), "`frames` must hold at least one camera"),
        (lambda folder: change(folder, depth={}), "do not describe a future: KeyError.'kind'"),
        (lambda folder: change(folder, frame_period=-1), "`frame_period` must be positive seconds"),
        (lambda folder: (folder / "future.npz").unlink(), "future.npz holds the arrays, but is not there"),
        (lambda folder: (folder / "future.npz").write_bytes(b"PK"), "cannot be read as NPZ"),
        (damage_npz, "cannot be read as NPZ"),
        (pickle_npz, "cannot be read as NPZ without pickles"),
    ],
    ids=[
        "no json",
        "half a json",
        "kind",
        "version",
        "cameras",
        "depth",
        "period",
        "no npz",
        "half an npz",
        "a bit",
        "pickle",
    ],
)
def test_a_damaged_folder_is_one_sentence(tmp_path, future, damage, message):
    save_future(tmp_path / "future", future, formats=SMALL)
    damage(tmp_path / "future")
    with pytest.raises(ValueError, match=message):
        load_future(tmp_path / "future")


def bare_header(header: bytes) -> bytes:
    """An NPY file of 64 zero bytes below a header that may be anything."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + bytes(64)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000,)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
        b"{'descr': (), 'fortran_order': False, 'shape': (2,)}",
        b"{'descr': 'f4,(2', 'fortran_order': False, 'shape': (2,)}",
        b"{[]: 1}",
        b"{'descr': ",
        b"-" * 9000 + b"1",
    ],
    ids=["too large", "no size", "no number", "no type", "half a type", "no key", "half a header", "deep"],
)
def test_whatever_an_array_claims_to_be_is_one_sentence(tmp_path, future, header):
    save_future(tmp_path / "future", future, formats=SMALL)
    with zipfile.ZipFile(tmp_path / "future" / "future.npz", "w") as archive:
        archive.writestr(f"frames/{VIEWS[0]}.npy", bare_header(header))
    with pytest.raises(ValueError, match=r"future\.npz cannot be read as NPZ"):
        load_future(tmp_path / "future")


def test_an_archive_with_a_password_or_none_at_all_is_one_sentence(tmp_path, future):
    save_future(tmp_path / "future", future, formats=SMALL)
    path = tmp_path / "future" / "future.npz"
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # encrypted, says the table of contents
    content[content.index(b"PK\3\4") + 6] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot be read as NPZ .* encrypted"):
        load_future(tmp_path / "future")
    np.save(path.open("wb"), np.zeros(3))
    with pytest.raises(ValueError, match="cannot be read as NPZ"):
        load_future(tmp_path / "future")


@pytest.mark.parametrize("name", ["future.npz", "future.json"])
def test_whatever_byte_is_damaged_only_a_value_error_is_raised(tmp_path, name):
    whole = make_future()
    small = make_future(
        frames={view: frames[:, :8, :8] for view, frames in whole.frames.items()},
        depths={view: depth[:, :8, :8] for view, depth in whole.depths.items()},
        intrinsics={},
    )
    save_future(tmp_path / "future", small, formats=SMALL)
    path, rng, refused = tmp_path / "future" / name, np.random.default_rng(0), 0
    content = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] ^= rng.integers(1, 256)
        path.write_bytes(damaged[: rng.integers(1, len(damaged) * 5)])  # most at full length
        try:
            load_future(tmp_path / "future")
        except ValueError:
            refused += 1
    assert refused > 150


@pytest.mark.parametrize("step", [0, -0.001, float("inf")])
def test_a_step_of_depth_that_is_none_is_refused_and_not_left_out(step, tmp_path):
    with pytest.raises(ValueError, match="`metres_per_level` must be positive, but is"):
        save_future(tmp_path / "future", make_future(), metres_per_level=step)
    assert not list(tmp_path.iterdir())


def test_exports_with_numbers_of_their_own_are_not_those_of_a_batch(tmp_path):
    for name in ("7", "12"):
        save_future(tmp_path / name, make_future(), formats=("npz",))
    for save in (lambda: save_future(tmp_path, make_future()), lambda: save_futures(tmp_path, [make_future()])):
        with pytest.raises(ValueError, match="holds"):
            save()
    assert (tmp_path / "7" / "future.npz").exists()
    save_futures(tmp_path / "batch", [make_future(), make_future()], formats=("npz",))
    save_future(tmp_path / "batch", make_future(), formats=("npz",))
    assert {path.name for path in (tmp_path / "batch").iterdir()} == {"future.json", "future.npz"}
