"""Files of a data set, in a local folder or in a repository on the Hugging Face Hub, read where they lie."""

import json
import re
from pathlib import Path
from string import Formatter
from typing import Any, BinaryIO

from xwam.checkpoints.json_files import refuse_constant
from xwam.checkpoints.paths import contained_path
from xwam.data.readers.hub_files import HubFiles
from xwam.errors import DataError

HUB_PREFIX = "hf://datasets/"
LFS_POINTER = b"version https://git-lfs"


class DatasetFiles:
    """A folder of files that are opened by names with forward slashes.

    On the hub one commit is read, and of it only the blocks that are asked for. Can be pickled; not shared between threads.
    `name` is for messages, and may be changed. Every method raises `HubError` where the hub gives no answer.

    Args:
        source (`str` or `Path`): A local folder, `"user/name"` for a dataset on the hub, or `"hf://datasets/user/name"`.
        revision (`str`, *optional*): Branch, tag or commit on the hub; else the main branch.

    Raises:
        DataError: If there is no such folder or repository.
    """

    def __init__(self, source: str | Path, revision: str | None = None) -> None:
        text = str(source)
        self.folder: Path | None = None
        self.hub: HubFiles | None = None
        if not text.startswith(HUB_PREFIX) and Path(source).expanduser().is_dir():
            self.folder = Path(source).expanduser()
            self.name = self.folder.resolve().name
            return
        self.name, revision = _repository(text, revision)
        self.hub = HubFiles(self.name, revision)

    @property
    def where(self) -> str:
        """The folder, or the repository and its commit, for messages."""
        return str(self.folder) if self.hub is None else f"hf://{self.hub.root}"

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return self._path(name).is_file() if self.hub is None else self.hub.exists(name)

    def names(self, folder: str) -> list[str]:
        """Names of all files below a folder, sorted; none where there is no such folder.

        Args:
            folder (`str`): Its name, or `""` for everything.
        """
        if self.hub is not None:
            return self.hub.names(folder)
        top = self._path("")
        return sorted(path.relative_to(top).as_posix() for path in self._path(folder).rglob("*") if path.is_file())

    def open(self, name: str) -> BinaryIO:
        """A file that can be read and sought; it is the caller's to close.

        Raises:
            DataError: If there is no such file.
        """
        try:
            return self._path(name).open("rb") if self.hub is None else self.hub.open(name)
        except OSError as error:
            raise DataError(f"The file cannot be opened: {_reason(error)}.", dataset=self.name, path=name) from error

    def video(self, name: str) -> str | BinaryIO:
        """What a decoder opens: the path of a local file, or a remote file.

        Raises:
            DataError: If there is no such file.
        """
        if self.hub is not None:
            return self.open(name)
        if not self._path(name).is_file():
            raise DataError("There is no such file.", dataset=self.name, path=name)
        return str(self._path(name))

    def read_json(self, name: str) -> dict[str, Any]:
        """A file that holds one JSON object.

        Raises:
            DataError: If it does not, or there is no such file.
        """
        return self._parse(name, self._text(name))

    def read_json_lines(self, name: str) -> list[dict[str, Any]]:
        """A file with one JSON object per line.

        Raises:
            DataError: If it is none, or there is no such file.
        """
        return [self._parse(name, line) for line in self._text(name).splitlines() if line.strip()]

    def close(self) -> None:
        """Give back what is kept of remote files; they are fetched again where they are still in use."""
        if self.hub is not None:
            self.hub.close()

    def _path(self, name: str) -> Path:
        if self.folder is None:
            raise TypeError("Only a local folder has paths.")
        return contained_path(self.folder, name) if name else self.folder

    def _text(self, name: str) -> str:
        with self.open(name) as file:
            content = file.read()
        if content.startswith(LFS_POINTER):
            raise DataError("This is a Git LFS pointer, not the file itself.", dataset=self.name, path=name)
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"The file is not UTF-8 text: {error}.", dataset=self.name, path=name) from error

    def _parse(self, name: str, text: str) -> dict[str, Any]:
        try:
            value = json.loads(text, parse_constant=refuse_constant)
        except (ValueError, RecursionError) as error:
            raise DataError(f"The file is not JSON: {error}.", dataset=self.name, path=name) from error
        if not isinstance(value, dict):
            raise DataError(
                f"The file must hold JSON objects, but holds a {type(value).__name__}.", dataset=self.name, path=name
            )
        return value


def fill_pattern(pattern: object, **values: str | int) -> str:
    """The name of a file by a pattern that a data set gives, such as `"data/chunk-{chunk_index:03d}.parquet"`.

    Args:
        pattern (`object`): What the data set gives. Widths have one digit, so that no name fills the memory.
        values (`str` or `int`): What may stand in the braces.

    Raises:
        ValueError: If it is no such pattern.
    """
    if not isinstance(pattern, str):
        raise ValueError(f"it must be text, but is {pattern!r}")
    for _, field, form, conversion in Formatter().parse(pattern):
        if field is not None and (field not in values or conversion or not re.fullmatch(r"(0?[1-9]?d)?", form or "")):
            raise ValueError(
                f"{{{field}:{form}}} in {pattern!r} is none of {sorted(values)} as a plain number or name"
            )
    return pattern.format(**values)


def _repository(text: str, revision: str | None) -> tuple[str, str | None]:
    """Repository and revision that a source names."""
    repository, _, inside = text.removeprefix(HUB_PREFIX).rstrip("/").partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository) or text.startswith((".", "/", "~")):
        raise DataError(
            f"{text!r} is neither a folder nor a dataset on the hub, which is written 'user/name' or "
            f"'{HUB_PREFIX}user/name'."
        )
    if inside and revision and inside != revision:
        raise DataError(f"{text!r} names the revision {inside!r}, but `revision` is {revision!r}.")
    return repository, revision or inside or None


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "No such file"
    return error.strerror or str(error).strip() or type(error).__name__
