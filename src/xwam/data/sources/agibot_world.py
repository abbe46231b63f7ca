"""AgibotWorld-Beta as a LeRobot copy: absolute flange poses with quaternions (x, y, z, w), grippers from 35 open to 123 closed."""

from xwam.data.dataset_map import ArmMap, CameraMap, Columns, DatasetMap
from xwam.data.sources.base import Source

CLOSED, OPEN = 123.0, 35.0  # as pictures show, against the words of the card


def _arm(name: str, side: int, prefix: str, closed: float, opened: float) -> ArmMap:
    """One arm; features hold both, the left one first."""
    return ArmMap(
        name,
        position=Columns(f"{prefix}.end.position", tuple(range(3 * side, 3 * side + 3))),
        rotation=Columns(f"{prefix}.end.orientation", tuple(range(4 * side, 4 * side + 4))),
        rotation_form="quaternion_xyzw",
        gripper=Columns(f"{prefix}.effector.position", (side,)),
        gripper_closed=closed,
        gripper_open=opened,
    )


MAP = DatasetMap(
    states=tuple(_arm(name, side, "observation.states", CLOSED, OPEN) for side, name in enumerate(("left", "right"))),
    commands=tuple(_arm(name, side, "actions", 1.0, 0.0) for side, name in enumerate(("left", "right"))),
    cameras=tuple(CameraMap(name, f"observation.images.{name}") for name in ("head", "hand_left", "hand_right")),
    source=(
        "dataset card of agibot-world/AgiBotWorld-Beta for fields, ranges and quaternion order; issue 133 of "
        "OpenDriveLab/AgiBot-World for which end of the gripper's range is open; feature names as any4lerobot "
        "(agibot2lerobot) writes them"
    ),
    notes=(
        "AgiBot publishes HDF5 and mp4, not LeRobot: make the copy with a converter first.",
        "Where the control source sent nothing, converters repeat the state in the command.",
        "Commands of grippers run from 0 open to 1 closed. The card calls their states the open range in mm, but a user's "
        "pictures in issue 133 show the opposite: 35 open, 118 almost closed. The ends are taken so; AgiBot has not said, and "
        "issue 135 tells of values up to 200: look at your copy.",
        "The head camera's depth is left out: its conversion to video differs between converters.",
        "An episode has no single instruction but steps in words; LeRobot copies keep the task's name.",
    ),
)
SOURCES = {
    "agibot_world": Source(
        name="agibot_world",
        title="AgibotWorld-Beta",
        robot="agibot_world",
        map=MAP,
        layout="lerobot",
        rate=30.0,
        home="agibot-world/AgiBotWorld-Beta on the Hugging Face Hub",
        license="CC BY-NC-SA 4.0",
    )
}
