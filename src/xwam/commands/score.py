"""`xwam score`: predicted futures against what came, see `xwam.evaluation.video`."""

from collections.abc import Sequence

from xwam.evaluation import video


def main(arguments: Sequence[str]) -> int:
    """Score a folder of futures.

    Args:
        arguments (`Sequence[str]`): What follows `xwam score`.

    Returns:
        `int`: 0 when the report is written, 1 if it could not be, 2 if something impossible was asked for.
    """
    return video.main(arguments, program="xwam score")
