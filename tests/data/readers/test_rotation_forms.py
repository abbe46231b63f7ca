"""Every way to write a rotation gives the quaternion that SciPy gives."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from xwam.data.readers.rotation_forms import WIDTHS, rotation_fault, to_axis_angles, to_quaternions

COUNT = 200
TURNS = Rotation.random(COUNT, random_state=0)
MATRICES = TURNS.as_matrix()
EULER = [form for form in WIDTHS if form.startswith("euler_")]
WRITTEN = {
    "quaternion_wxyz": TURNS.as_quat(scalar_first=True),
    "quaternion_xyzw": TURNS.as_quat(),
    "axis_angle": TURNS.as_rotvec(),
    "matrix": MATRICES.reshape(COUNT, 9),
    "rot6d": np.concatenate([MATRICES[:, :, 0], MATRICES[:, :, 1]], axis=1),
    "rot6d_rows": np.concatenate([MATRICES[:, 0], MATRICES[:, 1]], axis=1),
    **{form: TURNS.as_euler(form.removeprefix("euler_")) for form in EULER},
}


def test_every_form_is_in_the_table():
    assert WRITTEN.keys() == WIDTHS.keys() - {"as_stored"}
    assert len(EULER) == 24
    assert {form: values.shape[1] for form, values in WRITTEN.items()} == {
        form: width for form, width in WIDTHS.items() if form != "as_stored"
    }


@pytest.mark.parametrize("form", WRITTEN)
def test_rotations_are_those_of_scipy(form: str):
    found = to_quaternions(WRITTEN[form], form)
    np.testing.assert_allclose(found, TURNS.as_quat(canonical=True, scalar_first=True), atol=1e-7)
    np.testing.assert_allclose(to_axis_angles(WRITTEN[form], form), TURNS.as_rotvec(), atol=2e-7)
    assert rotation_fault(WRITTEN[form], form) is None


def test_digits_are_kept_where_nothing_is_converted():
    float32 = TURNS.as_quat(canonical=True, scalar_first=True).astype(np.float32).astype(np.float64)
    assert (to_quaternions(float32, "quaternion_wxyz") == float32).all()
    assert (to_quaternions(-float32, "quaternion_wxyz") == float32).all()
    assert (to_quaternions(float32[:, [1, 2, 3, 0]], "quaternion_xyzw") == float32).all()
    assert to_axis_angles(WRITTEN["axis_angle"], "axis_angle") is WRITTEN["axis_angle"]
    half_turn = np.array([[0.0, 0.0, -1.0, 0.0]])
    assert to_quaternions(half_turn, "quaternion_wxyz").tolist() == [[0.0, 0.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("form", "broken", "message"),
    [
        ("quaternion_wxyz", [0, 0, 0, 0], "length 0, not 1"),
        ("quaternion_xyzw", [1, 0, 0, 1], "length 1.41421, not 1"),
        ("matrix", [1, 0, 0, 0, 1, 0, 0, 0, -1], "not a rotation"),
        ("matrix", [1, 0, 0, 0, 2, 0, 0, 0, 1], "not a rotation"),
        ("rot6d", [1, 0, 0, 2, 0, 0], "zero or parallel"),
        ("rot6d_rows", [0, 0, 0, 0, 1, 0], "zero or parallel"),
    ],
)
def test_what_is_no_rotation_is_found_with_its_row(form: str, broken: list[float], message: str):
    values = WRITTEN[form][:5].copy()
    values[3] = broken
    row, problem = rotation_fault(values, form) or (None, "")
    assert row == 3
    assert message in problem
