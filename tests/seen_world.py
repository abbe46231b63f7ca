"""What the embedded world shows while commands are executed, as observations and as a clip of a recording."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from xwam.envs.base import Environment
from xwam.envs.opengl import RenderingUnavailableError
from xwam.envs.registry import make_env
from xwam.robots.spec import RobotSpec
from xwam.structures import Clip, Observation

PER_FRAME, NUM_FRAMES = 4, 9


@dataclass(frozen=True, eq=False)
class Seen:
    """One observation for each frame, the states at every command, and the commands between them."""

    robot: RobotSpec
    observations: list[Observation]
    states: list[Observation]
    commands: np.ndarray


def make_world(task: str = "mujoco/lift_cube") -> Environment:
    """The embedded world; the test is skipped where it does not run."""
    try:
        return make_env(task, seed=0)
    except (ImportError, RenderingUnavailableError) as error:
        pytest.skip(f"the embedded world does not run here: {error}")


def some_commands(seed: int = 0) -> np.ndarray:
    """Commands that move the arm and its fingers."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.uniform(-1, 1, (PER_FRAME, 7)), NUM_FRAMES - 1, axis=0)


@cache
def see(seed: int = 0) -> Seen:
    """Nine frames of an arm that moves."""
    commands = some_commands(seed)
    with make_world() as world:
        observations = [world.reset(seed)]
        states = [observations[0]]
        for number, command in enumerate(commands, start=1):
            world.step(command)
            states.append(world.observe(with_images=False))
            if number % PER_FRAME == 0:
                observations.append(world.observe())
        return Seen(world.robot, observations, states, commands)


def as_clip(seen: Seen, **changes: object) -> Clip:
    """The same as a data set would hold it."""
    rows = [
        np.concatenate([own.arms["left"].position, own.arms["left"].quaternion, [own.arms["left"].gripper]])
        for own in seen.states
    ]
    names = list(seen.observations[0].images)
    fields = {
        "robot": seen.robot.name,
        "instruction": seen.observations[0].instruction,
        "images": {name: np.stack([own.images[name] for own in seen.observations]) for name in names},
        "states": np.stack(rows),
        "commands": seen.commands,
        "state_is_valid": np.ones((len(rows), len(rows[0])), dtype=bool),
        "command_is_valid": np.ones(seen.commands.shape, dtype=bool),
        "depths": {name: np.stack([own.depths[name] for own in seen.observations]) for name in names},
        "intrinsics": {name: seen.observations[0].cameras[name].intrinsics for name in names},
        "base_from_camera": {
            name: np.stack([own.cameras[name].base_from_camera for own in seen.observations]) for name in names
        },
        "source": "the embedded world",
    }
    return Clip(**{**fields, **changes})
