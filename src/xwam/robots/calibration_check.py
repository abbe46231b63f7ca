"""Whether the calibration of several cameras is of one robot: what one camera measures must be there for the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import torch

from xwam.geometry.agreement import view_agreement
from xwam.geometry.cameras import project_points, unproject_depth
from xwam.robots.calibration import known_poses, own_intrinsics
from xwam.robots.observation_checks import check_observation
from xwam.robots.spec import RobotSpec
from xwam.robots.states import stack_poses
from xwam.structures import Observation


@dataclass(frozen=True)
class ViewComparison:
    """Points that one camera measured, held against the depth of another.

    Args:
        num_points (`int`): Points for or against which the other camera has something to say; it says nothing of points that
            are out of its picture or behind something.
        agreed (`float`): Share of them that the other camera measured at the same depth. Sound calibration stays near 1; an
            inverse pose or wrong axes leave a fifth of it, mixed-up cameras or 7 cm two thirds, in one of the pairs at least.
    """

    num_points: int
    agreed: float


def compare_views(
    spec: RobotSpec, observation: Observation, *, tolerance: float = 0.02
) -> dict[tuple[str, str], ViewComparison]:
    """Hold every calibrated camera's depth against every other's.

    Args:
        spec (`RobotSpec`): The robot.
        observation (`Observation`): With depth of two cameras or more; no image is looked at.
        tolerance (`float`, *optional*, defaults to `0.02`): Share of the depth by which two measurements of one point differ.

    Returns:
        `dict[tuple[str, str], ViewComparison]`: By the camera that measured the points and the one that was asked.

    Raises:
        ObservationError: If the observation does not fit the robot.
        ValueError: If fewer than two cameras have depth, a camera matrix and a pose.
    """
    check_observation(spec, observation)
    views = _views(spec, observation)
    if len(views) < 2:
        raise ValueError(
            "Views are compared where two cameras or more have depth, a camera matrix and a pose, but of "
            f"{[camera.name for camera in spec.cameras]} only {list(views)} have."
        )
    found = {}
    for source, target in permutations(views, 2):
        depth, matrix, pose = views[source]
        points = unproject_depth(depth, matrix, pose)[depth > 0]
        seen, target_matrix, target_pose = views[target]
        result = view_agreement(points, seen, seen > 0, target_matrix, target_pose, tolerance=tolerance)
        agreed, against = int(result.agreed.sum()), int(result.contradicted.sum())
        share = agreed / (agreed + against) if agreed + against else 0.0
        found[source, target] = ViewComparison(agreed + against, share)
    return found


def tool_pixels(spec: RobotSpec, observation: Observation) -> dict[str, dict[str, tuple[float, float]]]:
    """Where the tools are in the robot's own images: draw them, and see whether they are.

    Args:
        spec (`RobotSpec`): The robot.
        observation (`Observation`): Tool poses, and what calibration the spec does not have.

    Returns:
        `dict[str, dict[str, tuple[float, float]]]`: By camera and arm the pixel (u, v), also outside the image; arms behind a
        camera or in joints, and cameras whose calibration is unknown, are left out.

    Raises:
        ObservationError: If the observation does not fit the robot.
    """
    check_observation(spec, observation)
    poses = known_poses(spec, observation, [{**observation.arms, **observation.joints}])
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for camera in spec.cameras:
        matrix = own_intrinsics(camera, observation)
        if matrix is None or camera.name not in poses or not observation.arms:
            continue
        tools = stack_poses(list(observation.arms.values()))[0]
        pixels, depth = project_points(tools[None], matrix[None], torch.from_numpy(poses[camera.name]))
        found[camera.name] = {
            arm: (float(u), float(v))
            for arm, (u, v), z in zip(observation.arms, pixels[0], depth[0], strict=True)
            if z > 0
        }
    return found


def _views(spec: RobotSpec, observation: Observation) -> Mapping[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Depth `(1, H, W)` with zeros where nothing was measured, camera matrix and pose of the cameras that have all three."""
    poses = known_poses(spec, observation, [{**observation.arms, **observation.joints}])
    views = {}
    for camera in spec.cameras:
        matrix = own_intrinsics(camera, observation)
        if matrix is None or camera.name not in poses or camera.name not in observation.depths:
            continue
        depth = torch.nan_to_num(torch.as_tensor(observation.depths[camera.name], dtype=torch.float64)[None], 0, 0, 0)
        views[camera.name] = depth, matrix[None], torch.from_numpy(poses[camera.name])
    return views
