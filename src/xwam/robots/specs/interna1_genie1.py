"""InternData-A1, Genie-1: recorded as the Split Aloha is, with other end links and another gripper."""

from dataclasses import replace

from xwam.robots.spec import GripperSpec
from xwam.robots.specs import interna1_aloha

_GRIPPER = GripperSpec(command_open=5.74, command_closed=0.0)  # a number of the gripper's own
_END_LINKS = "The end effector is arm_l_end_link and arm_r_end_link, before the tool centre point; both arms are in the frame of the robot."

SPEC = replace(
    interna1_aloha.SPEC,
    name="interna1_genie1",
    arms=tuple(replace(arm, gripper=_GRIPPER) for arm in interna1_aloha.SPEC.arms),
    notes=(_END_LINKS, *interna1_aloha.SPEC.notes[1:]),
)
