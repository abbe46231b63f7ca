"""Where the checkpoint lies that somebody names: in this package, in a folder, or on the Hugging Face Hub."""

import os
from pathlib import Path
from typing import Any

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


class NamedConfigMixin:
    """For classes of diffusers' `ConfigMixin`: what is loaded by name may be part of this package. Name it before them."""

    @classmethod
    def load_config(cls, pretrained_model_name_or_path: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        """Load a configuration from this package, from a folder or from the Hub.

        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`): Folder, Hub id or `"embedded"`, as for a pipeline.
            args (`Any`): Passed to `ConfigMixin.load_config`.
            kwargs (`Any`): The same.

        Raises:
            CheckpointError: If `"embedded"` is asked for and this installation lacks the packaged weights.
        """
        source = local_folder(pretrained_model_name_or_path) or pretrained_model_name_or_path
        return super().load_config(source, *args, **kwargs)  # type: ignore[misc]
