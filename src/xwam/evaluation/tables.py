"""Tables in Markdown, and numbers as JSON and tables can hold them."""

import math
from collections.abc import Sequence

import numpy as np


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of one length as an aligned Markdown table, the first one its heading.

    Args:
        rows (`Sequence[Sequence[str]]`): At least one.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def shown(value: float, digits: int) -> str:
    """A number in a table: a dash for NaN.

    Args:
        value (`float`): The number.
        digits (`int`): Decimals.
    """
    if math.isnan(value):
        return "–"
    return ("∞" if value > 0 else "−∞") if math.isinf(value) else f"{value:.{digits}f}"


def jsonable(values: np.ndarray | float) -> object:
    """Numbers for JSON: `null` for NaN, `"Infinity"` for infinity.

    Args:
        values (`np.ndarray` or `float`): Any shape.
    """
    if isinstance(values, np.ndarray) and values.ndim:
        return [jsonable(own) for own in values]
    value = float(values)
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")
