"""The list of a checkpoint's files with their hashes: written last when saving, checked first when loading.

It finds damage. It is not a signature: who can change a file can change the manifest with it.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from xwam.checkpoints.json_files import read_json
from xwam.checkpoints.paths import contained_path, list_files
from xwam.errors import CorruptFileError
from xwam.utils.disk import sync_folder

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 1
_MAX_MANIFEST_BYTES = 4 << 20
_HASHING_THREADS = 4  # hashlib lets go of the interpreter lock; more threads wait for the disk


@dataclass(frozen=True)
class FileRecord:
    """What a file must be.

    Args:
        size (`int`): Bytes.
        sha256 (`str`): Hash of the content, 64 hexadecimal digits.
    """

    size: int
    sha256: str

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 0:
            raise ValueError(f"`size` must be a whole number of bytes but is {self.size!r}")
        if not isinstance(self.sha256, str) or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"`sha256` must be 64 hexadecimal digits but is {self.sha256!r}")


def write_manifest(folder: Path | str, *, beside: Mapping[str, FileRecord] | None = None) -> Path:
    """Write `manifest.json` for the files of a folder, replacing one that is there in one step.

    The model card and files whose name starts with a dot are left out, because they are edited after publishing and
    nothing of the model is read from them.

    Args:
        folder (`Path | str`): With the files.
        beside (`Mapping[str, FileRecord]`, *optional*): Files that will lie beside them where the folder is published.

    Returns:
        `Path`: The manifest.

    Raises:
        CheckpointError: If there is no such folder.
    """
    folder = Path(folder)
    own = records_of_files(folder, list_files(folder))
    records = {name: asdict(record) for name, record in {**(beside or {}), **own}.items()}
    path = folder / MANIFEST_NAME
    temporary = folder / f".{MANIFEST_NAME}.{os.getpid()}"
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump({"version": MANIFEST_VERSION, "files": records}, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(folder)
    return path


def records_of_files(folder: Path, names: Iterable[str]) -> dict[str, FileRecord]:
    """What a manifest says of those of the files that it lists.

    Args:
        folder (`Path`): With the files.
        names (`Iterable[str]`): Relative paths with `/`.
    """
    listed = [name for name in names if is_listed(name)]
    digests = sha256_of_files(folder, listed)
    return {name: FileRecord((folder / name).stat().st_size, digests[name]) for name in listed}


def read_manifest(folder: Path | str) -> dict[str, FileRecord] | None:
    """Read the manifest of a folder; `None` where there is none.

    Raises:
        CorruptFileError: If it is not a manifest.
        CheckpointConfigError: If it is not strict JSON.
        UnsafeFileError: If it names a file outside the folder.
    """
    folder = Path(folder)
    path = folder / MANIFEST_NAME
    if not path.exists():
        return None
    content = read_json(path, max_bytes=_MAX_MANIFEST_BYTES)
    if content.get("version") != MANIFEST_VERSION or not isinstance(content.get("files"), dict):
        raise CorruptFileError(f"{path} is not a manifest of version {MANIFEST_VERSION}.")
    return {name: _record(folder, name, entry) for name, entry in content["files"].items()}


def verify_manifest(
    folder: Path | str,
    *,
    hashes: bool = True,
    below: str = "",
    may_be_absent: Callable[[str], bool] | None = None,
    known: Mapping[str, str] | None = None,
) -> bool:
    """Compare the files of a folder with its manifest.

    Args:
        folder (`Path | str`): Folder that holds the manifest.
        hashes (`bool`, *optional*, defaults to `True`): Read every file and compare its hash; else only sizes.
        below (`str`, *optional*, defaults to `""`): Look only at files below this sub-folder.
        may_be_absent (`Callable[[str], bool]`, *optional*): Says of a listed name that its file need not be there.
        known (`Mapping[str, str]`, *optional*): Hashes by file name that were computed already.

    Returns:
        `bool`: Whether there is a manifest.

    Raises:
        CorruptFileError: If a file is missing, differs, or holds weights or a configuration and is not listed.
    """
    folder = Path(folder)
    records = read_manifest(folder)
    if records is None:
        return False
    found = {name for name in list_files(folder) if _is_below(name, below)}
    records = {name: record for name, record in records.items() if _is_below(name, below)}
    lacking = {name for name in records.keys() - found if may_be_absent is None or not may_be_absent(name)}
    _refuse(folder, "lacks files of its manifest", lacking)
    _refuse(
        folder, "holds files that its manifest does not list", {n for n in found - records.keys() if _is_loaded(n)}
    )
    present = sorted(records.keys() & found)
    resized = {name for name in present if (folder / name).stat().st_size != records[name].size}
    _refuse(folder, "holds files of another size than in its manifest", resized)
    if hashes:
        digests = {**sha256_of_files(folder, set(present) - set(known or ())), **(known or {})}
        _refuse(
            folder,
            "holds damaged files (the SHA-256 differs)",
            {n for n in present if digests[n] != records[n].sha256},
        )
    return True


def sha256_of_files(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Hash files of a folder, several at a time.

    Returns:
        `dict[str, str]`: Hexadecimal SHA-256 by name.
    """
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        return dict(zip(names, pool.map(lambda name: _sha256(folder / name), names), strict=True))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record(folder: Path, name: str, entry: Any) -> FileRecord:
    contained_path(folder, name)
    try:
        return FileRecord(**entry)
    except (TypeError, ValueError) as error:
        raise CorruptFileError(f"{folder / MANIFEST_NAME}: the entry {name!r} is not valid: {error}.") from error


def _is_below(name: str, folder: str) -> bool:
    return not folder or name.startswith(folder.rstrip("/") + "/")


def is_listed(name: str) -> bool:
    """Whether a manifest lists a file of this name: not itself, the model card and what is hidden."""
    path = PurePosixPath(name)
    return name not in {MANIFEST_NAME, "README.md"} and not any(part.startswith(".") for part in path.parts)


def _is_loaded(name: str) -> bool:
    return is_listed(name) and PurePosixPath(name).suffix in {".safetensors", ".json"}


def _refuse(folder: Path, fault: str, names: Collection[str]) -> None:
    if names:
        shown = ", ".join(sorted(names)[:10]) + (", …" if len(names) > 10 else "")
        raise CorruptFileError(f"{folder} {fault}; {len(names)}: {shown}")
