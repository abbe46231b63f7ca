"""A model's depth images become metres where that can be known, and the answer says how it is known."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from recorded_folder import RECORDED, needs_recorded
from robot_samples import complete_spec, make_observation

from xwam.envs.recorded import load_recorded_observation
from xwam.errors import DepthCalibrationError
from xwam.geometry.depth import depth_error_bound, depth_to_image
from xwam.robots.depth import calibrate_view, decode_depths
from xwam.robots.images import depths_to_views
from xwam.robots.processor import RobotProcessor
from xwam.robots.registry import get_robot
from xwam.robots.spec import RobotSpec
from xwam.structures import DepthCalibration, Observation

PANDA = complete_spec("mujoco_panda")
NAMES = [camera.name for camera in PANDA.cameras]
FRAMES = 5
AFFINE = dict(zip(NAMES, [(3.1, 0.1), (1.9, 0.05), (30.0, 0.8)], strict=True))


def without_ranges(spec: RobotSpec) -> RobotSpec:
    """As released checkpoints are."""
    return replace(
        spec,
        depth_encoding="relative",
        cameras=tuple(replace(camera, depth_range=None) for camera in spec.cameras),
    )


RELATIVE = without_ranges(PANDA)


def truth(observation: Observation) -> dict[str, np.ndarray]:
    """Depth of a scene that comes nearer by 2 % in each frame, as the model sees it, in metres."""
    shrink = 0.98 ** np.arange(FRAMES)[:, None, None]
    views = {
        name: depths_to_views([depth], PANDA.image_size, PANDA.crop_ratio).numpy()
        for name, depth in observation.depths.items()
    }
    return {name: (view * shrink).astype(np.float32) for name, view in views.items()}


def in_8_bits(level: np.ndarray) -> np.ndarray:
    return (np.rint(level.clip(0, 1) * 255) / 255 * 2 - 1).astype(np.float32)


def dreamt(depths: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Depth images in 8 bits whose scale and shift nobody knows."""
    with np.errstate(divide="ignore"):
        levels = {name: (1 / own - AFFINE[name][1]) / AFFINE[name][0] for name, own in depths.items()}
    return {name: in_8_bits(np.where(depths[name] > 0, level, 0)) for name, level in levels.items()}


def is_found(fit: DepthCalibration, affine: tuple[float, float]) -> bool:
    """Within 1 %; a shift near zero within a fifth of the step that 8 bits leave."""
    scale, shift = affine
    return fit.scale == pytest.approx(scale, rel=0.01) and fit.shift == pytest.approx(
        shift, rel=0.01, abs=0.2 * scale / 255
    )


@pytest.fixture(scope="module")
def scene() -> Observation:
    return load_recorded_observation()


@pytest.mark.parametrize("encoding", ["inverse", "linear"])
def test_declared_depth_comes_back_in_metres_within_the_bound(scene, encoding):
    spec, depths = replace(PANDA, depth_encoding=encoding), truth(scene)
    images, ranges = {}, {camera.name: camera.depth_range for camera in spec.cameras}
    for name, depth in depths.items():
        drawn, _ = depth_to_image(torch.from_numpy(depth), *ranges[name], encoding)
        images[name] = in_8_bits((drawn[:, 0].numpy() + 1) / 2)
    decoded = decode_depths(spec, images, scene)
    assert decoded.kind == "metric"
    assert list(decoded.depths) == NAMES
    assert not decoded.calibrations
    for name, metres in decoded.depths.items():
        near, far = ranges[name]
        assert metres.dtype == np.float32
        inside = (depths[name] >= near) & (metres > 0)
        assert inside.mean() > 0.9
        bound = depth_error_bound(torch.from_numpy(depths[name][inside]).double()[None], near, far, encoding)[
            0
        ].numpy()
        assert (np.abs(metres[inside] - depths[name][inside]) <= bound + 1e-5).all()
        np.testing.assert_array_equal(metres == 0, images[name] < 0.5 * 2 / 255 - 1)


def test_what_an_observation_measures_is_what_decoding_gives(scene):
    """Encoding by the processor and decoding here use the same planes, formulas and boxes."""
    for encoding in ("inverse", "linear"):
        spec = replace(PANDA, depth_encoding=encoding)
        encoded = RobotProcessor(spec).encode_observation(scene)
        images = {name: encoded.depth_images[view, :1].numpy() for view, name in enumerate(NAMES)}
        for view, (name, metres) in enumerate(decode_depths(spec, images, scene).depths.items()):
            known = encoded.depth_mask[view].numpy() & (metres[0] > 0)
            assert known.mean() > 0.9
            np.testing.assert_allclose(metres[0][known], truth(scene)[name][0][known], rtol=1e-4)


@pytest.mark.parametrize("value", [-1.0, -3.0, np.nan, 0.49 * 2 / 255 - 1])
def test_a_pixel_at_the_far_end_is_unknown(value):
    image = np.zeros((FRAMES, 128, 160), np.float32)
    image[2, 3, 4] = value
    decoded = decode_depths(PANDA, {NAMES[0]: image}, make_observation(PANDA))
    assert list(decoded.depths) == NAMES[:1]
    (holes,) = np.argwhere(decoded.depths[NAMES[0]] == 0)
    assert holes.tolist() == [2, 3, 4]


def test_cameras_without_a_range_are_left_out():
    spec = replace(PANDA, cameras=(replace(PANDA.cameras[0], depth_range=None), *PANDA.cameras[1:]))
    images = dict.fromkeys(NAMES, np.zeros((FRAMES, 128, 160), np.float32))
    decoded = decode_depths(spec, images, make_observation(PANDA))
    assert (decoded.kind, list(decoded.depths)) == ("metric", NAMES[1:])
    none = replace(spec, cameras=tuple(replace(camera, depth_range=None) for camera in spec.cameras))
    decoded = decode_depths(none, images, make_observation(PANDA))
    assert (decoded.kind, dict(decoded.depths)) == ("relative", {})


def test_without_depth_images_there_is_none():
    assert decode_depths(PANDA, {}, make_observation(PANDA)).kind == "none"


def test_relative_depth_is_calibrated_on_frame_0_and_applied_to_all_frames(scene):
    depths = truth(scene)
    decoded = decode_depths(RELATIVE, dreamt(depths), scene)
    assert decoded.kind == "calibrated"
    assert not decoded.problems
    for name, (scale, shift) in AFFINE.items():
        fit = decoded.calibrations[name]
        assert is_found(fit, (scale, shift))
        assert fit.inlier_share > 0.95
        assert fit.residual < 0.01
        assert fit.statement.startswith("calibrated on the measured frame 0, not metric: median error 0.")
        known = decoded.depths[name] > 0
        assert known.mean() > 0.8
        error = np.abs(decoded.depths[name] - depths[name])[known] / depths[name][known]
        assert np.median(error) < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_forty_percent_of_the_first_frame_may_be_wrong(scene, seed):
    rng = np.random.default_rng(seed)
    wrong = {}
    for name, depth in scene.depths.items():
        blocks = rng.random((16, 20)) < 0.4  # of 8 × 8 pixels, as things that are not there
        is_wrong = np.kron(blocks, np.ones((8, 8), bool))
        factor = np.kron(rng.uniform(1.1, 2.0, blocks.shape), np.ones((8, 8)))
        wrong[name] = np.where(is_wrong, depth / factor, depth).astype(np.float32)  # all nearer
    decoded = decode_depths(RELATIVE, dreamt(truth(scene)), replace(scene, depths=wrong))
    for name, affine in AFFINE.items():
        fit = decoded.calibrations[name]
        assert is_found(fit, affine)
        assert 0.5 < fit.inlier_share < 0.7


def test_views_without_a_measurement_or_with_a_bad_one_are_left_out_and_told(scene, caplog):
    left, right, wrist = NAMES
    images = dreamt(truth(scene))
    measured = {left: scene.depths[left], wrist: np.full_like(scene.depths[wrist], 0.7)}
    with caplog.at_level(logging.WARNING):
        decoded = decode_depths(RELATIVE, images, replace(scene, depths=measured))
    assert decoded.kind == "calibrated"
    assert list(decoded.depths) == list(decoded.calibrations) == [left]
    assert decoded.problems == {wrist: "the measured depth is almost the same everywhere, so no scale can be seen"}
    assert [record.message for record in caplog.records] == [
        f"Depth of {wrist!r} stays relative: the measured depth is almost the same everywhere, so no scale can be seen."
    ]
    decoded = decode_depths(RELATIVE, images, replace(scene, depths={}))
    assert (decoded.kind, dict(decoded.depths), dict(decoded.problems)) == ("relative", {}, {})
    decoded = decode_depths(RELATIVE, {right: -images[right]}, scene)
    assert decoded.kind == "relative"
    assert "greater levels are farther away" in decoded.problems[right]


def test_calibrated_depth_is_told_up_to_twice_what_was_measured_or_to_the_end_of_the_range(scene):
    name = NAMES[0]
    images = {name: dreamt(truth(scene))[name]}
    farthest = np.quantile(scene.depths[name], 0.99)
    images[name][1:] = 2 * ((1 / (1.9 * farthest) - 0.1) / 3.1) - 1
    images[name][2:] = 2 * ((1 / (2.2 * farthest) - 0.1) / 3.1) - 1
    images[name][3] = 2 * ((1 / 0.05 - 0.1) / 3.1) - 1  # nearer than anything before
    metres = decode_depths(RELATIVE, images, scene).depths[name]
    assert metres[1] == pytest.approx(1.9 * farthest, rel=0.05)
    assert (metres[2] == 0).all()
    assert metres[3] == pytest.approx(0.05, rel=0.02)
    cameras = tuple(replace(camera, depth_range=(0.3, 1.2 * farthest)) for camera in RELATIVE.cameras)
    metres = decode_depths(replace(RELATIVE, cameras=cameras), images, scene).depths[name]
    assert (metres[1] == 0).all()


@pytest.mark.parametrize("hole", [0.0, np.nan, 65.535])
def test_three_quarters_of_holes_do_not_matter(scene, hole):
    rng = np.random.default_rng(0)
    depths = {
        name: np.where(rng.random(depth.shape) < 0.75, hole, depth).astype(np.float32)
        for name, depth in scene.depths.items()
    }
    decoded = decode_depths(RELATIVE, dreamt(truth(scene)), replace(scene, depths=depths))
    for name, affine in AFFINE.items():
        fit = decoded.calibrations[name]
        assert is_found(fit, affine)
        assert fit.num_pixels < 0.3 * 128 * 160
        assert np.isfinite(decoded.depths[name]).all()


def test_pixels_at_the_ends_of_the_image_do_not_count(scene):
    """A third of the picture is nearer than the image can draw."""
    name = NAMES[1]
    (measured,) = depths_to_views([scene.depths[name]], PANDA.image_size, PANDA.crop_ratio)
    level = (1 / measured.numpy() - 0.2) / 1.2
    assert (level > 1).mean() > 0.3
    fit = calibrate_view(torch.from_numpy(in_8_bits(level))[None], measured)
    assert (fit.scale, fit.shift) == pytest.approx((1.2, 0.2), rel=0.01)
    assert fit.inlier_share > 0.95
    assert fit.num_pixels == (np.abs(in_8_bits(level)) < 1 - 1 / 255).sum()


def test_one_view_can_be_calibrated_alone():
    level = torch.rand(40, 60, generator=torch.Generator().manual_seed(0))
    fit = calibrate_view((2 * level - 1)[None], 1 / (2 * level + 0.5))
    assert (fit.scale, fit.shift) == pytest.approx((2, 0.5), rel=1e-3)
    with pytest.raises(DepthCalibrationError, match="there are 0"):
        calibrate_view((2 * level - 1)[None], torch.zeros(40, 60))


@needs_recorded("data", "apc_rgbd_calibrated")
def test_depth_of_a_real_sensor_calibrates_what_a_model_draws_of_it():
    """A RealSense in front of a shelf; where it saw nothing, the model drew something."""
    shelf = RECORDED / "data/apc_rgbd_calibrated/scene-0000"
    views = []
    for index in range(3):
        stored = np.asarray(Image.open(shelf / f"frame-{index:06d}.depth.png")).astype(np.uint16)
        views.append((((stored >> 3) | (stored << 13)) / 10000).astype(np.float32))  # as SOURCE.md there says
    assert (views[0] == 0).mean() > 0.7
    rng = np.random.default_rng(0)
    camera = replace(get_robot("robocasa").cameras[0], size=(480, 640), intrinsics=None)
    spec = replace(get_robot("robocasa"), cameras=(camera,))
    seen = np.stack([depths_to_views([view], spec.image_size, spec.crop_ratio)[0].numpy() for view in views])
    imagined = np.where(seen > 0, seen, rng.uniform(0.5, 3.0, seen.shape))
    levels = (1 / imagined - 0.2) / 2.5 + 0.002 * rng.standard_normal(seen.shape)
    observation = replace(make_observation(spec), depths={camera.name: views[0]})
    decoded = decode_depths(spec, {camera.name: in_8_bits(levels)}, observation)
    fit = decoded.calibrations[camera.name]
    assert (fit.scale, fit.shift) == pytest.approx((2.5, 0.2), rel=0.01)
    assert fit.num_pixels < 0.35 * seen[0].size
    for frame in range(3):
        known = (seen[frame] > 0) & (decoded.depths[camera.name][frame] > 0)
        error = np.abs(decoded.depths[camera.name][frame] - seen[frame])[known] / seen[frame][known]
        assert known.sum() > 0.8 * (seen[frame] > 0).sum()
        assert np.median(error) < 0.01
