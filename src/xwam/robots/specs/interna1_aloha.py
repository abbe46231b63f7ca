"""InternData-A1, AgileX Split Aloha with Piper arms: a simulated robot with two arms, driven to absolute end-effector poses."""

from xwam.robots.spec import ArmSpec, CameraSpec, GripperSpec, RobotSpec

_GRIPPER = GripperSpec(command_open=0.1, command_closed=0.0)  # metres between the fingers

SPEC = RobotSpec(
    name="interna1_aloha",
    arms=(
        ArmSpec(name="left", gripper=_GRIPPER, model_from_tool=None),
        ArmSpec(name="right", gripper=_GRIPPER, model_from_tool=None),
    ),
    cameras=(
        CameraSpec("head", (480, 640)),
        CameraSpec("hand_left", (480, 640), arm="left"),
        CameraSpec("hand_right", (480, 640), arm="right"),
    ),
    command_kind="absolute_end_effector",
    control_period=1 / 30,
    state_slots=tuple(range(16)),
    action_slots=tuple(range(14)),
    model_from_base=None,
    depth_encoding="relative",
    source="InternRobotics/InternData-A1 on the Hugging Face Hub and its discussion 5; InternDataEngine documentation",
    notes=(
        "The end effector is link6, the last link of the arm, before the tool centre point; both arms are in the frame of the robot.",
        "How the X-WAM paper turned base and tool axes into the model's is not public.",
        "Sizes of images are assumed; the data set says its own.",
        "The stroke of the gripper is the maintainers' word; a few recordings open less far.",
    ),
)
