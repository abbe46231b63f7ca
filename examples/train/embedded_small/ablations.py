"""Small ablations at equal budgets: what the depth branch, the noise of the training and the numbers of steps bring.

    python examples/train/embedded_small/ablations.py --size cpu --work DIR [--steps 1200] [--episodes 20]

Needs the stages of train.py. Writes DIR/ablations/ablations.json and ablations.md, and goes on where it was stopped.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measure import MODEL, Plan, measure, timed
from measure_report import rate
from measure_windows import kept
from recipe import SIZES, held_out_clips
from tqdm import tqdm
from train import Run, train_transformer

from xwam import XWAMPolicyPipeline, load_recorded_observation
from xwam.data.writers.durable_files import write_json
from xwam.evaluation.provenance import machine
from xwam.evaluation.statistics import percentiles
from xwam.evaluation.tables import markdown_table, shown
from xwam.export.files import replacing
from xwam.training.config import NOISE_MODES
from xwam.training.validation import evaluate


class Cell(NamedTuple):
    """What is trained: a depth branch, the noise of the training, and the seed of weights, order and noise."""

    depth: str
    noise: str
    seed: int = 0

    @property
    def name(self) -> str:
        """Of its folder, and in the results."""
        return f"{self.depth}-{self.noise}-{self.seed}"


BRANCHES = ("interleaved", "none", "sequence", "channel")
CELLS = (
    *(Cell(branch, "ans") for branch in BRANCHES),
    *(Cell("interleaved", mode) for mode in NOISE_MODES if mode != "ans"),
    *(Cell("interleaved", "ans", seed) for seed in (1, 2)),  # how far apart the same lies
)
STEPS = ((1, 50), (2, 50), (5, 50), (10, 50), (10, 25), (10, 10))  # to the actions, to the video
STAGES = ("success", "dreams")
TIMED_CHUNKS = 20  # of every depth branch
COMMAND = (
    "python examples/train/embedded_small/ablations.py --size {size} --work DIR --steps {steps} --episodes {episodes} "
    "--held-out {held_out}"
)


def train_cell(run: Run, cell: Cell, steps: int) -> Path:
    """A transformer of its own, from the same latents and budget as the others'; its folder."""
    run = replace(run, size=run.size.with_seed(cell.seed))
    folder = run.work / "ablations" / f"{cell.name}-{steps}"
    if not (folder / "pipeline" / "model_index.json").exists():
        config = replace(
            run.size.main,
            steps=steps,
            noise_mode=cell.noise,
            validation_interval=steps,
            sample_interval=steps,
            ema_decay=0.99,
        )
        train_transformer(run, run.new_pipeline(cell.depth), folder, config=config)
    return folder / "pipeline"


def measure_cell(run: Run, model: Path, episodes: int, held_out: int) -> dict[str, Any]:
    """Success in closed loop and errors of dreams."""
    plan = Plan(
        model=model, data=run.data, work=model.parent / f"measured-{episodes}-{held_out}", shared=run.work / "ablations" / "shared",
        size=run.size, episodes=episodes, held_out=held_out, policies=(MODEL,), processes=run.num_processes, device=run.device,
    )  # fmt: skip
    found = measure(plan, STAGES)
    dream = found["dreams"]["numbers"]["futures"]["forecasts"]["dream"]
    actions = found["dreams"]["numbers"]["actions"]["forecasts"]["dream"]
    overall = found["success"]["numbers"]["policies"][MODEL]["overall"]
    numbers = {
        name: dream.get(name, {}).get("mean") for name in ("psnr", "psnr_moved", "abs_rel", "chamfer", "position")
    }
    return {
        "success": overall,
        **numbers,
        "action_rms": actions["rms"]["mean"],
        "dates": sorted({own["date"] for own in found.values()}),
        "commits": sorted({str(own["code"]["commit"]) for own in found.values()}),
    }


def measure_chunks(run: Run, models: Mapping[str, Path]) -> dict[str, float]:
    """Milliseconds of a policy's chunk, the median, by depth branch: all in turn, so that a slow minute slows all."""
    observation, chunks = load_recorded_observation(), {}
    for branch, model in models.items():
        pipeline = XWAMPolicyPipeline.from_pretrained(model, dtype=torch.float32, load_depth=False).to(run.device)
        pipeline.set_progress_bar_config(disable=True)
        chunks[branch] = partial(pipeline, observation)
    return {branch: percentiles(seconds)["p50_ms"] for branch, seconds in timed(chunks, TIMED_CHUNKS).items()}


def measure_steps(run: Run) -> list[dict[str, float | None]]:
    """The whole model with fewer steps, on the held-out clips of the recording."""
    model = run.work / "pipeline"
    plan = Plan(model=model, data=run.data, work=run.work, size=run.size, device=run.device)
    clips = held_out_clips(run.data, run.size)

    def measure(actions: int, video: int) -> dict[str, float]:
        report = evaluate(
            plan.pipeline, clips, num_action_steps=actions, num_inference_steps=video, noise_draws=1
        ).numbers()
        return {"action_steps": actions, "video_steps": video, **report}

    folder = run.work / "ablations" / f"steps-{plan.fingerprint[:12]}"
    return [
        kept(folder / f"{actions}-{video}.json", partial(measure, actions, video))
        for actions, video in tqdm(STEPS, desc="numbers of steps")
    ]


_CELL_COLUMNS = {  # title: (number, digits, factor)
    "PSNR": ("psnr", 2, 1), "moved pixels": ("psnr_moved", 2, 1), "AbsRel": ("abs_rel", 4, 1), "Chamfer (mm)": ("chamfer", 1, 1000),
    "tool (mm)": ("position", 1, 1000), "actions": ("action_rms", 3, 1),
}  # fmt: skip
_STEP_COLUMNS = {
    "actions": ("action_error", 3), "states": ("state_error", 3), "PSNR": ("psnr", 2), "moving pixels": ("psnr_moving", 2),
    "AbsRel": ("depth_error", 4),
}  # fmt: skip


def markdown(found: Mapping[str, Any]) -> str:
    """The tables."""
    cells = [["depth", "noise", "seed", "success", *_CELL_COLUMNS, "chunk (ms)"]]
    for cell in CELLS:
        own = found["cells"][cell.name]
        row = [_number(own[name], digits, factor) for name, digits, factor in _CELL_COLUMNS.values()]
        cells.append(
            [
                cell.depth,
                cell.noise,
                str(cell.seed),
                rate(own["success"]),
                *row,
                _number(found["chunk_ms"][cell.depth], 0),
            ]
        )
    steps = [["T_a", "T_O", *_STEP_COLUMNS]]
    for own in found["steps"]:
        row = [_number(own.get(name), digits) for name, digits in _STEP_COLUMNS.values()]
        steps.append([str(own["action_steps"]), str(own["video_steps"]), *row])
    dates, commits = (
        sorted({each for own in found["cells"].values() for each in own[name]}) for name in ("dates", "commits")
    )
    return (
        f"Each row of the first table is a transformer of its own, trained for {found['updates']} updates on the same latents; the "
        f"rows that differ in the seed only show how much is chance; success over {found['episodes']} episodes of every task with Wilson's interval, in percent; PSNR in dB, over "
        "all frames of held-out windows; actions: root mean square, normalised; chunk: the policy's 32 commands, which need no "
        f"interleaved branch.\n\n{markdown_table(cells)}\n\nThe whole model, with fewer steps:\n\n{markdown_table(steps)}\n\n"
        f"`{found['command']}`; {found['machine']['processor']}, {found['machine']['num_cores']} cores; {', '.join(dates)}; "
        f"commit {', '.join(commits)}.\n"
    )


def _number(value: float | None, digits: int, factor: float = 1) -> str:
    return "–" if value is None else shown(factor * value, digits)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="cpu")
    parser.add_argument("--work", type=Path, required=True, help="the folder of train.py")
    parser.add_argument("--data", type=Path, help="demonstrations; DIR/data by default")
    parser.add_argument("--steps", type=int, default=1200, help="updates of every cell")
    parser.add_argument("--episodes", type=int, default=20, help="of every task in closed loop")
    parser.add_argument("--held-out", type=int, default=2, help="expert episodes of every task to dream of")
    parser.add_argument("--processes", type=int, default=1, help="for episodes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args(arguments)
    data = asked.data or asked.work / "data"
    run = Run(asked.size, SIZES[asked.size], asked.work, data, asked.device, asked.processes)
    try:
        run.begin()
    except ValueError as error:
        parser.exit(1, f"ablations.py: {error}\n")
    models = {cell: train_cell(run, cell, asked.steps) for cell in CELLS}
    found = {
        "cells": {cell.name: measure_cell(run, models[cell], asked.episodes, asked.held_out) for cell in CELLS},
        "chunk_ms": measure_chunks(run, {branch: models[Cell(branch, "ans")] for branch in BRANCHES}),
        "steps": measure_steps(run),
        "updates": asked.steps,
        "episodes": asked.episodes,
        "command": COMMAND.format(**vars(asked)),
        "machine": machine(),
    }
    folder, tables = run.work / "ablations", markdown(found)
    write_json(folder / "ablations.json", found)
    with replacing(folder / "ablations.md") as temporary:
        temporary.write_text(tables, encoding="utf-8")
    sys.stdout.write(tables)


if __name__ == "__main__":
    main()
