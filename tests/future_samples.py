"""Small whole futures, made of arithmetic."""

import numpy as np

from xwam.futures.future import Future
from xwam.structures import ActionChunk, ArmState

CAMERAS = ("left", "wrist")
SIZE = (24, 32)  # H, W
NUM_FRAMES = 5
PER_FRAME = 4  # commands between frames


def make_future(seed: int = 0, **changes) -> Future:
    """Two cameras over a wall 1 m away, an arm that moves by 1 cm a frame."""
    rng = np.random.default_rng(seed)
    matrix = np.array([[30.0, 0, SIZE[1] / 2], [0, 30.0, SIZE[0] / 2], [0, 0, 1]])
    fields = {
        "robot": "mujoco_panda",
        "instruction": "lift the red cube",
        "frame_period": 0.2,
        "frames": {name: rng.integers(0, 256, (NUM_FRAMES, *SIZE, 3), dtype=np.uint8) for name in CAMERAS},
        "depths": {name: rng.uniform(0.9, 1.1, (NUM_FRAMES, *SIZE)).astype(np.float32) for name in CAMERAS},
        "depth_kind": "measured",
        "intrinsics": {name: matrix.copy() for name in CAMERAS},
        "base_from_camera": {name: np.tile(np.eye(4), (NUM_FRAMES, 1, 1)) for name in CAMERAS},
        "states": tuple(
            {"left": ArmState(np.array([0.4, 0.01 * frame, 0.2]), np.array([1.0, 0, 0, 0]), 0.5)}
            for frame in range(NUM_FRAMES)
        ),
        "actions": ActionChunk(
            "mujoco_panda",
            rng.uniform(-1, 1, ((NUM_FRAMES - 1) * PER_FRAME, 7)),
            ("left_x", "left_y", "left_z", "left_rx", "left_ry", "left_rz", "left_gripper"),
            0.05,
        ),
    }
    return Future(**{**fields, **changes})
