"""`xwam replay`: stored demonstrations run again, with depth and calibration."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub.utils import validate_repo_id
from tqdm import tqdm

from xwam.data.writers.dataset_card import push_to_hub, write_card
from xwam.data.writers.dataset_writer import describe_failure
from xwam.envs.opengl import RenderingUnavailableError
from xwam.recording.demonstrations import JobResult
from xwam.recording.replay import MODES, ReplayOptions, replay_dataset, replay_hdf5
from xwam.utils.options import require_at_least, require_writable

HDF5_SUFFIXES = (".hdf5", ".h5")
DELAY = 0.1  # seconds; the bar appears with the first episode, so that what is refused before gives one line


def main(arguments: Sequence[str]) -> int:
    """Run stored demonstrations again.

    Args:
        arguments (`Sequence[str]`): What follows `xwam replay`.

    Returns:
        `int`: 0 when the new dataset is complete, 1 if it could not be made, 2 if something impossible was asked for.
    """
    asked = _parser().parse_args(arguments)
    is_hdf5 = asked.source.suffix in HDF5_SUFFIXES
    try:
        if is_hdf5 and asked.environment is None:
            raise ValueError(f"--environment is missing: {asked.source} does not say where it was recorded.")
        if asked.environment is not None and not is_hdf5:
            raise ValueError(f"--environment is for HDF5 files; {asked.source} says itself where it was recorded.")
        options = _options(asked)
    except ValueError as error:
        print(f"xwam replay: {error}", file=sys.stderr)
        return 2
    try:
        count = _replay(asked, options, is_hdf5)
    except (ValueError, ImportError, RuntimeError, OSError, RenderingUnavailableError) as error:
        print(f"xwam replay: {describe_failure(error, asked.output)}", file=sys.stderr)
        return 1
    print(f"{count} new episodes: {asked.output}")
    return 0


def _replay(asked: argparse.Namespace, options: ReplayOptions, is_hdf5: bool) -> int:
    with tqdm(unit="episode", desc="replaying", delay=DELAY) as bar:

        def count(_: object, result: JobResult) -> None:
            bar.update(result.is_kept)

        settings: dict[str, Any] = {
            "output_format": asked.format,
            "num_processes": asked.processes,
            "on_result": count,
        }
        if is_hdf5:
            number = replay_hdf5(asked.source, asked.environment, asked.output, options, **settings)
        else:
            number = replay_dataset(asked.source, asked.output, options, **settings)
    if asked.format == "lerobot":
        write_card(asked.output)
        if asked.push_to_hub:
            push_to_hub(asked.output, asked.push_to_hub)
    return number


def _options(asked: argparse.Namespace) -> ReplayOptions:
    require_at_least(1, asked, "processes")
    if not asked.source.exists():
        raise ValueError(f"There is neither a file nor a folder {asked.source}.")
    require_writable(asked.output)
    options: dict[str, Any] = {}
    if asked.image_size:
        options["image_size"] = list(asked.image_size)
    for name, text in asked.option:
        try:
            options[name] = json.loads(text)
        except ValueError as error:
            raise ValueError(f"--option {name} must be JSON, but is {text!r} ({error}).") from error
    if asked.push_to_hub and asked.format != "lerobot":
        raise ValueError("Only LeRobot datasets are pushed.")
    if asked.push_to_hub:
        validate_repo_id(asked.push_to_hub)
    return ReplayOptions(
        mode=asked.mode,
        environment_options=options,
        with_depth=not asked.no_depth,
        pixel_format=asked.pixel_format,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xwam replay",
        description="Run stored demonstrations again and record what is seen. Started again, it goes on where it was stopped.",
    )
    add = parser.add_argument
    add("source", type=Path, help="a folder of xwam record, or a robomimic HDF5 file")
    add("--output", type=Path, required=True, help="folder of the new dataset")
    add("--environment", metavar="NAME", help="of an HDF5 file, such as robosuite/Lift")
    add(
        "--mode",
        choices=MODES,
        default="commands",
        help="execute commands, or show stored states (default: %(default)s)",
    )
    add("--image-size", type=int, nargs=2, metavar=("H", "W"), help="pixels; else as recorded")
    add("--option", nargs=2, action="append", default=[], metavar=("NAME", "JSON"), help="others for the environments")
    add("--format", choices=("lerobot", "release"), default="lerobot", help="release is lossy (default: %(default)s)")
    add("--processes", type=int, default=1, help="processes (default: %(default)s)")
    add("--no-depth", action="store_true", help="record no depth")
    add(
        "--pixel-format",
        choices=("yuv444p", "yuv420p"),
        default="yuv444p",
        help="yuv420p: for every browser, blurs colours",
    )
    add("--push-to-hub", metavar="REPO", help="publish the dataset, such as user/my-robot")
    return parser
