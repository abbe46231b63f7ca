"""Checkpoints on a disk that fails: each appears whole or not at all, and what is damaged is never loaded.

A checkpoint is written into `.tmp-<name>-<pid>`, brought to the disk, given its manifest last and then its name, in one step.
"""

import errno
import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from xwam.checkpoints.manifest import verify_manifest, write_manifest
from xwam.checkpoints.paths import list_files
from xwam.checkpoints.unsafe_files import refuse_name
from xwam.errors import CheckpointError, TrainingError
from xwam.utils.disk import sync_folder, sync_tree

SAVE_WAITS = (0.5, 2.0)  # seconds before the second and the third attempt

_NAME = re.compile(r"step-(\d{8,})")
_PARTIAL, _ASIDE = ".tmp-", ".old-"
_DISK_ERRNOS = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS, errno.ESTALE])

logger = logging.getLogger(__name__)


class CheckpointStore:
    """The checkpoints of one run, one folder `step-00001000` each.

    Args:
        folder (`Path`): Where they lie; made with the first one.
        keep (`int`, *optional*, defaults to `3`): Newest checkpoints that are kept.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder, self.keep = folder, keep

    def path_of(self, step: int) -> Path:
        """Folder of the checkpoint after `step` steps, whether it exists or not."""
        return self.folder / f"step-{step:08d}"

    @staticmethod
    def step_of(path: Path) -> int:
        """Steps that were done at a checkpoint of this store, from its name."""
        return int(path.name.removeprefix("step-"))

    def steps(self) -> list[int]:
        """Steps that have a folder, in order; whether it is sound is another question."""
        if not self.folder.is_dir():
            return []
        matches = (_NAME.fullmatch(path.name) for path in self.folder.iterdir() if path.is_dir())
        return sorted(int(match[1]) for match in matches if match)

    def save(self, step: int, write: Callable[[Path], None]) -> Path:
        """Publish a checkpoint, replacing one of the same step, then remove the oldest.

        Args:
            step (`int`): Steps that were done.
            write (`Callable[[Path], None]`): Writes all files into an empty folder.

        Returns:
            `Path`: The checkpoint.

        Raises:
            TrainingError: If the disk is full or failed three times; older checkpoints are untouched.
        """
        target = self.path_of(step)
        save_folder(target, write)
        self._prune(step)
        return target

    def newest(self) -> Path | None:
        """The newest sound checkpoint, or `None` where there is none; a warning names each damaged one."""
        for step in reversed(self.steps()):
            path = self.path_of(step)
            try:
                check_checkpoint(path)
            except CheckpointError as error:
                logger.warning("Checkpoint %s is damaged and passed over: %s", path, error)
                continue
            return path
        return None

    def clean(self) -> None:
        """Remove what killed saves left behind. Call when no other process writes here."""
        recover(self.folder)

    def _prune(self, newest: int) -> None:
        for step in [step for step in self.steps() if step <= newest][: -self.keep]:
            try:
                shutil.rmtree(self.path_of(step))
            except OSError as error:
                logger.warning("The old checkpoint %s could not be removed: %s", self.path_of(step), error)


def check_checkpoint(folder: Path) -> None:
    """Compare every file with the manifest, which must exist; nothing is loaded.

    Args:
        folder (`Path`): A checkpoint.

    Raises:
        CheckpointError: If a file is missing, damaged or not listed, or there is no manifest.
        UnsafeFileError: If the name of a file is that of a pickle, of code or of an archive.
    """
    for name in list_files(folder):
        refuse_name(name, folder)
    if not verify_manifest(folder):
        raise CheckpointError(f"{folder} has no manifest.json: it was never finished, or is no checkpoint of a run.")


def save_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Write a folder that appears whole, with its manifest, or not at all; one of that name is replaced.

    Args:
        target (`Path`): Its name to be.
        write (`Callable[[Path], None]`): Writes all files into an empty folder.

    Raises:
        TrainingError: If the disk is full or failed three times; what was there before is untouched.
    """
    waits = list(SAVE_WAITS)
    partial = target.parent / f"{_PARTIAL}{target.name}-{os.getpid()}"
    while True:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            write(partial)
            sync_tree(partial)
            write_manifest(partial)
            _replace(partial, target)
            return
        except Exception as error:
            shutil.rmtree(partial, ignore_errors=True)
            if not _is_of_the_disk(error):
                raise
            if not waits:
                raise TrainingError(_disk_message(target, error)) from error
            logger.warning("Saving %s failed (%s); again in %s s.", target, error, waits[0])
            time.sleep(waits.pop(0))


def recover(folder: Path) -> None:
    """Remove partial folders below a folder, and put back what was laid aside by a replacement that was killed.

    Args:
        folder (`Path`): Parent of the saved folders.
    """
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith(_PARTIAL):
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(_ASIDE):
            target = folder / path.name.removeprefix(_ASIDE).rpartition("-")[0]
            if target.exists():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.rename(target)


def _replace(partial: Path, target: Path) -> None:
    aside = target.parent / f"{_ASIDE}{target.name}-{os.getpid()}"
    if aside.exists():  # of an earlier replacement, whose removal failed
        shutil.rmtree(aside, ignore_errors=True)
    if target.exists():
        target.rename(aside)
    try:
        partial.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise
    sync_folder(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _is_of_the_disk(error: BaseException) -> bool:
    """Whether the disk is to blame. safetensors reports the number of an error only in words."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _DISK_ERRNOS
    numbers = re.findall(r"os error (\d+)", str(error))
    return any(int(number) in _DISK_ERRNOS for number in numbers)


def _disk_message(target: Path, error: Exception) -> str:
    there = next(folder for folder in target.parents if folder.exists())
    free = shutil.disk_usage(there).free / 1e9
    return (
        f"The checkpoint {target} could not be written ({error}); {free:.2f} GB are free there. Older checkpoints are "
        "untouched. Make room, or keep fewer with `keep_checkpoints`."
    )
