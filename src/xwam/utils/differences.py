"""Where two settings part."""

from collections.abc import Iterator, Mapping
from typing import Any, Final


class _NotSet:
    def __repr__(self) -> str:
        return "not set"


NOT_SET: Final = _NotSet()  # the value of what only the other one has


def differences(there: Any, here: Any, field: str = "") -> Iterator[tuple[str, Any, Any]]:
    """All places where two JSON values differ.

    Args:
        there (`Any`): One of them.
        here (`Any`): The other.
        field (`str`, *optional*, defaults to `""`): What both are called.

    Returns:
        `Iterator[tuple[str, Any, Any]]`: Each place, as in `"a.b[0]"`, and both values there; `NOT_SET` where there is none.
    """
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for name in dict.fromkeys([*there, *here]):
            path = f"{field}.{name}" if field else name
            yield from differences(there.get(name, NOT_SET), here.get(name, NOT_SET), path)
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for index, (own, other) in enumerate(zip(there, here, strict=True)):
            yield from differences(own, other, f"{field}[{index}]")
    elif there != here:
        yield field, there, here


def first_difference(there: Any, here: Any) -> tuple[str, Any, Any] | None:
    """The first of `differences`; `None` if there is none.

    Args:
        there (`Any`): One of two JSON values.
        here (`Any`): The other.
    """
    return next(differences(there, here), None)
