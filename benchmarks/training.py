"""Where the time of a training step goes, before and after the data are encoded ahead.

    OMP_NUM_THREADS=1 python benchmarks/training.py --output benchmarks/results

Real recordings of the embedded world through the real stream, VAE, text encoder and transformer of one size, with random weights.
CPU time of one process is counted, so that other processes do not matter much.
"""

import argparse
import datetime
import json
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from measuring import commit_of, describe_machine
from sizes import SIZE_NAMES, build_pipeline

from xwam.data.readers.lerobot import LeRobotReader
from xwam.data.streams.augmentation import Augmentation
from xwam.data.streams.mixture import Mixture
from xwam.data.streams.stream import make_stream
from xwam.models.joint_latents import JointLatents
from xwam.models.video_codec import encode_frames
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.recording.demonstrations import Recipe, record_demonstrations
from xwam.training.config import TrainConfig
from xwam.training.encoded_dataset import EncodedDataset
from xwam.training.encoded_writer import EncodedDatasetWriter
from xwam.training.encoding import TextEncoding, cell_mask, encode_depth
from xwam.training.noise import noise_for
from xwam.training.objective import LossWeights, weighted_sum
from xwam.training.optimization import make_optimizer
from xwam.training.step import EncodedBatch, training_losses

ROOT = Path(__file__).resolve().parents[1]
TASKS = ("lift_cube", "press_button")
STAGES = ("loader", "text", "VAE, colour", "VAE, depth", "forward", "backward", "optimizer")
SEED = 0


class Stages:
    """CPU seconds of every stage, step by step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def begin(self) -> None:
        """Begin a step."""
        self.steps.append(defaultdict(float))

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Count the block's CPU time."""
        start = time.process_time()
        yield
        self.steps[-1][stage] += time.process_time() - start

    def medians(self) -> dict[str, float]:
        """Median over the steps, without the first."""
        return {stage: median(step.get(stage, 0.0) for step in self.steps[1:]) for stage in STAGES}


def main() -> None:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZE_NAMES[:-1], default="small")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--steps", type=int, default=6, help="timed steps of each way, and one before them")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="float32", help="of products in the transformer"
    )
    parser.add_argument("--data", type=Path, help="LeRobot data set of the embedded world; else one is recorded")
    parser.add_argument("--output", type=Path, help="folder to write the result to; else it is only shown")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(asked, Path(folder))
    print(render(result))
    if asked.output:
        write(result, asked.output)


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The whole result."""
    pipeline = build_pipeline(asked.size, "cpu", torch.float32)
    robot = pipeline.robot_processor.spec
    data = asked.data
    if data is None:
        data = folder / "data"
        recipes = [Recipe(f"mujoco/{task}", {"image_size": list(robot.image_size)}) for task in TASKS]
        record_demonstrations(data, recipes, episodes=2)
    mixture = Mixture.of(LeRobotReader(data, robot), pipeline.robot_processor)
    pipeline.transformer.requires_grad_(True).train()
    config = TrainConfig(batch_size=asked.batch_size)
    options = {"seed": SEED, "batch_size": asked.batch_size}
    augmentation = Augmentation()
    stream = iter(make_stream(mixture, augmentation=augmentation, **options))
    before = run(pipeline, config, stream, asked.steps, asked.dtype, in_the_loop(pipeline))
    encoded, seconds = encode_ahead(
        pipeline, mixture, augmentation, folder / "encoded", asked.steps * asked.batch_size
    )
    after = run(pipeline, config, iter(encoded.batches(**options)), asked.steps, asked.dtype, lambda batch, _: batch)
    shard = encoded.header.shard_path(encoded.folder, 0).stat().st_size
    return {
        "benchmark": "training",
        "command": " ".join(["OMP_NUM_THREADS=1 python benchmarks/training.py", *sys.argv[1:]]),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "commit": commit_of(ROOT),
        "machine": describe_machine(torch.device("cpu")),
        "size": asked.size,
        "batch_size": asked.batch_size,
        "steps": asked.steps,
        "dtype": asked.dtype,
        "image_size": list(robot.image_size),
        "parameters": sum(parameter.numel() for parameter in pipeline.transformer.parameters()),
        "seconds_per_step": {"in the loop": before, "encoded ahead": after},
        "encode_ahead_seconds_per_window": seconds,
        "kilobytes_per_window": shard / len(encoded.header.entries_of(0)) / 1000,
    }


Encode = Callable[[Any, Stages], EncodedBatch]


def in_the_loop(pipeline: XWAM4DPipeline) -> Encode:
    """`encode_batch`, stage by stage; no instruction is remembered, which is the worst case."""
    vae = pipeline.vae

    @torch.no_grad()
    def encode(batch: Any, stages: Stages) -> EncodedBatch:
        text = TextEncoding(pipeline.text_encoder, pipeline.tokenizer, pipeline.config.max_sequence_length)
        with stages.time("text"):
            embeds = text(batch.instructions)
        with stages.time("VAE, colour"):
            video = encode_frames(vae, batch.frames)
        with stages.time("VAE, depth"):
            depth, mask = encode_depth(batch.depth_images, batch.depth_mask, vae), cell_mask(batch.depth_mask, vae)
        return EncodedBatch(
            JointLatents(video, batch.actions, batch.states, depth), embeds, batch.action_mask, batch.state_mask, mask,
            batch.view_mask.float(), batch.indices,
        )  # fmt: skip

    return encode


def run(
    pipeline: XWAM4DPipeline, config: TrainConfig, batches: Iterator[Any], steps: int, dtype: str, encode: Encode
) -> dict[str, float]:
    """Train for some steps; CPU seconds of every stage."""
    stages, optimizer = (
        Stages(),
        make_optimizer(pipeline.transformer.parameters(), replace(config, learning_rate=1e-6)),
    )
    for _ in range(steps + 1):
        stages.begin()
        with stages.time("loader"):
            batch = next(batches)
        encoded = encode(batch, stages)
        with stages.time("forward"):
            assert encoded.indices is not None
            pairs, noise = noise_for(encoded.indices, SEED, pipeline.scheduler, encoded.clean)
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
                losses = training_losses(pipeline.transformer, pipeline.scheduler, encoded, pairs, noise)
            loss = weighted_sum(losses, LossWeights())
        with stages.time("backward"):
            loss.backward()
        with stages.time("optimizer"):
            torch.nn.utils.clip_grad_norm_(pipeline.transformer.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    return stages.medians()


def encode_ahead(
    pipeline: XWAM4DPipeline, mixture: Mixture, augmentation: Augmentation, folder: Path, windows: int
) -> tuple[EncodedDataset, float]:
    """Encode some windows of the data set ahead, and the CPU seconds that each took."""
    stride = max(1, mixture.num_windows // windows)
    writer = EncodedDatasetWriter(folder, mixture, pipeline, augmentation=augmentation, stride=stride)
    start = time.process_time()
    writer.run()
    return EncodedDataset(folder), (time.process_time() - start) / writer.header.num_entries


def render(result: dict[str, Any]) -> str:
    """The whole result in Markdown."""
    commit, machine = result["commit"], result["machine"]
    changed = " with changes" if commit["has_changes"] else ""
    before, after = result["seconds_per_step"].values()
    totals = sum(before.values()), sum(after.values())
    rows = [
        f"| {stage} | {before[stage]:.3f} | {before[stage] / totals[0]:.1%} | {after[stage]:.4f} | {after[stage] / totals[1]:.1%} |"
        for stage in STAGES
    ]
    per_window = result["encode_ahead_seconds_per_window"]
    saved = (totals[0] - totals[1]) / result["batch_size"]
    lines = [
        f"# A training step, size {result['size']}, {machine['processor']}, {result['date']}\n",
        f"`{result['command']}`  \ncommit {str(commit['commit'])[:12]}{changed}; "
        + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items()) + "\n",
        f"{result['parameters']:,} parameters, batch size {result['batch_size']}, views of {result['image_size'][0]}×"
        f"{result['image_size'][1]}, products in {result['dtype']}; medians of {result['steps']} steps, CPU seconds.\n",
        "| stage | in the loop, s | share | encoded ahead, s | share |\n| --- | --: | --: | --: | --: |",
        *rows,
        f"| all | {totals[0]:.3f} | | {totals[1]:.3f} | |\n",
        f"A step on data encoded ahead takes {totals[1] / totals[0]:.0%} of the time. Encoding takes {per_window:.2f} s a window "
        f"and variant, once, and {result['kilobytes_per_window']:.0f} kB of disk; it is paid back after {per_window / saved:.1f} "
        "uses of each.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def write(result: dict[str, Any], folder: Path) -> None:
    """Write the result as Markdown and JSON; the file name says what was measured where and when."""
    hardware = re.sub(r"[^a-z0-9]+", "-", result["machine"]["processor"].lower()).strip("-")
    table = folder / f"training-{result['size']}-{result['dtype']}_{hardware}_{result['date'][:10]}.md"
    folder.mkdir(parents=True, exist_ok=True)
    table.write_text(render(result), encoding="utf-8")
    table.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
