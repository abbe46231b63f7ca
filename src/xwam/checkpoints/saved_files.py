"""Save over a folder: the files of an earlier save make room for the new ones, everything else in the folder stays."""

import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from xwam.checkpoints.manifest import MANIFEST_NAME, write_manifest

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


def files_of_saves(files: Iterable[str], components: Mapping[str, bool], variant: str | None) -> set[str]:
    """Those of the files that an earlier save of a pipeline wrote, and that a new one replaces or takes away.

    Args:
        files (`Iterable[str]`): Of a folder or a repository, as relative paths with `/`.
        components (`Mapping[str, bool]`): By name, whether the pipeline has the component now.
        variant (`str` or `None`): Which weights are saved now; those of other variants lie beside them, unless the component
            is gone.
    """
    found = set()
    for file in files:
        component, _, name = file.partition("/")
        if component not in components:
            continue
        weights = _WEIGHTS.fullmatch(name)
        is_replaced = not components[component] or (weights and (weights["of_file"] or weights["of_index"]) == variant)
        if name in _PLAIN_FILES or (weights and is_replaced):
            found.add(file)
    return found


@contextmanager
def replacing_files(folder: Path, stale: Collection[str]) -> Iterator[Path]:
    """Hand out an empty folder, whose files move into `folder` when the block ends without an error; a manifest comes last.

    Whatever fails, `folder` holds what it held before.

    Args:
        folder (`Path`): Where the files belong; made where it does not exist.
        stale (`Collection[str]`): Files of an earlier save, as relative paths with `/`, that go away.

    Returns:
        `Iterator[Path]`: Folder to fill.
    """
    folder = Path(os.path.realpath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.parent if os.access(folder.parent, os.W_OK) else folder
    with tempfile.TemporaryDirectory(prefix=f".tmp-{folder.name}-", dir=beside, ignore_cleanup_errors=True) as new:
        yield Path(new)
        old = Path(tempfile.mkdtemp(prefix=f".tmp-{folder.name}-", dir=beside))  # kept where putting back fails
        _exchange(folder, Path(new), old, stale)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(folder: Path, new: Path, old: Path, stale: Collection[str]) -> None:
    arriving = sorted(path.relative_to(new).as_posix() for path in new.rglob("*") if not path.is_dir())
    leaving = sorted(name for name in {*stale, *arriving, MANIFEST_NAME} if os.path.lexists(folder / name))
    is_new = not folder.exists()
    folder.mkdir(exist_ok=True)
    laid_aside: list[str] = []
    arrived: list[str] = []
    try:
        for name in leaving:
            _move(folder / name, old / name)
            laid_aside.append(name)
        for name in arriving:
            arrived.append(name)
            _move(new / name, folder / name)
        arrived.append(MANIFEST_NAME)
        write_manifest(folder)
    except BaseException:
        for name in arrived:
            (folder / name).unlink(missing_ok=True)
        for name in laid_aside:
            _move(old / name, folder / name)
        _remove_empty(folder, arrived)
        if is_new:
            folder.rmdir()
        shutil.rmtree(old, ignore_errors=True)
        raise
    _remove_empty(folder, laid_aside)


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)


def _remove_empty(folder: Path, names: Collection[str]) -> None:
    """Remove the component folders of these files that hold nothing any more."""
    for parent in {(folder / name).parent for name in names} - {folder}:
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
