"""Read JSON that nobody vouches for: no duplicate keys, no NaN, no depth bomb, no surprise in size."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from xwam.errors import CheckpointConfigError

MAX_CONFIG_BYTES = 1 << 20  # the largest config.json of the components that are used has 3 kB
MAX_DEPTH = 32


def read_json(path: Path, *, max_bytes: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path (`Path`): File to read.
        max_bytes (`int`, *optional*, defaults to `MAX_CONFIG_BYTES`): Largest size that is read at all.

    Raises:
        CheckpointConfigError: If the file is absent, too large, or anything but one strict JSON object.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise CheckpointConfigError(f"{path} has {size} bytes; at most {max_bytes} are read.")
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise CheckpointConfigError(f"There is no file {path}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointConfigError(f"{path} cannot be read as UTF-8 text: {error}.") from error
    return parse_json(text, str(path))


def parse_json(text: str, where: str) -> dict[str, Any]:
    """Parse a JSON object strictly.

    Raises:
        CheckpointConfigError: If the text is not one strict JSON object; `where` is named in the message.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=unique_pairs,
            parse_constant=refuse_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
    except (ValueError, RecursionError) as error:
        raise CheckpointConfigError(f"{where} is not strict JSON: {error}.") from error
    if not isinstance(value, dict):
        raise CheckpointConfigError(f"{where} must hold a JSON object but holds a {type(value).__name__}.")
    _check_depth(value, where)
    return value


def _check_depth(value: Any, where: str) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise CheckpointConfigError(f"{where} is nested deeper than {MAX_DEPTH} levels.")
        nested = [item for item in level if isinstance(item, dict | list)]
        level = [child for item in nested for child in (item.values() if isinstance(item, dict) else item)]


def unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads(object_pairs_hook=)`: raise `ValueError` where a key stands twice."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"{key!r} stands twice")
            seen.add(key)
    return unique


def refuse_constant(name: str) -> NoReturn:
    """For `json.loads(parse_constant=)`: raise `ValueError` for NaN and Infinity."""
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


def _integer(text: str) -> int:
    if len(text) > 40:  # the longest in use is T5's model_max_length with 31 digits
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)
