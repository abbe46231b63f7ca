"""InternData-A1, the three robots of the paper: simulated, LeRobot v3.0, poses (x, y, z, qw, qx, qy, qz) in the robot's frame."""

from xwam.data.dataset_map import ArmMap, CameraMap, Columns, DatasetMap
from xwam.data.sources.base import Source

# Value of `gripper.position` of a gripper that is open: metres for Aloha and Lift2, a number of its own for Genie1.
OPEN = {"aloha": 0.1, "genie1": 5.74, "lift2": 0.088}
_TITLES = {"aloha": "AgileX Split Aloha", "genie1": "Genie-1", "lift2": "ARX Lift-2"}


def _arm(name: str, prefix: str, opened: float) -> ArmMap:
    pose = f"{prefix}.{name}_ee_to_robot_pose"
    return ArmMap(
        name,
        position=Columns(pose, (0, 1, 2)),
        rotation=Columns(pose, (3, 4, 5, 6)),
        rotation_form="quaternion_wxyz",
        gripper=Columns(f"{prefix}.{name}_gripper.position"),
        gripper_closed=0.0,
        gripper_open=opened,
    )


def _map(opened: float) -> DatasetMap:
    return DatasetMap(
        states=tuple(_arm(name, "states", opened) for name in ("left", "right")),
        commands=tuple(_arm(name, "actions", opened) for name in ("left", "right")),
        cameras=tuple(CameraMap(name, f"images.rgb.{name}") for name in ("head", "hand_left", "hand_right")),
        source=(
            "features of InternRobotics/InternData-A1 (sim_updated_lerobotv30) and its discussion 5 for the grippers' strokes; "
            "quaternion order as the names of the columns give it"
        ),
        notes=(
            "Commands are the states of the next row, and that of the last row repeats the state; windows never reach it.",
            "Poses are those of the end effector, not of the tool centre point, which the data set has as well.",
            "The repository holds archives; each folder in them with a meta/info.json is a data set of its own.",
            "Which of its many folders the paper took is not public.",
        ),
    )


SOURCES = {
    f"interna1_{kind}": Source(
        name=f"interna1_{kind}",
        title=f"InternData-A1, {_TITLES[kind]}",
        robot=f"interna1_{kind}",
        map=_map(opened),
        layout="lerobot",
        rate=30.0,
        home="InternRobotics/InternData-A1 on the Hugging Face Hub",
    )
    for kind, opened in OPEN.items()
}
