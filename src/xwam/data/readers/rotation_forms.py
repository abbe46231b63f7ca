"""The ways in which data sets write rotations, into canonical unit quaternions (w, x, y, z) and axis-angle vectors.

Quaternions, the common case, need NumPy only; the others go through `xwam.geometry.rotations`.
"""

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from xwam.geometry.matrix_checks import UNIT_TOLERANCE

if TYPE_CHECKING:
    import torch

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
_ORDERS = [a + b + c for a, b, c in product("xyz", repeat=3) if a != b and b != c]
_EULER = [f"euler_{order}" for order in (*_ORDERS, *(order.upper() for order in _ORDERS))]
MATRIX_TOLERANCE = 1e-2  # of the entries of R Rᵀ; rounded logs stay below 1e-3

# Name of each form and how many numbers it has.
WIDTHS = {
    "quaternion_wxyz": 4,
    "quaternion_xyzw": 4,
    "axis_angle": 3,
    "matrix": 9,
    "rot6d": 6,
    "rot6d_rows": 6,
    "as_stored": 3,
    **dict.fromkeys(_EULER, 3),
}


def to_quaternions(values: np.ndarray, form: str) -> np.ndarray:
    """Canonical quaternions of rotations. Those that are quaternions already keep their digits.

    Args:
        values (`np.ndarray` of shape `(rows, width)`): float64, in the form.
        form (`str`): One of `WIDTHS`, but for `"as_stored"`.

    Returns:
        `np.ndarray` of shape `(rows, 4)`: (w, x, y, z); the first component that is not zero is positive.
    """
    if form == "quaternion_xyzw":
        return _canonical(values[:, [3, 0, 1, 2]])
    if form == "quaternion_wxyz":
        return _canonical(values)
    return _quaternions(values, form).numpy()


def to_axis_angles(values: np.ndarray, form: str) -> np.ndarray:
    """Axis-angle vectors of rotations, in radians. Those that are axis-angle vectors already keep their digits.

    Args:
        values (`np.ndarray` of shape `(rows, width)`): float64, in the form.
        form (`str`): One of `WIDTHS`, but for `"as_stored"`.

    Returns:
        `np.ndarray` of shape `(rows, 3)`: Radians.
    """
    if form == "axis_angle":
        return values
    import torch

    from xwam.geometry.rotations import quaternion_to_axis_angle

    return quaternion_to_axis_angle(torch.from_numpy(to_quaternions(values, form))).numpy()


def rotation_fault(values: np.ndarray, form: str) -> tuple[int, str] | None:
    """The first row that is no rotation, and why.

    Args:
        values (`np.ndarray` of shape `(rows, width)`): float64, finite.
        form (`str`): One of `WIDTHS`.
    """
    if form.startswith("quaternion"):
        lengths = np.linalg.norm(values, axis=1)
        bad = np.abs(lengths - 1) > UNIT_TOLERANCE
        return (int(bad.argmax()), f"a quaternion has length {lengths[bad][0]:.6g}, not 1") if bad.any() else None
    if form == "matrix":
        matrices = values.reshape(-1, 3, 3)
        errors = np.abs(matrices @ matrices.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2), initial=0)
        bad = (errors > MATRIX_TOLERANCE) | (np.linalg.det(matrices) < 0)
        return (int(bad.argmax()), "a matrix is not a rotation") if bad.any() else None
    if form.startswith("rot6d"):
        first, second = _rot6d_vectors(values, form)
        bad = np.linalg.norm(np.cross(first, second), axis=1) < MATRIX_TOLERANCE
        return (int(bad.argmax()), "two vectors of a rotation are zero or parallel") if bad.any() else None
    return None


def _canonical(quaternions: np.ndarray) -> np.ndarray:
    first = quaternions[np.arange(len(quaternions)), (quaternions != 0).argmax(axis=1)]
    return np.where(first[:, None] < 0, -quaternions, quaternions)


def _quaternions(values: np.ndarray, form: str) -> "torch.Tensor":
    import torch

    from xwam.geometry import rotations

    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if form == "axis_angle":
        return rotations.axis_angle_to_quaternion(tensor)
    if form == "matrix":
        return rotations.matrix_to_quaternion(tensor.reshape(-1, 3, 3))
    if form == "rot6d":
        return rotations.rot6d_to_quaternion(tensor)
    if form == "rot6d_rows":
        return rotations.matrix_to_quaternion(rotations.rot6d_to_matrix(tensor).transpose(-1, -2))
    axes = form.removeprefix("euler_")
    axes_of_turns = torch.tensor([_AXES[axis] for axis in axes.lower()], dtype=torch.float64)
    turns = rotations.axis_angle_to_quaternion(tensor[..., None] * axes_of_turns)  # (rows, 3, 4)
    first, second, third = turns.unbind(-2) if axes.isupper() else turns.flip(-2).unbind(-2)
    whole = rotations.quaternion_multiply(rotations.quaternion_multiply(first, second), third)
    return rotations.canonical_quaternion(whole)


def _rot6d_vectors(values: np.ndarray, form: str) -> tuple[np.ndarray, np.ndarray]:
    vectors = values[:, :3], values[:, 3:]
    lengths = [np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), 1e-12) for vector in vectors]
    return vectors[0] / lengths[0], vectors[1] / lengths[1]
