"""Load the transformer only from files that were checked, and only when every tensor fits."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Self

import torch

from xwam.checkpoints.hub import fetch_snapshot
from xwam.checkpoints.safetensors_check import TensorInfo, check_safetensors, compare_tensors
from xwam.checkpoints.sources import local_folder
from xwam.checkpoints.verification import verify_component
from xwam.errors import CheckpointConfigError

_STEM = "diffusion_pytorch_model"
_FLOAT_DTYPES = frozenset(["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"])
_DOWNLOAD_OPTIONS = ("revision", "token", "cache_dir", "local_files_only")

_verified_folder: ContextVar[Path | None] = ContextVar("verified_folder", default=None)


@contextmanager
def folder_is_verified(folder: Path) -> Iterator[None]:
    """Within the block, components of this folder are not checked again."""
    token = _verified_folder.set(folder.resolve())
    try:
        yield
    finally:
        _verified_folder.reset(token)


class CheckedLoadingMixin:
    """`from_pretrained` that verifies files and compares all tensors before a model is built."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, subfolder: str | None = None, **kwargs: Any
    ) -> Self:
        """Load from this package, from a folder or from the Hugging Face Hub; safetensors only.

        Args:
            pretrained_model_name_or_path (`str` or `Path`): Folder, hub id or `"embedded"`, as for a pipeline.
            subfolder (`str`, *optional*): Folder of the component in a pipeline's folder, such as `"transformer"`.
            kwargs: Config fields to override, such as `depth_branch="none"`, and the arguments of
                `diffusers.ModelMixin.from_pretrained`.

        Raises:
            CheckpointError: If the files must not or cannot be loaded.
            CheckpointMismatchError: If a tensor is missing, unexpected, or of another shape or kind; nothing is loaded then.
        """
        options = {name: kwargs.pop(name) for name in _DOWNLOAD_OPTIONS if name in kwargs}
        root = checked_root(pretrained_model_name_or_path, subfolder, **options)
        cls._compare_tensors(root if subfolder is None else root / subfolder, kwargs)
        kwargs["use_safetensors"] = True
        return super().from_pretrained(root, subfolder=subfolder, **kwargs)  # type: ignore[misc]

    @classmethod
    def _compare_tensors(cls, folder: Path, kwargs: Mapping[str, Any]) -> None:
        """Compare the tensors on disk with those of the model that would be built."""
        found = _stored_tensors(folder, kwargs.get("variant"))
        config = cls.load_config(folder)
        if found is None or "quantization_config" in config:
            return  # diffusers names missing files; quantized tensors have a layout of their own
        overrides = {name: kwargs[name] for name in cls._get_init_keys(cls) if name in kwargs}
        try:
            with torch.device("meta"):
                model = cls.from_config({**config, **overrides})
        except ValueError as error:
            raise CheckpointConfigError(f"{folder}: {error}") from error
        if overrides.get("depth_branch") == "none":
            found = {name: info for name, info in found.items() if not name.startswith("depth_")}
        expected = {
            name: TensorInfo(tuple(tensor.shape), _required_dtype(found.get(name)))
            for name, tensor in model.state_dict().items()
        }
        compare_tensors(expected, found, where=folder)


def checked_root(source: str | Path, subfolder: str | None, **options: Any) -> Path:
    """The folder that `source` names, downloaded where it is a hub id, once its component `subfolder` is verified.

    Raises:
        CheckpointError: If the files must not or cannot be loaded.
    """
    root = local_folder(source)
    if root is None:
        patterns = None if subfolder is None else [f"{subfolder}/*", "manifest.json"]
        root = fetch_snapshot(str(source), allow_patterns=patterns, **options)
    folder = root if subfolder is None else root / subfolder
    if not _is_verified(folder):
        verify_component(folder)
    return root


def _is_verified(folder: Path) -> bool:
    verified = _verified_folder.get()
    return verified is not None and folder.resolve().is_relative_to(verified)


def _required_dtype(found: TensorInfo | None) -> str | None:
    """Any float dtype will do; where the file has another, ask for float32 so that the comparison names it."""
    return None if found is None or found.dtype in _FLOAT_DTYPES else "F32"


def _stored_tensors(folder: Path, variant: str | None) -> dict[str, TensorInfo] | None:
    """Tensors of a component folder, one file or shards; `None` where there are none of this variant."""
    infix = f".{variant}" if variant else ""
    index = folder / f"{_STEM}.safetensors.index{infix}.json"
    single = folder / f"{_STEM}{infix}.safetensors"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    elif single.is_file():
        names = [single.name]
    else:
        return None
    return {name: info for file in names for name, info in check_safetensors(folder / file).items()}
