"""The RoboCasa adapter's code on a real simulator: robosuite's tasks, its controller, its wrist camera, its demonstrations.

It runs in an environment of its own: `make test-robosuite`.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from xwam.envs.base import Environment
from xwam.envs.robocasa_frames import matrix_from_quaternion
from xwam.envs.robocasa_tasks import CAMERAS, PARTS, STATIC_CAMERAS
from xwam.envs.robosuite_demonstrations import list_demonstrations, load_demonstration, write_demonstrations
from xwam.envs.robosuite_world import RobosuiteWorld, add_static_cameras
from xwam.policies.closed_loop import run_episode
from xwam.policies.robosuite_expert import RobosuiteExpert
from xwam.robots.camera_formats import camera_from_robosuite, invert_pose, pose_matrix
from xwam.robots.observation_checks import check_observation

pytestmark = [
    pytest.mark.robosuite,
    pytest.mark.skipif(
        importlib.util.find_spec("robosuite") is None, reason="robosuite is not installed: make test-robosuite"
    ),
]

EE_TO_CAM = np.array([[-1.0, 0, 0, 0], [0, 1, 0, 0.05], [0, 0, -1, -0.097], [0, 0, 0, 1]])  # robocasa_client.py
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
PHYSICS_STEP = 0.002  # seconds
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", params=["Panda", "PandaOmron"])
def world(request):
    with RobosuiteWorld("Lift", arm=request.param, with_depth=True) as world:
        yield world


def pose_of(observation) -> np.ndarray:
    arm = observation.arms["left"]
    return pose_matrix(arm.position, matrix_from_quaternion(arm.quaternion))


def arm_controller(world):
    controller = world._simulation.robots[0].composite_controller
    return controller.part_controllers[controller.arms[0]]


def test_an_observation_passes_the_robots_checks(world):
    observation = world.reset(0)
    check_observation(world.robot, observation)
    assert isinstance(world, Environment)
    assert (observation.instruction, observation.time) == ("lift the red cube", 0.0)
    assert list(observation.images) == list(CAMERAS)
    assert all(image.shape == (256, 256, 3) and image.std() > 20 for image in observation.images.values())
    assert world.render().shape == (480, 640, 3)


def test_the_same_seed_gives_the_same_bytes(world):
    def run() -> bytes:
        generator, parts = np.random.default_rng(0), []
        observation = world.reset(3)
        for _ in range(5):
            world.step(generator.uniform(-1, 1, 7))
        for look in (observation, world.observe()):
            parts += [look.images[name].tobytes() + look.depths[name].tobytes() for name in CAMERAS]
            parts.append(look.arms["left"].position.tobytes() + look.arms["left"].quaternion.tobytes())
        return b"".join(parts)

    first = run()
    assert run() == first
    world.reset(4)
    assert world.observe().images[CAMERAS[0]].tobytes() not in first


def test_looking_changes_nothing_that_follows(world):
    def run(*, looks: bool) -> np.ndarray:
        generator = np.random.default_rng(1)
        world.reset(1)
        for _ in range(8):
            if looks:
                world.observe(with_images=False)
            world.step(generator.uniform(-1, 1, 7))
        return world.state()

    np.testing.assert_array_equal(run(looks=True), run(looks=False))


def test_the_wrist_camera_hangs_at_the_official_matrix(world):
    world.reset(2)
    generator = np.random.default_rng(2)
    for _ in range(20):
        world.step(generator.uniform(-1, 1, 7))
        observation = world.observe(with_images=False)
        camera = observation.cameras["robot0_eye_in_hand"].base_from_camera
        np.testing.assert_allclose(pose_of(observation) @ EE_TO_CAM @ OPENGL, camera, rtol=0, atol=1e-6)


def test_robosuites_own_matrices_become_our_calibration(world):
    from robosuite.utils.camera_utils import get_camera_extrinsic_matrix, get_camera_intrinsic_matrix

    observation = world.reset(1)
    sim, base_from_world = world._simulation.sim, invert_pose(world._world_from_base)
    for name in CAMERAS:
        size = observation.depths[name].shape
        imported = camera_from_robosuite(
            get_camera_intrinsic_matrix(sim, name, *size),
            get_camera_extrinsic_matrix(sim, name),
            size,
            base_from_world=base_from_world,
        )
        np.testing.assert_allclose(imported.intrinsics, observation.cameras[name].intrinsics)
        np.testing.assert_allclose(imported.base_from_camera, observation.cameras[name].base_from_camera, atol=1e-9)


def test_static_cameras_are_robocasas(world):
    observation = world.reset(0)
    for name, (position, quaternion) in STATIC_CAMERAS.items():
        expected = pose_matrix(np.array(position), matrix_from_quaternion(np.array(quaternion))) @ OPENGL
        np.testing.assert_allclose(observation.cameras[name].base_from_camera, expected, atol=1e-6)


def test_the_state_is_the_releases_one_physics_step_later(world):
    """The release reads `ref_pos`, which robosuite leaves at the last physics step's beginning."""
    world.reset(0)
    for _ in range(6):
        world.step(np.array([1.0, 0, 0, 0, 0, 0, -1.0]))
    released = arm_controller(world).ref_pos.copy()
    observation = world.observe(with_images=False)
    ours = (world._world_from_base @ pose_of(observation))[:3, 3]
    speed = np.linalg.norm(arm_controller(world).ref_pos_vel)
    assert speed > 0.1
    assert np.linalg.norm(ours - released) == pytest.approx(speed * PHYSICS_STEP, rel=0.1)


def test_a_command_moves_along_the_base_axes_and_minus_one_opens(world):
    before = world.reset(0).arms["left"]
    for axis in range(3):
        command = np.zeros(7)
        command[axis], command[6] = 1.0, 1.0
        for _ in range(6):
            world.step(command)
        after = world.observe(with_images=False).arms["left"]
        moved = after.position - before.position
        assert moved[axis] > 0.02
        assert np.abs(np.delete(moved, axis)).max() < 0.5 * moved[axis]
        for _ in range(6):  # until it stands
            world.step(np.array([0, 0, 0, 0, 0, 0, 1.0]))
        before = world.observe(with_images=False).arms["left"]
    assert before.gripper < 0.1
    for _ in range(12):
        world.step(np.array([0, 0, 0, 0, 0, 0, -1.0]))
    assert world.observe(with_images=False).arms["left"].gripper > 0.9


def test_the_mobile_robot_reads_robocasas_order_and_stays():
    with RobosuiteWorld("Lift", arm="PandaOmron") as world:
        world.reset(0)
        controller = world._simulation.robots[0].composite_controller
        assert dict(controller._action_split_indexes) == PARTS
        assert world._simulation.action_spec[0].shape == (12,)
        base = np.array(arm_controller(world).origin_pos)
        for _ in range(10):
            world.step(np.array([0, 1.0, 0, 0, 0, 0, 1.0]))
        assert np.linalg.norm(arm_controller(world).origin_pos - base) < 2e-3


def test_depth_is_where_rays_hit(world):
    if str(BENCHMARKS) not in sys.path:
        sys.path.append(str(BENCHMARKS))
    from robosuite_closed_loop import ray_errors

    errors = ray_errors(world, world.reset(1), 400)
    assert len(errors) > 1000
    assert np.percentile(errors, 99) < 1e-4


@pytest.mark.parametrize("task", ["Lift", "Stack"])
def test_the_expert_succeeds_and_standing_still_does_not(task):
    with RobosuiteWorld(task) as world:
        outcome = run_episode(world, RobosuiteExpert(world), seed=11)
        assert outcome.is_success
        assert outcome.num_steps < 100
        world.reset(11)
        assert not any(world.step(np.zeros(7)).is_success for _ in range(40))


@pytest.mark.parametrize("task", ["PickPlaceCan", "NutAssemblySquare", "Door"])
def test_tasks_without_an_expert_are_seen_and_driven_too(task):
    with RobosuiteWorld(task, with_depth=True) as world:
        observation = world.reset(0)
        check_observation(world.robot, observation)
        assert all(image.std() > 20 for image in observation.images.values())
        before = pose_of(observation)[:3, 3]
        for _ in range(5):
            assert not world.step(np.array([0, 0, 1.0, 0, 0, 0, -1.0])).is_success
        assert pose_of(world.observe(with_images=False))[2, 3] > before[2] + 0.02
        assert world.render().std() > 20


def test_a_demonstration_from_a_file_is_replayed_to_the_same_pictures(tmp_path):
    path = tmp_path / "demo.hdf5"
    with RobosuiteWorld("Lift", with_depth=True) as world:
        live = [world.reset(6)]
        expert = RobosuiteExpert(world)
        expert.reset(6)
        states, actions = [], []
        for step in range(16):
            states.append(world.state())
            actions.append(expert.infer(world.observe(with_images=False), seed=0).commands[0])
            if step % 5 == 0 and step:
                live.append(world.observe())
            world.step(actions[-1])
        demonstration = {
            "states": np.stack(states),
            "actions": np.stack(actions),
            "model_file": world.model_xml(),
            "ep_meta": {},
            "env_args": {"env_name": "Lift", "type": 1, "env_kwargs": {"robots": "Panda"}},
        }
    write_demonstrations(path, [demonstration])
    with RobosuiteWorld("Lift", with_depth=True) as other:
        stored = load_demonstration(path, *list_demonstrations(path))
        replayed = [other.start_replay(stored)]
        for step in (5, 10, 15):
            other.set_state(stored["states"][step])
            replayed.append(other.observe())
    for before, after in zip(live, replayed, strict=True):
        assert after.time == pytest.approx(before.time)
        np.testing.assert_allclose(pose_of(after), pose_of(before), atol=1e-9)
        for name in CAMERAS:
            np.testing.assert_array_equal(after.images[name], before.images[name])
            np.testing.assert_array_equal(after.depths[name], before.depths[name])
            np.testing.assert_allclose(
                after.cameras[name].base_from_camera, before.cameras[name].base_from_camera, atol=1e-9
            )


def test_bodies_are_in_the_base_frame(world):
    world.reset(0)
    data = world._simulation.sim.data._data
    expected = invert_pose(world._world_from_base) @ [*data.body("cube_main").xpos, 1]
    np.testing.assert_allclose(world.base_from("cube_main")[:3, 3], expected[:3], atol=1e-12)


def test_cameras_can_be_added_twice():
    xml = '<mujoco><worldbody><body name="robot0_base"/></worldbody></mujoco>'
    once = add_static_cameras(xml, "robot0_base")
    assert once.count("<camera") == 2
    assert add_static_cameras(once, "robot0_base") == once
    with pytest.raises(ValueError, match="body 'base' for the static cameras"):
        add_static_cameras(xml, "base")
