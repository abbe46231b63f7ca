"""What comes from outside and is wrong ends in one clear sentence, before anything is computed or written."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from future_samples import make_future

from xwam.evaluation.reality import compare
from xwam.export.depth_images import write_depth_png
from xwam.export.future_folder import save_future
from xwam.export.points import write_ply
from xwam.futures.checks import check_future
from xwam.futures.future import Future
from xwam.futures.point_clouds import point_cloud
from xwam.geometry.fusion import fuse_views
from xwam.metrics.depth import abs_rel
from xwam.metrics.images import psnr
from xwam.metrics.points import chamfer_distance
from xwam.structures import ActionChunk, ArmState, DepthCalibration, JointState, PointCloud


def _changed(field: str, camera: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Future:
    """A whole future whose array of one camera was changed in place or replaced."""
    future = make_future()
    arrays = dict(getattr(future, field))
    arrays[camera] = own if (own := change(arrays[camera])) is not None else arrays[camera]
    return replace(future, **{field: arrays})


def _write(values: np.ndarray, where: tuple, value: float) -> None:
    values[where] = value


def _with_arm(frame: int, arm: object) -> Future:
    future = make_future()
    states = list(future.states)
    states[frame] = {"left": arm}
    return replace(future, states=tuple(states))


def _with_commands(commands: np.ndarray, robot: str = "mujoco_panda") -> Future:
    future = make_future()
    return replace(future, actions=ActionChunk(robot, commands, future.actions.columns, 0.05))


def _with_times(**changes: object) -> Future:
    future = make_future()
    return replace(future, actions=replace(future.actions, **changes))


def _first_frames(count: int) -> Future:
    whole = make_future()
    cut = {
        name: {k: v[:count] for k, v in getattr(whole, name).items()}
        for name in ("frames", "depths", "base_from_camera")
    }
    return replace(whole, **cut, states=whole.states[:count], actions=None)


UPRIGHT = np.array([1.0, 0, 0, 0])
MALFORMED: dict[str, tuple[Callable[[], object], str]] = {
    "no future": (lambda: {"frames": {}}, "must be a Future, but is a dict."),
    "no cameras": (lambda: make_future(frames={}), "`frames` must hold at least one camera, but is empty."),
    "no frames": (
        lambda: _changed("frames", "left", lambda own: own[:0]),
        "`frames['left']` must hold frames of pixels, but has shape (0, 24, 32, 3).",
    ),
    "tensors": (
        lambda: _changed("frames", "left", torch.from_numpy),
        "`frames['left']` must be a NumPy array, but is a Tensor.",
    ),
    "colours from 0 to 1": (
        lambda: _changed("frames", "wrist", lambda own: own / np.float32(255)),
        "`frames['wrist']` must be uint8 from 0 to 255, but has dtype float32.",
    ),
    "channels first": (
        lambda: _changed("frames", "left", lambda own: own.transpose(0, 3, 1, 2)),
        "`frames['left']` must have shape (F, H, W, 3), but has shape (5, 3, 24, 32).",
    ),
    "a view with fewer frames": (
        lambda: _changed("frames", "wrist", lambda own: own[:4]),
        "`frames['wrist']` must have (F, H, W) = (5, 24, 32) like 'left', but has (4, 24, 32).",
    ),
    "a view of another size": (
        lambda: _changed("frames", "wrist", lambda own: own[:, ::2]),
        "`frames['wrist']` must have (F, H, W) = (5, 24, 32) like 'left', but has (5, 12, 32).",
    ),
    "time that stands still": (
        lambda: make_future(frame_period=0.0),
        "`frame_period` must be positive seconds, but is 0.0.",
    ),
    "a frame period that nobody knows": (
        lambda: make_future(frame_period=None),
        "`frame_period` must be a number, but is None.",
    ),
    "commands at one instant": (
        lambda: _with_times(period=0.0),
        "`actions.period` must be positive seconds, but is 0.0.",
    ),
    "commands whose rate is a word": (
        lambda: _with_times(period="fast"),
        "`actions.period` must be a number, but is a str.",
    ),
    "commands that begin nowhere": (
        lambda: _with_times(start_time=float("nan")),
        "`actions.start_time` must be finite, but is nan.",
    ),
    "a calibration that is none": (
        lambda: make_future(depth_calibrations={"left": (1.0, 0.0)}),
        "`depth_calibrations['left']` must be a DepthCalibration, but is a tuple.",
    ),
    "a calibration without a number": (
        lambda: make_future(depth_calibrations={"left": DepthCalibration(1.0, 0.0, None, 0.9, 100)}),
        "`depth_calibrations['left'].residual` must be a number, but is None.",
    ),
    "a kind of depth that is none": (
        lambda: make_future(depth_kind="metres"),
        "`depth_kind` must be one of ['metric', 'calibrated', 'measured', 'estimated', 'relative', 'none'], but is 'metres'.",
    ),
    "relative depth in metres": (
        lambda: make_future(depth_kind="relative"),
        "`depths` must be empty where `depth_kind` is 'relative', but has ['left', 'wrist'].",
    ),
    "measured depth that is not there": (
        lambda: make_future(depths={}),
        "`depths` must hold a camera where `depth_kind` is 'measured', but is empty.",
    ),
    "depth of a camera that is none": (
        lambda: make_future(depths={"head": np.ones(3)}),
        "`depths` holds ['head'], but the cameras are ['left', 'wrist'].",
    ),
    "depth in whole millimetres": (
        lambda: _changed("depths", "left", lambda own: (own * 1000).astype(np.uint16)),
        "`depths['left']` must be float32 in metres, but has dtype uint16.",
    ),
    "depth in millimetres": (
        lambda: _changed("depths", "left", lambda own: np.full_like(own, 1000)),
        "`depths['left']` must be in metres, but the median is 1000; are these millimetres?",
    ),
    "commands in whole numbers": (
        lambda: _with_commands(np.zeros((16, 7), np.int64)),
        "`actions.commands` must be floating point, but has dtype int64.",
    ),
    "a gripper that nobody measured": (
        lambda: _with_arm(1, ArmState(np.zeros(3), UPRIGHT, None)),
        "`states[1]['left'].gripper` must be a number, but is None.",
    ),
    "depth of another size": (
        lambda: _changed("depths", "wrist", lambda own: own[..., ::2]),
        "`depths['wrist']` must have the shape (5, 24, 32) of the frames, but has shape (5, 24, 16).",
    ),
    "depth that is NaN": (
        lambda: _changed("depths", "left", lambda own: _write(own, (1, 2, 3), np.nan)),
        "`depths['left']` must be finite, and 0 where nothing is known, but holds NaN or infinity.",
    ),
    "depth that is infinite": (
        lambda: _changed("depths", "left", lambda own: _write(own, (1, 2, 3), np.inf)),
        "`depths['left']` must be finite, and 0 where nothing is known, but holds NaN or infinity.",
    ),
    "depth behind the camera": (
        lambda: _changed("depths", "left", lambda own: _write(own, (1, 2, 3), -0.5)),
        "`depths['left']` must not be negative, but holds -0.5 m.",
    ),
    "a singular camera matrix": (
        lambda: _changed("intrinsics", "left", lambda own: _write(own, (0, 0), 0)),
        "`intrinsics['left']` must have positive focal lengths of at least 4 pixels, but has (0, 30): the matrix is "
        "singular.",
    ),
    "a camera matrix divided by the image size": (
        lambda: _changed("intrinsics", "left", lambda own: own / [[32], [24], [1]]),
        "`intrinsics['left']` must have positive focal lengths of at least 4 pixels, but has (0.9375, 1.25), as if divided "
        "by the image size.",
    ),
    "a camera matrix of the uncropped image": (
        lambda: _changed("intrinsics", "left", lambda own: own * [[5], [5], [1]]),
        "`intrinsics['left']` must have its principal point inside the image of size (24, 32), but has (u, v) = (80, 60).",
    ),
    "one pose for all frames": (
        lambda: _changed("base_from_camera", "wrist", lambda own: own[0]),
        "`base_from_camera['wrist']` must have shape (5, 4, 4), one pose a frame, but has shape (4, 4).",
    ),
    "a mirrored rotation": (
        lambda: _changed("base_from_camera", "wrist", lambda own: _write(own, (3, 1, 1), -1)),
        "`base_from_camera['wrist'][3]` must be a rotation, but is a reflection (determinant -1).",
    ),
    "a rotation that stretches": (
        lambda: _changed("base_from_camera", "left", lambda own: _write(own, (0, 0, 0), 2)),
        "`base_from_camera['left'][0]` must be a rotation, but R Rᵀ differs from the identity by 3.",
    ),
    "a pose that is NaN": (
        lambda: _changed("base_from_camera", "left", lambda own: _write(own, (2, 0, 3), np.nan)),
        "`base_from_camera['left'][2]` must be finite, but holds NaN or infinity.",
    ),
    "too few states": (
        lambda: make_future(states=make_future().states[:3]),
        "`states` must hold one state a frame, 5, or none, but holds 3.",
    ),
    "an arm in millimetres": (
        lambda: _with_arm(2, ArmState(np.array([400.0, 0, 200]), UPRIGHT, 0.5)),
        "`states[2]['left'].position` must be metres within 20 m of the base, but is 447.214 away.",
    ),
    "a quaternion of length 2": (
        lambda: _with_arm(2, ArmState(np.zeros(3), 2 * UPRIGHT, 0.5)),
        "`states[2]['left'].quaternion` must have length 1, but has length 2.",
    ),
    "a pose among joints": (
        lambda: _with_arm(2, JointState(np.zeros(7), 0.5)),
        "`states` must give arm 'left' in one form, but mix poses and joints.",
    ),
    "commands of another robot": (
        lambda: _with_commands(np.zeros((16, 7)), robot="droid"),
        "`actions` must be of robot 'mujoco_panda', but are of 'droid'.",
    ),
    "commands that fit no frames": (
        lambda: _with_commands(np.zeros((15, 7))),
        "`actions.commands` must be as many for each of the 4 steps between frames, but are 15.",
    ),
}
each_malformed = pytest.mark.parametrize("case", MALFORMED)


@each_malformed
def test_a_malformed_future_is_refused_in_words(case):
    make, message = MALFORMED[case]
    with pytest.raises(ValueError, match=f"^`dream`(: | ){re.escape(message)}$"):
        check_future(make(), name="dream")


@each_malformed
def test_nothing_is_compared_fused_or_written_of_it(case, tmp_path: Path):
    make, message = MALFORMED[case]
    for use in (
        lambda future: save_future(tmp_path / "future", future, formats=("json", "npz")),
        lambda future: compare(future, make_future()),
        lambda future: compare(make_future(), future),
        lambda future: point_cloud(future, 0),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            use(make())
    assert not list(tmp_path.iterdir()), "nothing is written"


def _cube(depth: float = 1.0, **changes: object) -> dict[str, torch.Tensor]:
    """One view of a wall for `fuse_views`."""
    views = {
        "depth": torch.full((1, 24, 32), depth),
        "colours": torch.zeros(1, 24, 32, 3, dtype=torch.uint8),
        "intrinsics": torch.tensor([[[30.0, 0, 16], [0, 30, 12], [0, 0, 1]]]),
        "base_from_camera": torch.eye(4)[None],
    }
    return {**views, **changes}


IMAGES = np.zeros((2, 24, 32, 3), np.uint8)
METRES = np.ones((2, 24, 32), np.float32)
NOTHING = np.zeros((0, 3), np.float32)
CALLS: dict[str, tuple[Callable[[Path], object], str]] = {
    "fuse without intrinsics": (
        lambda _: point_cloud(make_future(intrinsics={}), 0),
        "Every fused camera must be calibrated, but 'left' lacks intrinsics; 'wrist' lacks intrinsics. "
        "Calibrated are []: see `cameras`.",
    ),
    "fuse without depth": (
        lambda _: point_cloud(make_future(depths={}, depth_kind="none"), 0),
        "A point cloud needs depth in metres, but this future has none: its `depth_kind` is 'none'.",
    ),
    "fuse views that see nothing": (
        lambda _: point_cloud(make_future(depths={"left": np.zeros((5, 24, 32), np.float32)}), 0),
        "Frame 0 has no point: of the 768 pixels of ['left'], 768 have no depth, 0 are out of "
        "`depth_range` and 0 lie beside a step in depth.",
    ),
    "fuse millimetres": (
        lambda _: fuse_views(**_cube(1000.0)),
        "`depth[0]` must be in metres, but its median is 1000; is it in millimetres? Then divide by 1000.",
    ),
    "fuse a mirrored view": (
        lambda _: fuse_views(**_cube(base_from_camera=torch.diag(torch.tensor([1.0, -1, 1, 1]))[None])),
        "`base_from_camera[0]` must be a rotation, but is a reflection (determinant -1).",
    ),
    "fuse with a singular matrix": (
        lambda _: fuse_views(**_cube(intrinsics=torch.zeros(1, 3, 3))),
        "`intrinsics[0]` must have the last row (0, 0, 1), but has [0.0, 0.0, 0.0].",
    ),
    "fuse sizes that differ": (
        lambda _: fuse_views(**_cube(colours=torch.zeros(1, 12, 32, 3, dtype=torch.uint8))),
        "`colours` must have H = 24 in (V H W 3) but has shape (1, 12, 32, 3).",
    ),
    "fuse into voxels of no size": (
        lambda _: fuse_views(**_cube(), voxel_size=0.0),
        "`voxel_size` must be a positive number of metres, or None, but is 0.0.",
    ),
    "PSNR of sizes that differ": (
        lambda _: psnr(IMAGES, IMAGES[:, :12]),
        "`prediction` and `truth` must have one shape but have (2, 24, 32, 3) and (2, 12, 32, 3).",
    ),
    "PSNR of colours from 0 to 1": (
        lambda _: psnr(IMAGES / 255, IMAGES / 255),
        "`prediction` must be uint8 with values from 0 to 255 but is float64; from [-1, 1] that is "
        "`((images + 1) * 127.5).round().clip(0, 255).astype(np.uint8)`.",
    ),
    "AbsRel of whole millimetres": (
        lambda _: abs_rel((METRES * 1000).astype(np.uint16), METRES),
        "`prediction` must be metres in floating point but is uint16; are these millimetres?",
    ),
    "AbsRel of NaN": (
        lambda _: abs_rel(METRES * np.float32("nan"), METRES),
        "`prediction` must be finite but holds 1536 NaN or infinite numbers.",
    ),
    "Chamfer of an empty cloud": (
        lambda _: chamfer_distance(NOTHING, METRES[0, :, :3]),
        "`prediction` must have shape (M, 3) with at least one point but has shape (0, 3).",
    ),
    "PLY of an empty cloud": (
        lambda folder: write_ply(folder / "cloud.ply", PointCloud(NOTHING, NOTHING.astype(np.uint8))),
        "`cloud` must hold at least one point, but is empty.",
    ),
    "16 bits of millimetres": (
        lambda folder: write_depth_png(folder / "depth.png", METRES[0] * 1000),
        "`depth` must be at most 65.535 m to fit 16 bits in steps of 0.001 m, but reaches 1000 m; give "
        "a greater `metres_per_level`.",
    ),
    "compare robots": (
        lambda _: compare(make_future(robot="droid", actions=None), make_future()),
        "The prediction must be of robot 'mujoco_panda', but is of 'droid'.",
    ),
    "compare cameras": (
        lambda _: compare(make_future(), make_future().with_cameras(["left"])),
        "The prediction has cameras ['wrist'] that the truth lacks; it has ['left'].",
    ),
    "compare rates": (
        lambda _: compare(make_future(frame_period=0.1), make_future()),
        "The prediction must have frames every 0.2 s like the truth, but has them every 0.1 s.",
    ),
    "compare lengths": (
        lambda _: compare(_first_frames(3), make_future()),
        "The prediction must have (F, H, W) = (5, 24, 32) like the truth, but has (3, 24, 32).",
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_malformed_call_is_refused_in_words(case, tmp_path: Path):
    call, message = CALLS[case]
    with pytest.raises((ValueError, TypeError)) as caught:
        call(tmp_path)
    assert str(caught.value) == message
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_a_whole_future_is_let_through():
    check_future(make_future())
    check_future(
        make_future(depths={}, depth_kind="none", intrinsics={}, base_from_camera={}, states=(), actions=None)
    )


def test_a_view_without_a_single_measurement_is_no_error():
    check_future(_changed("depths", "left", lambda own: np.zeros_like(own)))
