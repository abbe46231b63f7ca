"""Open weight files lazily: every tensor is a view of the mapped file, and nothing in a file can run code."""

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from xwam.checkpoints.json_files import read_json
from xwam.checkpoints.paths import contained_path
from xwam.checkpoints.safetensors_check import check_safetensors
from xwam.errors import CheckpointConfigError, CheckpointError, CorruptFileError, UnsafeFileError

Tensors = Mapping[str, torch.Tensor]
TensorSource = Callable[[], AbstractContextManager[Tensors]]
"""Opens the same tensors again at each call, so that the pages mapped by one use go back when it ends."""


@contextmanager
def open_deepspeed_module(path: Path) -> Iterator[Tensors]:
    """Tensors under `module` of a DeepSpeed model file, memory-mapped.

    Raises:
        UnsafeFileError: If the file holds anything but plain values and tensors; nothing of it is executed.
        CorruptFileError: If the file is no PyTorch archive.
        CheckpointError: If it has no dictionary of tensors called `module`.
    """
    content = _load_values(path, mmap=True)
    module = content.get("module") if isinstance(content, dict) else None
    if not isinstance(module, dict):
        raise CheckpointError(f"{path} has no dictionary `module`, which a DeepSpeed model file has.")
    strangers = [name for name, value in module.items() if not _is_plain_tensor(value)]
    if strangers:
        raise CheckpointError(f"`module` of {path} must hold dense tensors only, but {strangers[:10]} are not.")
    yield module


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a small `.pth` file, also of one from torch < 1.6, read into memory.

    Raises:
        UnsafeFileError: If the file holds anything but plain values and tensors; nothing of it is executed.
        CorruptFileError: If the file is not one that PyTorch wrote.
        CheckpointError: If it does not exist or is no dictionary of tensors.
    """
    content = _load_values(path, mmap=False)
    if not isinstance(content, dict) or not all(_is_plain_tensor(value) for value in content.values()):
        raise CheckpointError(f"{path} must be a dictionary of dense tensors.")
    return dict(content)


@contextmanager
def open_safetensors_folder(folder: Path, stem: str) -> Iterator[Tensors]:
    """Tensors of `stem.safetensors`, or of the shards that `stem.safetensors.index.json` names, memory-mapped.

    Raises:
        CheckpointError: If there is neither of them, or the index and the shards disagree.
        CorruptFileError: If a file is malformed.
        UnsafeFileError: If the index names a file outside `folder`.
    """
    tensors: dict[str, torch.Tensor] = {}
    for file, expected in _files_of(folder, stem).items():
        found = _open_safetensors(folder / file)
        if expected is not None and expected != found.keys():
            raise CheckpointError(
                f"{folder / file} does not hold what the index says: {sorted(expected ^ found.keys())[:10]} differ."
            )
        tensors.update(found)
    yield tensors


def _load_values(path: Path, *, mmap: bool) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist.")
    try:
        return torch.load(path, map_location="cpu", mmap=mmap, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeFileError(_explain_refusal(path)) from error
    except (RuntimeError, OSError, EOFError, KeyError, ValueError) as error:
        what = "a PyTorch archive that can be memory-mapped" if mmap else "a file of PyTorch tensors"
        age = ", or come from torch < 1.6" if mmap else ""
        raise CorruptFileError(
            f"{path} is not {what}; it may be cut off, or be a Git LFS pointer{age}. PyTorch says: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error


def _open_safetensors(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist.")
    check_safetensors(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(f"{path} is not a valid safetensors file: {error}") from error


def _files_of(folder: Path, stem: str) -> dict[str, set[str] | None]:
    """File name to the tensors that it must hold, `None` where no index says."""
    index_path = folder / f"{stem}.safetensors.index.json"
    if not index_path.is_file():
        if not (folder / f"{stem}.safetensors").is_file():
            raise CheckpointError(f"{folder} has neither {stem}.safetensors nor {index_path.name}.")
        return {f"{stem}.safetensors": None}
    index = read_json(index_path)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise CheckpointConfigError(f"{index_path} must have a `weight_map` from tensor names to file names.")
    files: dict[str, set[str] | None] = {}
    for file in sorted(set(weight_map.values())):
        contained_path(folder, file)
        files[file] = {name for name, home in weight_map.items() if home == file}
    return files


def _is_plain_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_quantized


def _explain_refusal(path: Path) -> str:
    try:
        wanted = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (RuntimeError, OSError, ValueError, KeyError, IndexError, AttributeError, pickle.UnpicklingError):
        wanted = []
    names = f" It asks for {', '.join(wanted)}." if wanted else ""
    return (
        f"{path} holds more than tensors and plain values, so loading it could run code; it was not loaded.{names} "
        'On a machine that may be lost, write `torch.save({"module": content["module"]}, path)` from it and convert that.'
    )
