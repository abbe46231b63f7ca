"""What the learning benchmark found, as tables, JSON, a plot of the losses and a picture of sampled futures."""

import datetime
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from measuring import commit_of, describe_machine

ROOT = Path(__file__).resolve().parents[1]
MAIN_STAGES = ("record", "codec", "encode", "transformer", "samples")
REFERENCE_STEP = 100  # the losses are compared with those after so many steps
LOSSES = ("video", "actions", "states", "depth")


def write_report(work: Path, folder: Path) -> str:
    """Write Markdown, JSON, plot and picture; the Markdown."""
    result = collect(work)
    hardware = re.sub(r"[^a-z0-9]+", "-", result["machine"]["processor"].lower()).strip("-")
    name = f"learning_{hardware}_{result['date'][:10]}"
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [f"{name}_losses.png", f"{name}_samples.png"]
    plot(result, folder / pictures[0])
    best = sorted((work / "samples").glob("clip-*.png"))[0]
    shutil.copyfile(best, folder / pictures[1])
    text = render(result, pictures)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return text


def collect(work: Path) -> dict[str, Any]:
    """Everything that the stages left behind."""
    lines = [json.loads(line) for line in (work / "transformer" / "metrics.jsonl").read_text().splitlines()]
    overfit = json.loads((work / "overfit.json").read_text())
    return {
        "benchmark": "learning",
        "command": "OMP_NUM_THREADS=1 LP_NUM_THREADS=1 python benchmarks/learning.py " + " ".join(sys.argv[1:]),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "commit": commit_of(ROOT),
        "machine": describe_machine(torch.device("cpu")),
        "cpu_seconds": {
            path.stem: json.loads(path.read_text())["seconds"] for path in sorted((work / "clocks").glob("*.json"))
        },
        "train": [{k[6:]: v for k, v in line.items() if k.startswith("train/")} | {"step": line["step"]} for line in lines if "train/loss" in line],
        "validation": [{k[11:]: v for k, v in line.items() if k.startswith("validation/")} | {"step": line["step"]} for line in lines if "validation/loss" in line],
        "samples": json.loads((work / "validation.json").read_text()),
        "modes": json.loads((work / "modes.json").read_text()),
        "branches": json.loads((work / "branches.json").read_text()),
        "overfit": {"first": overfit[0], "last": overfit[-1]},
    }  # fmt: skip


def render(result: dict[str, Any], pictures: list[str]) -> str:
    """The whole result in Markdown."""
    commit, machine, seconds = result["commit"], result["machine"], result["cpu_seconds"]
    changed = " with changes" if commit["has_changes"] else ""
    main = sum(seconds.get(stage, 0.0) for stage in MAIN_STAGES)
    first = next(line for line in result["validation"] if line["step"] == REFERENCE_STEP)
    last, found = result["validation"][-1], result["samples"]
    losses = [
        f"| {name} | {first[f'loss_{name}']:.4f} | {last[f'loss_{name}']:.4f} | "
        f"{1 - last[f'loss_{name}'] / first[f'loss_{name}']:.0%} |"
        for name in LOSSES
    ]
    overfit = result["overfit"]
    share = overfit["last"]["loss"] / overfit["first"]["loss"]
    parts = [
        f"# Does it learn, {machine['processor']}, {result['date']}",
        f"`{result['command']}`  \ncommit {str(commit['commit'])[:12]}{changed}; "
        + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items()),
        f"CPU minutes: {main / 60:.0f} for the model ("
        + ", ".join(f"{stage} {seconds.get(stage, 0) / 60:.1f}" for stage in MAIN_STAGES)
        + "); short runs besides: "
        + ", ".join(f"{stage} {spent / 60:.1f}" for stage, spent in seconds.items() if stage not in MAIN_STAGES)
        + ".",
        f"## Held-out losses at fixed noise, {found['num_clips']} clips",
        f"| loss | after {REFERENCE_STEP} steps | after {last['step']} | lower by |\n| --- | --: | --: | --: |\n" + "\n".join(losses),
        f"![losses]({pictures[0]})",
        f"## Sampled futures, {found['num_sampled']} held-out clips",
        "| | sampled | simple forecast | what it is |\n| --- | --: | --: | --- |\n" + "\n".join(_forecasts(found)),
        f"![samples]({pictures[1]})",
        "## Short runs: held-out loss before and after 80 steps of 4 windows",
        _short("noise levels", result["modes"]) + "\n\n" + _short("depth branch", result["branches"]),
        f"## Eight windows at fixed noise\n\nThe loss fell from {overfit['first']['loss']:.3f} to {overfit['last']['loss']:.4f}, "
        f"{share:.2%} of it, in {overfit['last']['step'] + 1} steps.",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _forecasts(found: dict[str, Any]) -> list[str]:
    rows = (
        ("PSNR, moving pixels, dB", "psnr_moving", "copy_psnr_moving", "first frame repeated"),
        ("PSNR, all pixels, dB", "psnr", "copy_psnr", "first frame repeated"),
        ("PSNR, moving pixels, dB", "psnr_moving", "codec_psnr_moving", "the truth through the VAE"),
        ("PSNR, all pixels, dB", "psnr", "codec_psnr", "the truth through the VAE"),
        ("depth, mean relative error", "depth_error", "copy_depth_error", "first measured frame repeated"),
        ("actions, RMS", "action_error", "mean_action_error", "mean action of these clips"),
        ("states, RMS", "state_error", "copy_state_error", "first state repeated"),
    )
    return [f"| {words} | {found[ours]:.3f} | {found[theirs]:.3f} | {what} |" for words, ours, theirs, what in rows]


def _short(title: str, runs: dict[str, Any]) -> str:
    head = f"| {title} | {' | '.join(LOSSES)} |\n| --- |{' --: |' * len(LOSSES)}"
    rows = []
    for name, run in runs.items():
        cells = [
            f"{run['before'][loss]:.3f} → {run['after'][loss]:.3f}" if loss in run["after"] else "" for loss in LOSSES
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([head, *rows])


def plot(result: dict[str, Any], path: Path) -> None:
    """Curves of the training and the held-out losses."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(LOSSES), figsize=(14, 3.2), constrained_layout=True)
    for axis, name in zip(axes, LOSSES, strict=True):
        axis.plot(
            [line["step"] for line in result["train"]],
            [line[name] for line in result["train"]],
            lw=0.7,
            label="training",
        )
        axis.plot([line["step"] for line in result["validation"]], [line[f"loss_{name}"] for line in result["validation"]], label="held out, fixed noise, EMA")  # fmt: skip
        axis.set(title=name, xlabel="step", yscale="log")
    axes[0].legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
