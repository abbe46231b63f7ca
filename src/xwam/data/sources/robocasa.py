"""RoboCasa MimicGen as RoboCasa's own LeRobot data: quaternions (x, y, z, w), raw commands behind those of the mobile base."""

from xwam.data.dataset_map import ArmMap, CameraMap, Columns, DatasetMap
from xwam.data.sources.base import Source

FINGER_OPEN = 0.04  # metres: the first finger joint of an open gripper

MAP = DatasetMap(
    states=(
        ArmMap(
            "left",
            position=Columns("observation.state", (7, 8, 9)),
            rotation=Columns("observation.state", (10, 11, 12, 13)),
            rotation_form="quaternion_xyzw",
            gripper=Columns("observation.state", (14,)),
            gripper_closed=0.0,
            gripper_open=FINGER_OPEN,
        ),
    ),
    commands=(
        ArmMap(
            "left",
            position=Columns("action", (5, 6, 7)),
            rotation=Columns("action", (8, 9, 10)),
            rotation_form="as_stored",
            gripper=Columns("action", (11,)),
            gripper_closed=1.0,
            gripper_open=-1.0,
        ),
    ),
    cameras=tuple(
        CameraMap(name, f"observation.images.{name}")
        for name in ("robot0_agentview_left", "robot0_agentview_right", "robot0_eye_in_hand")
    ),
    source="RoboCasa main (be22d65): PandaOmron_modality.json and utils/lerobot_utils.py; robosuite 1.5.2 for quaternion order",
    notes=(
        "The pose is robosuite's `base_to_eef`: grip site in the frame at the centre of the mobile base, orientation of the "
        "end effector's body. The spec's own base is that of the arm's controller, as in the release: where the two differ, "
        "by a constant offset and turn, positions of this copy are not those of the release's data.",
        "The release's own copy, sharinka0715/X-WAM-RoboCasa in the release's layout, has no such difference.",
        "The first finger's position is taken for the opening, as in the release; 0.04 m is its maximum.",
    ),
)
SOURCES = {
    "robocasa_mimicgen": Source(
        name="robocasa_mimicgen",
        title="RoboCasa MimicGen",
        robot="robocasa",
        map=MAP,
        layout="lerobot",
        rate=20.0,
        home="python -m robocasa.scripts.download_datasets --split pretrain --source mimicgen",
    )
}
