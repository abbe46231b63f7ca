"""The first place where two settings part is named as a path."""

import pytest

from xwam.utils.differences import NOT_SET, differences, first_difference


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, ("a.c", 2, 3)),
        ({"a": 1}, {}, ("a", 1, NOT_SET)),
        ({"a": None}, {}, ("a", None, NOT_SET)),
        ({}, {"a": {"b": None}}, ("a", NOT_SET, {"b": None})),
        ({"a": {"b": 1}}, {"a": 2}, ("a", {"b": 1}, 2)),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ("a[1].b", 2, 3)),
        ({"a": [1, 2]}, {"a": [1]}, ("a", [1, 2], [1])),
    ],
)
def test_the_first_difference_is_found(there, here, expected):
    assert first_difference(there, here) == expected


def test_all_differences_are_found_in_order():
    found = differences({"b": 1, "a": {"c": 2, "d": 3}}, {"a": {"c": 4, "d": 3}, "e": 5})
    assert list(found) == [("b", 1, NOT_SET), ("a.c", 2, 4), ("e", NOT_SET, 5)]
    assert f"{NOT_SET!r}" == "not set"
