"""What a model dreamt, from its arrays to a `Future` in physical units."""

from collections.abc import Mapping, Sequence

import numpy as np

from xwam.futures.future import Future
from xwam.robots.calibration import known_intrinsics, known_poses
from xwam.robots.depth import decode_depths
from xwam.robots.spec import RobotSpec
from xwam.robots.states import RobotState
from xwam.structures import ActionChunk, Observation


def imagined_future(
    spec: RobotSpec,
    observation: Observation,
    frames: np.ndarray,
    depth_images: np.ndarray | None,
    states: Sequence[RobotState],
    actions: ActionChunk | None,
) -> Future:
    """A model's answer as a `Future`: depth in metres where that can be known, cameras carried by the predicted states.

    Args:
        spec (`RobotSpec`): The robot.
        observation (`Observation`): What the model was asked about.
        frames (`np.ndarray` of shape `(V, F, H, W, 3)`): RGB `uint8` of the first V cameras of the robot.
        depth_images (`np.ndarray` of shape `(V, F, H, W)` or `None`): Depth images in [-1, 1], float32.
        states (`Sequence[Mapping[str, ArmState | JointState]]`): Predicted states at the F frames, the first one observed.
        actions (`ActionChunk` or `None`): Predicted or given commands.

    Raises:
        ValueError: If the control period of the robot is unknown.
    """
    spec.require("control_period", purpose="tell the time between frames")
    names = [camera.name for camera in spec.cameras][: len(frames)]
    images: Mapping[str, np.ndarray] = {} if depth_images is None else dict(zip(names, depth_images, strict=True))
    decoded = decode_depths(spec, images, observation)
    return Future(
        robot=spec.name,
        instruction=observation.instruction,
        frame_period=float(spec.control_period or 0) * spec.actions_per_frame,
        frames=dict(zip(names, frames, strict=True)),
        depths=decoded.depths,
        depth_kind=decoded.kind,
        depth_calibrations=decoded.calibrations,
        intrinsics={name: own for name, own in known_intrinsics(spec, observation).items() if name in names},
        base_from_camera={name: own for name, own in known_poses(spec, observation, states).items() if name in names},
        states=tuple(states),
        actions=actions,
    )
