"""Clouds of a future: which cameras, which pixels, what stands; and the words where there is none."""

from dataclasses import replace

import numpy as np
import pytest
from future_samples import make_future
from world_future import expert_future

from xwam.futures.point_clouds import point_cloud, static_cloud


def _without(mapping, name):
    return {key: own for key, own in mapping.items() if key != name}


def test_a_cloud_holds_every_camera_in_metres_and_its_own_colours():
    future = make_future()
    cloud = point_cloud(future, 2, voxel_size=None, edge_threshold=None)
    assert cloud.points.dtype == np.float32
    assert cloud.colours.dtype == np.uint8
    assert len(cloud.points) == len(cloud.colours) == 2 * 24 * 32
    assert 0.9 <= cloud.points[:, 2].min() < cloud.points[:, 2].max() <= 1.1
    np.testing.assert_array_equal(
        cloud.colours, np.concatenate([own[2].reshape(-1, 3) for own in future.frames.values()])
    )
    assert cloud.normals is None
    assert cloud.confidence is None


def test_cameras_are_chosen_by_name():
    future = make_future()
    cloud = point_cloud(future, 0, cameras=["wrist"], voxel_size=None, edge_threshold=None)
    np.testing.assert_array_equal(cloud.colours, future.frames["wrist"][0].reshape(-1, 3))


def test_a_carried_camera_is_where_its_frame_says():
    future = make_future()
    poses = {name: own.copy() for name, own in future.base_from_camera.items()}
    poses["wrist"][3, :3, 3] = 5.0, 0, 0
    moved = replace(future, base_from_camera=poses)
    before, after = (point_cloud(moved, f, cameras=["wrist"], voxel_size=None).points for f in (2, 3))
    assert abs(before[:, 0].mean()) < 0.1
    assert abs(after[:, 0].mean() - 5.0) < 0.1


def test_ranges_may_differ_between_cameras():
    future = make_future()
    ranges = {"left": (0.9, 1.0), "wrist": (1.05, 1.1)}
    cloud = point_cloud(future, 0, voxel_size=None, depth_range=ranges, edge_threshold=None)
    depths = cloud.points[:, 2]
    assert ((depths <= 1.0) | (depths >= 1.05)).all()
    assert np.allclose(point_cloud(future, 0, depth_range=(0.9, 1.0)).points[:, 2].max(), 1.0, atol=0.01)


def test_normals_and_confidence_come_on_request():
    cloud = point_cloud(make_future(), 0, with_normals=True, with_confidence=True, edge_threshold=None)
    assert cloud.normals.shape == cloud.points.shape
    lengths = np.linalg.norm(cloud.normals, axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-5) | (lengths == 0))
    assert cloud.normals[:, 2].mean() < -0.1, "towards the cameras at the origin"
    assert 0 < cloud.confidence.min() <= cloud.confidence.max() < 1


def test_what_stands_is_the_table_with_what_is_on_it_and_not_the_arm():
    future = expert_future()
    static = static_cloud(future)
    frames = [point_cloud(future, frame) for frame in (0, 4, 8)]
    over_the_table = [_is_arm(own).sum() for own in frames]
    assert min(over_the_table) > 500, "the arm is in the picture"
    assert _is_arm(static).sum() < 0.12 * max(over_the_table)
    on_the_table = [(np.abs(own.points[:, 2]) < 2e-3).sum() for own in frames]
    assert (np.abs(static.points[:, 2]) < 2e-3).sum() > max(on_the_table), (
        "what the arm hides in one frame shows in another"
    )
    is_red = [own.colours[:, 0] > own.colours[:, 1:].max(axis=1).astype(int) + 60 for own in (static, frames[0])]
    assert is_red[0].sum() > 0.9 * is_red[1].sum() > 50, "the button that nobody touches"


def _is_arm(cloud):
    return (cloud.points[:, 2] > 0.1) & (cloud.points[:, 0] < 0.6)


def test_fingers_that_stand_in_the_wrists_picture_do_not_stand():
    future, name = expert_future(), "robot0_eye_in_hand"
    static = static_cloud(future, cameras=[name])
    one = point_cloud(future, 0, cameras=[name])
    is_high = [own.points[:, 2] > 0.1 for own in (one, static)]
    assert is_high[0].sum() > 100, "they are in the picture"
    assert is_high[1].sum() < 0.2 * is_high[0].sum()
    assert (np.abs(static.points[:, 2]) < 2e-3).mean() > 0.8


def test_what_moves_before_nothing_does_not_stand():
    future = make_future()
    depths = {name: np.zeros_like(own) for name, own in future.depths.items()}
    for frame in range(future.num_frames):
        for own in depths.values():
            own[frame, 5:15, 4 * frame : 4 * frame + 6] = 1.0  # overlaps with its neighbours in time
    with pytest.raises(ValueError, match="Nothing stands"):
        static_cloud(replace(future, depths=depths))
    for own in depths.values():
        own[:, 20:, :4] = 1.0
    assert static_cloud(replace(future, depths=depths)).points[:, 1].min() > 0.2, "only what stays"


def test_one_frame_cannot_tell_what_stands():
    future = make_future()
    single = {
        field: {name: own[:1] for name, own in getattr(future, field).items()}
        for field in ("frames", "depths", "base_from_camera")
    }
    single = replace(future, **single, states=future.states[:1], actions=None)
    with pytest.raises(ValueError, match="at least two frames"):
        static_cloud(single)


def test_where_nothing_stands_it_says_so():
    future = make_future()
    poses = {name: own.copy() for name, own in future.base_from_camera.items()}
    for own in poses.values():
        own[:, 0, 3] = 4.0 * np.arange(len(own))
    with pytest.raises(ValueError, match=r"Nothing stands in these 5 frames.*of 7,680 pixels have a valid depth"):
        static_cloud(replace(future, base_from_camera=poses), edge_threshold=None)


@pytest.mark.parametrize("frame", [-1, 5, 1.0, True, None, "0"])
def test_a_frame_that_is_not_there_is_refused(frame):
    with pytest.raises(ValueError, match=r"`frame` must be a whole number from 0 to 4, but is"):
        point_cloud(make_future(), frame)


FUTURE = make_future()
MALFORMED = {
    "no calibration": (
        {"intrinsics": _without(FUTURE.intrinsics, "left"), "base_from_camera": {}}, {},
        r"'left' lacks intrinsics and base_from_camera; 'wrist' lacks base_from_camera. Calibrated are \[\]",
    ),
    "one not calibrated": (
        {"base_from_camera": _without(FUTURE.base_from_camera, "wrist")}, {},
        r"'wrist' lacks base_from_camera. Calibrated are \['left'\]: see `cameras`",
    ),
    "no depth": ({"depths": {}, "depth_kind": "none"}, {}, r"needs depth in metres, .* `depth_kind` is 'none'"),
    "relative depth": ({"depths": {}, "depth_kind": "relative"}, {}, r"`depth_kind` is 'relative'"),
    "all holes": (
        {"depths": {name: own * 0 for name, own in FUTURE.depths.items()}}, {},
        r"Frame 1 has no point: of the 1,536 pixels of \['left', 'wrist'\], 1,536 have no depth",
    ),
    "out of range": ({}, {"depth_range": (2.0, 3.0)}, r"1,536 are out of `depth_range`"),
    "only edges": ({}, {"edge_threshold": 1e-9}, r"1,536 lie beside a step in depth"),
    "millimetres": (
        {"depths": {name: own * 1000 for name, own in FUTURE.depths.items()}}, {},
        r"must be in metres, but the median is .* millimetres",
    ),
    "NaN depth": ({"depths": {name: own * np.float32("nan") for name, own in FUTURE.depths.items()}}, {}, "NaN"),
    "another size": ({"depths": {name: own[:, 1:] for name, own in FUTURE.depths.items()}}, {}, "shape"),
    "singular K": ({"intrinsics": {name: np.zeros((3, 3)) for name in FUTURE.frames}}, {}, r"`intrinsics\['left'\]`"),
    "mirrored": (
        {"base_from_camera": {n: own @ np.diag([1.0, 1, -1, 1]) for n, own in FUTURE.base_from_camera.items()}}, {},
        "reflection",
    ),
    "unknown camera": ({}, {"cameras": ["top"]}, r"`cameras` must be among those with depth, .* but has \['top'\]"),
    "camera twice": ({}, {"cameras": ["left", "left"]}, "must name each camera once"),
    "no camera": ({}, {"cameras": []}, "at least one"),
    "one string": ({}, {"cameras": "left"}, "must be a sequence of names"),
    "negative voxels": ({}, {"voxel_size": -0.01}, r"`voxel_size` must be a positive number of metres"),
    "range of one camera": ({}, {"depth_range": {"left": (0.1, 1.0)}}, "must be given for the cameras"),
    "range of three": ({}, {"depth_range": (0.1, 1.0, 2.0)}, r"`depth_range` must be \(near, far\)"),
    "range turned round": ({}, {"depth_range": (1.0, 0.1)}, r"0 ≤ near < far"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", MALFORMED)
def test_what_cannot_be_fused_is_refused_in_words(wrong):
    changes, options, message = MALFORMED[wrong]
    with pytest.raises(ValueError, match=message):
        point_cloud(replace(FUTURE, **changes), 1, **options)


@pytest.mark.parametrize(
    "wrong", [name for name, (_, options, _) in MALFORMED.items() if "camera" in name or not options]
)
def test_nor_merged_over_time(wrong):
    changes, options, message = MALFORMED[wrong]
    if wrong == "all holes":
        message = "Nothing stands"
    with pytest.raises(ValueError, match=message):
        static_cloud(replace(FUTURE, **changes), **options)


def test_frames_without_voxels_cannot_be_merged():
    with pytest.raises(ValueError, match=r"to merge frames, but is None"):
        static_cloud(make_future(), voxel_size=None)
