"""Small ablations at equal budgets: what the depth branch, the noise of the training and the numbers of steps bring.

    python examples/train/embedded_small/ablations.py --size quick --work DIR [--again DIR_1] [--steps-of embedded] [--episodes 20]

Needs the stages of train.py; DIR_1 holds those of another seed. Trains six more transformers. Writes DIR/ablations/ablations.json
and ablations.md, and goes on where it was stopped.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measure import MODEL, Plan, measure, timed
from measure_report import rate
from measure_windows import kept, open_windows
from recipe import SIZES, in_batches
from tqdm import tqdm
from train import TRAINED, Run, train_transformer, whole_folder

from xwam import XWAM4DPipeline, XWAMPolicyPipeline, XWAMScheduler, load_recorded_observation
from xwam.checkpoints.json_files import read_json
from xwam.checkpoints.sources import EMBEDDED, local_folder
from xwam.data.writers.durable_files import write_json
from xwam.evaluation.provenance import machine
from xwam.evaluation.statistics import percentiles
from xwam.evaluation.tables import markdown_table, shown
from xwam.export.files import replacing
from xwam.training.config import NOISE_MODES, TrainConfig
from xwam.training.run_folder import CONFIG_NAME
from xwam.training.validation import evaluate
from xwam.utils.differences import first_difference


class Cell(NamedTuple):
    """What is trained: a depth branch, the noise of the training, and the seed of weights, order and noise."""

    depth: str
    noise: str
    seed: int = 0
    all_stages: bool = False  # whether text encoder, VAE and latents are of that seed too
    together: bool = False  # whether the actions are sampled in as many steps as the video

    @property
    def name(self) -> str:
        """Of its folder, and in the results."""
        marks = [mark for mark in ("all_stages", "together") if getattr(self, mark)]
        return "-".join([self.depth, self.noise, str(self.seed), *marks])


BRANCHES = ("interleaved", "none", "sequence", "channel")
OWN = Cell("interleaved", "ans")  # the training of train.py itself
CELLS = (
    *(Cell(branch, "ans") for branch in BRANCHES),
    *(Cell("interleaved", mode) for mode in NOISE_MODES if mode != "ans"),
    Cell("interleaved", "sync", together=True),  # the same weights as without
    Cell("interleaved", "ans", 1),  # how far apart the same lies
)
STEPS = ((10, 50), (2, 50), (1, 50), (10, 10))  # to the actions, to the video
STAGES = ("success", "dreams")
TIMED_CHUNKS = 20  # of every depth branch
COMMAND = "python examples/train/embedded_small/ablations.py --size {size} --work DIR{more} --episodes {episodes} --held-out {held_out}"


def train_cell(run: Run, cell: Cell) -> Path:
    """A transformer of its own, from the same latents and budget as the others'; the folder of its pipeline.

    Raises:
        ValueError: If what is there was trained in another way.
    """
    if cell == OWN:
        return trained(run.work / TRAINED, run.size.main)
    folder = run.work / "ablations" / cell.name
    if cell.together:
        return with_steps(train_cell(run, cell._replace(together=False)), folder / "pipeline", actions=None)
    run = replace(run, size=run.size.with_seed(cell.seed))
    config = replace(run.size.main, noise_mode=cell.noise)
    _expect_config(folder, config)
    if not (folder / "pipeline" / "model_index.json").exists():
        train_transformer(run, run.new_pipeline(cell.depth), folder, config=config)
    return folder / "pipeline"


def trained(pipeline: Path, config: TrainConfig) -> Path:
    """A folder in which a training of `train.py` has ended that was like this.

    Raises:
        ValueError: If it has not, or was another one.
    """
    if not (pipeline / "model_index.json").exists():
        raise ValueError(f"{pipeline.parent} holds no finished training; run the stages of train.py first.")
    _expect_config(pipeline.parent, config)
    return pipeline


def _expect_config(folder: Path, config: TrainConfig) -> None:
    """Refuse a training, finished or not, that was begun in another way."""
    if not (folder / CONFIG_NAME).exists():
        return
    there, here = read_json(folder / CONFIG_NAME), json.loads(json.dumps(config.to_dict()))
    for facts in (there, here):
        del facts["compile_blocks"]  # where there is no compiler
    if difference := first_difference(there, here):
        field, was, now = difference
        raise ValueError(f"{folder} was trained with {field} {was}, but here it is {now}.")


def trained_again(work: Path, run: Run) -> tuple[Cell, Path]:
    """What another seed of all stages became.

    Raises:
        ValueError: If there is none in the folder, or one of another size or of the same seed.
    """
    if not (work / "run.json").exists():
        raise ValueError(f"--again: {work} holds nothing that train.py made.")
    own = read_json(work / "run.json")
    if own["size"] != run.name or own["seed"] == run.size.seed:
        raise ValueError(
            f"--again: a training of size {run.name} with another seed than {run.size.seed} is needed, but {work} is of "
            f"size {own['size']} and seed {own['seed']}."
        )
    cell = OWN._replace(seed=own["seed"], all_stages=True)
    return cell, trained(work / TRAINED, run.size.with_seed(cell.seed).main)


def model_folder(name: str) -> Path:
    """Where a model is whose steps vary.

    Raises:
        ValueError: If there is none.
    """
    folder = local_folder(name)
    if folder is None or not (folder / "model_index.json").exists():
        raise ValueError(f"--steps-of: {name} holds no pipeline.")
    return folder


def measure_cell(run: Run, cell: Cell, model: Path, episodes: int, held_out: int) -> dict[str, Any]:
    """Success in closed loop and errors of dreams."""
    work = run.work / "ablations" / cell.name / f"measured-{episodes}-{held_out}"
    plan = _plan(run, model, work, episodes=episodes, held_out=held_out)
    found = measure(plan, STAGES)
    dream = found["dreams"]["numbers"]["futures"]["forecasts"]["dream"]
    actions = found["dreams"]["numbers"]["actions"]["forecasts"]["dream"]
    overall = found["success"]["numbers"]["policies"][MODEL]["overall"]
    numbers = {
        name: dream.get(name, {}).get("mean") for name in ("psnr", "psnr_moved", "abs_rel", "chamfer", "position")
    }
    return {
        "cell": cell._asdict(),
        "success": overall,
        **numbers,
        "action_rms": actions["rms"]["mean"],
        "dates": sorted({own["date"] for own in found.values()}),
        "commits": sorted({str(own["code"]["commit"]) for own in found.values()}),
    }


def _plan(run: Run, model: Path, work: Path, **settings: int) -> Plan:
    return Plan(
        model=model, data=run.data, work=work, shared=run.work / "ablations" / "shared", size=run.size, policies=(MODEL,),
        processes=run.num_processes, device=run.device, **settings,
    )  # fmt: skip


def measure_chunks(run: Run, models: Mapping[Cell, Path]) -> dict[str, float]:
    """Milliseconds of a policy's chunk, the median, by name of the cell: all in turn, so that a slow minute slows all."""
    observation, chunks = load_recorded_observation(), {}
    for cell, model in models.items():
        pipeline = XWAMPolicyPipeline.from_pretrained(model, dtype=torch.float32, load_depth=False).to(run.device)
        pipeline.set_progress_bar_config(disable=True)
        chunks[cell.name] = partial(pipeline, observation)
    return {name: percentiles(seconds)["p50_ms"] for name, seconds in timed(chunks, TIMED_CHUNKS).items()}


def with_steps(model: Path, folder: Path, actions: int | None, video: int | None = None) -> Path:
    """The same weights in a folder of their own, with other numbers of steps; `None`: as many as the model's to the video."""
    if not folder.exists():
        pipeline = XWAM4DPipeline.from_pretrained(model, dtype=torch.float32)
        own = pipeline.scheduler.config.num_inference_steps
        steps = {"num_action_steps": actions or own, "num_inference_steps": video or own}
        pipeline.scheduler = XWAMScheduler.from_config(pipeline.scheduler.config, **steps)
        with whole_folder(folder) as draft:
            pipeline.save_pretrained(draft)
    return folder


def measure_steps(run: Run, model: Path, episodes: int, held_out: int) -> dict[str, Any]:
    """One model with fewer steps: in closed loop, and on windows of held-out episodes."""
    fingerprint = _plan(run, model, run.work).fingerprint[:12]
    pairs, dates, commits = [], set(), set()
    for actions, video in tqdm(STEPS, desc="numbers of steps"):
        own = run.work / "ablations" / f"steps-{fingerprint}" / f"{actions}-{video}"
        copy = with_steps(model, own / "pipeline", actions, video)
        plan = _plan(run, copy, own / f"measured-{episodes}-{held_out}", episodes=episodes, held_out=held_out)
        loop = measure(plan, ("success",))["success"]
        success = loop["numbers"]["policies"][MODEL]["overall"]
        errors = kept(plan.work / "errors.json", partial(measure_errors, plan))
        pairs.append({"action_steps": actions, "video_steps": video, "success": success, **errors})
        dates.add(loop["date"])
        commits.add(str(loop["code"]["commit"]))
    return {"model": fingerprint, "pairs": pairs, "dates": sorted(dates), "commits": sorted(commits)}


def measure_errors(plan: Plan) -> dict[str, float]:
    """Of what a model samples with its own numbers of steps."""
    processor = plan.pipeline.robot_processor
    windows, numbers = open_windows(plan.held_out_folder, processor.spec, plan.parts)
    clips = [processor.encode_clip(windows[number]) for number in tqdm(numbers, desc="windows")]
    return evaluate(plan.pipeline, in_batches(clips), noise_draws=1).numbers()


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
    for own in found["cells"].values():
        cell = Cell(**own["cell"])
        row = [_number(own[column], digits, factor) for column, digits, factor in _CELL_COLUMNS.values()]
        cells.append(
            [
                cell.depth,
                f"{cell.noise}, sampled together" if cell.together else cell.noise,
                f"{cell.seed}, all stages" if cell.all_stages else str(cell.seed),
                rate(own["success"]),
                *row,
                _number(found["chunk_ms"][cell.name], 0),
            ]
        )
    steps = [["T_a", "T_O", "success", *_STEP_COLUMNS]]
    for own in found["steps"]["pairs"]:
        row = [_number(own.get(name), digits) for name, digits in _STEP_COLUMNS.values()]
        steps.append([str(own["action_steps"]), str(own["video_steps"]), rate(own["success"]), *row])
    measured = [*found["cells"].values(), found["steps"]]
    dates, commits = (sorted({each for own in measured for each in own[name]}) for name in ("dates", "commits"))
    notes = [
        f"Each row is a transformer of its own, trained for {found['updates']} updates with the same settings. Rows that differ in the "
        "seed only show how much is chance; “all stages”: text encoder, VAE and latents are of that seed too. “Sampled together”: "
        "the weights of the row above, actions and video in the same steps, as they are trained with `sync`. Success: over "
        f"{found['episodes']} episodes of every task, in percent, with Wilson's interval. PSNR in dB, over all frames of held-out "
        "windows. Actions: root mean square, normalised. Chunk: the policy's 32 commands, which need no interleaved branch.",
        f"Fewer steps to the actions (T_a) and to the video (T_O), of {found['steps_of']} (SHA-256 {found['steps']['model']}…):",
    ]
    host = found["machine"]
    source = f"`{found['command']}`; {host['processor']}, {host['num_cores']} cores; {', '.join(dates)}; commit {', '.join(commits)}."
    return "\n\n".join([notes[0], markdown_table(cells), notes[1], markdown_table(steps), source]) + "\n"


def _number(value: float | None, digits: int, factor: float = 1) -> str:
    return "–" if value is None else shown(factor * value, digits)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="quick")
    parser.add_argument("--work", type=Path, required=True, help="the folder of train.py")
    parser.add_argument("--data", type=Path, help="demonstrations; DIR/data by default")
    parser.add_argument("--again", type=Path, help="the folder of train.py with another seed: a row more")
    parser.add_argument("--episodes", type=int, default=20, help="of every task in closed loop")
    parser.add_argument("--held-out", type=int, default=2, help="expert episodes of every task to dream of")
    parser.add_argument(
        "--steps-of", help="folder or embedded: whose numbers of steps vary; the first row's by default"
    )
    parser.add_argument("--processes", type=int, default=1, help="for episodes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args(arguments)
    data = asked.data or asked.work / "data"
    run = Run(asked.size, SIZES[asked.size], asked.work, data, asked.device, asked.processes)
    try:
        models = {OWN: train_cell(run, OWN)}
        again = [] if asked.again is None else [trained_again(asked.again, run)]
        steps_of = models[OWN] if asked.steps_of is None else model_folder(asked.steps_of)
        run.begin()
        models |= {cell: train_cell(run, cell) for cell in CELLS} | dict(again)
    except ValueError as error:
        parser.exit(1, f"ablations.py: {error}\n")
    source = {None: "the first row", EMBEDDED: f"`{EMBEDDED}`"}.get(asked.steps_of, "MODEL")
    more = (" --again DIR_1" if again else "") + (f" --steps-of {source.strip('`')}" if asked.steps_of else "")
    found = {
        "cells": {
            cell.name: measure_cell(run, cell, model, asked.episodes, asked.held_out) for cell, model in models.items()
        },
        "chunk_ms": measure_chunks(run, models),
        "steps": measure_steps(run, steps_of, asked.episodes, asked.held_out),
        "steps_of": source,
        "updates": run.size.main.steps,
        "episodes": asked.episodes,
        "command": COMMAND.format(**vars(asked), more=more),
        "machine": machine(),
    }
    folder, tables = run.work / "ablations", markdown(found)
    write_json(folder / "ablations.json", found)
    with replacing(folder / "ablations.md") as temporary:
        temporary.write_text(tables, encoding="utf-8")
    sys.stdout.write(tables)


if __name__ == "__main__":
    main()
