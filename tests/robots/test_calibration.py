"""Calibration follows the image, and wrist cameras follow their arm."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from robot_samples import complete_spec, make_observation, make_states

from xwam.envs.mujoco_world import MujocoWorld
from xwam.envs.opengl import RenderingUnavailableError
from xwam.errors import ObservationError
from xwam.geometry.cameras import model_intrinsics
from xwam.robots.calibration import known_intrinsics, known_poses, view_intrinsics, view_poses, with_calibration
from xwam.robots.observation_checks import check_observation, check_state
from xwam.structures import Camera

VIEW = "robot0_eye_in_hand"


def test_what_the_observation_reports_goes_first():
    spec = complete_spec("robocasa")
    observation = make_observation(spec)
    reported = torch.from_numpy(observation.cameras["robot0_eye_in_hand"].intrinsics)
    expected = model_intrinsics(reported, (256, 256), (256, 320), 0.95)
    torch.testing.assert_close(view_intrinsics(spec, observation)[2], expected)

    silent = replace(observation, cameras={})
    own = model_intrinsics(torch.tensor(spec.cameras[2].intrinsics).double(), (256, 256), (256, 320), 0.95)
    torch.testing.assert_close(view_intrinsics(spec, silent)[2], own)


def test_unknown_intrinsics_are_named():
    spec = complete_spec("ac_one")
    observation = replace(make_observation(spec), cameras={})
    with pytest.raises(ValueError, match=r"`intrinsics` of camera 'main' is known neither"):
        view_intrinsics(spec, observation)


def test_standing_cameras_stand_still_and_unknown_ones_are_named():
    spec = complete_spec("mujoco_panda")
    observation = make_observation(spec)
    poses = view_poses(spec, observation, make_states(spec, 4))
    assert poses.shape == (4, 3, 4, 4)
    reported = observation.cameras["robot0_agentview_left"].base_from_camera
    np.testing.assert_array_equal(poses[:, 0].numpy(), np.broadcast_to(reported, (4, 4, 4)))
    with pytest.raises(ValueError, match=r"`base_from_camera` of camera 'robot0_agentview_left'"):
        view_poses(spec, replace(observation, cameras={}), make_states(spec, 1))


def test_what_a_network_predicts_may_lie_anywhere():
    spec = complete_spec("mujoco_panda")
    observation = make_observation(spec)
    far = {"left": replace(observation.arms["left"], position=np.array([0.0, 0.0, 25.0]), gripper=3.0)}
    assert view_poses(spec, observation, [far]).isfinite().all()
    with pytest.raises(ObservationError, match="must be metres within 20 m"):
        check_state(spec, "state", far)


def test_a_reported_wrist_pose_gives_the_hand_eye():
    spec = complete_spec("robotwin")
    observation = make_observation(spec)
    poses = view_poses(spec, observation, [observation.arms, *make_states(spec, 2, seed=5)])
    np.testing.assert_allclose(poses[0, 1].numpy(), observation.cameras["left_camera"].base_from_camera, atol=1e-12)
    assert not np.allclose(poses[1, 1].numpy(), poses[0, 1].numpy())
    with pytest.raises(ValueError, match=r"`tool_from_camera` of camera 'left_camera'"):
        view_poses(
            spec,
            replace(observation, cameras={"head_camera": observation.cameras["head_camera"]}),
            [observation.arms],
        )


def test_calibration_of_what_does_not_fit_is_refused():
    spec = complete_spec("mujoco_panda")
    observation, states = make_observation(spec), make_states(spec, 2)
    stranger = replace(observation, robot="robocasa")
    wrist = observation.cameras["robot0_eye_in_hand"]
    mirrored = replace(wrist, base_from_camera=np.diag([1.0, 1, -1, 1]))
    flat = replace(wrist, intrinsics=np.eye(3))
    for call, text in (
        (lambda: view_intrinsics(spec, stranger), "from 'robocasa'"),
        (lambda: view_poses(spec, stranger, states), "from 'robocasa'"),
        (lambda: view_intrinsics(spec, None), "must be an Observation, but is None"),
        (lambda: view_intrinsics(spec, replace(observation, cameras={wrist: wrist})), "`cameras` holds"),
        (lambda: view_intrinsics(spec, replace(observation, cameras={VIEW: flat})), "at least 4 pixels"),
        (lambda: view_poses(spec, replace(observation, cameras={VIEW: mirrored}), states), "reflection"),
        (lambda: view_poses(spec, replace(observation, arms={}), states), "`arms` lacks"),
        (lambda: view_poses(spec, observation, [states[0], {}]), r"`states\[1\]` lacks"),
        (lambda: view_poses(spec, observation, []), "at least one state"),
    ):
        with pytest.raises(ValueError, match=text):
            call()


def test_a_wrist_camera_on_an_arm_in_joints_is_refused():
    spec = complete_spec("droid")
    observation = make_observation(spec)
    with pytest.raises(ValueError, match=r"'wrist_left' follows arm 'left', whose state is in joints"):
        view_poses(spec, observation, make_states(spec, 1))


def test_hand_eye_of_the_embedded_robot_is_the_one_of_robocasa():
    """Both describe one camera; the embedded robot reports its tool turned by 180° about x."""
    turned = np.diag([1.0, -1.0, -1.0, 1.0])
    embedded = np.array(complete_spec("mujoco_panda").cameras[2].tool_from_camera)
    robocasa = np.array(complete_spec("robocasa").cameras[2].tool_from_camera)
    np.testing.assert_allclose(embedded, turned @ robocasa)
    opengl = np.array([[-1, 0, 0, 0], [0, 1, 0, 0.05], [0, 0, -1, -0.097], [0, 0, 0, 1]])
    np.testing.assert_allclose(robocasa, opengl @ turned)


def test_the_embedded_world_is_where_its_spec_says():
    spec = complete_spec("mujoco_panda")
    try:
        world = MujocoWorld(seed=3)
    except (ImportError, RenderingUnavailableError) as error:
        pytest.skip(f"this machine cannot render: {error}")
    with world:
        observation = world.reset(3)
    check_observation(spec, observation)
    wrist = observation.cameras["robot0_eye_in_hand"]
    np.testing.assert_allclose(
        view_poses(spec, observation, [observation.arms])[0, 2].numpy(), wrist.base_from_camera, atol=1e-9
    )
    for camera in spec.cameras:
        reported: Camera = observation.cameras[camera.name]
        np.testing.assert_allclose(reported.intrinsics, camera.intrinsics, atol=1e-6)
        depth = observation.depths[camera.name]
        assert ((depth >= camera.depth_range[0]) & (depth <= camera.depth_range[1])).mean() > 0.99


def test_what_is_known_is_what_the_views_are_given():
    spec = complete_spec("mujoco_panda")
    observation, states = make_observation(spec), make_states(spec, 3)
    names = [camera.name for camera in spec.cameras]
    matrices, poses = known_intrinsics(spec, observation), known_poses(spec, observation, states)
    assert list(matrices) == list(poses) == names
    np.testing.assert_array_equal(np.stack(list(matrices.values())), view_intrinsics(spec, observation).numpy())
    np.testing.assert_array_equal(
        np.stack(list(poses.values()), axis=1), view_poses(spec, observation, states).numpy()
    )
    silent = replace(observation, cameras={})
    assert list(known_intrinsics(spec, silent)) == names
    assert list(known_poses(spec, silent, states)) == [VIEW]


def test_a_pose_of_a_standing_camera_can_be_changed_at_one_frame():
    spec = complete_spec("mujoco_panda")
    pose = known_poses(spec, make_observation(spec), make_states(spec, 2))["robot0_agentview_left"]
    pose[0, 0, 3] += 1
    assert pose[0, 0, 3] - pose[1, 0, 3] == pytest.approx(1)


def test_a_robot_takes_calibration_for_some_of_its_cameras():
    spec = complete_spec("ac_one")
    assert "cameras.main.intrinsics" in spec.unknown
    matrix = np.array([[300.0, 0, 165], [0, 300, 125], [0, 0, 1]])
    pose = np.diag([1.0, -1, -1, 1])
    arm = next(camera.name for camera in spec.cameras if camera.arm is not None)
    known = with_calibration(
        spec, intrinsics={"main": matrix}, base_from_camera={"main": pose}, tool_from_camera={arm: pose}
    )
    lacking = {path for path in spec.unknown if path.startswith("cameras.")}
    assert lacking - set(known.unknown) == {
        "cameras.main.intrinsics",
        "cameras.main.base_from_camera",
        f"cameras.{arm}.tool_from_camera",
    }
    main = next(camera for camera in known.cameras if camera.name == "main")
    np.testing.assert_array_equal(np.array(main.intrinsics), matrix)
    assert with_calibration(known) == known


def test_calibration_that_fits_no_camera_is_refused():
    spec = complete_spec("ac_one")
    arm = next(camera.name for camera in spec.cameras if camera.arm is not None)
    far = np.eye(4)
    far[2, 3] = 812.0
    for given, text in (
        ({"intrinsics": {"front": np.eye(3)}}, r"`intrinsics` has \['front'\], but the cameras of 'ac_one' are"),
        ({"intrinsics": {"main": np.eye(3)}}, r"'main' is not valid: `intrinsics` .* divided by the image size"),
        ({"intrinsics": {"main": np.diag([0.0, 0, 1])}}, "singular"),
        ({"base_from_camera": {"main": far}}, r"`base_from_camera` .* as if in millimetres"),
        ({"base_from_camera": {arm: np.eye(4)}}, "only for a camera that no arm carries"),
        ({"tool_from_camera": {"main": np.eye(4)}}, "needs `arm`"),
        ({"tool_from_camera": {arm: np.diag([1.0, 1, -1, 1])}}, "reflection"),
    ):
        with pytest.raises(ValueError, match=text):
            with_calibration(spec, **given)
