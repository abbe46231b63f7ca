"""What is fixed about RoboCasa v0.2 as the X-WAM release drives it: facts only, their sources in docs/simulators/robocasa.md."""

from collections.abc import Mapping
from types import MappingProxyType

RELEASE = "0.2"  # of RoboCasa; 1.0 is RoboCasa365, with other tasks and names
COMMIT = "756598a5be52e052339bb2d957426e39015c2afb"  # of github.com/robocasa/robocasa, branch v0.2
ROBOSUITE = "1.5.0"  # newer ones on PyPI want a newer MuJoCo; the release has commit 232ce7d4 of its repository
MUJOCO = "3.2.6"
NUMPY = ("1.23.2", "1.23.3", "1.23.5")

# Commands until an episode is over, in the order by which the release gives tasks to its clients.
STEP_LIMITS: Mapping[str, int] = MappingProxyType(
    {
        "PnPCounterToCab": 500,
        "PnPCabToCounter": 500,
        "PnPCounterToSink": 700,
        "PnPSinkToCounter": 500,
        "PnPCounterToMicrowave": 600,
        "PnPMicrowaveToCounter": 500,
        "PnPCounterToStove": 500,
        "PnPStoveToCounter": 500,
        "OpenSingleDoor": 500,
        "CloseSingleDoor": 500,
        "OpenDoubleDoor": 1000,
        "CloseDoubleDoor": 700,
        "OpenDrawer": 500,
        "CloseDrawer": 500,
        "TurnOnStove": 500,
        "TurnOffStove": 500,
        "TurnOnSinkFaucet": 500,
        "TurnOffSinkFaucet": 500,
        "TurnSinkSpout": 500,
        "CoffeeSetupMug": 600,
        "CoffeeServeMug": 600,
        "CoffeePressButton": 300,
        "TurnOnMicrowave": 500,
        "TurnOffMicrowave": 500,
    }
)
TASKS = tuple(STEP_LIMITS)

ROBOT = "PandaOmron"
PARTS = {
    "right": (0, 6),
    "right_gripper": (6, 7),
    "base": (7, 10),
    "torso": (10, 11),
}  # base mode is the twelfth number
CAMERAS = ("robot0_agentview_left", "robot0_agentview_right", "robot0_eye_in_hand")
IMAGE_SIZE = (256, 256)  # pixels
KITCHENS = ((1, 1), (2, 2), (4, 4), (6, 9), (7, 10))  # pairs of layout and style
OBJECT_SPLIT = "B"  # object instances that demonstrations do not show
PEOPLE_CAMERA = "robot0_agentview_center"

# Where RoboCasa hangs the static cameras: pose in the frame of the arm's base, OpenGL axes, quaternion (w, x, y, z).
STATIC_CAMERAS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = MappingProxyType(
    {
        "robot0_agentview_left": (
            (-0.5, 0.35, 1.05),
            (0.55623853, 0.29935253, -0.37678665, -0.6775092),
        ),
        "robot0_agentview_right": (
            (-0.5, -0.35, 1.05),
            (0.6775091886520386, 0.3767866790294647, -0.2993525564670563, -0.55623859167099),
        ),
    }
)
STATIC_FOV = 60.0  # degrees, vertical


def release_seed(client: int, num_episodes: int, episode: int) -> int:
    """Seed that the release gives an episode.

    Source: `main` in the official `evaluation/robocasa_client.py`.

    Args:
        client (`int`): Rank of the client; client 3 evaluates the task `TASKS[3 % 24]`.
        num_episodes (`int`): Episodes of every client.
        episode (`int`): Number of the episode at its client, from zero.

    Returns:
        `int`: The seed; `RoboCasaEnvironment.reset` takes it.
    """
    return client * num_episodes + episode
