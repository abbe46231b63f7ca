"""Where the checkpoint lies that somebody names: in this package, in a folder, or on the Hugging Face Hub."""

import os
from pathlib import Path

from xwam.checkpoints.verification import MODEL_INDEX_NAME
from xwam.errors import CheckpointError

EMBEDDED = "embedded"
EMBEDDED_FOLDER = Path(__file__).parents[1] / "assets" / EMBEDDED


def local_folder(source: str | os.PathLike) -> Path | None:
    """The folder that the name of a checkpoint stands for, or `None` where it must be one on the Hub.

    The bare word `"embedded"` always is the trained pipeline that comes with this package, whatever lies in the working
    directory: a folder of that name there is `"./embedded"`, or `Path("embedded")`.

    Args:
        source (`str` or `os.PathLike`): What somebody typed.

    Raises:
        CheckpointError: If the trained pipeline is meant and this installation lacks it.
    """
    if isinstance(source, str) and source == EMBEDDED:
        if not (EMBEDDED_FOLDER / MODEL_INDEX_NAME).is_file():
            raise CheckpointError(
                f"This installation of xwam lacks the trained weights that {EMBEDDED!r} stands for: {EMBEDDED_FOLDER} holds "
                f"no {MODEL_INDEX_NAME}. Install xwam with its package data, or name another checkpoint; a folder of your own "
                f"called {EMBEDDED} is './{EMBEDDED}'."
            )
        return EMBEDDED_FOLDER
    folder = Path(source)
    return folder if folder.is_dir() else None
