"""DROID: absolute tool poses with Euler angles about the fixed axes x, y, z; grippers from 0 open to 1 closed."""

from xwam.data.dataset_map import ArmMap, CameraMap, Columns, DatasetMap
from xwam.data.sources.base import Source

CLOSED, OPEN = 1.0, 0.0
RATE = 15.0  # rows per second

_NOTES = (
    "Euler angles are those of SciPy's lower-case 'xyz', from memory of DROID's own transformations.",
    "The command is `cartesian_position` of the action, the pose that the controller was to reach.",
    "Calibration is published apart from the data and is not read.",
)


def _arm(pose: str, gripper: str) -> ArmMap:
    return ArmMap(
        "left",
        position=Columns(pose, (0, 1, 2)),
        rotation=Columns(pose, (3, 4, 5)),
        rotation_form="euler_xyz",
        gripper=Columns(gripper),
        gripper_closed=CLOSED,
        gripper_open=OPEN,
    )


LEROBOT_MAP = DatasetMap(
    states=(_arm("observation.state.cartesian_position", "observation.state.gripper_position"),),
    commands=(_arm("action.cartesian_position", "action.gripper_position"),),
    cameras=tuple(
        CameraMap(name, f"observation.images.{name}") for name in ("exterior_1_left", "exterior_2_left", "wrist_left")
    ),
    source="LeRobot 0.6.2, examples/port_datasets/port_droid.py",
    notes=_NOTES,
)
RLDS_MAP = DatasetMap(
    states=(_arm("observation/cartesian_position", "observation/gripper_position"),),
    commands=(_arm("action_dict/cartesian_position", "action_dict/gripper_position"),),
    cameras=(
        CameraMap("exterior_1_left", "observation/exterior_image_1_left"),
        CameraMap("exterior_2_left", "observation/exterior_image_2_left"),
        CameraMap("wrist_left", "observation/wrist_image_left"),
    ),
    instructions=("language_instruction", "language_instruction_2", "language_instruction_3"),
    rate=RATE,
    source="schema of the DROID dataset (droid-dataset.github.io)",
    notes=(*_NOTES, "Many episodes have no instruction; they have no windows that can be read."),
)
SOURCES = {
    "droid": Source(
        name="droid",
        title="DROID",
        robot="droid_pose",
        map=LEROBOT_MAP,
        layout="lerobot",
        rate=RATE,
        home="lerobot/droid_1.0.1 on the Hugging Face Hub",
        license="CC BY 4.0, from memory",
    ),
    "droid_rlds": Source(
        name="droid_rlds",
        title="DROID",
        robot="droid_pose",
        map=RLDS_MAP,
        layout="rlds",
        rate=RATE,
        home="gs://gresearch/robotics/droid",
        license="CC BY 4.0, from memory",
    ),
}
