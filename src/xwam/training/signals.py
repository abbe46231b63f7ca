"""A polite end: SIGTERM and SIGINT are noted, and the run stops at the next whole step."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Within the block, the first SIGTERM or SIGINT is only noted; the second of the same kind does what it always does.

    Only the main thread can ask for signals; elsewhere nothing is changed.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS if threading.current_thread() is threading.main_thread() else ():
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        signal.signal(number, self._before[number])


def ignore_signals(_: int) -> None:
    """For workers of a loader, which share the terminal and the process group: their end is their parent's business."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
