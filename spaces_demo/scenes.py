"""Scenes of the embedded robot world: look into one, and see what really follows from some commands.

A scene is a task and a seed; the same two give the same bytes, so nothing of it is kept between two requests.
"""

import functools
import threading
from dataclasses import dataclass

from xwam import ActionChunk, Future, Observation, RobotSpec, list_envs, load_recorded_observation, make_env
from xwam.envs.opengl import RenderingUnavailableError
from xwam.evaluation.reality import act_out

ROBOT = "mujoco_panda"
SIMULATOR = "mujoco/"
DEFAULT_TASK = "mujoco/pick_by_colour"
RECORDED = "recorded"
MAX_SEED = 2**31 - 1
_RENDERING = threading.Lock()


@dataclass(frozen=True)
class Scene:
    """One beginning of one task.

    Args:
        task (`str`): Name of the environment, or `RECORDED`.
        seed (`int`): Of the episode.
    """

    task: str
    seed: int = 0

    @property
    def has_future(self) -> bool:
        """Whether the simulator can tell what really comes next."""
        return self.task != RECORDED


@functools.cache
def rendering_problem() -> str | None:
    """Why this machine cannot render the world, or `None` where it can."""
    try:
        make_env(DEFAULT_TASK).close()
    except (ImportError, RenderingUnavailableError) as error:
        return str(error)
    return None


def tasks() -> dict[str, str]:
    """Names of what can be looked at, by what people call it."""
    if rendering_problem() is not None:
        return {"Pick the blue cube (recorded)": RECORDED}
    names = [name for name in list_envs() if name.startswith(SIMULATOR)]
    return {name.removeprefix(SIMULATOR).replace("_", " ").capitalize(): name for name in names}


def look(scene: Scene) -> Observation:
    """What the robot sees at the beginning of a scene.

    Raises:
        ValueError: If there is no such scene.
    """
    if scene.task == RECORDED:
        return load_recorded_observation()
    with _RENDERING, make_env(_known(scene.task)) as env:
        return env.reset(scene.seed)


def really(scene: Scene, commands: ActionChunk, robot: RobotSpec) -> Future:
    """Execute commands in a scene from its beginning, and look whenever the model dreamt a frame.

    Args:
        scene (`Scene`): Where.
        commands (`ActionChunk`): What to execute.
        robot (`RobotSpec`): The robot as the model knows it, with the size of its images.

    Raises:
        ValueError: If the scene has no simulator, or the commands are not its robot's.
    """
    with _RENDERING, make_env(_known(scene.task)) as env:
        return act_out(env, commands, observation=env.reset(scene.seed), robot=robot)


def _known(task: str) -> str:
    if task not in tasks().values():
        raise ValueError(f"There is no scene {task!r}; there are {sorted(tasks().values())}.")
    return task
