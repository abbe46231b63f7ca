"""The first place where two settings part is named as a path."""

import pytest

from xwam.utils.differences import first_difference


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, ("a.c", 2, 3)),
        ({"a": 1}, {}, ("a", 1, None)),
        ({"a": {"b": 1}}, {"a": 2}, ("a", {"b": 1}, 2)),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ("a[1].b", 2, 3)),
        ({"a": [1, 2]}, {"a": [1]}, ("a", [1, 2], [1])),
    ],
)
def test_the_first_difference_is_found(there, here, expected):
    assert first_difference(there, here) == expected
