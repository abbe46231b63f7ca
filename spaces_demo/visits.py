"""What one visitor asked and got, and the folder with its files, which lives as long as the visit."""

import atexit
import functools
import html
import inspect
import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from scenes import Scene

from xwam import Future, Observation

_log = logging.getLogger(__name__)
_ROOT = Path(tempfile.mkdtemp(prefix="xwam-space-"))
atexit.register(shutil.rmtree, _ROOT, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class Visit:
    """One answer of the model.

    Args:
        folder (`Path`): Its files.
        observation (`Observation`): What was asked about.
        scene (`Scene`, *optional*): Where it was seen, if that was in the embedded world.
        future (`Future`, *optional*): What was imagined, once it is there.
        reality (`Future`, *optional*): What really comes of the commands, once somebody asked.
    """

    folder: Path
    observation: Observation
    scene: Scene | None = None
    future: Future | None = None
    reality: Future | None = None


def new_folder() -> Path:
    """An empty folder that nobody else knows."""
    return Path(tempfile.mkdtemp(dir=_ROOT))


def forget(visit: Visit | None) -> None:
    """Remove the files of a visit that is over."""
    if visit is not None:
        shutil.rmtree(visit.folder, ignore_errors=True)


def in_words(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Show what goes wrong in a handler as a sentence. What is nobody's input's fault goes to the log with its trace.

    Args:
        handler (`Callable`): A function or a generator function.
    """

    def told(error: Exception) -> gr.Error:
        if isinstance(error, gr.Error):
            return error
        if isinstance(error, ValueError | ImportError):
            words = str(error).encode("utf-8", "backslashreplace").decode()  # half of a surrogate pair cannot be sent
            return gr.Error(html.escape(words), title="That does not work", duration=20, print_exception=False)
        _log.error("A request failed.", exc_info=error)
        return gr.Error("Something went wrong here; your input is not to blame.", duration=20, print_exception=False)

    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def streaming(*args: Any, **kwargs: Any) -> Any:
            try:
                yield from handler(*args, **kwargs)
            except Exception as error:
                raise told(error) from error

        return streaming

    @functools.wraps(handler)
    def plain(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except Exception as error:
            raise told(error) from error

    return plain
