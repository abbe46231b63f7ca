"""`xwam check`: what is wrong with a data set, see `xwam.data.check`."""

from collections.abc import Sequence

from xwam.data import check


def main(arguments: Sequence[str]) -> int:
    """Check a data set.

    Args:
        arguments (`Sequence[str]`): What follows `xwam check`.

    Returns:
        `int`: 0 without errors, 1 with errors, 2 if something impossible was asked for.
    """
    return check.main(arguments, program="xwam check")
