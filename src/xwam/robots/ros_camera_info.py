"""Calibration from ROS: `sensor_msgs/CameraInfo`, as a message, as a mapping, or as the YAML file of `camera_calibration_parsers`.

ROS describes a lens besides the pinhole. A pinhole is all that is used here, so images must be free of distortion: by nature,
or because `image_proc` rectified them, and then the matrix of the rectified image, `P`, is the one to take.
"""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from xwam.robots.camera_formats import Size, expect_intrinsics, expect_pose, intrinsics_from_opencv
from xwam.structures import Camera

FISHEYE_MODELS = ("equidistant", "fisheye", "kannala_brandt", "kannala_brandt4")  # r = f · angle, not f · tan(angle)

_NAMES = {  # ours: in the file, in messages of ROS 1 and of ROS 2
    "width": ("image_width", "width"),
    "height": ("image_height", "height"),
    "K": ("camera_matrix", "K", "k"),
    "D": ("distortion_coefficients", "D", "d"),
    "R": ("rectification_matrix", "R", "r"),
    "P": ("projection_matrix", "P", "p"),
}


def intrinsics_from_ros(camera_info: Any, *, is_rectified: bool = False) -> tuple[np.ndarray, Size]:
    """Camera matrix `(3, 3)` and size (H, W) of the images that a camera sends.

    Half a pixel is added to the principal point, since ROS counts from the centre of the first pixel. Then the matrix follows
    the region of interest and the binning, which ROS reports in pixels of the full sensor.

    Source: `PinholeCameraModel::fromCameraInfo` in `image_geometry` of `ros-perception/vision_opencv`.

    Args:
        camera_info (`Mapping`, `str`, `Path` or message): The message, its fields by name, or the path of a YAML file.
        is_rectified (`bool`, *optional*, defaults to `False`): Whether the images were rectified; `P` is taken then, else `K`.

    Raises:
        ValueError: If the camera is not calibrated, the images are distorted, or a field is missing or cannot be.
    """
    info = _fields(camera_info)
    height, width = _whole(info, "height"), _whole(info, "width")
    distortion, model = _numbers(info, "D", None), str(info.get("distortion_model") or "")
    if model.lower() in FISHEYE_MODELS and not is_rectified:
        raise ValueError(
            f"`camera_info` has a fisheye lens, distortion_model {model!r}, which no pinhole is, even where D is zero: rectify "
            "the images and take their matrix P with `is_rectified=True`."
        )
    if np.any(distortion) and not is_rectified:
        raise ValueError(
            f"`camera_info` has a lens that distorts, D = {distortion.tolist()}, which no pinhole does: rectify the images, "
            "as `image_proc` does for `image_rect`, and take their matrix P with `is_rectified=True`."
        )
    name = "P" if is_rectified else "K"
    matrix = _numbers(info, name, 12 if is_rectified else 9).reshape(3, -1)[:, :3]
    if matrix[0, 0] == 0:
        raise ValueError(f"`camera_info` is of a camera that is not calibrated: {name} begins with zero.")
    full = intrinsics_from_opencv(expect_intrinsics(name, matrix, (height, width)), (height, width))
    left, top, width, height = _region(info, width, height)
    columns, rows = _whole(info, "binning_x", 1) or 1, _whole(info, "binning_y", 1) or 1
    full[:2, 2] -= left, top
    full[:2] /= np.array([[columns], [rows]])
    size = (height // rows, width // columns)
    return expect_intrinsics(name, full, size), size


def camera_from_ros(camera_info: Any, base_from_optical: Any, *, is_rectified: bool = False) -> Camera:
    """Camera of a `CameraInfo` and the pose of its optical frame, which has our axes.

    Args:
        camera_info (`Mapping`, `str`, `Path` or message): See `intrinsics_from_ros`.
        base_from_optical (`np.ndarray` of shape `(4, 4)`): Pose of the optical frame in the robot base frame, as
            `tf2_ros.Buffer.lookup_transform(base, "…_optical_frame", …)` gives it. A frame such as `camera_link`, with x
            forward, is another one.
        is_rectified (`bool`, *optional*, defaults to `False`): Whether the images were rectified; the camera is turned by `R`
            then.

    Raises:
        ValueError: As `intrinsics_from_ros`, or if the pose is no pose, or this is the second camera of a stereo pair.
    """
    intrinsics, _ = intrinsics_from_ros(camera_info, is_rectified=is_rectified)
    pose = expect_pose("base_from_optical", base_from_optical)
    if not is_rectified:
        return Camera(intrinsics, pose)
    info = _fields(camera_info)
    shift = _numbers(info, "P", 12).reshape(3, 4)[:, 3]
    if np.any(shift):
        raise ValueError(
            f"`camera_info` is of the second camera of a stereo pair, the last column of P is {shift.tolist()}: whether its "
            "optical frame is its own or the first camera's is not said. Take `intrinsics_from_ros` and give `Camera` the "
            "pose of the camera itself."
        )
    turn = np.eye(4)
    if _found(info, "R") is not None:
        turn[:3, :3] = _numbers(info, "R", 9).reshape(3, 3)
    return Camera(intrinsics, pose @ expect_pose("R", turn).T)


def _fields(camera_info: Any) -> Mapping[str, Any]:
    """The fields by name, whatever they came in."""
    if isinstance(camera_info, (str, PathLike)):
        try:
            camera_info = yaml.safe_load(Path(camera_info).read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ValueError(f"`camera_info` {str(camera_info)!r} is no YAML file of a camera: {error}") from error
    if isinstance(camera_info, Mapping):
        return camera_info
    names = [name for own in _NAMES.values() for name in own] + ["binning_x", "binning_y", "roi", "distortion_model"]
    fields = {name: getattr(camera_info, name) for name in names if hasattr(camera_info, name)}
    if not fields:
        raise ValueError(
            f"`camera_info` must be a CameraInfo, its fields or a file, but is a {type(camera_info).__name__}."
        )
    return fields


def _found(info: Mapping[str, Any], field: str) -> Any:
    return next((info[name] for name in _NAMES.get(field, (field,)) if name in info), None)


def _numbers(info: Mapping[str, Any], field: str, length: int | None) -> np.ndarray:
    """The numbers of a matrix, row by row; without a length any number of them, also none."""
    value = _found(info, field)
    value = value.get("data") if isinstance(value, Mapping) else value
    if value is None and length is None:
        return np.zeros(0)
    if value is None:
        raise ValueError(f"`camera_info` lacks {field}, in a file called `{_NAMES[field][0]}`; it has {sorted(info)}.")
    try:
        numbers = np.asarray(value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        raise ValueError(f"`camera_info` must have numbers in {field}, but has {value!r}.") from None
    if not np.isfinite(numbers).all() or (length is not None and len(numbers) != length):
        wanted = "finite numbers" if length is None else f"{length} finite numbers"
        raise ValueError(f"`camera_info` must have {wanted} in {field}, but has {numbers.tolist()}.")
    return numbers


def _whole(info: Mapping[str, Any], field: str, default: int | None = None) -> int:
    value = _found(info, field)
    value = default if value is None else value
    if value is None:
        raise ValueError(f"`camera_info` lacks the {field} of its images; it has {sorted(info)}.")
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < (1 if default is None else 0):
        raise ValueError(f"`camera_info` must have a whole number of pixels in {field}, but has {value!r}.")
    return int(value)


def _region(info: Mapping[str, Any], width: int, height: int) -> tuple[int, int, int, int]:
    """Region of interest (left, top, width, height) in pixels of the full sensor; all zeros mean the whole of it."""
    roi = info.get("roi")
    if roi is None:
        return 0, 0, width, height
    names = ("x_offset", "y_offset", "width", "height")
    left, top, columns, rows = (
        _whole(roi if isinstance(roi, Mapping) else {name: getattr(roi, name, 0)}, name, 0) for name in names
    )
    columns, rows = columns or width - left, rows or height - top
    if left + columns > width or top + rows > height:
        raise ValueError(
            f"`camera_info` must have its roi inside {(height, width)} pixels, but has x_offset {left}, y_offset {top}, width "
            f"{columns} and height {rows}."
        )
    return left, top, columns, rows
