"""A clip becomes the observation that its robot made when it began."""

from dataclasses import replace

import numpy as np
import pytest
from seen_world import as_clip, see

from xwam.robots.clip_observation import clip_observation, clip_states, spec_for_images
from xwam.robots.observation_checks import check_observation
from xwam.structures import JointState


def test_the_first_instant_is_what_the_robot_knew():
    first = see().observations[0]
    observation = clip_observation(see().robot, as_clip(see()))
    check_observation(see().robot, observation)
    assert observation.instruction == first.instruction
    for name, image in first.images.items():
        np.testing.assert_array_equal(observation.images[name], image)
        np.testing.assert_array_equal(observation.depths[name], first.depths[name])
        np.testing.assert_array_equal(observation.cameras[name].base_from_camera, first.cameras[name].base_from_camera)
    np.testing.assert_array_equal(observation.arms["left"].position, first.arms["left"].position)


def test_states_at_the_frames():
    states = clip_states(see().robot, as_clip(see()))
    assert len(states) == len(see().observations)
    for state, observation in zip(states, see().observations, strict=True):
        np.testing.assert_array_equal(state["left"].position, observation.arms["left"].position)
    valid = as_clip(see()).state_is_valid
    valid[4] = False
    assert clip_states(see().robot, as_clip(see(), state_is_valid=valid)) is None
    valid[4], valid[5] = True, False  # between two frames
    assert clip_states(see().robot, as_clip(see(), state_is_valid=valid)) is not None


def test_an_arm_in_joints():
    spec = see().robot
    arm = replace(spec.arms[0], num_joints=7)
    spec = replace(
        spec, arms=(arm,), command_kind="joint_position", raw_scale=None, quantiles=None, action_slots=tuple(range(8))
    )
    state = clip_states(spec, as_clip(see()))[0]["left"]
    assert isinstance(state, JointState)
    assert state.positions.shape == (7,)


def test_depth_counts_only_where_every_sensor_has_it():
    clip = as_clip(see())
    some = dict(list(clip.depths.items())[:2])
    assert clip_observation(see().robot, replace(clip, depths=some)).depths == {}


def test_of_a_robot_with_relative_depth_any_measured_depth_counts():
    cameras = tuple(replace(camera, depth_range=None) for camera in see().robot.cameras)
    spec = replace(see().robot, cameras=cameras, depth_encoding="relative")
    clip = as_clip(see())
    name = spec.cameras[1].name
    observation = clip_observation(spec, replace(clip, depths={name: clip.depths[name]}))
    check_observation(spec, observation)
    assert list(observation.depths) == [name]
    np.testing.assert_array_equal(observation.depths[name], see().observations[0].depths[name])


def test_without_a_first_state_there_is_no_observation():
    valid = as_clip(see()).state_is_valid
    valid[0, 7] = False
    with pytest.raises(
        ValueError, match=r"The first state of the embedded world must be measured, but lacks \['left_gripper'\]"
    ):
        clip_observation(see().robot, as_clip(see(), state_is_valid=valid))


def test_camera_matrices_follow_another_image_size():
    clip = as_clip(see())
    small = replace(clip, images={name: video[:, ::2, ::2] for name, video in clip.images.items()})
    spec = spec_for_images(see().robot, small)
    assert {camera.size for camera in spec.cameras} == {(64, 80)}
    before, after = (np.array(own.cameras[2].intrinsics) for own in (see().robot, spec))
    np.testing.assert_allclose(after[:2], before[:2] / 2)
    assert spec_for_images(see().robot, clip) == see().robot
