"""Calibration as simulators and other libraries write it, in ours: OpenCV axes, pixel centres at +0.5, metres in the base frame.

What differs from one to the next is where the axes point, which way the pose goes and where the first pixel lies; each
importer knows one of them, checks what it is given and returns a `Camera`. ROS has a module of its own, `ros_camera_info`.
"""

from typing import Any

import numpy as np

from xwam.geometry.matrix_checks import intrinsics_problem, matrix_problem, rigid_problem
from xwam.structures import Camera

Size = tuple[int, int]  # (H, W) in pixels

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # half a turn about x; its own inverse
OPENCV_FROM_COPPELIA = np.diag([-1.0, -1.0, 1.0, 1.0])  # half a turn about z; its own inverse
POSE_TOLERANCE = 1e-4  # metres and cosines, between two poses that are said to be one


def intrinsics_from_fov(fov: float, size: Size) -> np.ndarray:
    r"""Camera matrix `(3, 3)` of square pixels around the middle of the image: \(f = H / (2 \tan(fov / 2))\).

    Args:
        fov (`float`): Vertical angle of view, in degrees.
        size (`tuple[int, int]`): Size (H, W) of the images.

    Raises:
        ValueError: If the angle is not between 0 and 180.
    """
    if not 0 < fov < 180:
        raise ValueError(f"`fov` must be an angle between 0 and 180 degrees, but is {fov}.")
    height, width = size
    focal = 0.5 * height / np.tan(0.5 * np.deg2rad(fov))
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def intrinsics_from_opencv(matrix: Any, size: Size, distortion: Any = ()) -> np.ndarray:
    """Camera matrix `(3, 3)` of a calibration by OpenCV.

    OpenCV counts from the centre of the first pixel, and so do ROS and the RealSense library; simulators count from its edge, as
    we do. Half a pixel is added.

    Args:
        matrix (`np.ndarray` of shape `(3, 3)`): Camera matrix in pixels.
        size (`tuple[int, int]`): Size (H, W) of the images.
        distortion (`np.ndarray`, *optional*, defaults to `()`): Coefficients of the lens, in any order. They must be zero:
            a pinhole has none, so images must be rectified first. A matrix of `cv2.fisheye` is none of a pinhole even then.

    Raises:
        ValueError: If the lens distorts, or this is no camera matrix of such images.
    """
    bent = np.asarray(distortion, dtype=np.float64).ravel()
    if np.any(bent):  # also NaN
        raise ValueError(
            f"`distortion` must be zero, but is {bent.tolist()}: rectify the images, for example with `cv2.undistort`, and "
            "give the matrix of the rectified ones."
        )
    moved = expect_intrinsics("matrix", matrix, size)
    moved[:2, 2] += 0.5
    return moved


def camera_from_opengl(intrinsics: Any, size: Size, base_from_opengl: Any) -> Camera:
    """Camera of a pose with OpenGL's axes, x right, y up, z backwards, as Blender, NeRF and MuJoCo have them.

    Args:
        intrinsics (`np.ndarray` of shape `(3, 3)`): Camera matrix in pixels, positive focal lengths.
        size (`tuple[int, int]`): Size (H, W) of the images.
        base_from_opengl (`np.ndarray` of shape `(4, 4)`): Pose in the robot base frame, camera to base.

    Raises:
        ValueError: If a matrix is none of a camera; the message says what is wrong.
    """
    pose = expect_pose("base_from_opengl", base_from_opengl)
    return Camera(expect_intrinsics("intrinsics", intrinsics, size), pose @ OPENCV_FROM_OPENGL)


def camera_from_mujoco(model: Any, data: Any, camera: str, size: Size, *, base: Any = None) -> Camera:
    """Camera of a MuJoCo model where it is now; call `mujoco.mj_forward` after joints were set by hand.

    Args:
        model (`mujoco.MjModel`): The model; of robosuite `sim.model._model`.
        data (`mujoco.MjData`): Its state; of robosuite `sim.data._data`.
        camera (`str`): Name of the camera.
        size (`tuple[int, int]`): Size (H, W) of the rendered images, first row on top.
        base (`str` or `np.ndarray` of shape `(4, 4)`, *optional*): Body that is the robot's base, or `base_from_world`;
            left out, the base is the world.

    Raises:
        ValueError: If the camera has no perspective, or a matrix is none.
        KeyError: If there is no such camera or body.
    """
    place = data.cam(camera)
    world_from_opengl = pose_matrix(place.xpos, place.xmat)
    if isinstance(base, str):
        body = data.body(base)
        base_from_world = invert_pose(pose_matrix(body.xpos, body.xmat))
    else:
        base_from_world = np.eye(4) if base is None else expect_pose("base", base)
    intrinsics = intrinsics_from_mujoco(model, camera, size)
    return Camera(intrinsics, base_from_world @ world_from_opengl @ OPENCV_FROM_OPENGL)


def intrinsics_from_mujoco(model: Any, camera: str, size: Size) -> np.ndarray:
    """Camera matrix `(3, 3)` of a MuJoCo camera, given by `fovy` or by a sensor with focal lengths and a principal point.

    Args:
        model (`mujoco.MjModel`): The model.
        camera (`str`): Name of the camera.
        size (`tuple[int, int]`): Size (H, W) of the rendered images. A sensor is stretched over it, whatever its own aspect.

    Raises:
        ValueError: If the camera has no perspective.
        KeyError: If there is no such camera.
    """
    index = model.cam(camera).id
    kinds = getattr(model, "cam_projection", None)  # of MuJoCo 4; before, `cam_orthographic`
    kinds = getattr(model, "cam_orthographic", None) if kinds is None else kinds
    if kinds is not None and kinds[index]:
        raise ValueError(
            f"Camera {camera!r} is orthographic, so it has no camera matrix; only perspective cameras have."
        )
    width_height, sensor = np.array([size[1], size[0]]), np.array(model.cam_sensorsize[index], dtype=np.float64)
    if not sensor.all():
        return intrinsics_from_fov(float(model.cam_fovy[index]), size)
    focal, principal = np.array(model.cam_intrinsic[index], dtype=np.float64).reshape(2, 2) / sensor * width_height
    u, v = width_height / 2 - principal  # seen in rendered depth: MuJoCo moves the sensor, not the image
    return np.array([[focal[0], 0.0, u], [0.0, focal[1], v], [0.0, 0.0, 1.0]])


def camera_from_robosuite(intrinsics: Any, extrinsic: Any, size: Size, *, base_from_world: Any = None) -> Camera:
    """Camera of what robosuite's `get_camera_intrinsic_matrix` and `get_camera_extrinsic_matrix` return.

    Their matrices are those of the image with its first row on top. Observations of robosuite, and files made of them, have
    it at the bottom unless `macros.IMAGE_CONVENTION` is `"opencv"`: turn such images and depth maps over with `image[::-1]`.
    No camera matrix makes up for it, because a mirrored image is not what any camera sees.

    Source: `robosuite/utils/camera_utils.py` of robosuite 1.5.2.

    Args:
        intrinsics (`np.ndarray` of shape `(3, 3)`): Camera matrix in pixels.
        extrinsic (`np.ndarray` of shape `(4, 4)`): Pose in the world, camera to world, already with OpenCV's axes.
        size (`tuple[int, int]`): Size (H, W) of the images.
        base_from_world (`np.ndarray` of shape `(4, 4)`, *optional*): Where the world is in the robot base frame.

    Raises:
        ValueError: If a matrix is none of a camera.
    """
    pose = expect_pose("extrinsic", extrinsic)
    return Camera(expect_intrinsics("intrinsics", intrinsics, size), _in_base(pose, base_from_world))


def camera_from_rlbench(intrinsics: Any, extrinsics: Any, size: Size, *, base_from_world: Any = None) -> Camera:
    """Camera of `<camera>_camera_intrinsics` and `<camera>_camera_extrinsics` of an RLBench observation, by PyRep.

    CoppeliaSim's cameras look along z with x to the left and y up, which PyRep writes as negative focal lengths. Half a turn
    about z makes them ours. Its extrinsics are the pose, camera to world.

    Source: `VisionSensor.get_intrinsic_matrix` and `pointcloud_from_depth_and_camera_params` in PyRep's
    `pyrep/objects/vision_sensor.py`.

    Args:
        intrinsics (`np.ndarray` of shape `(3, 3)`): Camera matrix in pixels, both focal lengths negative.
        extrinsics (`np.ndarray` of shape `(4, 4)`): Pose in the world, camera to world.
        size (`tuple[int, int]`): Size (H, W) of the images. RLBench leaves the matrix as it was where it resizes stored
            images; such a matrix must be resized too.
        base_from_world (`np.ndarray` of shape `(4, 4)`, *optional*): Where the world is in the robot base frame.

    Raises:
        ValueError: If the focal lengths are not both negative, or a matrix is none of a camera.
    """
    if problem := matrix_problem(intrinsics, (3, 3)):
        raise ValueError(f"`intrinsics` {problem}.")
    matrix = np.array(intrinsics, dtype=np.float64)
    if not (matrix[0, 0] < 0 and matrix[1, 1] < 0):
        raise ValueError(
            "`intrinsics` of RLBench must have two negative focal lengths, but has "
            f"({matrix[0, 0]:g}, {matrix[1, 1]:g}); was it converted before, or is it not RLBench's?"
        )
    pose = expect_pose("extrinsics", extrinsics) @ OPENCV_FROM_COPPELIA
    matrix[:, :2] *= -1
    return Camera(expect_intrinsics("intrinsics", matrix, size), _in_base(pose, base_from_world))


def camera_from_sapien(
    intrinsic_cv: Any, size: Size, *, extrinsic_cv: Any = None, cam2world_gl: Any = None, base_from_world: Any = None
) -> Camera:
    """Camera of SAPIEN, as ManiSkill and RoboTwin report it. One of the two poses is enough; two must agree.

    Args:
        intrinsic_cv (`np.ndarray` of shape `(3, 3)`): Camera matrix in pixels.
        size (`tuple[int, int]`): Size (H, W) of the images.
        extrinsic_cv (`np.ndarray` of shape `(3, 4)` or `(4, 4)`, *optional*): From the world to OpenCV's axes.
        cam2world_gl (`np.ndarray` of shape `(4, 4)`, *optional*): Pose in the world, with OpenGL's axes.
        base_from_world (`np.ndarray` of shape `(4, 4)`, *optional*): Where the world is in the robot base frame.

    Raises:
        ValueError: If there is no pose, the two are not of one camera, or a matrix is none of a camera.
    """
    poses = []
    if extrinsic_cv is not None:
        poses.append(invert_pose(expect_pose("extrinsic_cv", _with_last_row(extrinsic_cv))))
    if cam2world_gl is not None:
        poses.append(expect_pose("cam2world_gl", cam2world_gl) @ OPENCV_FROM_OPENGL)
    if not poses:
        raise ValueError("A camera of SAPIEN needs its pose: give `extrinsic_cv`, `cam2world_gl` or both.")
    difference = float(np.abs(poses[0] - poses[-1]).max())
    if difference > POSE_TOLERANCE:
        inverted = np.abs(invert_pose(poses[0]) - poses[-1]).max() <= POSE_TOLERANCE
        hint = "; `extrinsic_cv` is the inverse, from the camera to the world" if inverted else ""
        raise ValueError(f"`extrinsic_cv` and `cam2world_gl` must be one pose but differ by {difference:.3g}{hint}.")
    return Camera(expect_intrinsics("intrinsic_cv", intrinsic_cv, size), _in_base(poses[0], base_from_world))


def turned_camera(camera: Camera, size: Size, quarter_turns: int) -> Camera:
    """Camera of an image after `np.rot90(image, quarter_turns)`, such as 2 for a camera that is mounted upside down.

    Args:
        camera (`Camera`): Calibration of the image as it came.
        size (`tuple[int, int]`): Size (H, W) of the image as it came.
        quarter_turns (`int`): Turns by 90° against the clock.

    Raises:
        ValueError: If a matrix is none of a camera, or the camera matrix is skewed.
    """
    intrinsics = expect_intrinsics("intrinsics", camera.intrinsics, size)
    pose = expect_pose("base_from_camera", camera.base_from_camera)
    if intrinsics[0, 1] != 0:
        raise ValueError(
            f"`intrinsics` must not be skewed to be turned, but has a skew of {intrinsics[0, 1]:g} pixels."
        )
    old_from_new = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # of the camera's axes
    for turn in range(quarter_turns % 4):
        width = size[1 - turn % 2]
        (fx, _, u), (_, fy, v), _ = intrinsics
        intrinsics = np.array([[fy, 0.0, v], [0.0, fx, width - u], [0.0, 0.0, 1.0]])
        pose = pose @ old_from_new
    return Camera(intrinsics, pose)


def pose_matrix(position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Rigid transform `(4, 4)` of a position `(3,)` and a rotation `(3, 3)`, or nine numbers, row by row."""
    pose = np.eye(4)
    pose[:3, 3], pose[:3, :3] = position, np.reshape(rotation, (3, 3))
    return pose


def invert_pose(pose: np.ndarray) -> np.ndarray:
    """Inverse `(4, 4)` of a rigid transform: the rotation transposed, the origin taken back."""
    rotation = pose[:3, :3].T
    return pose_matrix(-rotation @ pose[:3, 3], rotation)


def expect_pose(name: str, pose: Any) -> np.ndarray:
    """Check that a value is a rigid transform, and return it as `float64` of shape `(4, 4)`.

    Raises:
        ValueError: If it is none; the message begins with the name and says what is wrong.
    """
    if problem := rigid_problem(pose):
        raise ValueError(f"`{name}` {problem}.")
    return np.array(pose, dtype=np.float64)


def expect_intrinsics(name: str, matrix: Any, size: Size) -> np.ndarray:
    """Check that a value is a camera matrix of images of that size (H, W), and return it as `float64` of shape `(3, 3)`.

    Raises:
        ValueError: If it is none; the message begins with the name and says what is wrong.
    """
    if problem := intrinsics_problem(matrix, size):
        raise ValueError(f"`{name}` {problem}.")
    return np.array(matrix, dtype=np.float64)


def _in_base(world_from_camera: np.ndarray, base_from_world: Any) -> np.ndarray:
    if base_from_world is None:
        return world_from_camera
    return expect_pose("base_from_world", base_from_world) @ world_from_camera


def _with_last_row(extrinsic: Any) -> Any:
    """A matrix `(3, 4)` as `(4, 4)`; anything else as it is, for the check that follows."""
    try:
        is_short = np.shape(extrinsic) == (3, 4)
    except ValueError:  # rows that differ in length
        return extrinsic
    return np.vstack([extrinsic, [0.0, 0.0, 0.0, 1.0]]) if is_short else extrinsic
