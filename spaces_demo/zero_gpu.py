"""A Space on ZeroGPU lends its GPU to one function at a time; everywhere else the decorator does nothing.

Import this before anything imports torch: the Space's own module replaces parts of it.
"""

from collections.abc import Callable
from typing import Any

try:
    import spaces
except ImportError:
    spaces = None

SECONDS = 120  # that one call may hold the GPU


def on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a function where the GPU is.

    Args:
        function (`Callable`): A function or a generator function; what goes in and comes out must be picklable.
    """
    return function if spaces is None else spaces.GPU(duration=SECONDS)(function)
