"""Check a data set before spending a GPU on it: every defect with its episode and row, and a picture of what was seen.

    python -m xwam.data.check SOURCE [--robot my_robot.json]

`xwam check` is the same.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from xwam.data.checks.dataset_check import check_dataset
from xwam.data.checks.episode_check import CheckOptions, EpisodeResult
from xwam.data.checks.picture_sheet import Gallery
from xwam.data.readers.open import open_dataset, read_map
from xwam.data.writers.durable_files import write_json
from xwam.errors import XWAMError
from xwam.robots.registry import read_robot
from xwam.utils.options import require_at_least, require_writable

REPORT_FILE, SHEET_FILE = "check.json", "check.png"
DELAY = 0.5  # seconds until the bar appears


def main(arguments: Sequence[str] | None = None, program: str = "python -m xwam.data.check") -> int:
    """Check a data set and print what was found.

    Args:
        arguments (`Sequence[str]`, *optional*): What follows the program's name; the process's own by default.
        program (`str`, *optional*, defaults to `"python -m xwam.data.check"`): Its name in messages.

    Returns:
        `int`: 0 without errors, 1 with errors (with `--strict` with any defect), 2 if something impossible was asked for.
    """
    asked = _parser(program).parse_args(arguments)
    gallery = Gallery()
    try:
        require_at_least(1, asked, "frames", "episodes", "processes")
        if asked.output is not None:
            require_writable(asked.output)
            asked.output.mkdir(parents=True, exist_ok=True)  # rather now than after hours
        options = CheckOptions(asked.frames, asked.quick, asked.episodes)
        dataset_map = None if asked.map is None else read_map(asked.map)
        if asked.robot is None:
            with open_dataset(asked.source, map=asked.map) as reader:
                robot = reader.robot
        else:
            robot = read_robot(asked.robot)
        with tqdm(unit="episode", desc="checking", delay=DELAY, disable=None) as bar:

            def count(result: EpisodeResult) -> None:
                gallery.add(result)
                bar.update()

            report = check_dataset(
                asked.source, robot, map=dataset_map, options=options, num_processes=asked.processes, on_episode=count
            )
        print("\n".join(report.lines()))
        if asked.output is not None:
            write_json(asked.output / REPORT_FILE, report.to_dict())
            gallery.draw(asked.output / SHEET_FILE)
            print(f"written: {asked.output / REPORT_FILE}, {asked.output / SHEET_FILE}")
    except (XWAMError, ValueError, OSError, RuntimeError) as error:  # the last when a process died
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    return int(bool(report.findings if asked.strict else report.errors))


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Check a data set: every defect with its episode and row. Decodes every frame by default.",
    )
    add = parser.add_argument
    add("source", help="folder, or dataset on the hub: user/name")
    add(
        "--robot",
        help="name of a robot, or its JSON file (default: that of the public source named by --map, else the one that the data set brings)",
    )
    add(
        "--map",
        metavar="FILE",
        help="JSON file that says where columns and cameras are, or a public source such as droid",
    )
    add("--episodes", type=int, metavar="N", help="check so many, evenly over the data set (default: all)")
    add("--frames", type=int, default=1, metavar="K", help="decode every K-th frame (default: every frame)")
    add("--quick", action="store_true", help="decode only begin, middle and end of every video")
    add("--processes", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    add("--output", type=Path, metavar="FOLDER", help=f"write {REPORT_FILE} and {SHEET_FILE} there")
    add("--strict", action="store_true", help="exit with status 1 also for warnings")
    return parser


if __name__ == "__main__":
    sys.exit(main())
