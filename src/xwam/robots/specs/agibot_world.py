"""AgiBot G1 (A2D) with two-finger grippers, as AgibotWorld-Beta records it: two arms driven to absolute flange poses."""

from xwam.robots.spec import ArmSpec, CameraSpec, GripperSpec, RobotSpec

_GRIPPER = GripperSpec(command_open=0.0, command_closed=1.0)  # of commands; states have a range of their own

SPEC = RobotSpec(
    name="agibot_world",
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
    source="dataset card of agibot-world/AgiBotWorld-Beta, tables of fields and of shapes and ranges",
    notes=(
        "Poses are those of the flange, in the robot's own base frame. How the X-WAM paper turned base and tool axes into the "
        "model's is not public.",
        "The grippers' state runs from 35 to 123; that 35 is open is what users saw (OpenDriveLab/AgiBot-World, issue 133), against "
        "the card, which calls it the open range in mm.",
        "Some episodes have dexterous hands, which have no opening: leave them out.",
    ),
)
