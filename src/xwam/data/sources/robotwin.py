"""RoboTwin 2.0 as a LeRobot copy with this library's column names: recorded poses, whose next one is the command."""

from dataclasses import replace

from xwam.data.dataset_map import DatasetMap
from xwam.data.sources.base import Source
from xwam.robots.registry import get_robot

_OWN = DatasetMap.identity(get_robot("robotwin"))

MAP = replace(
    _OWN,
    commands=(),
    cameras=tuple(replace(camera, depth=None, base_from_camera=None, intrinsics=None) for camera in _OWN.cameras),
    next_state_is_command=True,
    source="RoboTwin 2.0, envs/_base_task.py and envs/utils/pkl2hdf5.py",
    notes=(
        "RoboTwin writes HDF5 with `endpose` (metres, then qw, qx, qy, qz) and `gripper` (0 closed to 1 open) per arm. Public "
        "LeRobot copies carry joints only, so that the names of the columns here are this library's own.",
        "RoboTwin records no commands; its own conversion takes the next state for the command, as is done here.",
        "The release's own copy, sharinka0715/X-WAM-RoboTwin, is in the release's layout and needs no map.",
    ),
)
SOURCES = {
    "robotwin": Source(
        name="robotwin",
        title="RoboTwin 2.0",
        robot="robotwin",
        map=MAP,
        layout="lerobot",
        rate=1 / 0.06,
        home="TianxingChen/RoboTwin2.0 on the Hugging Face Hub",
    )
}
