"""A model's arrays become a future in physical units."""

from dataclasses import replace

import numpy as np
import pytest
from robot_samples import complete_spec, make_observation, make_states

from xwam.futures.imagined import imagined_future


def _imagine(spec, observation, *, num_views: int, with_depth: bool = True, states=None):
    rng = np.random.default_rng(0)
    shape = (num_views, spec.num_frames, *spec.image_size)
    return imagined_future(
        spec,
        observation,
        rng.integers(0, 256, (*shape, 3), dtype=np.uint8),
        rng.uniform(-0.9, 0.9, shape).astype(np.float32) if with_depth else None,
        states or [observation.arms, *make_states(spec, spec.num_frames - 1)],
        None,
    )


def test_every_part_carries_the_name_of_its_camera():
    spec = complete_spec("mujoco_panda")
    future = _imagine(spec, make_observation(spec), num_views=3)
    names = tuple(camera.name for camera in spec.cameras)
    assert (
        future.cameras == tuple(future.depths) == tuple(future.intrinsics) == tuple(future.base_from_camera) == names
    )
    assert future.depth_kind == "metric"
    assert future.frame_period == pytest.approx(4 * 0.05)
    assert future.num_frames == 9
    assert future.base_from_camera["robot0_eye_in_hand"].shape == (9, 4, 4)


def test_fewer_views_are_the_first_cameras():
    spec = complete_spec("mujoco_panda")
    future = _imagine(spec, make_observation(spec), num_views=2)
    assert (
        future.cameras
        == tuple(future.depths)
        == tuple(future.intrinsics)
        == ("robot0_agentview_left", "robot0_agentview_right")
    )


def test_the_wrist_camera_follows_the_predicted_states():
    spec = complete_spec("mujoco_panda")
    observation = make_observation(spec)
    states = [observation.arms, *make_states(spec, 8)]
    future = _imagine(spec, observation, num_views=3, states=states)
    wrist, standing = (future.base_from_camera[f"robot0_{name}"] for name in ("eye_in_hand", "agentview_left"))
    shift = np.linalg.inv(wrist[0]) @ wrist[5]
    moved = states[5]["left"].position - states[0]["left"].position
    assert np.linalg.norm(shift[:3, 3]) > 0
    assert np.abs(wrist[5, :3, 3] - wrist[0, :3, 3] - moved).max() < 0.3, "the hand-eye lever is 0.11 m long"
    np.testing.assert_array_equal(standing[0], standing[8])


def test_what_is_unknown_is_left_out_and_named_when_asked_for():
    spec = complete_spec("mujoco_panda")
    observation = replace(make_observation(spec), cameras={})
    future = _imagine(spec, observation, num_views=3, with_depth=False)
    assert future.depth_kind == "none"
    assert not future.depths
    assert set(future.base_from_camera) == {"robot0_eye_in_hand"}
    with pytest.raises(
        ValueError,
        match=r"calibration of camera 'robot0_agentview_left' is unknown; known are \['robot0_eye_in_hand'\]",
    ):
        future.camera("robot0_agentview_left", 0)
    assert future.camera("robot0_eye_in_hand", 3).base_from_camera.shape == (4, 4)


def test_a_predicted_gripper_may_pass_its_ends():
    spec = complete_spec("mujoco_panda")
    observation = make_observation(spec)
    wide = [{"left": replace(state["left"], gripper=1.4)} for state in make_states(spec, 9)]
    assert _imagine(spec, observation, num_views=3, states=wide).states[3]["left"].gripper == 1.4
