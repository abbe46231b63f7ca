"""Files and folders that appear whole or not at all, also when the power fails."""

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from xwam.utils.disk import sync_file, sync_folder, sync_tree


def write_json(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """Write a JSON file in one step; the same value gives the same bytes.

    Args:
        path (`Path`): File to make or replace; its folders are made too.
        value (`Any`): What `json.dumps` takes; NaN is refused.
        indent (`int`, *optional*, defaults to `1`): Of nested values; `None` for one line.
    """
    text = json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step, whoever else writes it at the same time.

    Args:
        path (`Path`): File to make or replace; its folders are made too.
        content (`bytes`): All of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(content)
        sync_file(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def publish_folder(partial: Path, target: Path) -> bool:
    """Give a finished folder its name, once everything in it is on the disk.

    Args:
        partial (`Path`): The folder, complete, on the same file system.
        target (`Path`): Its name to be.

    Returns:
        `bool`: Whether it was published; not when `target` was there before, which then stays, and `partial` is removed.
    """
    sync_tree(partial)
    try:
        os.rename(partial, target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(partial)
        return False
    sync_folder(target.parent)
    return True


def move_tree(source: Path, target: Path) -> None:
    """Move all files of a folder to the same places in another one, replacing what is there. Can be repeated after a crash.

    Args:
        source (`Path`): Folder on the same file system; empty folders may stay behind.
        target (`Path`): Where the files go.
    """
    folders = {target}
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        _move_file(path, place)
        folders |= {target / part for part in place.relative_to(target).parents}
    for folder in folders:
        sync_folder(folder)


def _move_file(source: Path, target: Path) -> None:
    os.replace(source, target)
