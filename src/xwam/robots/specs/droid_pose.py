"""DROID: a Franka Panda with a Robotiq gripper, driven to absolute tool poses, as for pretraining over many robots."""

from xwam.robots.spec import ArmSpec, CameraSpec, GripperSpec, RobotSpec

SPEC = RobotSpec(
    name="droid_pose",
    arms=(
        ArmSpec(
            name="left",
            gripper=GripperSpec(command_open=0.0, command_closed=1.0),
            model_from_tool=None,
        ),
    ),
    cameras=(
        CameraSpec("exterior_1_left", (180, 320)),
        CameraSpec("exterior_2_left", (180, 320)),
        CameraSpec("wrist_left", (180, 320), arm="left"),
    ),
    command_kind="absolute_end_effector",
    control_period=1 / 15,
    state_slots=tuple(range(8)),
    action_slots=tuple(range(7)),
    model_from_base=None,
    depth_encoding="relative",
    source="schema of the DROID dataset (droid-dataset.github.io) and LeRobot 0.6.2, examples/port_datasets/port_droid.py",
    notes=(
        "The only arm fills the left slots and is named left.",
        "Poses are `cartesian_position` in the frame of the robot's base. Which point of the tool it is, and how the X-WAM paper "
        "turned its axes into the model's, is not public.",
        "Calibration of the cameras is published beside the data, per episode and in a form of its own; it is not read.",
    ),
)
