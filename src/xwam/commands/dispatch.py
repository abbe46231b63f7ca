"""Which command does what; each is imported only when it is asked for."""

import importlib.metadata
import sys
from collections.abc import Sequence
from typing import TextIO

STOPPED = 130  # exit status of what Ctrl-C ended, as shells have it
SUMMARY_OF_COMMAND = {
    "check": "what is wrong with a data set, episode by episode, with a picture sheet",
    "evaluate": "success rates of a policy: environments × seeds, with videos and a report",
    "gallery": "one picture of every embedded task, all cameras, RGB and depth",
    "label-depth": "a copy of a data set with depth that a model estimates from RGB",
    "imagine": "windows of a data set as a model imagines them and as they came, to be scored",
    "record": "demonstrations of scripted experts as a dataset",
    "replay": "stored demonstrations run again, with depth and calibration",
    "score": "predicted futures against what came: colour, depth, clouds, states, with intervals",
    "statistics": "quantiles of a robot's recordings, to normalise by",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `xwam <command> …`.

    Args:
        arguments (`Sequence[str]`, *optional*): What follows the program's name; the process's own by default.

    Returns:
        `int`: Exit status: 0 done, 1 could not be done, 2 asked for wrongly, 130 stopped by Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        _say_what_exists(sys.stdout if words else sys.stderr)
        return 0 if words else 2
    if words[0] == "--version":
        print(f"xwam {importlib.metadata.version('xwam')}")
        return 0
    if words[0] not in SUMMARY_OF_COMMAND:
        print(f"There is no command {words[0]!r}; known commands are {sorted(SUMMARY_OF_COMMAND)}.", file=sys.stderr)
        return 2
    try:
        return int(importlib.import_module(f"xwam.commands.{words[0].replace('-', '_')}").main(words[1:]))
    except KeyboardInterrupt:
        print(f"\nxwam {words[0]}: stopped", file=sys.stderr)
        return STOPPED


def _say_what_exists(file: TextIO) -> None:
    print("usage: xwam <command> [--help] …\n", file=file)
    width = max(map(len, SUMMARY_OF_COMMAND)) + 3
    for command, summary in SUMMARY_OF_COMMAND.items():
        print(f"  {command:<{width}}{summary}", file=file)
