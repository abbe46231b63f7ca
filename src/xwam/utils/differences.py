"""Where two settings part."""

from typing import Any


def first_difference(there: Any, here: Any, field: str = "") -> tuple[str, Any, Any] | None:
    """The first place where two JSON values differ.

    Args:
        there (`Any`): One of them.
        here (`Any`): The other.
        field (`str`, *optional*, defaults to `""`): What both are called.

    Returns:
        `tuple[str, Any, Any] | None`: The place, as in `"a.b[0]"`, and both values there; `None` if there is none.
    """
    pairs: list[tuple[str, Any, Any]] = []
    if isinstance(there, dict) and isinstance(here, dict):
        names = dict.fromkeys([*there, *here])
        pairs = [(f"{field}.{name}" if field else name, there.get(name), here.get(name)) for name in names]
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        pairs = [(f"{field}[{index}]", own, other) for index, (own, other) in enumerate(zip(there, here, strict=True))]
    elif there != here:
        return field, there, here
    return next((found for name, own, other in pairs if (found := first_difference(own, other, name))), None)
