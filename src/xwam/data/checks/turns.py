"""Quaternions (w, x, y, z) in NumPy, as far as checks need them."""

import numpy as np

XYZW = (3, 0, 1, 2)  # columns that make (w, x, y, z) of a quaternion that was stored as (x, y, z, w)


def turn_between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Axis-angle `(rows, 3)` of the turns, in the base frame, from quaternions `(rows, 4)` to others; at most π each."""
    w0, v0 = before[:, :1], before[:, 1:]
    w1, v1 = after[:, :1], after[:, 1:]
    real = w1 * w0 + (v1 * v0).sum(axis=1, keepdims=True)
    imaginary = -w1 * v0 + w0 * v1 - np.cross(v1, v0)
    sign = np.where(real < 0, -1.0, 1.0)
    length = np.linalg.norm(imaginary, axis=1, keepdims=True)
    angle = 2 * np.arctan2(length, sign * real)
    return sign * imaginary * np.where(length > 1e-12, angle / np.maximum(length, 1e-12), 2.0)


def to_matrices(quaternions: np.ndarray) -> np.ndarray:
    """Rotations `(rows, 3, 3)` of unit quaternions `(rows, 4)`."""
    w, x, y, z = quaternions.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def angles_of(rotations: np.ndarray) -> np.ndarray:
    """Angles `(rows,)` of rotations `(rows, 3, 3)`, in radians."""
    return np.arccos(np.clip((np.trace(rotations, axis1=1, axis2=2) - 1) / 2, -1, 1))
