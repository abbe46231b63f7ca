"""What is wrong with a calibration matrix, in words; `None` when nothing is. Bounds of poses. Needs no torch."""

from typing import Any

import numpy as np

MIN_FOCAL_LENGTH = 4.0  # pixels; intrinsics that were divided by the image size stay below
ORTHONORMAL_TOLERANCE = 1e-3  # largest error of an entry of R R^T; float32 extrinsics of simulators stay below 1e-5
FARTHEST_ORIGIN = 20.0  # metres; no camera stands farther from the base of its arm, and in millimetres all would
UNIT_TOLERANCE = 1e-3  # of the length of a quaternion; float32 and rounded logs stay below 1e-4
FARTHEST_TOOL = 20.0  # metres from the base, beyond any arm on any base
FARTHEST_DEPTH = 50.0  # metres; no robot looks so far, and half of a view beyond it is in another unit


def matrix_problem(matrix: Any, shape: tuple[int, int]) -> str | None:
    """Why this is not a matrix of finite real numbers of that shape."""
    try:
        array = np.asarray(matrix)
    except ValueError:
        return f"must have shape {shape}, but its rows differ in length"
    if array.shape != shape:
        return f"must have shape {shape}, but has shape {array.shape}"
    if array.dtype.kind not in "fiu":
        return f"must hold real numbers, but has dtype {array.dtype}"
    return None if np.isfinite(array).all() else "must be finite, but holds NaN or infinity"


def rotation_problem(matrix: Any) -> str | None:
    """Why this is not a rotation matrix `(3, 3)`."""
    if problem := matrix_problem(matrix, (3, 3)):
        return problem
    rotation = np.asarray(matrix, dtype=np.float64)
    error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if error > ORTHONORMAL_TOLERANCE:
        return f"must be a rotation, but R Rᵀ differs from the identity by {error:.3g}"
    return None if np.linalg.det(rotation) > 0 else "must be a rotation, but is a reflection (determinant -1)"


def rigid_problem(matrix: Any) -> str | None:
    """Why this is not a rigid transform `(4, 4)`."""
    if problem := matrix_problem(matrix, (4, 4)):
        return problem
    transform = np.asarray(matrix, dtype=np.float64)
    if not np.allclose(transform[3], [0, 0, 0, 1], atol=1e-6):
        return f"must have the last row (0, 0, 0, 1), but has {transform[3].tolist()}{_transposed(transform)}"
    if problem := rotation_problem(transform[:3, :3]):
        return problem
    distance = float(np.linalg.norm(transform[:3, 3]))
    if distance > FARTHEST_ORIGIN:
        return f"must be in metres, but its origin is {distance:g} away, as if in millimetres"
    return None


def intrinsics_problem(matrix: Any, size: tuple[int, int]) -> str | None:
    """Why this is not a camera matrix `(3, 3)` in pixels of an image of `size` (H, W)."""
    if problem := matrix_problem(matrix, (3, 3)):
        return problem
    intrinsics = np.asarray(matrix, dtype=np.float64)
    if not np.allclose(intrinsics[2], [0, 0, 1], atol=1e-6):
        return f"must have the last row (0, 0, 1), but has {intrinsics[2].tolist()}{_transposed(intrinsics)}"
    if abs(intrinsics[1, 0]) > 1e-6:
        return f"must be upper triangular, but has {intrinsics[1, 0]:g} below the diagonal"
    focal = intrinsics[0, 0], intrinsics[1, 1]
    if min(focal) < MIN_FOCAL_LENGTH:
        return (
            f"must have positive focal lengths of at least {MIN_FOCAL_LENGTH:g} pixels, but has "
            f"({focal[0]:g}, {focal[1]:g}){_focal_hint(min(focal))}"
        )
    u, v = intrinsics[:2, 2]
    if not (0 < u < size[1] and 0 < v < size[0]):
        return f"must have its principal point inside the image of size {size}, but has (u, v) = ({u:g}, {v:g})"
    return None


def _transposed(matrix: np.ndarray) -> str:
    """A guess where the last column is what the last row should be."""
    expected = [*[0] * (len(matrix) - 1), 1]
    return ", as if transposed" if np.allclose(matrix[:, -1], expected, atol=1e-6) else ""


def _focal_hint(least: float) -> str:
    if least < 0:
        return ", as if its axes pointed another way, as in RLBench: see `xwam.robots.camera_formats`"
    return ", as if divided by the image size" if least > 0 else ": the matrix is singular"
