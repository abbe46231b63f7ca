"""Files of one commit of a dataset on the Hugging Face Hub, of which only the blocks that are asked for are fetched."""

import contextlib
import io
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from xwam.errors import DataError, HubError, UnsafeFileError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_OPEN = 16  # files of which blocks are kept
BLOCK_BYTES = 2**19  # fetched at once
MAX_BLOCKS = 32  # of one file that are kept


class HubFiles:
    """Files by names with forward slashes. Can be pickled; not shared between threads.

    Args:
        repository (`str`): Such as `"user/name"`.
        revision (`str`, *optional*): Branch, tag or commit; else the main branch. What it means now is what is read.

    Raises:
        DataError: If there is no such dataset or revision.
        HubError: If the hub does not answer.
    """

    def __init__(self, repository: str, revision: str | None = None) -> None:
        self.repository, self.commit = repository, _commit_of(repository, revision)
        self._open: OrderedDict[str, Any] = OrderedDict()
        self._system: Any = None

    @property
    def root(self) -> str:
        """The commit, as `huggingface_hub` writes it."""
        return f"datasets/{self.repository}@{self.commit}"

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        with _answered(self.repository):
            return bool(self._hub().isfile(self._remote(name)))

    def names(self, folder: str) -> list[str]:
        """Names of all files below a folder, sorted; none where there is no such folder.

        Args:
            folder (`str`): Its name, or `""` for everything.
        """
        try:
            with _answered(self.repository):
                # Afresh: after a question for a file that is not there, what is kept of its folders can be incomplete.
                found = self._hub().find(self._remote(folder) if folder else self.root, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(path.removeprefix(f"{self.root}/") for path in found)

    def open(self, name: str) -> BinaryIO:
        """A file that can be read and sought. It stays usable when its blocks have been given back.

        Args:
            name (`str`): Its name.

        Raises:
            FileNotFoundError: If there is none.
        """
        return cast(BinaryIO, io.BufferedReader(_HubFile(self, name), buffer_size=2**16))

    def blocks_of(self, name: str) -> Any:
        """The file of `huggingface_hub` that fetches and keeps blocks; it may be closed at the next call."""
        if name not in self._open:
            with _answered(self.repository):
                options = {"maxblocks": MAX_BLOCKS}
                self._open[name] = self._hub().open(
                    self._remote(name), "rb", block_size=BLOCK_BYTES, cache_type="blockcache", cache_options=options
                )
        self._open.move_to_end(name)
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)[1].close()
        return self._open[name]

    def close(self) -> None:
        """Give back all blocks."""
        while self._open:
            self._open.popitem()[1].close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict(), "_system": None}

    def _remote(self, name: str) -> str:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or "@" in name:
            raise UnsafeFileError(f"{self.repository} names the file {name!r}, which leads out of the data set.")
        return f"{self.root}/{name}"

    def _hub(self) -> Any:
        if self._system is None:
            from huggingface_hub import HfFileSystem  # takes a third of a second to import

            self._system = HfFileSystem(endpoint=os.environ.get("HF_ENDPOINT"))
        return self._system


class _HubFile(io.RawIOBase):
    """One user's place in a file. Which files keep blocks is not its business."""

    def __init__(self, files: HubFiles, name: str) -> None:
        self._files, self.name, self._place = files, name, 0
        self._size = int(files.blocks_of(name).size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if begin + offset < 0:
            raise ValueError(f"There is no place {begin + offset} in a file.")
        self._place = begin + offset
        return self._place

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        blocks = self._files.blocks_of(self.name)
        with _answered(self._files.repository):
            blocks.seek(self._place)
            content = blocks.read(len(view))
        view[: len(content)] = content
        self._place += len(content)
        return len(content)


@contextlib.contextmanager
def _answered(repository: str) -> Iterator[None]:
    """What the hub leaves undone becomes a `HubError`, but for files that it does not have."""
    from huggingface_hub.errors import HfHubHTTPError

    from xwam.checkpoints.retrying import http

    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, http.HTTPError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code == 404:
            raise FileNotFoundError(str(error)) from error
        raise HubError(
            f"The hub did not give what was asked of the dataset {repository!r} ({_in_words(error)}). The data may be sound: "
            "try again, or read a local copy of the repository."
        ) from error


def _commit_of(repository: str, revision: str | None) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        with _answered(repository):
            info = HfApi(endpoint=os.environ.get("HF_ENDPOINT")).dataset_info(
                repository, revision=revision, timeout=30
            )
    except (FileNotFoundError, HubError) as error:
        if isinstance(error, HubError) and not isinstance(error.__cause__, RepositoryNotFoundError):
            raise
        at = f" with revision {revision!r}" if revision else ""
        raise DataError(
            f"There is no folder {repository!r}, and the hub did not give a dataset of this name{at} "
            f"({_in_words(error.__cause__ or error)}).",
            dataset=repository,
        ) from error
    return str(info.sha)


def _in_words(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
