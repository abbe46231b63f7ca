"""DROID: a Franka Panda driven by joint positions, in the slots of a public fine-tune."""

from xwam.robots.spec import ArmSpec, CameraSpec, GripperSpec, RobotSpec

SPEC = RobotSpec(
    name="droid",
    arms=(
        ArmSpec(
            name="left",
            # The robot writes 0 for open and 1 for closed; the model sees +1 for open.
            gripper=GripperSpec(
                command_open=0.0,
                command_closed=1.0,
                state_open=0.0,
                state_closed=1.0,
                state_sign=-1.0,
                action_sign=-1.0,
            ),
            num_joints=7,
        ),
    ),
    cameras=(
        CameraSpec("exterior_1_left", (192, 320)),
        CameraSpec("exterior_2_left", (192, 320)),
        CameraSpec("wrist_left", (192, 320), arm="left"),
    ),
    command_kind="joint_position",
    control_period=1 / 15,
    state_slots=tuple(range(8)),
    action_slots=(0, 1, 2, 3, 4, 5, 7, 6),
    clip=True,
    image_size=(192, 320),
    depth_encoding="relative",
    source="second-hand description of a public X-WAM fine-tune on DROID",
    notes=(
        "The source names the slots and the sign of the action only; the state is assumed to hold the joints in slots 0 to "
        "6 and the gripper in slot 7 with the same sign.",
        "The crop of the fine-tune is not documented; the release's is used.",
    ),
)
