"""Rules of command lines that more than one script has."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path


def refuse_together(
    parser: argparse.ArgumentParser, asked: argparse.Namespace, rules: Mapping[str, Sequence[str]]
) -> None:
    """End the program if options were given that do nothing beside another.

    Args:
        parser (`argparse.ArgumentParser`): Whose defaults count as not given.
        asked (`argparse.Namespace`): What it parsed.
        rules (`Mapping[str, Sequence[str]]`): By option, those that would do nothing with it; all as attributes of `asked`.

    Raises:
        SystemExit: With the usage and one line that names the options.
    """
    spelled = {action.dest: action.option_strings[-1] for action in parser._actions if action.option_strings}

    def is_given(name: str) -> bool:
        return getattr(asked, name) != parser.get_default(name)

    for option, others in rules.items():
        said = [spelled[name] for name in others if is_given(name)]
        if said and is_given(option):
            parser.error(f"{', '.join(said)} would do nothing with {spelled[option]}")


def require_at_least(least: int, asked: argparse.Namespace, *names: str) -> None:
    """Refuse numbers that are too small, those that were not given excepted.

    Args:
        least (`int`): The smallest that is allowed.
        asked (`argparse.Namespace`): What was parsed.
        names (`str`): Its attributes.

    Raises:
        ValueError: If one is smaller.
    """
    for name in names:
        if (value := getattr(asked, name)) is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {least}, but is {value}.")


def require_writable(folder: Path) -> None:
    """Find out now, and not after the first result, that nothing can be written into the folder of `--output`.

    Args:
        folder (`Path`): There already, or to be made.

    Raises:
        ValueError: If it cannot be made or written to.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"--output {folder} cannot be written: {there} is no folder that you may write to.")


def require_own(folder: Path, marker: str) -> None:
    """Refuse a folder of `--output` in which others have files; and one that cannot be written.

    Args:
        folder (`Path`): There already, or to be made.
        marker (`str`): A name in every folder that the command made itself.

    Raises:
        ValueError: If it holds something, but not the marker, or cannot be made or written to.
    """
    require_writable(folder)
    found = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
    if found and marker not in found:
        raise ValueError(
            f"--output {folder} must be a new folder, an empty one, or one that this command made, but holds {found[0]}."
        )
