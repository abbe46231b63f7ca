"""What came is seen through the model's eyes: the same frames, depth, cameras and states as at inference."""

from dataclasses import replace

import numpy as np
import pytest
from seen_world import NUM_FRAMES, as_clip, see

from xwam.errors import ObservationError
from xwam.futures.future import Future
from xwam.futures.reality import clip_future, observed_future
from xwam.robots.calibration import view_intrinsics, view_poses
from xwam.robots.images import depths_to_views
from xwam.robots.processor import RobotProcessor
from xwam.structures import Camera, JointState

WRIST = "robot0_eye_in_hand"
OTHER_SIZE = (96, 112)


@pytest.fixture(scope="module")
def spec():
    return replace(see().robot, image_size=OTHER_SIZE)


@pytest.fixture(scope="module")
def future(spec) -> Future:
    return observed_future(spec, see().observations, see().commands)


def test_every_frame_is_what_the_model_would_have_been_shown(spec, future):
    processor = RobotProcessor(spec)
    for frame in (0, 3, NUM_FRAMES - 1):
        observation = see().observations[frame]
        shown = processor.encode_observation(observation).frames.numpy()  # (V, 3, H, W) in [-1, 1]
        for view, name in enumerate(future.cameras):
            levels = (shown[view].transpose(1, 2, 0) + 1) * 127.5
            assert np.abs(levels - future.frames[name][frame]).max() <= 0.5001
            depth = depths_to_views([observation.depths[name]], spec.image_size, spec.crop_ratio)[0].numpy()
            np.testing.assert_array_equal(depth, future.depths[name][frame])
    assert future.depth_kind == "measured"
    assert future.frame_period == pytest.approx(0.2)


def test_cameras_follow_resize_and_crop_and_the_arm(spec, future):
    observations = see().observations
    matrices = view_intrinsics(spec, observations[0]).numpy()
    for view, name in enumerate(future.cameras):
        np.testing.assert_allclose(future.intrinsics[name], matrices[view], atol=1e-9)
        assert not np.allclose(future.intrinsics[name], observations[0].cameras[name].intrinsics, atol=1)
        reported = np.stack([own.cameras[name].base_from_camera for own in observations])
        np.testing.assert_array_equal(future.base_from_camera[name], reported)
    assert np.ptp(future.base_from_camera[WRIST][:, :3, 3], axis=0).max() > 0.02, "the wrist moves"
    assert len(future.states) == NUM_FRAMES
    np.testing.assert_array_equal(future.actions.commands, see().commands)


def test_poses_that_are_not_reported_follow_from_the_measured_states(spec, future):
    silent = [
        replace(own, cameras={name: camera for name, camera in own.cameras.items() if name != WRIST})
        for own in see().observations
    ]
    carried = observed_future(spec, silent).base_from_camera[WRIST]
    np.testing.assert_allclose(carried, future.base_from_camera[WRIST], atol=1e-4)
    states = [own.arms for own in silent]
    np.testing.assert_array_equal(carried, view_poses(spec, silent[0], states)[:, 2].numpy())


def test_a_standing_camera_reported_once_keeps_its_pose(spec):
    first, *later = see().observations
    quiet = [replace(own, cameras={}) for own in later]
    poses = observed_future(spec, [first, *quiet]).base_from_camera["robot0_agentview_left"]
    np.testing.assert_array_equal(poses[-1], first.cameras["robot0_agentview_left"].base_from_camera)


def test_a_recorded_clip_is_the_same_future(spec, future):
    recorded = clip_future(spec, as_clip(see()))
    for field in ("frames", "depths", "intrinsics", "base_from_camera"):
        ours, theirs = getattr(future, field), getattr(recorded, field)
        assert list(ours) == list(theirs)
        for name in ours:
            np.testing.assert_allclose(ours[name], theirs[name], atol=1e-9)
    for own, other in zip(future.states, recorded.states, strict=True):
        np.testing.assert_array_equal(own["left"].position, other["left"].position)
        np.testing.assert_allclose(own["left"].quaternion, other["left"].quaternion, atol=1e-12)
        assert own["left"].gripper == other["left"].gripper
    np.testing.assert_array_equal(future.actions.commands, recorded.actions.commands)
    assert (recorded.depth_kind, recorded.frame_period) == ("measured", future.frame_period)


def test_what_a_recording_lacks_is_left_out(spec):
    clip = as_clip(see())
    left = "robot0_agentview_left"
    states, commands = clip.state_is_valid.copy(), clip.command_is_valid.copy()
    states[8, 0] = commands[3, 2] = False
    levels = {name: np.zeros(depth.shape, np.uint8) for name, depth in clip.depths.items()}
    poor = replace(
        clip, images={left: clip.images[left]}, depths={}, relative_depths=levels, intrinsics={}, base_from_camera={},
        state_is_valid=states, command_is_valid=commands,
    )  # fmt: skip
    future = clip_future(spec, poor)
    assert future.cameras == (left,)
    assert (future.depth_kind, future.depths) == ("relative", {})
    assert (future.states, future.actions) == ((), None)
    assert left in future.intrinsics, "the spec knows the matrix"
    assert left not in future.base_from_camera, "but not where the camera stands"


def test_a_sensor_that_saw_nothing_knows_nothing(spec):
    observations = list(see().observations)
    depths = dict(observations[2].depths)
    depths[WRIST] = np.full_like(depths[WRIST], np.nan)
    observations[2] = replace(observations[2], depths=depths)
    depth = observed_future(spec, observations).depths[WRIST]
    assert not depth[2].any()
    assert depth[1].all()


def test_without_depth_in_every_frame_there_is_none(spec):
    observations = [*see().observations[:-1], replace(see().observations[-1], depths={})]
    future = observed_future(spec, observations)
    assert (future.depths, future.depth_kind) == ({}, "none")


def test_looks_at_another_rate_are_refused(spec):
    with pytest.raises(
        ValueError, match=r"`observations\[2\]` must be seen 0.4 s after the first.*was seen 0.6 s after"
    ):
        observed_future(spec, [see().observations[frame] for frame in (0, 1, 3)])
    with pytest.raises(ValueError, match="`observations` must hold at least one observation"):
        observed_future(spec, [])


def test_a_recording_without_a_clock_is_taken_as_it_is(spec):
    assert observed_future(spec, [replace(own, time=0.0) for own in see().observations]).num_frames == NUM_FRAMES


def test_another_robot_and_a_mirrored_camera_are_refused(spec):
    first, second, *_ = see().observations
    with pytest.raises(ObservationError, match="`robot` must be 'mujoco_panda'"):
        observed_future(spec, [first, replace(second, robot="droid")])
    with pytest.raises(ValueError, match="must be of robot 'mujoco_panda', but is of 'droid'"):
        clip_future(spec, as_clip(see(), robot="droid"))
    mirrored = Camera(second.cameras[WRIST].intrinsics, np.diag([1.0, -1, 1, 1]))
    with pytest.raises(ObservationError, match="reflection"):
        observed_future(spec, [first, replace(second, cameras={WRIST: mirrored})])


def test_some_cameras_of_a_future(future):
    one = future.with_cameras([WRIST])
    assert one.cameras == tuple(one.depths) == tuple(one.intrinsics) == tuple(one.base_from_camera) == (WRIST,)
    without_depth = replace(future, depths={WRIST: future.depths[WRIST]})
    assert without_depth.with_cameras(["robot0_agentview_left"]).depth_kind == "none"
    for names in ([], ["head"]):
        with pytest.raises(ValueError, match="`names` must be some of"):
            future.with_cameras(names)


def test_an_arm_in_joints_leaves_a_camera_where_it_is_reported(spec):
    arms = tuple(replace(arm, num_joints=7) for arm in spec.arms)
    in_joints = replace(
        spec, arms=arms, command_kind=None, raw_scale=None, quantiles=None, action_slots=tuple(range(8))
    )
    joints = {"left": JointState(np.zeros(7), 0.5)}
    observations = [replace(own, arms={}, joints=joints) for own in see().observations]
    poses = observed_future(in_joints, observations).base_from_camera
    for name in (WRIST, "robot0_agentview_left"):
        reported = [own.cameras[name].base_from_camera for own in observations]
        np.testing.assert_array_equal(poses[name], reported)
    observations[-1] = replace(observations[-1], cameras={})
    assert WRIST not in observed_future(in_joints, observations).base_from_camera


@pytest.mark.parametrize("num_commands", [0, 31, 33, 64])
def test_other_numbers_of_commands_than_were_between_the_frames_are_refused(spec, num_commands):
    commands = np.zeros((num_commands, 7))
    with pytest.raises(
        ValueError, match=f"must be 32, 4 for each step between 9 observations, but are {num_commands}"
    ):
        observed_future(spec, see().observations, commands)


def test_depth_of_a_camera_that_is_not_looked_at_is_none(spec):
    clip = as_clip(see())
    one = replace(spec, cameras=spec.cameras[:1])
    future = clip_future(one, replace(clip, depths={WRIST: clip.depths[WRIST]}))
    assert (future.cameras, future.depth_kind) == (("robot0_agentview_left",), "none")


def test_infinity_in_recorded_depth_is_nothing_known(spec):
    clip = as_clip(see())
    depth = clip.depths[WRIST].astype(np.float64)
    depth[2] = np.inf
    found = clip_future(spec, replace(clip, depths={WRIST: depth})).depths[WRIST]
    assert found.dtype == np.float32
    assert not found[2].any()
    assert found[1].all()
