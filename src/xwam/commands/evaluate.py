"""`xwam evaluate`: success rates of a policy, with intervals, videos and everything they depend on."""

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xwam.envs.registry import list_envs
from xwam.evaluation.policy_choice import PolicyChoice
from xwam.evaluation.ranks import current_rank
from xwam.evaluation.report import make_report
from xwam.evaluation.results import EPISODES, ResultsFolder
from xwam.evaluation.runner import run_suite
from xwam.evaluation.suite import Suite
from xwam.utils.options import require_at_least, require_own


def main(arguments: Sequence[str]) -> int:
    """Evaluate a policy.

    Args:
        arguments (`Sequence[str]`): What follows `xwam evaluate`.

    Returns:
        `int`: 0 when the report is written, 1 if it could not be made, 2 if something impossible was asked for.
    """
    asked = _parser().parse_args(arguments)
    try:
        environments = _environments(asked.environments)
        choice = PolicyChoice(asked.policy, device=asked.device, dream=asked.dream, options=_options(asked))
        suite = _suite(asked, environments, choice)
        choice.check(environments, suite.seeds)
        require_at_least(1, asked, "processes")
        require_own(asked.output, EPISODES)
    except ValueError as error:
        print(f"xwam evaluate: {error}", file=sys.stderr)
        return 2
    try:
        return _run(asked, suite, choice)
    except (ValueError, ImportError, RuntimeError, OSError) as error:
        print(f"xwam evaluate: {error}", file=sys.stderr)
        return 1


def _run(asked: argparse.Namespace, suite: Suite, choice: PolicyChoice) -> int:
    rank = current_rank(on_cpu=asked.device == "cpu")
    if rank.device is not None and asked.device == "cuda":  # each rank on a device of its own
        suite = replace(suite, make_policy=replace(choice, device=rank.device))
    folder = ResultsFolder(asked.output)
    results = run_suite(suite, folder, num_processes=asked.processes, rank=rank)
    if not rank.is_main:
        return 0
    report = make_report(folder, results, num_ranks=rank.count, num_processes=asked.processes)
    has_plot = importlib.util.find_spec("matplotlib") is not None
    report.write(asked.output, plot=has_plot)
    print(f"\n{report.table}\n\nwrote {asked.output}/report.md")
    if not has_plot:
        print("no plot, for want of Matplotlib: pip install 'xwam[export]'")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xwam evaluate",
        description="Success rates of a policy. Started again with the same arguments, it goes on where it was stopped.",
    )
    add = parser.add_argument
    add(
        "--environments",
        nargs="+",
        required=True,
        metavar="NAME",
        help="such as mujoco/lift_cube, or mujoco for all of it",
    )
    add(
        "--policy",
        required=True,
        help="scripted, still, random, replay:FOLDER, mean:FOLDER, bc:FOLDER, embedded, or a pipeline's folder or hub id",
    )
    add("--episodes", type=int, default=20, help="episodes in every environment (default: %(default)s)")
    add("--first-seed", type=int, default=0, help="seed of the first episode; each further one adds 1 (default: 0)")
    add("--execute", type=int, default=16, help="commands of a chunk before planning again (default: %(default)s)")
    add("--randomized", action="store_true", help="vary light, colours, cameras and clutter")
    add("--instructions", choices=("seen", "unseen"), default="seen", help="which phrasings (default: seen)")
    add("--option", nargs=2, action="append", default=[], metavar=("NAME", "JSON"), help="more for the environments")
    add("--processes", type=int, default=1, help="processes on this machine, in each rank (default: 1)")
    add("--videos", type=int, default=0, help="episodes of every environment to film (default: 0)")
    add("--dream", action="store_true", help="show in the videos what the model imagined")
    add("--device", default="cpu", help="where a pipeline computes: cpu, cuda, … (default: cpu)")
    add("--output", type=Path, default=Path("evaluation"), help="folder of results (default: evaluation)")
    return parser


def _environments(asked: Sequence[str]) -> tuple[str, ...]:
    """Names in the order asked for, each once; a simulator stands for all of its tasks."""
    known = list_envs()
    names: list[str] = []
    for name in asked:
        found = [env for env in known if name in (env, env.partition("/")[0])]
        if not found:
            simulators = sorted({env.partition("/")[0] for env in known})
            near = [env for env in known if name.partition("/")[0] == env.partition("/")[0]]
            near = near or [env for env in known if name == env.partition("/")[2]]
            raise ValueError(f"There is no environment {name!r}; there are {near or f'tasks of {simulators}'}.")
        names += found
    return tuple(dict.fromkeys(names))


def _suite(asked: argparse.Namespace, environments: tuple[str, ...], choice: PolicyChoice) -> Suite:
    require_at_least(1, asked, "episodes")
    if asked.dream and not asked.videos:
        raise ValueError("--dream shows in videos only: give --videos too.")
    return Suite(
        environments=environments,
        seeds=tuple(range(asked.first_seed, asked.first_seed + asked.episodes)),
        make_policy=choice,
        num_executed=asked.execute,
        options=choice.options,
        num_videos=asked.videos,
    )


def _options(asked: argparse.Namespace) -> dict[str, Any]:
    """Arguments of the environments; what stands as it is by default is left out, since not every simulator has it."""
    options: dict[str, Any] = {}
    if asked.randomized:
        options["randomized"] = True
    if asked.instructions != "seen":
        options["instructions"] = asked.instructions
    for name, text in asked.option:
        if name in ("seed", "name", "task"):
            raise ValueError(f"--option {name} is none: say --first-seed and --environments.")
        try:
            options[name] = json.loads(text)
        except ValueError as error:
            raise ValueError(f"--option {name} must be JSON, but is {text!r} ({error}).") from error
    return options
