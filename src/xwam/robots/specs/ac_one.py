"""AC One: two arms, one main and two wrist cameras. Most of its conventions are not public and stay with the user."""

from xwam.robots.spec import ArmSpec, CameraSpec, RobotSpec

SPEC = RobotSpec(
    name="ac_one",
    arms=(
        ArmSpec(name="left", gripper=None, model_from_tool=None),
        ArmSpec(name="right", gripper=None, model_from_tool=None),
    ),
    cameras=(
        CameraSpec("main", (240, 320)),
        CameraSpec("left_wrist", (240, 320), arm="left"),
        CameraSpec("right_wrist", (240, 320), arm="right"),
    ),
    command_kind=None,
    control_period=None,
    state_slots=tuple(range(16)),
    action_slots=tuple(range(14)),
    model_from_base=None,
    depth_encoding="relative",
    source="real-robot setup named in the X-WAM paper (arXiv 2604.26694); nothing else of it is public",
    notes=(
        "Names of cameras and arms are this library's; slots are those of every robot with two tool poses.",
        "Give everything in `unknown` with `dataclasses.replace` and `with_quantiles`.",
    ),
)
