"""RoboTwin 2.0: two arms, driven to absolute tool poses that the model's deltas add up to."""

from xwam.robots.spec import ArmSpec, CameraSpec, GripperSpec, RobotSpec

_TOOL_AXES = ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0))  # x' = z, y' = -y, z' = x
_FOCAL = 358.6421955291472  # 120 / tan(18.5°): the D435 model, 240 rows seen under a vertical angle of 37°
_INTRINSICS = ((_FOCAL, 0.0, 160.0), (0.0, _FOCAL, 120.0), (0.0, 0.0, 1.0))
_GRIPPER = GripperSpec(command_open=1.0, command_closed=0.0)

SPEC = RobotSpec(
    name="robotwin",
    arms=(
        ArmSpec(name="left", gripper=_GRIPPER, model_from_tool=_TOOL_AXES),
        ArmSpec(name="right", gripper=_GRIPPER, model_from_tool=_TOOL_AXES),
    ),
    cameras=(
        CameraSpec("head_camera", (240, 320), intrinsics=_INTRINSICS, is_reported=True),
        CameraSpec("left_camera", (240, 320), arm="left", intrinsics=_INTRINSICS, is_reported=True),
        CameraSpec("right_camera", (240, 320), arm="right", intrinsics=_INTRINSICS, is_reported=True),
    ),
    command_kind="absolute_end_effector",
    control_period=0.06,
    state_slots=tuple(range(16)),
    action_slots=tuple(range(14)),
    # The model's base frame is the robot's, turned by +90° about z.
    model_from_base=((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    depth_encoding="relative",
    source="X-WAM release 72cfb86, evaluation/X-WAM/deploy_policy.py; RoboTwin 2.0 task_config",
    notes=(
        "The period is the spacing of recorded frames, 15 physics steps of 1/250 s; the simulator drives a whole path per "
        "command and keeps no period of its own.",
        "Camera poses come with the observations; hand-eye calibration follows from them.",
    ),
)
