"""Where the checkpoint lies that somebody names: in this package, in a folder, or on the Hugging Face Hub."""

import os
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from xwam.checkpoints.verification import MODEL_INDEX_NAME
from xwam.errors import CheckpointError

EMBEDDED = "embedded"
EMBEDDED_FOLDER = Path(__file__).parents[1] / "assets" / EMBEDDED
ADAPTER_WEIGHTS_NAME = "pytorch_lora_weights.safetensors"


def local_folder(source: str | os.PathLike) -> Path | None:
    """The folder that the name of a checkpoint stands for, or `None` where it must be one on the Hub.

    The bare word `"embedded"` always is the trained pipeline that comes with this package, whatever lies in the working
    directory: a folder of that name there is `"./embedded"`, or `Path("embedded")`.

    Args:
        source (`str` or `os.PathLike`): What somebody typed.

    Raises:
        CheckpointError: If the trained pipeline is meant and this installation lacks it, or the folder is that of an adapter.
    """
    folder = _named_folder(source)
    if folder is not None:
        _refuse_adapter(folder)
    return folder


def check_is_pipeline(folder: Path) -> None:
    """Refuse a folder that is not that of a pipeline.

    Args:
        folder (`Path`): The folder.

    Raises:
        CheckpointError: If it has no index of components.
    """
    _refuse_adapter(folder)
    if not (folder / MODEL_INDEX_NAME).is_file():
        raise CheckpointError(f"{folder} is no pipeline folder: it holds no {MODEL_INDEX_NAME}.")


def check_hub_id(source: str) -> None:
    """Refuse a name that is no folder here and cannot be one on the Hub, in words for somebody who meant a path.

    Args:
        source (`str`): What somebody typed.

    Raises:
        CheckpointError: If it is a file, looks like a path, or is no valid id.
    """
    if "://" in source:
        raise CheckpointError(f"{source!r} is an address; what lies on the Hub is named 'user/model'.")
    if os.path.isfile(source):
        raise CheckpointError(f"{source} is a file, but a pipeline is a folder, and so is a robot.")
    if source.startswith((".", "~", "/")) or source.count("/") > 1 or "\\" in source:
        raise CheckpointError(f"There is no folder {source}.")
    try:
        validate_repo_id(source)
    except HFValidationError as error:
        raise CheckpointError(
            f"{source!r} is neither a folder here nor a valid id on the Hub, which is written 'user/model'."
        ) from error


def _named_folder(source: str | os.PathLike) -> Path | None:
    if isinstance(source, str) and source == EMBEDDED:
        if not (EMBEDDED_FOLDER / MODEL_INDEX_NAME).is_file():
            raise CheckpointError(
                f"This installation of xwam lacks the trained weights that {EMBEDDED!r} stands for: {EMBEDDED_FOLDER} holds "
                f"no {MODEL_INDEX_NAME}. Install xwam with its package data, or name another checkpoint; a folder of your own "
                f"called {EMBEDDED} is './{EMBEDDED}'."
            )
        return EMBEDDED_FOLDER
    folder = Path(source).expanduser()
    return folder if os.path.isdir(folder) else None


def _refuse_adapter(folder: Path) -> None:
    """A folder may hold an adapter beside a pipeline or a model, but not instead of one."""
    if (folder / ADAPTER_WEIGHTS_NAME).is_file() and not any(
        (folder / name).is_file() for name in (MODEL_INDEX_NAME, "config.json")
    ):
        raise CheckpointError(
            f"{folder} is no pipeline folder but a robot's adapter, as its {ADAPTER_WEIGHTS_NAME} says: load it onto its base with "
            "`load_robot`; `merge_robot` and `save_pretrained` then make a pipeline folder of its own."
        )


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
        source = _named_folder(pretrained_model_name_or_path) or pretrained_model_name_or_path
        return super().load_config(source, *args, **kwargs)  # type: ignore[misc]
