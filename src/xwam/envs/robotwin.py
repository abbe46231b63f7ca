"""RoboTwin 2.0: fifty tasks for two arms, driven as the X-WAM release drives them.

RoboTwin itself, SAPIEN and a GPU that renders are needed only when an environment is made; see docs/simulators/robotwin.md.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from xwam.envs.base import StepResult
from xwam.envs.robotwin_checkout import (
    CONFIGURATION,
    check_requirements,
    find_checkout,
    import_code,
    task_arguments,
)
from xwam.envs.robotwin_frames import arm_states, camera_of, check_command, depth_in_metres
from xwam.envs.robotwin_simulation import Simulation, SolvableScenes
from xwam.envs.robotwin_tasks import CACHE_EPISODES, FIRST_SCENE, STEP_LIMITS, check_task
from xwam.robots.registry import get_robot
from xwam.robots.spec import RobotSpec
from xwam.structures import ArmState, Observation

INSTRUCTIONS = ("seen", "unseen")
DEPTH_RANGE = (0.1, 3.0)  # metres: SAPIEN's near plane, and beyond the wall behind the table


class RoboTwinEnvironment:
    """One task. An episode is a scene that RoboTwin's own expert has solved just before.

    Scenes are tried from seed `100000 * (1 + block)` upwards, and one is passed over when its objects do not come to rest or
    when the expert fails; `reset(3)` begins the fourth that remains. A process that starts with a high number must therefore
    try all before it, unless `scenes` names them. The release evaluates with `randomized=True, instructions="unseen"`.

    Source: `eval_policy` in the official `evaluation/robotwin_client.py`.

    Args:
        task (`str`): Name of the task, such as `"adjust_bottle"`.
        seed (`int`, *optional*, defaults to `0`): Number of the episode that the first `reset()` begins; each further one
            without a seed adds one.
        randomized (`bool`, *optional*, defaults to `False`): Take `demo_randomized`: clutter, textures, light, table height.
        instructions (`str`, *optional*, defaults to `"seen"`): `"seen"` for phrasings of the training data or `"unseen"`.
        root (`str` or `Path`, *optional*, defaults to `"third_party/RoboTwin"`): RoboTwin's repository.
        block (`int`, *optional*, defaults to `0`): Where scenes are counted from; the release calls it `--seed`.
        scenes (`Sequence[int]`, *optional*): Seeds of scenes that are known to remain, in order, from `scene_seeds` of an
            earlier run. Episodes beyond them are an error.
        with_depth (`bool`, *optional*, defaults to `False`): Render depth too. The cameras of `robot` then have a depth range.
        allow_changes (`bool`, *optional*, defaults to `False`): Take a checkout that is not the pinned one, file by file.

    Raises:
        ValueError: If the task, the phrasing or a number is none.
        ImportError: If RoboTwin is absent or another version; says what was found and how to install it.
    """

    def __init__(
        self,
        task: str,
        *,
        seed: int = 0,
        randomized: bool = False,
        instructions: str = "seen",
        root: str | Path = "third_party/RoboTwin",
        block: int = 0,
        scenes: Sequence[int] = (),
        with_depth: bool = False,
        allow_changes: bool = False,
    ) -> None:
        check_task(task)
        if instructions not in INSTRUCTIONS:
            raise ValueError(f"`instructions` must be one of {INSTRUCTIONS} but is {instructions!r}.")
        _check_number("seed", seed)
        _check_number("block", block)
        checkout = find_checkout(root, allow_changes=allow_changes)
        packages = check_requirements(checkout)
        self.name, self.robot, self.max_steps = f"robotwin/{task}", _robot(with_depth), STEP_LIMITS[task]
        self.versions = {
            "robotwin": checkout.commit,
            "robotwin_changes": ", ".join(checkout.changed) or "none",
            **packages,
            "configuration": CONFIGURATION[randomized],
            "instructions": instructions,
            "scenes": "given" if scenes else f"from {FIRST_SCENE * (1 + block)}",
        }
        self._phrasing, self._episodes = instructions, itertools.count(seed)
        arguments = task_arguments(checkout, task, randomized=randomized, with_depth=with_depth)
        self._simulation = Simulation(checkout.root, import_code(checkout, task), arguments)
        self._task = self._simulation.task
        self._scenes = SolvableScenes(self._simulation, FIRST_SCENE * (1 + block), scenes)
        self._num_ended, self._is_open, self._is_running = 0, True, False

    @property
    def scene_seeds(self) -> tuple[int, ...]:
        """Seeds of the scenes that are known to remain; give them as `scenes` to another process."""
        return tuple(self._scenes.seeds)

    def reset(self, seed: int | None = None) -> Observation:
        """Begin an episode: the expert shows that the scene can be solved, then the scene is made again.

        Args:
            seed (`int`, *optional*): Number of the episode, from 0.

        Returns:
            `Observation`: Three views with calibration, two arms in the simulator's world frame, time zero.

        Raises:
            ValueError: If the number is negative, or beyond `scenes`.
            RuntimeError: If the expert keeps ending in errors, or a known scene does not remain, or no instruction fits.
        """
        episode = next(self._episodes) if seed is None else seed
        _check_number("seed", episode)
        self._expect_open()
        self._end_episode()
        scene, facts = self._scenes.find(episode)
        self._simulation.set_up(scene, episode)
        self._is_running = True
        self._expect_limit()
        self._task.set_instruction(instruction=self._simulation.phrase(self.name, scene, facts, self._phrasing))
        return self.observe()

    def step(self, command: np.ndarray) -> StepResult:
        """Plan a path to two tool poses and drive it to its end. Once the episode is over, RoboTwin ignores commands.

        An arm whose pose cannot be reached stays where it is; the command counts nevertheless.

        Args:
            command (`np.ndarray` of shape `(16,)`): Per arm position in metres, quaternion (w, x, y, z), opening; RoboTwin
                holds the opening to 0…1.

        Returns:
            `StepResult`: Success as RoboTwin finds it after any physics step of the path.
        """
        self._expect_episode()
        values = check_command(command)
        with self._simulation.inside() as task:
            task.take_action(values, action_type="ee")
        is_success = bool(self._task.eval_success)
        return StepResult(is_success, is_over=is_success or self._task.take_action_cnt >= self.max_steps)

    def observe(self, *, with_images: bool = True) -> Observation:
        """Look at the scene as it is now; in 2 % of the randomized scenes the light is another at every look with images.

        Args:
            with_images (`bool`, *optional*, defaults to `True`): Whether to render, which is ray tracing. Without, `images`
                and `depths` are empty.
        """
        self._expect_episode()
        if not with_images:
            self._simulation.refresh()  # which moves the wrist cameras
            return self._observation(self._arms(), self._task.cameras.get_config())
        with self._simulation.inside() as task:
            seen = task.get_obs()
        return self._observation(arm_states(seen["endpose"]), seen["observation"])

    def render(self) -> np.ndarray:
        """Return the view of RoboTwin's observer camera, RGB `uint8` of shape `(240, 320, 3)`."""
        self._expect_episode()
        self._simulation.refresh()
        with self._simulation.inside() as task:
            return np.ascontiguousarray(task.cameras.get_observer_rgb())

    def close(self) -> None:
        """End the episode and empty SAPIEN's cache; calling it twice is harmless."""
        if self._is_open:
            self._end_episode(clear_cache=True)
            self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _arms(self) -> dict[str, ArmState]:
        task = self._task
        return arm_states(
            {
                "left_endpose": task.get_arm_pose("left"),
                "left_gripper": task.robot.get_left_gripper_val(),
                "right_endpose": task.get_arm_pose("right"),
                "right_gripper": task.robot.get_right_gripper_val(),
            }
        )

    def _observation(self, arms: dict[str, ArmState], views: Mapping[str, Any]) -> Observation:
        own = {camera.name: views[camera.name] for camera in self.robot.cameras}
        return Observation(
            images={name: np.ascontiguousarray(view["rgb"]) for name, view in own.items() if "rgb" in view},
            depths={name: depth_in_metres(view["depth"]) for name, view in own.items() if "depth" in view},
            cameras={camera.name: camera_of(own[camera.name], camera.size) for camera in self.robot.cameras},
            arms=arms,
            instruction=str(self._task.get_instruction()),
            time=self._task.take_action_cnt * float(self.robot.control_period or 0),
            robot=self.robot.name,
        )

    def _end_episode(self, *, clear_cache: bool = False) -> None:
        if self._is_running:
            self._is_running = False
            self._num_ended += 1
            self._simulation.end(clear_cache=clear_cache or self._num_ended % CACHE_EPISODES == 0)

    def _expect_open(self) -> None:
        if not self._is_open:
            raise ValueError("This environment is closed; make a new one.")

    def _expect_episode(self) -> None:
        self._expect_open()
        if not self._is_running:
            raise ValueError("No episode has begun; call `reset` first.")

    def _expect_limit(self) -> None:
        if self._task.step_lim != self.max_steps:
            raise RuntimeError(
                f"{self.name} must end after {self.max_steps} commands, but RoboTwin says {self._task.step_lim}."
            )


def _robot(with_depth: bool) -> RobotSpec:
    robot = get_robot("robotwin")
    if not with_depth:
        return robot
    return replace(robot, cameras=tuple(replace(camera, depth_range=DEPTH_RANGE) for camera in robot.cameras))


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ValueError(f"`{name}` must be a whole number from 0, but is {value!r}.")
