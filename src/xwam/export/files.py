"""Write a file or a folder completely or not at all."""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Hand out a temporary path beside `path`, which takes its place when the block ends without an error.

    Args:
        path (`str` or `Path`): File to make; its folders are made too.

    Returns:
        `Iterator[Path]`: Path to write, with the suffix of `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: str | Path, *, own_files: Callable[[Path], set[str]]) -> Iterator[Path]:
    """Hand out a new folder beside `folder`, which takes its place when the block ends without an error.

    Args:
        folder (`str` or `Path`): Folder to make; the folders above are made too. One that is there may be empty, or hold only
            files of an earlier export, which are removed.
        own_files (`Callable[[Path], set[str]]`): Tells of a folder which of its files, as relative paths with `/`, an
            earlier export wrote.

    Returns:
        `Iterator[Path]`: Folder to fill.

    Raises:
        ValueError: If there is a file in the place of the folder, or the folder holds a file of somebody else.
    """
    folder = Path(os.path.realpath(folder))
    _check_replaceable(folder, own_files)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(folder)
    temporary.mkdir()
    try:
        yield temporary
        _check_replaceable(folder, own_files)
        _put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def json_format(path: Path) -> object:
    """What a JSON file calls its own format; `None` where it calls it nothing or cannot be read.

    Args:
        path (`Path`): The file.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts.get("format") if isinstance(facts, dict) else None


def _beside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Exchange two folders; what was there is removed only when what is new stands in its place."""
    if not folder.exists():
        os.rename(temporary, folder)
        return
    old = _beside(folder)
    os.rename(folder, old)
    try:
        os.rename(temporary, folder)
    except OSError:
        os.rename(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check_replaceable(folder: Path, own_files: Callable[[Path], set[str]]) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{str(folder)!r} must be a folder or not be there, but is a file.")
    files = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    if files and (foreign := sorted(files - own_files(folder))):
        shown = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise ValueError(
            f"{str(folder)!r} must be a new folder, an empty one, or one that an earlier export wrote, but holds {shown}; "
            "nothing was written."
        )
