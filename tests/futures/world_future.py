"""What really came in the embedded world, as it was measured: raw views, not cropped, with the simulator's calibration."""

from functools import cache

import numpy as np
import pytest

from xwam.envs.mujoco_world import MujocoWorld
from xwam.envs.opengl import RenderingUnavailableError
from xwam.futures.future import Future
from xwam.policies.scripted import ScriptedPolicy

NUM_FRAMES, PER_FRAME = 9, 4


@cache
def expert_future(task: str = "lift_cube", size: tuple[int, int] = (128, 160), seed: int = 0) -> Future:
    """Nine frames of an expert at work; the test is skipped where the world does not run."""
    try:
        world = MujocoWorld(task, seed=seed, image_size=size)
    except (ImportError, RenderingUnavailableError) as error:
        pytest.skip(f"the embedded world does not run here: {error}")
    expert = ScriptedPolicy(world)
    observations = [world.observe()]
    expert.reset(seed)
    while len(observations) < NUM_FRAMES:
        for _ in range(PER_FRAME):
            world.step(expert.infer(world.observe(with_images=False), seed=0).commands[0])
        observations.append(world.observe())
    world.close()
    names = list(observations[0].images)
    return Future(
        robot=world.robot.name,
        instruction=observations[0].instruction,
        frame_period=0.05 * PER_FRAME,
        frames={name: np.stack([own.images[name] for own in observations]) for name in names},
        depths={name: np.stack([own.depths[name] for own in observations]) for name in names},
        depth_kind="measured",
        intrinsics={name: observations[0].cameras[name].intrinsics for name in names},
        base_from_camera={
            name: np.stack([own.cameras[name].base_from_camera for own in observations]) for name in names
        },
        states=tuple(own.arms for own in observations),
    )
