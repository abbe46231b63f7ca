"""Loading — training windows per second and core, against the reference release's own reader, and whether memory stays flat.

The release's reader and ours read the same windows of the same files in turn, on one core; ours also reads the same
recordings as LeRobot v3. A window goes all the way to tensors: nine RGB-D frames of three views decoded, resized, cropped,
colours jittered; states and actions normalised. Without `--reference` only our side is measured.

Usage:
    python benchmarks/loading.py --reference path/to/X-WAM        # needs decord, omegaconf, torchvision, scipy and tqdm
    python benchmarks/loading.py --release FOLDER --lerobot FOLDER --rounds 20 --memory-windows 200
"""

import argparse
import contextlib
import datetime
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}  # one core: before anything is imported that has threads

import numpy as np
import torch
from loading_reference import compare_numbers, open_reference
from measuring import Contestant, Timing, commit_of, describe_machine, interleave, summarize

from xwam.data.readers.base import EpisodeReader
from xwam.data.readers.lerobot import LeRobotReader
from xwam.data.readers.release import ReleaseReader
from xwam.data.streams.augmentation import Augmentation, augment
from xwam.data.streams.windows import WindowIndex, WindowShape, read_clip
from xwam.robots.processor import RobotProcessor
from xwam.robots.registry import get_robot

ROOT = Path(__file__).resolve().parents[1]
SIZE = (256, 320)  # pixels
REFERENCE, RELEASE, LEROBOT = "the release's reader", "ours, same files", "ours, LeRobot v3"
TARGETS = {RELEASE: 1.3, LEROBOT: 2.0}  # times as many windows per second of CPU as the release's reader: T5
MEMORY_LIMIT = 50.0  # MB
OPEN: dict[str, Callable[..., EpisodeReader]] = {RELEASE: ReleaseReader, LEROBOT: LeRobotReader}
WARM_UP = 200  # windows after which memory is counted from


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    options = parse_arguments(arguments)
    with one_core(), contextlib.ExitStack() as stack:
        folders = recordings(options, stack)
        robot = replace(get_robot("mujoco_panda"), image_size=SIZE)
        readers = {name: OPEN[name](folder, robot) for name, folder in folders.items()}
        result = {
            "benchmark": "loading",
            "command": " ".join(["python benchmarks/loading.py", *(sys.argv[1:] if arguments is None else arguments)]),
            "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
            "commit": commit_of(ROOT),
            "machine": describe_machine(torch.device("cpu")),
            "size": SIZE,
            "windows": len(WindowIndex(readers[RELEASE], WindowShape.of(robot))),
            **measure(options, readers, folders[RELEASE]),
            "memory": watch_memory(list(readers.values()), options.memory_windows),
        }
    print(render(result))
    if options.output:
        write(result, options.output)
    return result


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Everything on one core, whatever threads a decoder starts."""
    allowed, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, {min(allowed)})
    torch.set_num_threads(1)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        torch.set_num_threads(threads)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, help="checkout of github.com/sharinka0715/X-WAM")
    parser.add_argument(
        "--release", type=Path, help="recordings of mujoco_panda in the release's layout; else some are made"
    )
    parser.add_argument("--lerobot", type=Path, help="the same episodes as LeRobot v3; else they are made")
    parser.add_argument(
        "--episodes", type=int, default=4, help="to record where no folder is given (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=40, help="timed windows of each side (default: %(default)s)")
    parser.add_argument(
        "--memory-windows", type=int, default=2000, help="over which memory is watched (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="folder to write the result to; else it is only shown")
    return parser.parse_args(arguments)


def recordings(options: argparse.Namespace, stack: contextlib.ExitStack) -> dict[str, Path]:
    """The same episodes in both layouts."""
    given = {RELEASE: options.release, LEROBOT: options.lerobot}
    if options.release and options.lerobot:
        return given
    from xwam.recording.demonstrations import Recipe, record_demonstrations

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    recipes = [Recipe("mujoco/lift_cube", options={"image_size": list(SIZE)})]
    for name in (RELEASE, LEROBOT):
        layout = "release" if name == RELEASE else "lerobot"
        record_demonstrations(folder / layout, recipes, episodes=options.episodes, output_format=layout)
        given[name] = folder / layout
    return given


def measure(options: argparse.Namespace, readers: dict[str, EpisodeReader], folder: Path) -> dict[str, Any]:
    """Times of whole windows and of reading alone, and how far our numbers are from theirs."""
    processor = RobotProcessor(readers[RELEASE].robot)
    shape = WindowShape.of(processor.spec)
    augmentation = Augmentation()
    indices = {name: WindowIndex(reader, shape) for name, reader in readers.items()}
    numbers = np.random.default_rng(0).integers(len(indices[RELEASE]), size=options.rounds + 1).tolist()

    def windows(read: Callable[[int], Any]) -> Callable[[Any], Any]:
        order = iter(numbers)  # every side reads the same windows in the same order
        return lambda _: read(next(order))

    def whole(name: str) -> Callable[[int], Any]:
        def read(number: int) -> Any:
            drawn = augmentation.draw(0, number, num_views=processor.num_views, image_size=processor.image_size)
            clip = read_clip(readers[name], *indices[name][number], shape)
            return augment(processor.encode_clip(clip, boxes=drawn.boxes), drawn)

        return read

    def reading(name: str) -> Callable[[int], Any]:
        return lambda number: read_clip(readers[name], *indices[name][number], shape)

    sides = {
        "whole window": {name: whole(name) for name in readers},
        "reading alone": {name: reading(name) for name in readers},
    }
    differences = {}
    if options.reference:
        reference = open_reference(options.reference, folder, processor)
        sides["whole window"][REFERENCE] = reference(augment=True).__getitem__
        plain = sides["reading alone"][REFERENCE] = reference(augment=False).__getitem__
        differences = compare_numbers(plain, readers[RELEASE], indices[RELEASE], processor, numbers)
    return {
        "times": {
            part: summary(
                interleave(
                    torch.device("cpu"),
                    [Contestant(name, windows(read)) for name, read in contest.items()],
                    options.rounds,
                    lambda _: None,
                )
            )
            for part, contest in sides.items()
        },
        "differences": differences,
        "reference_commit": commit_of(options.reference) if options.reference else None,
    }


def summary(times: dict[str, list[Timing]]) -> dict[str, dict[str, float]]:
    """Windows per second of CPU time, and how many times the reference's they are."""
    rates = {name: len(own) / sum(timing.processor for timing in own) for name, own in times.items()}
    return {
        name: {
            **summarize([timing.wall for timing in own]),
            "windows_per_cpu_second": rates[name],
            **({"ratio": rates[name] / rates[REFERENCE]} if REFERENCE in rates else {}),
        }
        for name, own in times.items()
    }


def watch_memory(readers: Sequence[EpisodeReader], count: int) -> dict[str, float]:
    """Growth of the resident set and of open files over windows at random places, of the readers in turn."""
    shape = WindowShape.of(readers[0].robot)
    indices = [WindowIndex(reader, shape) for reader in readers]
    rng = np.random.default_rng(1)
    memory = files = 0
    for number in range(count):
        if number == min(WARM_UP, count // 2):
            memory, files = resident_bytes(), open_files()
        reader, index = (own[number % len(readers)] for own in (readers, indices))
        read_clip(reader, *index[int(rng.integers(len(index)))], shape)
    return {
        "windows": count,
        "growth_mb": (resident_bytes() - memory) / 1e6,
        "more_files": open_files() - files,
        "limit_mb": MEMORY_LIMIT,
    }


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def render(result: dict[str, Any]) -> str:
    """The whole result in Markdown."""
    commit, machine = result["commit"], result["machine"]
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items())
    lines = [
        f"# Loading training windows, {machine['processor']}, {result['date']}\n",
        f"`{result['command']}`  \ncommit {str(commit['commit'])[:12]}{' with changes' if commit['has_changes'] else ''}; {facts}\n",
        f"One core; {result['size'][0]}×{result['size'][1]}, three views RGB-D, windows of nine frames; H.264 with a key frame in "
        f"every second frame where `xwam record` made them. All sides read windows of the same {result['windows']} in turn.\n",
        *tables(result),
    ]
    return "\n".join(lines) + "\n"


def tables(result: dict[str, Any]) -> Iterator[str]:
    yield "| | windows per second of CPU | × the release's reader | wanted | CPU ms per window |\n| --- | --: | --: | --: | --: |"
    for part, sides in result["times"].items():
        for name, own in sides.items():
            wanted = f"≥ {TARGETS[name]}" if part == "whole window" and name in TARGETS and "ratio" in own else ""
            ratio = f"{own['ratio']:.2f}" if "ratio" in own else ""
            rate = f"{own['windows_per_cpu_second']:.2f}"
            yield f"| {part}, {name} | {rate} | {ratio} | {wanted} | {1e3 / own['windows_per_cpu_second']:.0f} |"
    if result["differences"]:
        given = ", ".join(f"{name} {value:.1e}" for name, value in result["differences"].items())
        commit = str(result["reference_commit"]["commit"])[:12]
        yield f"\nRelease {commit}. Largest differences to its tensors, without augmentation: {given}."
    own = result["memory"]
    yield (
        f"\nMemory while both layouts are read: {own['growth_mb']:+.1f} MB and {own['more_files']:+d} open files over "
        f"{own['windows']:,} windows, counted after the first {min(WARM_UP, own['windows'] // 2)}; wanted ≤ "
        f"{own['limit_mb']:.0f} MB."
    )


def write(result: dict[str, Any], folder: Path) -> None:
    """Write the result as Markdown and JSON; the file name says what was measured where and when."""
    hardware = re.sub(r"[^a-z0-9]+", "-", result["machine"]["processor"].lower()).strip("-")
    table = folder / f"loading_{hardware}_{result['date'][:10]}.md"
    folder.mkdir(parents=True, exist_ok=True)
    table.write_text(render(result), encoding="utf-8")
    table.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
