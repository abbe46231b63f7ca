"""The model's depth images in metres: decoded by what the robot declares, or calibrated on a measured first frame."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from xwam.errors import DepthCalibrationError
from xwam.geometry.depth import image_to_depth, known_pixels
from xwam.geometry.depth_calibration import affine_to_depth, calibrate_affine
from xwam.geometry.matrix_checks import FARTHEST_DEPTH
from xwam.robots.images import depths_to_views, drawn_encoding
from xwam.robots.spec import CameraSpec, RobotSpec
from xwam.structures import DepthCalibration, Observation

logger = logging.getLogger(__name__)

FARTHEST_RATIO = 2.0  # times what 99 % of the pixels of frame 0 measure at most: calibrated depth is not told beyond


@dataclass(frozen=True, eq=False)
class DecodedDepths:
    """Depth of a future.

    Args:
        depths (`Mapping[str, np.ndarray]`): Metres, float32 of shape `(F, H, W)` by camera; zero where nothing is known.
        kind (`str`): `"metric"`, `"calibrated"`, `"relative"` or `"none"`; see `Future.depth_kind`.
        calibrations (`Mapping[str, DepthCalibration]`): By camera, where depth was calibrated.
        problems (`Mapping[str, str]`): Why not, by camera, where depth was measured and could not be calibrated.
    """

    depths: Mapping[str, np.ndarray]
    kind: str
    calibrations: Mapping[str, DepthCalibration] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


def decode_depths(spec: RobotSpec, images: Mapping[str, np.ndarray], observation: Observation) -> DecodedDepths:
    """Depth images in metres, where that can be known.

    A robot that declares what its images mean is decoded, each camera that has a range. For one whose depth is relative
    every view is fitted to the depth that the observation measured; views without that, or whose fit is no good, are left
    out. A pixel within half an 8-bit level of the far end is unknown: what was not measured was drawn there.

    Args:
        spec (`RobotSpec`): The robot.
        images (`Mapping[str, np.ndarray]`): Depth images `(F, H, W)` in [-1, 1], float32, by camera; 1 is near. Frame 0 is
            that of the observation.
        observation (`Observation`): Measured depth of frame 0, where calibration needs it.
    """
    if not images:
        return DecodedDepths({}, "none")
    if spec.depth_encoding == "relative":
        return _calibrated(spec, images, observation)
    depths = {}
    for camera in spec.cameras:
        if camera.name in images and camera.depth_range is not None:
            image = torch.from_numpy(images[camera.name])[:, None]  # (F, 1, H, W)
            metres = image_to_depth(image, *camera.depth_range, drawn_encoding(spec))
            depths[camera.name] = torch.where(known_pixels(image), metres, 0).numpy()
    return DecodedDepths(depths, "metric" if depths else "relative")


def _calibrated(spec: RobotSpec, images: Mapping[str, np.ndarray], observation: Observation) -> DecodedDepths:
    depths, calibrations, problems = {}, {}, {}
    for camera in spec.cameras:
        if camera.name not in images or camera.name not in observation.depths:
            continue
        image = torch.from_numpy(images[camera.name])[:, None]  # (F, 1, H, W)
        measured = _measured(spec, camera, observation)
        try:
            calibration = calibrate_view(image[0], measured)
        except DepthCalibrationError as error:
            problems[camera.name] = error.reason
            logger.warning("Depth of %r stays relative: %s.", camera.name, error.reason)
            continue
        calibrations[camera.name] = calibration
        farthest = _farthest(camera, measured)
        metres = affine_to_depth((image.mean(dim=1) + 1) / 2, calibration.scale, calibration.shift, farthest)
        depths[camera.name] = torch.where(known_pixels(image), metres, 0).numpy()
    return DecodedDepths(depths, "calibrated" if depths else "relative", calibrations, problems)


def calibrate_view(image: torch.Tensor, measured: torch.Tensor) -> DepthCalibration:
    """Scale and shift of one view, for levels from 0 far to 1 near: level = (image + 1) / 2.

    Pixels within half an 8-bit level of either end do not count: they may lie beyond it.

    Args:
        image (`torch.Tensor` of shape `(3, H, W)`): The model's depth image of frame 0 in [-1, 1]; one channel does as well.
        measured (`torch.Tensor` of shape `(H, W)`): What the sensor saw, cut like the image, in metres; zero or NaN where it
            saw nothing.

    Raises:
        DepthCalibrationError: If the two do not fit, or there is too little to see.
    """
    fit = calibrate_affine((image.mean(dim=0) + 1) / 2, measured, known_pixels(image) & known_pixels(-image))
    return DepthCalibration(**fit._asdict())


def _measured(spec: RobotSpec, camera: CameraSpec, observation: Observation) -> torch.Tensor:
    """Depth of frame 0 `(H, W)` as the model would see it, in metres; zero for what no robot's camera sees."""
    (measured,) = depths_to_views([observation.depths[camera.name]], spec.image_size, spec.crop_ratio)
    near, far = camera.depth_range or (0.0, FARTHEST_DEPTH)
    return torch.where((measured > 0) & (measured >= near) & (measured <= far), measured, 0)


def _farthest(camera: CameraSpec, measured: torch.Tensor) -> float:
    if camera.depth_range is not None:
        return camera.depth_range[1]
    ordered = measured[measured > 0].sort().values
    return FARTHEST_RATIO * float(ordered[round(0.99 * (len(ordered) - 1))])
