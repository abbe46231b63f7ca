"""Measure a trained embedded model and what it must beat, each figure from seeds; a run that was stopped goes on.

    python examples/train/embedded_small/measure.py --model DIR/pipeline --data DIR/data --work DIR/measured

writes DIR/measured/measurements.json, the tables as measurements.md, and with --card also the section "Measured" of the
model's README.md.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from measure_dreams import measure_dreams
from measure_dynamics import measure_dynamics
from measure_report import markdown, write_card
from measure_windows import record_held_out
from recipe import SIZES, Size, open_episodes
from tqdm import tqdm

from xwam import Policy, XWAM4DPipeline, XWAMPolicyPipeline, make_env
from xwam.checkpoints.sources import local_folder
from xwam.evaluation.policy_choice import PolicyChoice
from xwam.evaluation.provenance import code_version, machine
from xwam.evaluation.report import make_report
from xwam.evaluation.results import ResultsFolder
from xwam.evaluation.runner import run_suite
from xwam.evaluation.statistics import percentiles
from xwam.evaluation.suite import Suite
from xwam.export.files import replacing
from xwam.policies.baseline_files import load_baseline, save_baseline
from xwam.policies.baselines import StillPolicy
from xwam.policies.demonstrated_chunks import demonstrated_chunks
from xwam.policies.trained_baselines import ClonedPolicy, CloningConfig, MeanActionPolicy
from xwam.utils.differences import first_difference

STAGES = ("success", "dreams", "dynamics", "latency")
ACTION_STEPS = (10, 5, 4, 2, 1)
MODEL, CLONE = "X-WAM", "behaviour cloning"
POLICIES = (MODEL, CLONE, "mean action", "random", "still", "scripted expert")
COMMAND = "python examples/train/embedded_small/measure.py --model MODEL --data DATA --work WORK"
# What the command in the report leaves out.
OWN_AFFAIR = ("model", "data", "work", "stages", "card", "processes", "device")
NOT_OF_THE_MODEL = ("README.md", "LICENSE", "manifest.json")


@dataclass(frozen=True)
class Plan:
    """What is measured and how.

    Args:
        model (`Path`): Folder of the pipeline.
        data (`Path`): The recipe's recording, from which the baselines learn.
        work (`Path`): Where everything is kept.
        size (`Size`): Of the recipe: tasks and robot.
        episodes (`int`, *optional*, defaults to `100`): Of every task in closed loop.
        first_seed (`int`, *optional*, defaults to `100000`): Of these.
        executed (`int`, *optional*, defaults to `16`): Commands of a chunk before a policy is asked again.
        held_out (`int`, *optional*, defaults to `4`): Expert episodes of every task that dreams are held against.
        held_out_seed (`int`, *optional*, defaults to `200000`): The first of these.
        parts (`int`, *optional*, defaults to `3`): Windows of each of them.
        instructions (`str`, *optional*, defaults to `"unseen"`): Which phrasings.
        randomized (`bool`, *optional*, defaults to `False`): Whether looks vary.
        runs (`int`, *optional*, defaults to `20`): Of each timing.
        processes (`int`, *optional*, defaults to `1`): For episodes in closed loop and recordings.
        device (`str`, *optional*, defaults to `"cpu"`): Where the model computes, but for the latency, which is a CPU's.
        cloning (`CloningConfig`, *optional*): How the cloned policy learns.
        policies (`tuple[str, ...]`, *optional*): Of `POLICIES`, those that act in closed loop.
        shared (`Path`, *optional*): Where held-out episodes and baselines are, which models can share; `work` by default.
        command (`str`, *optional*): What to type to measure this again; folders are the reader's own.
    """

    model: Path
    data: Path
    work: Path
    size: Size
    episodes: int = 100
    first_seed: int = 100_000
    executed: int = 16
    held_out: int = 4
    held_out_seed: int = 200_000
    parts: int = 3
    instructions: str = "unseen"
    randomized: bool = False
    runs: int = 20
    processes: int = 1
    device: str = "cpu"
    cloning: CloningConfig = field(default_factory=CloningConfig)
    policies: tuple[str, ...] = POLICIES
    shared: Path | None = None
    command: str = COMMAND

    @property
    def options(self) -> dict[str, Any]:
        """What worlds are made with."""
        looks = {"randomized": True} if self.randomized else {}
        return {**looks, "instructions": self.instructions}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over everything in the folder that the model is made of."""
        digest = sha256()
        for path in sorted(self.model.rglob("*")):
            if path.is_file() and path.name not in NOT_OF_THE_MODEL:
                digest.update(path.relative_to(self.model).as_posix().encode() + sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    @cached_property
    def pipeline(self) -> XWAM4DPipeline:
        """The model with everything that it can imagine."""
        pipeline = XWAM4DPipeline.from_pretrained(self.model, dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.device)

    @property
    def held_out_folder(self) -> Path:
        """Expert episodes that nothing was trained on; recorded where they are not there."""
        looks = "-randomized" if self.randomized else ""
        name = f"held_out-{self.held_out}-{self.held_out_seed}-{self.instructions}{looks}"
        folder = (self.shared or self.work) / name
        record_held_out(folder, self.size.tasks, self.options, self.held_out, self.held_out_seed, self.processes)
        return folder

    def baseline(self, name: str) -> Path:
        """Folder of a fitted baseline, `"mean"` or `"bc"`; both are fitted where they are not there."""
        folder = (self.shared or self.work) / "baselines"
        if not (folder / "bc" / "policy.json").exists():
            print("fitting the mean action and the cloned policy", flush=True)
            reader, _ = open_episodes(self.data, self.size)
            chunks = demonstrated_chunks(reader, self.size.robot)
            notes = {"episodes": len(reader.episodes), "windows": len(chunks), "cloning": asdict(self.cloning)}
            save_baseline(folder / "mean", MeanActionPolicy.fit(self.size.robot, chunks), notes=notes)
            save_baseline(folder / "bc", ClonedPolicy.fit(self.size.robot, chunks, self.cloning), notes=notes)
        return folder / name


def measure(plan: Plan, stages: tuple[str, ...] = STAGES) -> dict[str, Any]:
    """Run what is missing of the stages, and put together all that were measured.

    Raises:
        ValueError: If the model is no pipeline, or a stage was measured, or begun, with other settings.
    """
    if not (plan.model / "model_index.json").is_file():
        raise ValueError(f"{plan.model} is no folder of a pipeline: it holds no model_index.json.")
    for stage in stages:
        _run_stage(plan, stage)
    found = {
        stage: json.loads((plan.work / f"{stage}.json").read_text(encoding="utf-8"))
        for stage in STAGES
        if (plan.work / f"{stage}.json").exists()
    }
    _write(plan.work / "measurements.json", json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False))
    _write(plan.work / "measurements.md", markdown(found))
    return found


def _run_stage(plan: Plan, stage: str) -> None:
    run, settings = _STAGES[stage]
    own = {"model": plan.fingerprint, "tasks": list(plan.size.tasks), "cloning": asdict(plan.cloning)}
    own |= {name: getattr(plan, name) for name in settings}
    begun, path = plan.work / stage / "settings.json", plan.work / f"{stage}.json"
    if not begun.exists():
        _write(begun, json.dumps(own))
    if difference := first_difference(json.loads(begun.read_text(encoding="utf-8")), own):
        name, there, here = difference
        raise ValueError(
            f"{begun.parent} was begun with {name} {there!r}, but now it is {here!r}; choose another folder."
        )
    if path.exists():
        return
    print(f"{stage}: begun {datetime.now(UTC):%H:%M:%S} UTC", flush=True)
    start = time.monotonic()
    facts = {
        "numbers": run(plan),
        "settings": own,
        "command": f"{plan.command} --stages {stage}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": {
            **machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "device": plan.device,
        },
        "code": code_version(),
        "seconds": round(time.monotonic() - start),
    }
    _write(path, json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False))
    print(f"{stage}: done in {facts['seconds']} s", flush=True)


def measure_success(plan: Plan) -> dict[str, Any]:
    """Closed loop: every policy on the same seeds and phrasings of every task."""
    policies = {
        MODEL: str(plan.model.resolve()),  # a bare word would name the model that comes with the package
        CLONE: f"bc:{plan.baseline('bc')}",
        "mean action": f"mean:{plan.baseline('mean')}",
        "random": "random",
        "still": "still",
        "scripted expert": "scripted",
    }
    seeds = tuple(range(plan.first_seed, plan.first_seed + plan.episodes))
    environments = tuple(f"mujoco/{task}" for task in plan.size.tasks)
    found: dict[str, Any] = {}
    for name in plan.policies:
        print(f"closed loop: {name}", flush=True)
        # The clone is asked in the words that it learnt.
        options = {**plan.options, "instructions": "seen"} if name == CLONE else plan.options
        choice = PolicyChoice(policies[name], device=plan.device, options=options)
        choice.check(environments, seeds)
        suite = Suite(environments, seeds, choice, num_executed=plan.executed, options=options)
        folder = ResultsFolder(plan.work / "success" / name.replace(" ", "_"))
        report = make_report(folder, run_suite(suite, folder, num_processes=plan.processes))
        report.write(folder.path, plot=False)
        rates = {environment: facts["rates"] for environment, facts in report.rates["environments"].items()}
        found[name] = {"environments": rates, "overall": report.rates["overall"]}
    return {"policies": found}


def measure_latency(plan: Plan) -> dict[str, Any]:
    """How long a chunk takes by the number of steps, and a whole future: all in turn, so that a slow minute slows all."""
    pipeline = XWAMPolicyPipeline.from_pretrained(plan.model, dtype=torch.float32, load_depth=False)
    pipeline.set_progress_bar_config(disable=True)
    with make_env(f"mujoco/{plan.size.tasks[0]}", **plan.options) as world:
        observation = world.reset(plan.first_seed)
    steps = [own for own in ACTION_STEPS if own <= pipeline.scheduler.config.num_inference_steps]
    runs: dict[str, Callable[[], Any]] = {
        str(own): partial(pipeline, observation, num_action_steps=own) for own in steps
    }
    seconds = timed(runs, plan.runs)
    whole = replace(plan, device="cpu").pipeline
    dreams = timed({"future": partial(whole, observation)}, max(plan.runs // 5, 1))
    return {
        "chunk": {name: percentiles(own) for name, own in seconds.items()},
        "future": percentiles(dreams["future"]),
        "num_inference_steps": pipeline.scheduler.config.num_inference_steps,
        "num_commands": pipeline.robot_processor.num_actions,
        "runs": plan.runs,
    }


def timed(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every run, all in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in tqdm(range(-1, rounds), desc="latency", disable=None):  # the first round warms up
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _dreams(plan: Plan) -> dict[str, Any]:
    robot = plan.size.robot
    policies: dict[str, Policy] = {
        "mean action": load_baseline(plan.baseline("mean"), "mean_action"),
        CLONE: load_baseline(plan.baseline("bc"), "behaviour_cloning"),
        "still": StillPolicy(robot),
    }
    work = plan.work / "dreams"
    return measure_dreams(plan.pipeline, policies, plan.held_out_folder, plan.parts, work, plan.fingerprint)


def _dynamics(plan: Plan) -> dict[str, Any]:
    return measure_dynamics(plan.pipeline, plan.held_out_folder, plan.parts, plan.work / "dynamics")


_WORLDS = ("instructions", "randomized")
_HELD_OUT = (*_WORLDS, "held_out", "held_out_seed", "parts")
_STAGES: dict[str, tuple[Callable[[Plan], dict[str, Any]], tuple[str, ...]]] = {
    "success": (measure_success, (*_WORLDS, "episodes", "first_seed", "executed")),
    "dreams": (_dreams, _HELD_OUT),
    "dynamics": (_dynamics, _HELD_OUT),
    "latency": (measure_latency, (*_WORLDS, "first_seed", "runs")),
}


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", required=True, help="folder of the trained pipeline, or embedded: that of the package")
    add("--data", type=Path, required=True, help="the recipe's recording")
    add("--work", type=Path, required=True, help="where everything is kept; the same folder goes on")
    add("--stages", nargs="+", choices=STAGES, default=STAGES)
    add("--size", choices=sorted(SIZES), default="cpu", help="of the recipe (default: %(default)s)")
    add("--episodes", type=int, default=100, help="of every task in closed loop (default: %(default)s)")
    add("--executed", type=int, default=16, help="commands of a chunk before planning again (default: %(default)s)")
    add("--held-out", type=int, default=4, help="expert episodes of every task to dream of (default: %(default)s)")
    add("--parts", type=int, default=3, help="windows of each of them (default: %(default)s)")
    add("--instructions", choices=("seen", "unseen"), default="unseen", help="which phrasings (default: %(default)s)")
    add("--randomized", action="store_true", help="vary light, colours, cameras and clutter")
    add("--runs", type=int, default=20, help="of each timing (default: %(default)s)")
    add("--cloning-steps", type=int, default=CloningConfig.steps, help="of the cloned policy (default: %(default)s)")
    add("--processes", type=int, default=1, help="for episodes (default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where the model computes")
    add("--card", action="store_true", help="write the tables into the model's README.md too")
    return parser


def main() -> int:
    """Measure what the command line asks for."""
    parser = _parser()
    asked = vars(parser.parse_args())
    words = [COMMAND]
    for name, value in asked.items():
        if name not in OWN_AFFAIR and value != parser.get_default(name):
            words.append(f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}"))
    stages, card, size = tuple(asked.pop("stages")), asked.pop("card"), SIZES[asked.pop("size")]
    asked["model"] = local_folder(asked["model"]) or Path(asked["model"])
    cloning = CloningConfig(steps=asked.pop("cloning_steps"))
    plan = Plan(size=size, cloning=cloning, command=" ".join(words), **asked)
    try:
        found = measure(plan, stages)
        if card:
            write_card(plan.model, found)
    except ValueError as error:
        print(f"measure.py: {error}", file=sys.stderr)
        return 1
    print(f"\n{markdown(found)}\nwrote {plan.work / 'measurements.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
