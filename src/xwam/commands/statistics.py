"""`xwam statistics`: quantiles of a robot's recordings, into its JSON file."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from xwam.data.readers.open import open_dataset
from xwam.data.statistics.quantiles import compute_quantiles
from xwam.data.statistics.report import StatisticsReport
from xwam.data.streams.windows import WindowShape, check_rate
from xwam.data.writers.durable_files import write_json
from xwam.errors import DataError, XWAMError
from xwam.robots.registry import read_robot

DELAY = 0.5  # seconds until the bar appears


def main(arguments: Sequence[str]) -> int:
    """Compute quantiles.

    Args:
        arguments (`Sequence[str]`): What follows `xwam statistics`.

    Returns:
        `int`: 0 when the robot's file is written, 1 if the data cannot be read, 2 if something impossible was asked for.
    """
    asked = _parser().parse_args(arguments)
    try:
        report = _compute(asked)
    except (XWAMError, ValueError, OSError) as error:
        print(f"xwam statistics: {error}", file=sys.stderr)
        return 1 if isinstance(error, DataError | OSError) else 2
    _say(report, asked)
    return 0


def _compute(asked: argparse.Namespace) -> StatisticsReport:
    robot = read_robot(asked.robot)
    if asked.output.is_dir():
        raise ValueError(f"--output must be a JSON file, but {asked.output} is a folder.")
    asked.output.parent.mkdir(parents=True, exist_ok=True)  # rather now than after hours
    shape = WindowShape.of(robot, asked.rows_per_command)
    with ExitStack() as stack:
        readers = [stack.enter_context(open_dataset(source, robot, map=asked.map)) for source in asked.sources]
        for reader in readers:
            check_rate(reader, robot, asked.rows_per_command)
        total = sum(len(reader.episodes) for reader in readers)
        with tqdm(total=total, unit="episode", desc="reading numbers", delay=DELAY, disable=None) as bar:
            found, report = compute_quantiles(
                readers, robot, shape, widen=asked.widen, on_episode=lambda rows: bar.update()
            )
    write_json(asked.output, found.to_dict())
    return report


def _say(report: StatisticsReport, asked: argparse.Namespace) -> None:
    print(f"{report.robot}: {report.num_rows} rows of {report.num_episodes} episodes of {', '.join(report.sources)}")
    print(f"{'':8}{'channel':<22}{'1 %':>12}{'99 %':>12}{'least':>12}{'most':>12}{'rows':>10}")
    for channel in report.channels:
        if channel.is_passed:
            print(f"{channel.kind:<8}{channel.name:<22}  passes through unchanged")
            continue
        ends = (channel.low, channel.high, channel.lowest, channel.highest)
        print(
            f"{channel.kind:<8}{channel.name:<22}"
            + "".join(f"{end:>12.5g}" for end in ends)
            + f"{channel.num_rows:>10}"
        )
    exact = (
        "exact" if report.rank_error == 0 else f"quantiles are off by at most {100 * report.rank_error:.4f} % of rows"
    )
    print(exact)
    for channel in report.degenerate:
        print(f"{channel.kind} {channel.name} cannot be normalised by its quantiles. {channel.problem}")
    if report.degenerate:
        print(
            "these got a range that makes no large numbers"
            if asked.widen
            else "they keep the release's numbers; --widen gives them a range that makes no large numbers"
        )
    print(f"written: {asked.output}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xwam statistics",
        description="Quantiles of states and actions by the rules of the release, in one pass over the numbers.",
    )
    add = parser.add_argument
    add(
        "sources",
        nargs="+",
        metavar="source",
        help="folder, or dataset on the hub: user/name; several count row by row",
    )
    add("--robot", required=True, help="name of a robot, or its JSON file")
    add("--output", type=Path, required=True, help="JSON file of the robot with its quantiles")
    add("--map", metavar="FILE", help="JSON file that says where columns are, or a public source such as droid")
    add("--rows-per-command", type=int, default=1, metavar="K", help="rows from one command to the next (default: 1)")
    add("--widen", action="store_true", help="give channels that cannot be normalised a harmless range")
    return parser
