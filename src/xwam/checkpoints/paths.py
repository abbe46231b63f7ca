"""Which files belong to a checkpoint folder, and names in files that must not lead out of it."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from xwam.errors import CheckpointError, UnsafeFileError

MAX_FILES = 10_000  # a checkpoint of the released model has about 30
_SKIPPED_FOLDERS = frozenset({".git", ".cache"})  # bookkeeping of git and of huggingface_hub's local_dir
_SHARED_STORE_MARKER = ".huggingface-shared-blobs"  # huggingface_hub >= 2 keeps Xet files once per cache


def contained_path(folder: Path, name: object) -> Path:
    """Join a name that was read from a file to its folder, and refuse one that leads anywhere else.

    A link may point inside the folder, or from a snapshot of the Hugging Face cache to the blobs of the same repository.

    Args:
        folder (`Path`): Folder the name is relative to.
        name (`object`): What the file says; only a relative path with forward slashes is accepted.

    Returns:
        `Path`: The path, not resolved.

    Raises:
        UnsafeFileError: If the name is absolute, has `..`, or is a link that leaves the folder.
    """
    if not isinstance(name, str) or not name or not name.isprintable():
        raise UnsafeFileError(f"{folder} names the file {name!r}; expected a relative path.")
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.anchor or "\\" in name or ".." in posix.parts or name.startswith("~"):
        raise UnsafeFileError(f"{folder} names the file {name!r}, which leads out of the folder.")
    path = folder / posix
    try:
        real = path.resolve()
    except (OSError, RuntimeError) as error:
        raise UnsafeFileError(f"{path} cannot be followed: {error}.") from error
    if not any(real.is_relative_to(root) for root in _roots(folder)):
        raise UnsafeFileError(f"{path} is a link to {real}, outside the folder.")
    return path


def list_files(folder: Path) -> list[str]:
    """Names of all files below a folder, with forward slashes, sorted; every one is contained in the folder.

    Raises:
        CheckpointError: If there is no such folder, or it holds more files than any checkpoint.
        UnsafeFileError: If a file or a folder is a link that leaves the folder.
    """
    if not folder.is_dir():
        raise CheckpointError(f"There is no folder {folder}.")
    names: list[str] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - _SKIPPED_FOLDERS)
        here = Path(parent)
        for linked in (here / name for name in folders if (here / name).is_symlink()):
            raise UnsafeFileError(f"{linked} is a link to a folder; a checkpoint holds its files itself.")
        names += [(here / name).relative_to(folder).as_posix() for name in files]
        if len(names) > MAX_FILES:
            raise CheckpointError(f"{folder} holds more than {MAX_FILES} files; this is not a checkpoint.")
    for name in names:
        contained_path(folder, name)
    return sorted(names)


def _roots(folder: Path) -> list[Path]:
    """Places where the files of a folder may lie."""
    real = folder.resolve()
    roots = [real]
    for snapshot in (real, *real.parents):
        repository = snapshot.parent.parent
        if snapshot.parent.name == "snapshots" and repository.name.startswith(("models--", "datasets--")):
            roots.append(repository / "blobs")
            shared = repository.parent / "blobs"
            if (shared / _SHARED_STORE_MARKER).is_file():
                roots.append(shared)
            break
    return roots
