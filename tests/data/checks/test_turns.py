"""Turns agree with SciPy."""

import numpy as np
from scipy.spatial.transform import Rotation

from xwam.data.checks.turns import XYZW, angles_of, to_matrices, turn_between


def quaternions(seed: int) -> np.ndarray:
    return Rotation.random(200, random_state=seed).as_quat(scalar_first=True)


def test_turns_are_those_of_scipy_whatever_the_signs():
    before, after = quaternions(0), quaternions(1)
    expected = (
        Rotation.from_quat(after, scalar_first=True) * Rotation.from_quat(before, scalar_first=True).inv()
    ).as_rotvec()
    np.testing.assert_allclose(turn_between(before, after), expected, atol=1e-9)
    np.testing.assert_allclose(turn_between(-before, after), expected, atol=1e-9)
    np.testing.assert_allclose(turn_between(before, before), np.zeros((200, 3)), atol=1e-9)


def test_matrices_and_angles_are_those_of_scipy():
    turns = Rotation.from_quat(quaternions(2), scalar_first=True)
    np.testing.assert_allclose(to_matrices(quaternions(2)), turns.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(angles_of(turns.as_matrix()), turns.magnitude(), atol=1e-6)


def test_the_other_order_is_undone():
    stored = Rotation.from_quat(quaternions(3), scalar_first=True).as_quat(canonical=False)
    np.testing.assert_allclose(np.abs(stored[:, XYZW]), np.abs(quaternions(3)))
