"""InternData-A1, ARX Lift-2 with R5a arms: recorded as the Split Aloha is, with another gripper."""

from dataclasses import replace

from xwam.robots.spec import GripperSpec
from xwam.robots.specs import interna1_aloha

_GRIPPER = GripperSpec(command_open=0.088, command_closed=0.0)  # metres between the fingers

SPEC = replace(
    interna1_aloha.SPEC,
    name="interna1_lift2",
    arms=tuple(replace(arm, gripper=_GRIPPER) for arm in interna1_aloha.SPEC.arms),
)
