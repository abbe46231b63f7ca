"""What RoboCasa and plain robosuite have in common: one arm under robosuite's operational-space controller."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np

from xwam.envs.base import StepResult
from xwam.envs.robocasa_frames import arm_state, check_command, pad_command
from xwam.envs.robocasa_tasks import CAMERAS, IMAGE_SIZE, PARTS
from xwam.envs.robosuite_demonstrations import check_demonstration
from xwam.envs.robosuite_views import RobosuiteViews
from xwam.robots.camera_formats import invert_pose, pose_matrix
from xwam.robots.registry import get_robot
from xwam.robots.spec import RobotSpec
from xwam.structures import ArmState, Observation

WRIST_CAMERA = CAMERAS[-1]
STATIC_DEPTH = (0.2, 6.0)  # metres: from in front of the arm to the far wall
WRIST_DEPTH = (0.03, 3.0)  # metres: the finger tips are 0.03 m away
PEOPLE_SIZE = (480, 640)  # pixels
ARM_PARTS = {part: PARTS[part] for part in ("right", "right_gripper")}


class RobosuiteEnvironment(ABC):
    """An episode is a simulation of its own, made from its seed; commands are raw numbers for robosuite's controller.

    Success is asked after every command and lasts; nothing has to be held.

    Args:
        name (`str`): Simulator and task, as given to `make_env`.
        mujoco (`ModuleType`): The imported physics.
        max_steps (`int`): Commands after which an episode is over.
        versions (`Mapping[str, str]`): What a success rate depends on.
        seed (`int`): Seed of the first `reset()`.
        with_depth (`bool`): Render depth too. The cameras of `robot` then have a depth range.
    """

    def __init__(
        self,
        name: str,
        *,
        mujoco: ModuleType,
        max_steps: int,
        versions: Mapping[str, str],
        seed: int,
        with_depth: bool,
    ) -> None:
        self.name, self.max_steps, self.versions = name, max_steps, versions
        self.robot = _robot(with_depth)
        self._mujoco, self._seeds, self._with_depth = mujoco, itertools.count(seed), with_depth
        self._simulation: Any = None
        self._views: RobosuiteViews | None = None
        self._world_from_base, self._start_time = np.eye(4), 0.0
        self._instruction = self._model_xml = ""
        self._num_steps, self._is_success = 0, False
        self._is_open = True

    @abstractmethod
    def _make(self, seed: int) -> Any:
        """A robosuite environment; it is reset before its first use."""

    @abstractmethod
    def _words(self) -> str:
        """The task in words, for the simulation as it is."""

    @property
    @abstractmethod
    def people_camera(self) -> str:
        """Camera that `render` looks through."""

    def reset(self, seed: int | None = None) -> Observation:
        """Begin an episode in a simulation made for it; the same seed gives the same bytes on one machine.

        Args:
            seed (`int`, *optional*): Seed of the simulation, as the release counts it; see `release_seed`.

        Returns:
            `Observation`: Three views with calibration, the tool pose as arm `"left"`, time zero.
        """
        self._expect_open()
        seed = next(self._seeds) if seed is None else seed
        self._drop_simulation()
        self._simulation = self._made(seed)
        self._simulation.reset()
        self._begin()
        return self.observe()

    def step(self, command: np.ndarray) -> StepResult:
        """Execute one command for 1/20 s; base, torso and base mode of a mobile robot get zeros.

        Args:
            command (`np.ndarray` of shape `(7,)`): Translation, axis-angle in the base frame, gripper (-1 opens, 1 closes),
                each from -1 to 1; the controller holds them to that.

        Returns:
            `StepResult`: Whether the simulator called the task done after any command so far.

        Raises:
            ValueError: If the command has another shape or numbers that are not finite.
        """
        self._expect_episode()
        values = check_command(command)
        self._simulation.step(pad_command(values, self._simulation.action_spec[0].shape[0]))
        self._num_steps += 1
        self._is_success = self._is_success or bool(self._simulation._check_success())
        return StepResult(self._is_success, self._is_success or self._num_steps >= self.max_steps)

    def observe(self, *, with_images: bool = True) -> Observation:
        """Look at the world as it is now.

        Args:
            with_images (`bool`, *optional*, defaults to `True`): Whether to render.

        Returns:
            `Observation`: Tool and cameras in the frame where the arm's base was when the episode began.
        """
        self._expect_episode()
        views, names = self._opened_views(), CAMERAS if with_images else ()
        views.refresh()
        base_from_world = invert_pose(self._world_from_base)
        return Observation(
            images={name: views.colours(name) for name in names},
            depths={name: views.depth(name) for name in names} if self._with_depth else {},
            cameras={name: views.calibration(name, base_from_world) for name in CAMERAS},
            arms={"left": self._arm_state(base_from_world)},
            instruction=self._instruction,
            time=float(self._simulation.sim.data.time) - self._start_time,
            robot=self.robot.name,
        )

    def render(self) -> np.ndarray:
        """Return a picture for people, RGB `uint8` of shape `(480, 640, 3)`."""
        self._expect_episode()
        views = self._opened_views()
        views.refresh()
        return views.colours(self.people_camera, PEOPLE_SIZE)

    def start_replay(self, episode: Mapping[str, Any]) -> Observation:
        """Load a demonstration's model and put it into its first state.

        Args:
            episode (`Mapping[str, Any]`): One of `robosuite_demonstrations.load_demonstration`.

        Returns:
            `Observation`: What the robot knows there.

        Raises:
            ValueError: If the demonstration is of another task, or its states do not fit its model.
        """
        self._expect_open()
        check_demonstration(episode, self.name.partition("/")[2])
        self._drop_simulation()
        self._simulation = self._made(0)
        _load_model(self._simulation, str(episode["model_file"]), dict(episode["ep_meta"]))
        self._put(episode["states"][0])
        self._begin()
        return self.observe()

    def state(self) -> np.ndarray:
        """Time, joint positions and joint velocities as robosuite flattens them, float64."""
        self._expect_episode()
        return self._simulation.sim.get_state().flatten()

    def model_xml(self) -> str:
        """The episode's model as XML, for `"model_file"` of a demonstration.

        It is what the simulator read. What the simulator would write, as robosuite's own recorder does, has six digits.
        """
        self._expect_episode()
        return self._model_xml

    def set_state(self, state: np.ndarray) -> None:
        """Put the simulator into a stored state; `observe()` then looks at it.

        Args:
            state (`np.ndarray` of shape `(numbers,)`): As `state()` gives it, or one row of a demonstration.

        Raises:
            ValueError: If it has another number of entries.
        """
        self._expect_episode()
        self._put(state)

    def close(self) -> None:
        """Free the simulation and its OpenGL contexts; calling it twice is harmless."""
        self._is_open = False
        self._drop_simulation()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def base_from(self, body: str) -> np.ndarray:
        """Pose `(4, 4)` of a body of the simulator's model in the base frame, in metres; for scripted experts."""
        self._expect_episode()
        self._opened_views().refresh()
        place = self._simulation.sim.data._data.body(body)
        return invert_pose(self._world_from_base) @ pose_matrix(place.xpos, place.xmat)

    def _made(self, seed: int) -> Any:
        simulation = self._make(seed)
        simulation.set_xml_processor(self._keep_model)
        return simulation

    def _keep_model(self, xml: str) -> str:
        self._model_xml = xml
        return xml

    def _begin(self) -> None:
        controller = self._simulation.robots[0].composite_controller
        _check_order(controller._action_split_indexes)
        arm = controller.part_controllers[controller.arms[0]]
        self._world_from_base = pose_matrix(arm.origin_pos, arm.origin_ori)
        self._views = RobosuiteViews(self._mujoco, self._simulation.sim, IMAGE_SIZE, with_depth=self._with_depth)
        self._instruction = self._words()
        self._start_time = float(self._simulation.sim.data.time)
        self._num_steps, self._is_success = 0, False

    def _arm_state(self, base_from_world: np.ndarray) -> ArmState:
        """State of the arm, read where its controller reads it, at the joints' own instant."""
        controller, data = self._simulation.robots[0].composite_controller, self._simulation.sim.data
        site = data._data.site(controller.part_controllers[controller.arms[0]].ref_name)
        gripper = controller.part_controllers[next(iter(controller.grippers))]
        return arm_state(
            base_from_world @ pose_matrix(site.xpos, site.xmat),
            finger=data.qpos[gripper.qpos_index[0]],
            finger_limit=gripper.actuator_max[0],
        )

    def _put(self, state: np.ndarray) -> None:
        sim = self._simulation.sim
        size = 1 + len(sim.data.qpos) + len(sim.data.qvel)
        if np.shape(state) != (size,):
            raise ValueError(f"`state` must have {size} numbers but has shape {np.shape(state)}.")
        sim.set_state_from_flattened(np.asarray(state, dtype=np.float64))
        sim.forward()
        self._simulation.robots[0].composite_controller.update_state()
        self._simulation.update_state()

    def _drop_simulation(self) -> None:
        if self._views is not None:
            self._views.close()
            self._views = None
        if self._simulation is not None:
            self._simulation.close()
            self._simulation = None

    def _opened_views(self) -> RobosuiteViews:
        assert self._views is not None, "an episode has views"
        return self._views

    def _expect_open(self) -> None:
        if not self._is_open:
            raise ValueError("This environment is closed; make a new one.")

    def _expect_episode(self) -> None:
        self._expect_open()
        if self._views is None:
            raise ValueError("No episode has begun; call `reset` first.")


def _robot(with_depth: bool) -> RobotSpec:
    robot = get_robot("robocasa")
    if not with_depth:
        return robot
    ranges = {name: WRIST_DEPTH if name == WRIST_CAMERA else STATIC_DEPTH for name in CAMERAS}
    return replace(robot, cameras=tuple(replace(view, depth_range=ranges[view.name]) for view in robot.cameras))


def _check_order(parts: Mapping[str, tuple[int, int]]) -> None:
    """Stock robosuite puts a mobile robot's torso where RoboCasa has the gripper."""
    given = {name: tuple(parts.get(name, ())) for name in ARM_PARTS}
    if given != ARM_PARTS:
        raise RuntimeError(f"A command must begin with {ARM_PARTS}, but the controller reads {dict(parts)}.")


def _load_model(simulation: Any, xml: str, episode_facts: dict[str, Any]) -> None:
    """Make the simulator that of a demonstration, as RoboCasa's and robomimic's playback do."""
    simulation.set_ep_meta(episode_facts)
    simulation.reset()
    simulation.reset_from_xml_string(simulation.edit_model_xml(xml))
    simulation.sim.reset()
