"""What one visitor asked and got, and the folder with its files, which lives as long as the visit."""

import atexit
import functools
import hashlib
import html
import inspect
import io
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image
from scenes import Scene

from xwam import Future, Observation

_log = logging.getLogger(__name__)
_ROOT = Path(tempfile.mkdtemp(prefix="xwam-space-"))
_MAX_PICTURES = 200
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
        over (`threading.Event`, *optional*): Set once another question has taken its place.
    """

    folder: Path
    observation: Observation
    scene: Scene | None = None
    future: Future | None = None
    reality: Future | None = None
    over: threading.Event = field(default_factory=threading.Event)


def new_folder() -> Path:
    """An empty folder that nobody else knows."""
    return Path(tempfile.mkdtemp(dir=_ROOT))


def keep_picture(picture: np.ndarray) -> Path:
    """A picture as a file of its own, among the newest that are kept.

    Gradio writes arrays over what it wrote of equal ones, and who is just fetching that gets half a picture; files it leaves alone.

    Args:
        picture (`np.ndarray` of shape `(H, W, 3)`): RGB, `uint8`.
    """
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    folder = _ROOT / "pictures"
    folder.mkdir(exist_ok=True)
    path = folder / f"{hashlib.sha256(content.getbuffer()).hexdigest()}.png"
    if not path.exists():
        draft = Path(tempfile.mkdtemp(dir=_ROOT)) / path.name
        draft.write_bytes(content.getbuffer())
        draft.replace(path)
        draft.parent.rmdir()
    for old in sorted(folder.iterdir(), key=_age)[_MAX_PICTURES:]:
        old.unlink(missing_ok=True)
    return path


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except FileNotFoundError:  # somebody else has just removed it
        return 0.0


def forget(visit: Visit | None) -> None:
    """End a visit and remove its files."""
    if visit is not None:
        visit.over.set()
        shutil.rmtree(visit.folder, ignore_errors=True)


def while_it_lasts(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Drop what a handler answers too late: when its visit has ended meanwhile, the page stays as it is.

    Args:
        handler (`Callable`): A method whose first argument is a visit, or `None` where nothing has been imagined.
    """

    @functools.wraps(handler)
    def timely(self: Any, visit: Visit | None, *args: Any) -> Any:
        try:
            values = handler(self, visit, *args)
        except Exception:
            if visit is None or not visit.over.is_set():
                raise
            values = None  # its files went while it worked
        if visit is None or not visit.over.is_set():
            return values
        forget(visit)  # what it wrote since
        return gr.skip()

    return timely


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
