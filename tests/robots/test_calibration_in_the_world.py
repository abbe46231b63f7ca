"""Calibration against the truth of the embedded world: the wrist camera along whole episodes, and what the model is shown."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from xwam.envs.mujoco_tasks.registry import TASKS
from xwam.envs.mujoco_world import CAMERAS, MujocoWorld
from xwam.envs.opengl import RenderingUnavailableError
from xwam.geometry.cameras import model_intrinsics, resize_intrinsics, unproject_depth
from xwam.policies.scripted import ScriptedPolicy
from xwam.robots.calibration import view_intrinsics, view_poses
from xwam.robots.images import depths_to_views, images_to_frames
from xwam.robots.processor import RobotProcessor
from xwam.robots.registry import get_robot
from xwam.robots.spec import RobotSpec
from xwam.structures import ArmState, Observation

WRIST = "robot0_eye_in_hand"
ROBOCASA_SIZE = (256, 256)


def make_world(**options) -> MujocoWorld:
    try:
        return MujocoWorld(**options)
    except (ImportError, RenderingUnavailableError) as error:
        pytest.skip(f"the embedded world does not run here: {error}")


def expert_episode(world: MujocoWorld, seed: int) -> Iterator[Observation]:
    """What the robot reports at every step of an episode, without images."""
    expert = ScriptedPolicy(world, noise=0.1, recovery=True)
    world.reset(seed)
    expert.reset(seed)
    for step in range(world.max_steps):
        observation = world.observe(with_images=False)
        yield observation
        command = expert.infer(observation, seed=step).commands[0]
        if world.step(command).is_over:
            return


def recorded(state: ArmState) -> ArmState:
    """As data sets keep it."""
    return ArmState(state.position.astype(np.float32), state.quaternion.astype(np.float32), float(state.gripper))


def largest_difference(poses: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Metres and radians, over `(S, 4, 4)` each."""
    turns = Rotation.from_matrix(truth[:, :3, :3]).inv() * Rotation.from_matrix(poses[:, :3, :3])
    return float(np.linalg.norm(poses[:, :3, 3] - truth[:, :3, 3], axis=1).max()), float(turns.magnitude().max())


@pytest.mark.parametrize(("seed", "task"), enumerate(TASKS))
def test_the_wrist_camera_follows_recorded_and_normalised_states(seed, task):
    spec = get_robot("mujoco_panda")
    processor = RobotProcessor(spec)
    with make_world(task=task, randomized=True) as world:
        episode = list(expert_episode(world, seed))
    assert len(episode) > 20
    truth = np.stack([observation.cameras[WRIST].base_from_camera for observation in episode])
    float32 = [{"left": recorded(observation.arms["left"])} for observation in episode]
    predicted = processor.decode_states(processor.encode_states(float32))
    for states in (float32, predicted):
        metres, radians = largest_difference(view_poses(spec, episode[0], states)[:, -1].numpy(), truth)
        assert metres <= 1e-4
        assert radians <= 1e-4
    assert min(largest_difference(truth, truth[::-1])) > 0.05, "a camera that stood still would be noticed"


def release_spec() -> RobotSpec:
    """The embedded robot with the images of RoboCasa: square, and seen by the model at 256 x 320."""
    spec = get_robot("mujoco_panda")
    cameras = tuple(replace(c, size=ROBOCASA_SIZE, intrinsics=None, is_reported=True) for c in spec.cameras)
    return replace(spec, cameras=cameras, image_size=(256, 320), crop_ratio=0.95)


def seen_points(spec: RobotSpec, observation: Observation, intrinsics: torch.Tensor) -> np.ndarray:
    """Points `(V, H, W, 3)` in the base frame of what the model is shown."""
    depths = depths_to_views([observation.depths[c.name] for c in spec.cameras], spec.image_size, spec.crop_ratio)
    poses = view_poses(spec, observation, [observation.arms])[0]
    return unproject_depth(depths.double(), intrinsics, poses).numpy()


def distances_to_the_scene(world: MujocoWorld, points: np.ndarray, camera: str) -> np.ndarray:
    """How far points `(n, 3)` lie before or behind what the ray through each meets, in widths of a pixel of the robot's there."""
    focal = world.observe(with_images=False).cameras[camera].intrinsics[0, 0]
    world_from_base = world.scene.data.body("base").xmat.reshape(3, 3)
    origin, base = world.scene.data.cam(camera).xpos, world.scene.data.body("base").xpos
    errors = []
    for point in points:
        ray = world_from_base @ point + base - origin
        met = world._mujoco.mj_ray(
            world.scene.model, world.scene.data, origin, ray, None, 1, -1, np.zeros(1, np.int32)
        )
        errors.append(
            abs(met - 1) * focal
        )  # the ray has the length of the distance, and a pixel is distance / focal wide
    return np.array(errors)


@pytest.fixture(scope="module")
def looked_at() -> Iterator[tuple[MujocoWorld, Observation]]:
    with make_world(task="stack_cubes", randomized=True, image_size=ROBOCASA_SIZE) as world:
        for command in np.random.default_rng(0).uniform(-1, 1, (12, 7)):
            world.step(command)
        yield world, world.observe()


def test_points_of_what_the_model_sees_lie_on_the_scene(looked_at):
    """256 x 256, resized to 256 x 320, cut to 243 x 304, resized back: depth stays within the pixel that it came from."""
    world, observation = looked_at
    spec = release_spec()
    own = torch.stack([torch.from_numpy(observation.cameras[camera.name].intrinsics) for camera in spec.cameras])
    resized = resize_intrinsics(own, ROBOCASA_SIZE, spec.image_size)
    right, uncut, raw = (seen_points(spec, observation, k) for k in (view_intrinsics(spec, observation), resized, own))
    generator = np.random.default_rng(0)
    for view, camera in enumerate(CAMERAS):
        pixels = view, generator.integers(0, 256, 500), generator.integers(0, 320, 500)
        errors = distances_to_the_scene(world, right[pixels], camera)
        assert np.median(errors) < 0.7, "the release takes the nearest depth, up to a pixel away"
        assert np.quantile(errors, 0.9) < np.sqrt(2)
        assert np.median(distances_to_the_scene(world, uncut[pixels], camera)) > 1
        assert np.median(distances_to_the_scene(world, raw[pixels], camera)) > 5


@pytest.mark.parametrize(
    ("size", "image_size", "crop_ratio"),
    [((256, 256), (256, 320), 0.95), ((200, 250), (128, 160), 0.95), ((240, 180), (192, 320), 0.8)],
)
def test_a_pixel_of_the_model_shows_the_ray_that_its_matrix_says(size, image_size, crop_ratio):
    """Every pixel of the picture carries its own place as its colour, so the frame says where each of its pixels came from."""
    v, u = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    picture = np.stack([u, v, 0 * u], axis=-1).astype(np.uint8)
    frame = images_to_frames([picture], image_size, crop_ratio)[0].double().numpy()
    came_from = (frame[:2] + 1) * 127.5 + 0.5  # u, v of the robot's image
    own = torch.tensor([[210.0, 0, 0.47 * size[1]], [0, 190.0, 0.52 * size[0]], [0, 0, 1]], dtype=torch.float64)
    matrix = model_intrinsics(own, size, image_size, crop_ratio)
    rows, columns = np.meshgrid(*(np.arange(side) + 0.5 for side in image_size), indexing="ij")
    rays = np.linalg.solve(matrix.numpy(), np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1))
    said = (own.numpy() @ rays)[:2].reshape(2, *image_size)
    np.testing.assert_allclose(came_from, said, atol=0.3)  # the resizes repeat the pixels at their edges
    inside = (slice(None), slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(came_from[inside], said[inside], atol=1e-3)

    depths = [depths_to_views([channel.astype(np.float32)], image_size, crop_ratio)[0] for channel in (u, v)]
    taken_from = torch.stack(depths).double().numpy() + 0.5
    pixel = np.array([size[1] / image_size[1], size[0] / image_size[0]])  # of the model's image, in the robot's
    most = np.abs(taken_from - said).max(axis=(1, 2))
    assert (most <= pixel + 0.5).all(), (
        "the release rounds to the nearest measurement after the resize, down after the cut"
    )
