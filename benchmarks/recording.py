"""How fast demonstrations are recorded on one core, and where the time goes.

    python benchmarks/recording.py --episodes 4 --output benchmarks/results

CPU time is counted, so that other processes do not matter much; 128×160, three views RGB-D.
"""

import argparse
import datetime
import json
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}  # one core: before MuJoCo loads its renderer

import torch
from measuring import commit_of, describe_machine

from xwam.data.writers.episode_writer import EpisodeWriter
from xwam.envs.mujoco_world import MujocoWorld
from xwam.policies.scripted import ScriptedPolicy
from xwam.recording.demonstrations import Recipe, record_demonstrations

ROOT = Path(__file__).resolve().parents[1]
STAGES = {
    "render": (MujocoWorld, "observe"),
    "encode": (EpisodeWriter, "add"),
    "physics": (MujocoWorld, "step"),
    "publish": (EpisodeWriter, "publish"),
    "expert": (ScriptedPolicy, "infer"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["lift_cube", "stack_cubes"])
    parser.add_argument("--episodes", type=int, default=4, help="of every task (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="folder to write the result to; else it is only shown")
    asked = parser.parse_args()
    seconds: defaultdict[str, float] = defaultdict(float)
    for stage, (owner, method) in STAGES.items():
        setattr(owner, method, timed(getattr(owner, method), stage, seconds))
    recipes = [Recipe(f"mujoco/{task}") for task in asked.tasks]
    lengths: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        record_demonstrations(f"{folder}/warm", recipes[:1], episodes=1)
        seconds.clear()
        start = time.process_time()
        record_demonstrations(
            f"{folder}/timed",
            recipes,
            episodes=asked.episodes,
            on_result=lambda _, result: lengths.append(result.num_frames),
        )
        total, steps = time.process_time() - start, sum(lengths)
        size = sum(path.stat().st_size for path in Path(folder, "timed").rglob("*") if path.is_file())
    result = {
        "benchmark": "recording",
        "command": " ".join(["OMP_NUM_THREADS=1 LP_NUM_THREADS=1 python benchmarks/recording.py", *sys.argv[1:]]),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "commit": commit_of(ROOT),
        "machine": describe_machine(torch.device("cpu")),
        "versions": MujocoWorld(image_size=(128, 160)).versions,
        "tasks": asked.tasks,
        "steps": steps,
        "steps_per_cpu_second": steps / total,
        "kilobytes_per_step": size / steps / 1000,
        "milliseconds_per_step": {
            stage: 1000 * spent / steps for stage, spent in sorted(seconds.items(), key=lambda one: -one[1])
        }
        | {"all": 1000 * total / steps},
    }
    print(render(result))
    if asked.output:
        write(result, asked.output)


def render(result: dict[str, Any]) -> str:
    """The whole result in Markdown."""
    commit, machine = result["commit"], result["machine"]
    changed = " with changes" if commit["has_changes"] else ""
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in {**machine, **result["versions"]}.items())
    lines = [
        f"# Recording demonstrations, {machine['processor']}, {result['date']}\n",
        f"`{result['command']}`  \ncommit {str(commit['commit'])[:12]}{changed}; {facts}\n",
        f"{result['steps']:,} steps of {', '.join(result['tasks'])}: {result['steps_per_cpu_second']:.1f} per second of CPU "
        f"time, {result['kilobytes_per_step']:.1f} kB each.\n",
        "| stage | CPU ms per step |\n| --- | --: |",
        *(f"| {stage} | {spent:.2f} |" for stage, spent in result["milliseconds_per_step"].items()),
    ]
    return "\n".join(lines) + "\n"


def write(result: dict[str, Any], folder: Path) -> None:
    """Write the result as Markdown and JSON; the file name says what was measured where and when."""
    hardware = re.sub(r"[^a-z0-9]+", "-", result["machine"]["processor"].lower()).strip("-")
    table = folder / f"recording_{hardware}_{result['date'][:10]}.md"
    folder.mkdir(parents=True, exist_ok=True)
    table.write_text(render(result), encoding="utf-8")
    table.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def timed(function: Any, stage: str, seconds: defaultdict[str, float]) -> Any:
    def call(*arguments: Any, **named: Any) -> Any:
        start = time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            seconds[stage] += time.process_time() - start

    return call


if __name__ == "__main__":
    main()
