"""The state of the table-top world: what stands where, and how an episode begins."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from xwam.envs.mujoco_placement import CUBE_AREA, DISTRACTOR_AREA, OBJECT_RADIUS, PARKING, Placement, quaternion_of_yaw
from xwam.envs.mujoco_randomization import Appearance
from xwam.robots.camera_formats import OPENCV_FROM_OPENGL
from xwam.structures import ArmState

if TYPE_CHECKING:
    from xwam.envs.mujoco_tasks.base import Task

SCENE_FILE = Path(__file__).parent / "assets" / "tabletop.xml"

HOME = np.array(
    [0.0, -0.02, 0.0, -2.41, 0.0, 2.39, np.pi / 4]
)  # radians; the tool points straight down at 0.2 m height
HOME_NOISE = 0.06  # radians, each joint, both ways
FINGER_TRAVEL = 0.04  # metres

COLOURS: Mapping[str, tuple[float, float, float]] = {
    "red": (0.84, 0.12, 0.11),
    "green": (0.15, 0.62, 0.25),
    "blue": (0.12, 0.32, 0.80),
    "yellow": (0.95, 0.78, 0.10),
    "purple": (0.52, 0.22, 0.68),
    "orange": (0.95, 0.48, 0.10),
}
CUBES = ("cube0", "cube1", "cube2", "cube3")
PAINTED = (*CUBES, "disc")
OBJECTS = (*CUBES, "can", "ball", "brick")
FINGERS = ("left_finger", "right_finger")
MOST_DISTRACTORS = 4
DISTRACTOR_TRIES = 500
SITES = ("tool", "knob", "drawer_inside", "button_top")
STATIC_CAMERAS = ("robot0_agentview_left", "robot0_agentview_right")


class TabletopScene:
    """MuJoCo's model and data of the table-top world.

    Args:
        mujoco (`ModuleType`): The imported simulator.
    """

    def __init__(self, mujoco: ModuleType) -> None:
        self._mujoco = mujoco
        self.model: Any = mujoco.MjModel.from_xml_path(str(SCENE_FILE))
        self.data: Any = mujoco.MjData(self.model)
        self._appearance = Appearance(mujoco, self.model)
        self.placement = Placement(self.model)
        self.colours: dict[str, str] = {}  # of cubes and disc, no two the same

    def begin(self, task: "Task", generator: np.random.Generator, *, randomized: bool) -> dict[str, str]:
        """Begin an episode; nothing of an earlier one remains.

        Args:
            task (`Task`): Puts its objects on the table.
            generator (`np.random.Generator`): Source of everything random.
            randomized (`bool`): Whether distractors, cameras, light and the colours of the room vary as well. What the task
                is about does not depend on it.

        Returns:
            `dict[str, str]`: Words of the task, such as `{"colour": "red"}`.
        """
        self._appearance.restore()
        self._mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:7] = HOME + generator.uniform(-HOME_NOISE, HOME_NOISE, 7)
        self.data.qpos[7:9] = FINGER_TRAVEL
        for name in OBJECTS:
            self.park(name)
        self.colours = dict(zip(PAINTED, generator.permutation(list(COLOURS)).tolist(), strict=False))
        for name, colour in self.colours.items():
            self.model.geom(name).rgba[:3] = COLOURS[colour]
        self.placement.begin(generator)
        words = task.arrange(self, generator)
        if randomized:
            self._place_distractors(generator)
            self._appearance.randomize(generator)
        self._mujoco.mj_forward(self.model, self.data)
        return words

    def arm_state(self) -> ArmState:
        """Pose of the tool in the robot base frame, and opening of the gripper.

        The tool frame lies between the finger tips with z pointing back into the hand, so that a grasp from above has a
        quaternion far from the sign flip at w = 0.
        """
        base_from_tool = self.base_from("tool")
        quaternion = np.empty(4)
        self._mujoco.mju_mat2Quat(quaternion, base_from_tool[:3, :3].flatten())
        quaternion *= np.copysign(1.0, quaternion[0]) / np.linalg.norm(quaternion)
        return ArmState(position=base_from_tool[:3, 3], quaternion=quaternion, gripper=self.gripper_opening())

    def base_from(self, name: str) -> np.ndarray:
        """Pose of the site `"tool"` or of a camera (OpenCV axes) in the robot base frame, `(4, 4)`, in metres."""
        if name == "tool":
            position, rotation = self.data.site(name).xpos, self.data.site(name).xmat.reshape(3, 3)
        else:
            camera = self.data.cam(name)
            position, rotation = camera.xpos, camera.xmat.reshape(3, 3) @ OPENCV_FROM_OPENGL[:3, :3]
        base = self.data.body("base")
        base_from_world = base.xmat.reshape(3, 3).T
        pose = np.eye(4)
        pose[:3, :3] = base_from_world @ rotation
        pose[:3, 3] = base_from_world @ (position - base.xpos)
        return pose

    def position(self, name: str) -> np.ndarray:
        """Where the body or site of this name is in the world frame, `(3,)`, in metres."""
        return (self.data.site(name) if name in SITES else self.data.body(name)).xpos.copy()

    def yaw(self, name: str) -> float:
        """Angle from the world's x axis to the x axis of the body or site of this name, in radians."""
        frame = (self.data.site(name) if name in SITES else self.data.body(name)).xmat
        return float(np.arctan2(frame[3], frame[0]))

    def face_yaw(self, name: str) -> float:
        """Angle from the world's x axis to an upright face of a cube, whichever face it stands on, in radians."""
        axes = self.data.body(name).xmat.reshape(3, 3)
        x, y, _ = axes[:, np.argmin(np.abs(axes[2]))]
        return float(np.arctan2(y, x))

    def tool_yaw(self) -> float:
        """Angle from the world's x axis to the axis along which the fingers open, in radians."""
        return self.yaw("tool")

    def speed(self, name: str) -> float:
        """Speed of the centre of an object, in m/s."""
        return float(np.linalg.norm(self.data.joint(name).qvel[:3]))

    def half_height(self, name: str) -> float:
        """Height at which the centre of an object rests on the table, in metres."""
        size = self.model.geom(name).size
        return float(size[{"can": 1, "ball": 0}.get(name, 2)])

    def gripper_opening(self) -> float:
        """0 closed to 1 open."""
        return min(max(float(np.mean(self.data.qpos[7:9])) / FINGER_TRAVEL, 0.0), 1.0)

    def gripper_speed(self) -> float:
        """How fast the fingers open or close, in m/s, never negative; moving sideways together does not count."""
        return abs(float(np.mean(self.data.qvel[7:9])))

    def is_held(self, name: str) -> bool:
        """Whether both fingers touch the body of this name."""
        return all(self.touches(finger, name) for finger in FINGERS)

    def is_touched(self, name: str) -> bool:
        """Whether any finger touches the body of this name."""
        return any(self.touches(finger, name) for finger in FINGERS)

    def touches(self, first: str, second: str) -> bool:
        """Whether two bodies touch."""
        bodies = self.model.geom_bodyid[self.data.contact.geom]
        first_id, second_id = self.model.body(first).id, self.model.body(second).id
        return bool(((bodies == (first_id, second_id)) | (bodies == (second_id, first_id))).all(axis=-1).any())

    def drawer_opening(self) -> float:
        """How far the drawer is pulled out, in metres, 0 to 0.15."""
        return float(self.data.joint("drawer").qpos[0])

    def button_travel(self) -> float:
        """How far the button is pressed, in metres, 0 to 0.012; its stop gives way by some millimetres to a strong push."""
        return float(self.data.joint("button").qpos[0])

    def set_drawer(self, opening: float) -> None:
        """Pull the drawer out by so many metres, before an episode."""
        self.data.joint("drawer").qpos[0] = opening

    def place(self, name: str, position: np.ndarray, yaw: float = 0.0) -> None:
        """Put an object somewhere, at rest.

        Args:
            name (`str`): One of `OBJECTS`.
            position (`np.ndarray` of shape `(2,)` or `(3,)`): Of its centre in the world frame, in metres; without a height
                it rests on the table.
            yaw (`float`, *optional*, defaults to `0.0`): Turn about the vertical, in radians.
        """
        height = self.half_height(name) if len(position) == 2 else position[2]
        self.data.joint(name).qpos[:] = *position[:2], height, *quaternion_of_yaw(yaw)
        self.data.joint(name).qvel[:] = 0.0
        self.model.body_gravcomp[self.model.body(name).id] = 0.0

    def park(self, name: str) -> None:
        """Let an object float without weight where no camera looks."""
        self.place(name, PARKING + np.array([0.0, OBJECTS.index(name), 0.0]))
        self.model.body_gravcomp[self.model.body(name).id] = 1.0

    def place_cubes(self, generator: np.random.Generator, count: int, *, area: np.ndarray = CUBE_AREA) -> None:
        """Put the first `count` cubes on free spots of the table.

        Args:
            generator (`np.random.Generator`): Draws places and turns.
            count (`int`): How many.
            area (`np.ndarray` of shape `(2, 2)`, *optional*, defaults to `CUBE_AREA`): Least and greatest x, least and
                greatest y of their centres, in metres.
        """
        for name in CUBES[:count]:
            spot = self.placement.draw(generator, area, OBJECT_RADIUS)
            self.place(name, spot, generator.uniform(-np.pi / 4, np.pi / 4))

    def _place_distractors(self, generator: np.random.Generator) -> None:
        """Put down one to four things that the task is not about, as far as there is room."""
        spare = [name for name in OBJECTS if self.model.body_gravcomp[self.model.body(name).id]]
        count = int(generator.integers(1, MOST_DISTRACTORS + 1))
        for name in generator.permutation(spare).tolist()[:count]:
            spots = generator.uniform(DISTRACTOR_AREA[:, 0], DISTRACTOR_AREA[:, 1], (DISTRACTOR_TRIES, 2))
            spot = next((spot for spot in spots if self.placement.is_free(spot, OBJECT_RADIUS)), None)
            if spot is not None:
                self.placement.reserve(spot, OBJECT_RADIUS)
                self.place(name, spot, generator.uniform(-np.pi, np.pi))
