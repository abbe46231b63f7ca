"""RoboCasa: a PandaOmron in kitchens, driven by raw operational-space commands."""

from xwam.robots.spec import ArmSpec, CameraSpec, GripperSpec, RobotSpec

_HAND_EYE = (  # from the grip site to the OpenCV axes of the wrist camera
    (-1.0, 0.0, 0.0, 0.0),
    (0.0, -1.0, 0.0, 0.05),
    (0.0, 0.0, 1.0, -0.097),
    (0.0, 0.0, 0.0, 1.0),
)
_FOCAL_60 = 221.7025033688163  # 128 / tan(30°): 256 rows seen under a vertical angle of 60°
_FOCAL_75 = 166.81284772367434  # 128 / tan(37.5°)


def _intrinsics(focal: float) -> tuple[tuple[float, ...], ...]:
    return (focal, 0.0, 128.0), (0.0, focal, 128.0), (0.0, 0.0, 1.0)


SPEC = RobotSpec(
    name="robocasa",
    arms=(
        ArmSpec(
            name="left",
            gripper=GripperSpec(command_open=-1.0, command_closed=1.0, action_sign=-1.0, action_normalized=False),
            # The model's tool axes are the robot's, turned by +90° about z.
            model_from_tool=((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
        ),
    ),
    cameras=(
        CameraSpec("robot0_agentview_left", (256, 256), intrinsics=_intrinsics(_FOCAL_60), is_reported=True),
        CameraSpec("robot0_agentview_right", (256, 256), intrinsics=_intrinsics(_FOCAL_60), is_reported=True),
        CameraSpec(
            "robot0_eye_in_hand",
            (256, 256),
            arm="left",
            intrinsics=_intrinsics(_FOCAL_75),
            tool_from_camera=_HAND_EYE,
        ),
    ),
    command_kind="raw",
    control_period=0.05,
    state_slots=tuple(range(8)),
    action_slots=tuple(range(7)),
    depth_encoding="relative",
    source="X-WAM release 72cfb86, evaluation/robocasa_client.py and data/robot_dataset.py; RoboCasa v0.2",
    notes=(
        "The only arm fills the left slots and is named left.",
        "The tool is the grip site of the gripper; its pose is given in the base frame of the arm's controller.",
        "Commands are the first 7 of RoboCasa's 12: translation, axis-angle and gripper, each in [-1, 1].",
        "Static cameras move with the mobile base, so their poses come with the observations.",
    ),
)
