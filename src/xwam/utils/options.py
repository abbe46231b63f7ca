"""Rules of command lines that more than one script has."""

import argparse
from collections.abc import Mapping, Sequence


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
