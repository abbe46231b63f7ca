"""`xwam record`: demonstrations of scripted experts as a dataset."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub.utils import validate_repo_id
from tqdm import tqdm

from xwam.data.writers.dataset_card import push_to_hub, write_card
from xwam.data.writers.dataset_writer import describe_failure
from xwam.envs.opengl import RenderingUnavailableError
from xwam.envs.registry import list_envs
from xwam.recording.demonstrations import Job, JobResult, Recipe, record_demonstrations
from xwam.utils.options import require_at_least, require_writable

SIMULATOR = "mujoco"  # the one that has scripted experts for all its tasks
DELAY = 0.1  # seconds; the bar appears with the first episode, so that what is refused before gives one line


def main(arguments: Sequence[str]) -> int:
    """Record demonstrations.

    Args:
        arguments (`Sequence[str]`): What follows `xwam record`.

    Returns:
        `int`: 0 when the dataset is complete, 1 if it could not be made, 2 if something impossible was asked for.
    """
    asked = _parser().parse_args(arguments)
    try:
        recipes = _recipes(asked)
    except ValueError as error:
        print(f"xwam record: {error}", file=sys.stderr)
        return 2
    try:
        _record(asked, recipes)
    except (ValueError, ImportError, RuntimeError, OSError, RenderingUnavailableError) as error:
        print(f"xwam record: {describe_failure(error, asked.output)}", file=sys.stderr)
        return 1
    return 0


def _record(asked: argparse.Namespace, recipes: Sequence[Recipe]) -> None:
    start, num_frames, num_kept = time.perf_counter(), 0, 0
    with tqdm(total=asked.episodes * len(recipes), unit="episode", desc="recording", delay=DELAY) as bar:

        def count(job: Job, result: JobResult) -> None:
            nonlocal num_frames, num_kept
            num_frames, num_kept = num_frames + result.num_frames, num_kept + result.is_kept
            bar.update(result.is_kept)
            bar.set_postfix_str(f"{num_frames / (time.perf_counter() - start):.1f} steps/s", refresh=False)

        skipped = record_demonstrations(
            asked.output,
            recipes,
            episodes=asked.episodes,
            output_format=asked.format,
            num_processes=asked.processes,
            first_seed=asked.first_seed,
            on_result=count,
        )
    seconds = time.perf_counter() - start
    print(f"{num_kept} new episodes, {num_frames} steps in {seconds:.0f} s: {asked.output}")
    for environment, seeds in skipped.items():
        if seeds:
            print(f"{environment}: seeds {seeds} did not succeed and were skipped")
    if asked.format == "lerobot":
        write_card(asked.output)
    if asked.push_to_hub:
        print(f"pushed as {push_to_hub(asked.output, asked.push_to_hub)}")


def _names(asked: argparse.Namespace) -> list[str]:
    if asked.all and asked.tasks:
        raise ValueError("Say either --tasks or --all, not both.")
    known = [name for name in list_envs() if name.partition("/")[0] == SIMULATOR]
    names = known if asked.all else [name if "/" in name else f"{SIMULATOR}/{name}" for name in asked.tasks or ()]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"There are no tasks {unknown} with a scripted expert; known are {known}.")
    if not names:
        raise ValueError("Say what to record: --tasks lift_cube …, or --all.")
    return list(dict.fromkeys(names))


def _recipes(asked: argparse.Namespace) -> list[Recipe]:
    names = _names(asked)
    if asked.push_to_hub and asked.format != "lerobot":
        raise ValueError("Only LeRobot datasets are pushed.")
    if asked.push_to_hub:
        validate_repo_id(asked.push_to_hub)
    require_at_least(0, asked, "first_seed")
    require_at_least(1, asked, "episodes", "processes")
    require_writable(asked.output)
    least, most = asked.extra_steps
    if not 0 <= least <= most:
        raise ValueError(f"--extra-steps must be the least and the most, from 0 on, but are {least} and {most}.")
    options: dict[str, Any] = {"image_size": list(asked.image_size)}
    if asked.randomized:
        options["randomized"] = True
    for name, text in asked.option:
        try:
            options[name] = json.loads(text)
        except ValueError as error:
            raise ValueError(f"--option {name} must be JSON, but is {text!r} ({error}).") from error
    expert = {"noise": asked.noise, "recovery": asked.recovery, "speed": asked.speed}
    return [
        Recipe(
            environment=name,
            options=options,
            expert=expert,
            extra_steps=tuple(asked.extra_steps),
            with_depth=not asked.no_depth,
            pixel_format=asked.pixel_format,
        )
        for name in names
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xwam record",
        description="Record successful episodes of scripted experts. Started again, it goes on where it was stopped.",
    )
    add = parser.add_argument
    add("--tasks", nargs="+", metavar="NAME", help="such as lift_cube stack_cubes")
    add("--all", action="store_true", help="all tasks of the embedded world")
    add("--episodes", type=int, default=50, help="successful episodes of every task (default: %(default)s)")
    add("--output", type=Path, required=True, help="folder of the dataset: new, or one to go on with")
    add("--format", choices=("lerobot", "release"), default="lerobot", help="release is lossy (default: %(default)s)")
    add("--processes", type=int, default=1, help="processes (default: %(default)s)")
    add("--first-seed", type=int, default=0, help="seeds are tried from here upwards (default: %(default)s)")
    add("--randomized", action="store_true", help="vary light, colours, cameras and clutter")
    add("--noise", type=float, default=0.0, help="noise on the expert's commands (default: %(default)s)")
    add("--recovery", action="store_true", help="let the expert go astray now and then, and correct it")
    add("--speed", type=float, default=1.0, help="of the expert (default: %(default)s)")
    add("--image-size", type=int, nargs=2, default=(128, 160), metavar=("H", "W"), help="pixels (default: 128 160)")
    add("--extra-steps", type=int, nargs=2, default=(4, 8), metavar=("LEAST", "MOST"), help="after success (4 8)")
    add("--option", nargs=2, action="append", default=[], metavar=("NAME", "JSON"), help="more for the environments")
    add("--no-depth", action="store_true", help="record no depth")
    add(
        "--pixel-format",
        choices=("yuv444p", "yuv420p"),
        default="yuv444p",
        help="yuv420p: for every browser, blurs colours",
    )
    add("--push-to-hub", metavar="REPO", help="publish the dataset, such as user/my-robot")
    return parser
