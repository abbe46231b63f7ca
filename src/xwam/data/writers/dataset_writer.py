"""What all writers of datasets share: episodes wait in a hidden folder, and become part of the dataset all at once.

Beside the finished dataset, `.staging` holds

    format.json          the form of all episodes
    episodes/<key>/      finished episodes, each published in one step
    skipped/<key>.json   seeds that gave no episode
    built/               the new files of the dataset, while `finish` makes them
    built.json           says that `built` is complete: from here on only names change

so that a crash at any time loses unfinished episodes only, and `finish` can be called again.
"""

import json
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from xwam.data.writers.durable_files import move_tree, write_json
from xwam.data.writers.episode_writer import EPISODE_FILE, PARTIAL_PREFIX, EpisodeDescription, EpisodeWriter
from xwam.data.writers.recording_format import RecordingFormat
from xwam.utils.differences import first_difference
from xwam.utils.disk import sync_tree

STAGING = ".staging"


class DatasetWriter(ABC):
    """A dataset folder that takes episodes. Use it in a `with` statement: only one process at a time may hold the folder.

    Args:
        folder (`str` or `Path`): The dataset's folder: new, empty, or one that a writer of this class made.

    Raises:
        ValueError: If the folder holds something else.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.staging = self.folder / STAGING
        self._lock: int | None = None
        self._taken: frozenset[str] = frozenset()  # keys in the dataset, while the folder is held
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"{self.folder} must be a folder, but is a file.")
        strangers = [path.name for path in self._files() if path.name != STAGING]
        is_half_moved = (self.staging / "built.json").exists()
        if strangers and not is_half_moved and not self._is_own():
            raise ValueError(f"{self.folder} must be new, empty or a {self.kind}, but holds {sorted(strangers)[:5]}.")

    kind: str = "dataset"  # in words, for messages

    def __enter__(self) -> Self:
        """Hold the folder, finish what a crash left half done, and remove unfinished episodes."""
        self.staging.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.folder)
        if (self.staging / "built.json").exists():
            self._move()
        for leftover in (self.staging / "episodes").glob(f"{PARTIAL_PREFIX}*"):
            shutil.rmtree(leftover)
        for leftover in self.staging.glob(".*"):  # of a JSON file
            leftover.unlink()
        self._taken = frozenset(self._finished_keys())
        for key in self._taken.intersection(self.waiting()):  # of a process that outlived its parent
            shutil.rmtree(self.staging / "episodes" / key)
        if not self.waiting():  # whose form would bind what comes
            (self.staging / "format.json").unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the folder go; what waits stays."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self.staging.is_dir() and not self._files(self.staging):
            self.staging.rmdir()

    def episode(self, key: str, description: EpisodeDescription, recording_format: RecordingFormat) -> EpisodeWriter:
        """Begin an episode. May be called in any process, also without holding the folder.

        Args:
            key (`str`): Its name; letters, digits, `.`, `_` and `-`. Episodes are ordered by it.
            description (`EpisodeDescription`): Where it comes from.
            recording_format (`RecordingFormat`): The form of its frames, equal for all episodes of the dataset.

        Raises:
            ValueError: If the key is none or taken, or the dataset has another form.
        """
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", key):
            raise ValueError(f"A key must be letters, digits, '.', '_' and '-', but is {key!r}.")
        if key in self._taken or (self.staging / "episodes" / key).exists():
            raise ValueError(f"{self.folder} holds an episode {key!r} already; choose another key.")
        self._agree(recording_format)
        return EpisodeWriter(self.staging / "episodes", key, description, recording_format)

    def expect_form(self, recording_format: RecordingFormat) -> None:
        """Refuse a form that is not that of the episodes that are there, finished or waiting.

        Args:
            recording_format (`RecordingFormat`): Of what shall be added.

        Raises:
            ValueError: If it differs.
        """
        path = self.staging / "format.json"
        there = [self._finished_format(), RecordingFormat.from_dict(read_plain(path)) if path.exists() else None]
        for known in there:
            if known is not None:
                self._expect_equal(known, recording_format)

    def skip(self, key: str, note: Mapping[str, Any]) -> None:
        """Note that a key gives no episode, so that no one tries again.

        Args:
            key (`str`): What was tried.
            note (`Mapping[str, Any]`): Why, in plain values.
        """
        write_json(self.staging / "skipped" / f"{key}.json", dict(note))

    def outcomes(self) -> dict[str, bool]:
        """Keys that are done, here or in the dataset: whether each gave an episode."""
        return (
            dict.fromkeys(self._finished_skipped(), False)
            | {path.stem: False for path in (self.staging / "skipped").glob("*.json")}
            | dict.fromkeys([*self._finished_keys(), *self.waiting()], True)
        )

    def waiting(self) -> list[str]:
        """Keys of the episodes that are not yet part of the dataset, in order."""
        return sorted(path.parent.name for path in (self.staging / "episodes").glob(f"[!.]*/{EPISODE_FILE}"))

    def waiting_options(self) -> dict[str, dict[str, Any]]:
        """What the environments of the waiting episodes were made with, by key."""
        return {key: read_plain(self.staging / "episodes" / key / EPISODE_FILE)["options"] for key in self.waiting()}

    def finish(self) -> int:
        """Make all waiting episodes part of the dataset. If it is interrupted, call it again.

        Returns:
            `int`: How many there were.

        Raises:
            ValueError: If the folder is not held, that is, outside of a `with` statement.
        """
        if self._lock is None:
            raise ValueError("A dataset is finished inside of `with`, so that no one else writes meanwhile.")
        finished = set(self._finished_keys())
        keys = [key for key in self.waiting() if key not in finished]
        if not keys:
            return 0
        built = self.staging / "built"
        shutil.rmtree(built, ignore_errors=True)
        built.mkdir()
        self._build(built, keys, RecordingFormat.from_dict(read_plain(self.staging / "format.json")))
        sync_tree(built)
        write_json(self.staging / "built.json", {"episodes": len(keys)})
        self._move()
        self._taken |= frozenset(keys)
        return len(keys)

    def skipped_notes(self) -> dict[str, Any]:
        """Notes of all skipped keys, also of former recordings, in order."""
        own = {path.stem: read_plain(path) for path in (self.staging / "skipped").glob("*.json")}
        return dict(sorted((self._finished_skipped() | own).items()))

    @abstractmethod
    def _is_own(self) -> bool:
        """Whether the folder holds a dataset of this kind."""

    @abstractmethod
    def _finished_format(self) -> RecordingFormat | None:
        """The form of the dataset, if there is one."""

    @abstractmethod
    def _finished_keys(self) -> Sequence[str]:
        """Keys of the episodes in the dataset."""

    @abstractmethod
    def _finished_skipped(self) -> dict[str, Any]:
        """Notes of the keys that were skipped when the dataset was made."""

    @abstractmethod
    def _build(self, built: Path, keys: Sequence[str], recording_format: RecordingFormat) -> None:
        """Write all files of the dataset that are new or change into `built`."""

    def _files(self, folder: Path | None = None) -> list[Path]:
        folder = folder or self.folder
        return list(folder.iterdir()) if folder.is_dir() else []

    def _agree(self, recording_format: RecordingFormat) -> None:
        path = self.staging / "format.json"
        self.expect_form(recording_format)
        if not path.exists():
            write_json(path, recording_format.to_dict())
            self.expect_form(recording_format)  # another process may have written its own

    def _expect_equal(self, there: RecordingFormat, here: RecordingFormat) -> None:
        if difference := first_difference(there.to_dict(), here.to_dict()):
            field, known, new = difference
            raise ValueError(
                f"{self.folder} holds episodes of another form: `{field}` is {known!r} there and {new!r} here. "
                "Record into another folder."
            )

    def _move(self) -> None:
        if (self.staging / "built").exists():
            move_tree(self.staging / "built", self.folder)
        for name in ("episodes", "skipped", "built"):
            shutil.rmtree(self.staging / name, ignore_errors=True)
        (self.staging / "format.json").unlink(missing_ok=True)
        (self.staging / "built.json").unlink()


def plain_key(text: str) -> str:
    """A text in the letters that the key of an episode may have; what is left of other ones is dots.

    Args:
        text (`str`): Any name.
    """
    return re.sub(r"[^A-Za-z0-9._-]+", ".", text)


def describe_failure(error: Exception, folder: Path) -> str:
    """Why a recording stopped and what is left of it, in one line.

    Args:
        error (`Exception`): Why.
        folder (`Path`): The dataset's folder.
    """
    reason = str(error)
    if isinstance(error, OSError) and str(folder) not in reason:  # encoders do not say which file has no room
        reason = f"{folder}: {reason}"
    count = sum(1 for _ in (folder / STAGING / "episodes").glob(f"[!.]*/{EPISODE_FILE}"))
    has_rest = count and not isinstance(error, ValueError)  # what was asked wrongly does not go on
    rest = f"; {count} finished episodes are kept, and the same command goes on from there." if has_rest else "."
    return " ".join(reason.removesuffix(".").split()) + rest


def read_plain(path: Path) -> dict[str, Any]:
    """Read a JSON file of ours.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error


def _locked(folder: Path) -> int:
    """A descriptor that holds the folder until it is closed, or the process ends in any way."""
    import fcntl  # POSIX only

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ValueError(f"Another process is writing to {folder}.") from error
    return descriptor
