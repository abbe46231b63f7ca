"""Pictures, depth and calibration of a window go through the same boxes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from clip_samples import SIZE, make_clip, small_spec, twin_depth, twin_frames

from xwam.errors import DataError
from xwam.geometry.cameras import center_crop_box, project_points
from xwam.robots.processor import RobotProcessor

SPEC = small_spec("mujoco_panda")
PROCESSOR = RobotProcessor(SPEC)
BOXES = [(0, 3, 30, 45), (2, 0, 30, 45), (1, 1, 30, 45)]
NAMES = [camera.name for camera in SPEC.cameras]


@pytest.mark.parametrize("boxes", [None, BOXES])
def test_frames_and_levels_are_those_of_the_release(boxes: list | None):
    clip = make_clip(SPEC, is_metric=False)
    encoded = RobotProcessor(replace(SPEC, depth_encoding="relative")).encode_clip(clip, boxes=boxes)
    assert encoded.frames.shape == encoded.depth_images.shape == (3, 5, 3, 32, 48)
    for view, name in enumerate(NAMES):
        box = boxes[view] if boxes else center_crop_box(SPEC.image_size, 0.95)
        expected = twin_frames(clip.images[name], (32, 48), box)
        torch.testing.assert_close(encoded.frames[view], expected, rtol=0, atol=1e-6)
        levels = twin_depth(clip.relative_depths[name], (32, 48), box)
        for channel in range(3):
            np.testing.assert_allclose(encoded.depth_images[view, :, channel], levels, rtol=0, atol=1e-6)
    assert encoded.depth_mask.all()


def test_without_a_crop_pictures_are_only_resized():
    clip = make_clip(SPEC)
    encoded = PROCESSOR.encode_clip(clip, boxes=[(0, 0, 32, 48)] * 3)
    torch.testing.assert_close(
        encoded.frames[1], twin_frames(clip.images[NAMES[1]], (32, 48), None), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("encoding", ["inverse", "linear", "relative"])
def test_metres_are_drawn_as_declared_and_the_mask_tells_where(encoding: str):
    clip = make_clip(SPEC)
    processor = RobotProcessor(replace(SPEC, depth_encoding=encoding))
    encoded = processor.encode_clip(clip, boxes=[(0, 0, 32, 48)] * 3)
    rows = np.floor((np.arange(32) + 0.5) * SIZE[0] / 32).astype(int)
    columns = np.floor((np.arange(48) + 0.5) * SIZE[1] / 48).astype(int)
    for view, camera in enumerate(SPEC.cameras):
        near, far = camera.depth_range
        metres = clip.depths[camera.name][:, rows][:, :, columns]
        valid = (metres >= near) & (metres <= far)
        seen = metres[valid].astype(np.float64)
        level = (far - seen) / (far - near) if encoding == "linear" else (1 / seen - 1 / far) / (1 / near - 1 / far)
        np.testing.assert_array_equal(encoded.depth_mask[view], valid)
        np.testing.assert_allclose(encoded.depth_images[view, :, 0].numpy()[valid], 2 * level - 1, atol=1e-5)
        assert encoded.depth_images[view].isfinite().all()


@pytest.mark.parametrize("encoding", ["inverse", "linear"])
def test_depth_without_a_unit_is_not_taken_for_metres(encoding: str):
    spec = replace(SPEC, depth_encoding=encoding)
    with pytest.raises(DataError, match=r"has no unit, but 'mujoco_panda' declares .* between 0.3 and 5.0 m; declare"):
        RobotProcessor(spec).encode_clip(make_clip(spec, is_metric=False))


def test_holes_of_any_kind_are_masked_and_finite():
    clip = make_clip(SPEC)
    depth = clip.depths[NAMES[0]].copy()
    depth[0], depth[1], depth[2], depth[3] = np.nan, np.inf, -1.0, 65535.0
    encoded = PROCESSOR.encode_clip(replace(clip, depths={NAMES[0]: depth}))
    assert not encoded.depth_mask[0, :4].any()
    assert encoded.depth_mask[0, 4].any()
    assert encoded.depth_images.isfinite().all()


def test_a_camera_that_was_not_recorded_is_black():
    clip = make_clip(SPEC)
    images = {name: video for name, video in clip.images.items() if name != NAMES[1]}
    depths = {NAMES[0]: clip.depths[NAMES[0]]}
    encoded = PROCESSOR.encode_clip(replace(clip, images=images, depths=depths))
    assert encoded.view_mask.tolist() == [True, False, True]
    assert (encoded.frames[1] == -1).all()
    assert (encoded.depth_images[1:] == -1).all()
    assert not encoded.depth_mask[1:].any()
    assert encoded.depth_mask[0].any()


def test_a_clip_without_depth_has_none():
    encoded = PROCESSOR.encode_clip(replace(make_clip(SPEC), depths={}))
    assert encoded.depth_images is None
    assert encoded.depth_mask is None


def test_a_point_is_seen_where_the_matrix_after_the_crop_says():
    """A bright dot in the stored pictures, at the projection of a point, is found at its projection after the crop."""
    matrix = np.array([[60.0, 0.0, 28.0], [0.0, 60.0, 20.0], [0.0, 0.0, 1.0]])
    pose = np.eye(4)
    pose[:3, 3] = (0.1, -0.2, -1.0)
    point = torch.tensor([[[0.1 + 5.5 / 60, -0.2 + 3.5 / 60, 0.0]]], dtype=torch.float64)
    (before,), _ = project_points(point, torch.tensor(matrix)[None], torch.tensor(pose)[None])
    column, row = (int(value) for value in before[0])
    assert (column, row) == (33, 23)
    torch.testing.assert_close(before[0], torch.tensor([33.5, 23.5], dtype=torch.float64))  # the centre of the pixel
    video = np.zeros((5, *SIZE, 3), dtype=np.uint8)
    video[:, row, column] = 255
    clip = replace(
        make_clip(SPEC),
        images=dict.fromkeys(NAMES, video),
        intrinsics=dict.fromkeys(NAMES, matrix),
        base_from_camera={name: np.tile(pose, (5, 1, 1)) for name in NAMES},
    )
    encoded = PROCESSOR.encode_clip(clip, boxes=[(2, 4, 24, 36), (8, 12, 24, 36), (0, 0, 32, 48)])
    np.testing.assert_array_equal(encoded.base_from_camera[:, 2], np.stack([pose] * 3))
    after, _ = project_points(point.expand(3, 1, 3), encoded.intrinsics, encoded.base_from_camera[:, 0])
    for view in range(3):
        light = encoded.frames[view, 0, 0] + 1
        weights = light / light.sum()
        seen_row = float((weights.sum(dim=1) * (torch.arange(32) + 0.5)).sum())
        seen_column = float((weights.sum(dim=0) * (torch.arange(48) + 0.5)).sum())
        assert abs(float(after[view, 0, 0]) - seen_column) < 0.5
        assert abs(float(after[view, 0, 1]) - seen_row) < 0.5
    assert (after[0] - after[1]).abs().min() > 7


def test_the_spec_knows_what_the_recording_does_not():
    own = {NAMES[0]: np.tile(np.eye(4), (5, 1, 1)), NAMES[1]: np.tile(np.eye(4), (5, 1, 1))}
    clip = make_clip(SPEC)
    assert PROCESSOR.encode_clip(clip).base_from_camera is None  # two cameras stand somewhere
    encoded = PROCESSOR.encode_clip(replace(clip, base_from_camera=own))
    hand_eye = np.array(SPEC.cameras[2].tool_from_camera)
    for frame in range(5):
        expected = clip.states[4 * frame, :3] + _rotation(clip.states[4 * frame, 3:7]) @ hand_eye[:3, 3]
        np.testing.assert_allclose(encoded.base_from_camera[2, frame, :3, 3], expected, atol=1e-12)
    full = PROCESSOR.encode_clip(clip, boxes=[(0, 0, 32, 48)] * 3).intrinsics
    np.testing.assert_allclose(full[0, 0, 0], SPEC.cameras[0].intrinsics[0][0] * 48 / 160)
    unknown = tuple(replace(camera, intrinsics=None) for camera in SPEC.cameras)
    assert RobotProcessor(replace(SPEC, cameras=unknown)).encode_clip(clip).intrinsics is None


def _rotation(quaternion: np.ndarray) -> np.ndarray:
    w, x, y, z = quaternion
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": {NAMES[0]: np.zeros((5, 8, 8, 3), np.float32)}}, r"`images\['robot0_agentview_left'\]` .* uint8"),
        ({"images": {NAMES[0]: np.zeros((4, 8, 8, 3), np.uint8)}}, r"must have shape \(5, h, w, 3\), but has \(4, 8"),
        ({"depths": {NAMES[0]: np.zeros((5, 8, 8), np.float64)}}, "must be float32, but is float64"),
    ],
)
def test_videos_of_another_form_are_refused(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        PROCESSOR.encode_clip(replace(make_clip(SPEC), **changes))


def test_metres_need_planes():
    cameras = tuple(replace(camera, depth_range=None) for camera in SPEC.cameras)
    with pytest.raises(DataError, match="no `depth_range` for the camera"):
        RobotProcessor(replace(SPEC, cameras=cameras)).encode_clip(make_clip(SPEC))
