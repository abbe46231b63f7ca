"""Every way in which a calibration matrix is none has its own words."""

import numpy as np
import pytest

from xwam.geometry.matrix_checks import intrinsics_problem, matrix_problem, rigid_problem, rotation_problem

K = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]])
POSE = np.array([[0.0, -1, 0, 0.3], [1, 0, 0, -0.2], [0, 0, 1, 0.5], [0, 0, 0, 1]])
SIZE = (48, 64)


def _with(matrix: np.ndarray, row: int, column: int, value: float) -> np.ndarray:
    spoilt = matrix.copy()
    spoilt[row, column] = value
    return spoilt


def test_what_is_sound_has_no_problem():
    for kind in (np.float64, np.float32):
        assert intrinsics_problem(K.astype(kind), SIZE) is None
        assert rigid_problem(POSE.astype(kind)) is None
    assert rigid_problem(POSE.astype(int).tolist()) is None
    assert rotation_problem(POSE[:3, :3]) is None


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (matrix_problem([[1.0], [1.0, 2.0]], (2, 2)), "rows differ in length"),
        (matrix_problem(np.eye(3), (4, 4)), "must have shape (4, 4), but has shape (3, 3)"),
        (matrix_problem(np.eye(3) * 1j, (3, 3)), "must hold real numbers"),
        (matrix_problem(_with(K, 0, 0, np.nan), (3, 3)), "must be finite"),
        (rotation_problem(2 * np.eye(3)), "R Rᵀ differs from the identity by 3"),
        (rotation_problem(np.diag([1.0, 1, -1])), "is a reflection (determinant -1)"),
        (rigid_problem(POSE.T), "as if transposed"),
        (rigid_problem(_with(POSE, 0, 3, 300.0)), "as if in millimetres"),
        (intrinsics_problem(K.T, SIZE), "as if transposed"),
        (intrinsics_problem(_with(K, 1, 0, 0.1), SIZE), "must be upper triangular, but has 0.1"),
        (intrinsics_problem(_with(K, 0, 0, 0.0), SIZE), "the matrix is singular"),
        (intrinsics_problem(_with(K, 1, 1, -60.0), SIZE), "as in RLBench"),
        (intrinsics_problem(K / [[64], [48], [1]], SIZE), "as if divided by the image size"),
        (intrinsics_problem(K, (24, 64)), "must have its principal point inside the image of size (24, 64)"),
    ],
    ids=lambda own: own if own is None or "?" not in own else own[:30],
)
def test_what_is_wrong_is_said(problem, text):
    assert problem is not None
    assert text in problem
