"""Save over a folder: the files of an earlier save make room for the new ones, everything else in the folder stays."""

import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from xwam.checkpoints.manifest import MANIFEST_NAME, records_of_files, write_manifest
from xwam.checkpoints.paths import list_files
from xwam.errors import CheckpointError
from xwam.utils.disk import sync_folder, sync_tree

_CACHE = ".cache/xwam"  # what is in `.cache` belongs to no checkpoint

# What diffusers and transformers write into the folder of a component beside its weights.
_PLAIN_FILES = frozenset(
    {
        "config.json", "generation_config.json", "scheduler_config.json", "robot_processor_config.json",
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "spiece.model",
        "chat_template.jinja",
    }
)  # fmt: skip
_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_)?model"
    r"(?:(?:\.(?P<of_file>[\w.-]+?))?(?:-\d{5}-of-\d{5})?\.safetensors|\.safetensors\.index(?:\.(?P<of_index>[\w.-]+))?\.json)"
)


def files_of_saves(files: Iterable[str], components: Collection[str], variant: str | None) -> set[str]:
    """Those of the files that an earlier save of a pipeline's components wrote, and that a new one replaces or takes away.

    Args:
        files (`Iterable[str]`): Of a folder or a repository, as relative paths with `/`.
        components (`Collection[str]`): Names of those that are saved now.
        variant (`str` or `None`): Which weights are saved now; those of other variants lie beside them.
    """
    found = set()
    for file in files:
        component, _, name = file.partition("/")
        if component not in components:
            continue
        weights = _WEIGHTS.fullmatch(name)
        if name in _PLAIN_FILES or (weights and (weights["of_file"] or weights["of_index"]) == variant):
            found.add(file)
    return found


@contextmanager
def replacing_files(folder: Path, stale: Collection[str]) -> Iterator[Path]:
    """Hand out an empty folder, whose files move into `folder` when the block ends without an error, with a new manifest.

    Whatever fails, `folder` holds what it held before. A process that is killed while the files move leaves a folder that is
    refused as damaged until something is saved there again, and the earlier files in its `.cache`.

    Args:
        folder (`Path`): Where the files belong; made where it does not exist.
        stale (`Collection[str]`): Files of an earlier save, as relative paths with `/`, that go away.

    Returns:
        `Iterator[Path]`: Folder to fill.

    Raises:
        CheckpointError: If a file stands where a folder belongs, or the other way round, or the folder holds links that leave it.
        OSError: If the folder cannot be written.
    """
    folder = Path(os.path.realpath(folder))
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    cache, staging = folder / _CACHE, None
    try:
        list_files(folder)  # what would keep the manifest from being written is said now
        cache.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=cache))
        new, old = staging / "new", staging / "old"
        new.mkdir()
        yield new
        stale = {name for name in stale if os.path.lexists(folder / name)}
        arriving = list_files(new)
        _refuse_what_is_in_the_way(folder, arriving)
        staying = set(list_files(folder)) - {*stale, *arriving}
        write_manifest(new, beside=records_of_files(folder, staying))
        sync_tree(new)
        _exchange(folder, new, old, {*stale, *arriving}, arriving)
    except _NotPutBackError:
        raise
    except BaseException:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        _remove_folders(cache, cache.parent, *([folder] if is_new else []))
        raise
    shutil.rmtree(cache, ignore_errors=True)  # with what killed saves left, which is replaced now
    _remove_folders(cache.parent)


class _NotPutBackError(CheckpointError):
    """Files of an earlier save lie elsewhere."""


def _refuse_what_is_in_the_way(folder: Path, arriving: Iterable[str]) -> None:
    for name in arriving:
        if (folder / name).is_dir():
            raise CheckpointError(f"{folder / name} is a folder, where a file is to be saved.")
        for parent in PurePosixPath(name).parents:
            if os.path.lexists(folder / parent) and not (folder / parent).is_dir():
                raise CheckpointError(f"{folder / parent} is a file, where a folder is to be saved.")


def _exchange(folder: Path, new: Path, old: Path, leaving: Collection[str], arriving: Sequence[str]) -> None:
    """Lay the leaving files aside and move the arriving ones in; undo all of it where one of the moves fails.

    The manifest goes first: what a kill leaves does not fit it, and so is never taken for a checkpoint.
    """
    made: list[tuple[Path, Path]] = []
    try:
        for names in ([MANIFEST_NAME], sorted(leaving)):
            _move([(folder / name, old / name) for name in names if os.path.lexists(folder / name)], made)
            _move([(new / name, folder / name) for name in names if os.path.lexists(new / name)], made)
        for place in {folder, *((folder / name).parent for name in arriving)}:
            sync_folder(place)
    except BaseException as error:
        left = _undo(made)
        _remove_empty(folder, arriving)
        if left:
            raise _NotPutBackError(
                f"Saving into {folder} failed ({error}), and these files could not be put back; they are in {old.parent}: {left}."
            ) from error
        raise
    _remove_empty(folder, leaving)


def _move(pairs: Iterable[tuple[Path, Path]], made: list[tuple[Path, Path]]) -> None:
    for path, target in pairs:
        target.parent.mkdir(parents=True, exist_ok=True)
        made.append((path, target))
        os.replace(path, target)


def _undo(made: Sequence[tuple[Path, Path]]) -> list[str]:
    """Move back what was moved, the last first; what could not be."""
    left = []
    for path, target in reversed(made):
        try:
            if os.path.lexists(target) and not os.path.lexists(path):
                os.replace(target, path)
        except OSError:
            left.append(str(path))
    return left


def _remove_empty(folder: Path, names: Collection[str]) -> None:
    """Remove the component folders of these files that hold nothing any more."""
    _remove_folders(*({(folder / name).parent for name in names} - {folder}))


def _remove_folders(*folders: Path) -> None:
    """Remove those that are empty."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
