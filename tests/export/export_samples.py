"""A short future of the embedded world with real pictures: what the recorded observation saw, drifting."""

import numpy as np

from xwam.envs.recorded import load_recorded_observation
from xwam.futures.future import Future
from xwam.robots.registry import get_robot
from xwam.structures import ActionChunk, ArmState, PointCloud

NUM_FRAMES = 4
PERIOD = 0.2  # seconds between frames
WRIST = "robot0_eye_in_hand"
STEP = np.array([0.01, 0.0, 0.02])  # metres the arm moves in a frame


def make_future(**changes) -> Future:
    """Pictures that drift by two pixels a frame, depth that grows by 3 mm, an arm and its camera that rise."""
    observation = load_recorded_observation()
    rng = np.random.default_rng(0)
    arm, frames = observation.arms["left"], range(NUM_FRAMES)
    poses = {name: np.stack([camera.base_from_camera] * NUM_FRAMES) for name, camera in observation.cameras.items()}
    poses[WRIST][:, :3, 3] += np.arange(NUM_FRAMES)[:, None] * STEP
    fields = {
        "robot": "mujoco_panda",
        "instruction": observation.instruction,
        "frame_period": PERIOD,
        "frames": {
            name: np.stack([np.roll(image, 2 * f, axis=1) for f in frames])
            for name, image in observation.images.items()
        },
        "depths": {
            name: np.stack([np.where(depth > 0, depth + 0.003 * f, 0) for f in frames]).astype(np.float32)
            for name, depth in observation.depths.items()
        },
        "depth_kind": "measured",
        "intrinsics": {name: camera.intrinsics for name, camera in observation.cameras.items()},
        "base_from_camera": poses,
        "states": tuple({"left": ArmState(arm.position + f * STEP, arm.quaternion, 1 - 0.1 * f)} for f in frames),
        "actions": ActionChunk(
            "mujoco_panda",
            rng.uniform(-1, 1, (12, 7)),
            get_robot("mujoco_panda").command_columns,
            PERIOD / 4,
            1.25,
            {"denoise": 0.1},
        ),
    }
    return Future(**{**fields, **changes})


def make_cloud(seed: int = 0, num_points: int = 50, *, is_full: bool = True) -> PointCloud:
    """Random points with colours from the darkest to the brightest, and with normals and confidence if full."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(num_points, 3))
    return PointCloud(
        rng.uniform(-1, 1, (num_points, 3)).astype(np.float32),
        rng.integers(0, 256, (num_points, 3), dtype=np.uint8),
        (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32) if is_full else None,
        rng.uniform(size=num_points).astype(np.float32) if is_full else None,
    )
