"""A second robot on a base: what LoRA learns of it, on a base that was trained for another robot and on one that was not.

    OMP_NUM_THREADS=1 LP_NUM_THREADS=1 python benchmarks/lora.py --work DIR --output benchmarks/results

The base is the tiny untrained pipeline, first trained on the embedded robot: three cameras, tool poses, raw commands. The second robot
is that of examples/09_your_robot.py in the same world: two cameras of other names, joints for state and command, vectors of 8 instead
of 16 and 14.
Every stage is skipped once it is done. The losses are those of held-out episodes at fixed noise.
"""

import argparse
import importlib.util
import json
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from measuring import commit_of, describe_machine

from xwam.data.readers.base import EpisodeReader
from xwam.data.readers.open import open_dataset
from xwam.data.readers.selection import Selection
from xwam.data.statistics.quantiles import compute_quantiles
from xwam.data.streams.collate import TrainBatch, collate
from xwam.data.streams.mixture import Mixture
from xwam.data.streams.windows import WindowShape, read_clip
from xwam.data.writers.durable_files import write_json
from xwam.pipelines.embedded import create_embedded_pipeline
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.recording.demonstrations import Recipe, record_demonstrations
from xwam.robots.processor import RobotProcessor
from xwam.robots.registry import get_robot
from xwam.robots.spec import RobotSpec
from xwam.training.config import TrainConfig
from xwam.training.encoded_dataset import EncodedDataset
from xwam.training.encoded_writer import EncodedDatasetWriter
from xwam.training.encoding import drop_prompts
from xwam.training.lora import LoraSettings, prepare_lora, robot_export
from xwam.training.step import EncodedBatch
from xwam.training.trainer import Trainer
from xwam.training.validation import evaluate

EPISODES, HELD_OUT = 40, 6  # of each robot; held out are the last ones
RANK, SEED = 16, 0
COMMON = {
    "batch_size": 8, "warmup_steps": 20, "precision": "no", "num_workers": 0, "tracker": "none", "log_interval": 10, "seed": SEED,
    "augmentation": False, "save_interval": 1000, "sample_interval": 10_000, "validation_interval": 50,
}  # fmt: skip
BASE = TrainConfig(steps=400, learning_rate=1.5e-3, **COMMON)
LORA = TrainConfig(steps=300, learning_rate=2e-3, **COMMON)


def example() -> ModuleType:
    """examples/09_your_robot.py, which knows how the second robot is recorded."""
    path = Path(__file__).parents[1] / "examples" / "09_your_robot.py"
    spec = importlib.util.spec_from_file_location("your_robot", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(work: Path) -> None:
    """Both robots' episodes."""
    record_demonstrations(work / "first", [Recipe("mujoco/lift_cube")], episodes=EPISODES)
    if not (work / "second" / "meta" / "info.json").exists():
        example().record(example().ROBOT, work / "second", EPISODES)


def split(work: Path, name: str, robot: RobotSpec) -> tuple[EpisodeReader, EpisodeReader]:
    """Episodes to train on, and those held out."""
    reader = open_dataset(work / name, robot)
    numbers = range(len(reader.episodes))
    return Selection(reader, numbers[:-HELD_OUT]), Selection(reader, numbers[-HELD_OUT:])


def clips_of(reader: EpisodeReader, processor: RobotProcessor) -> list[TrainBatch]:
    """The first and the middle window of every episode."""
    shape = WindowShape.of(processor.spec)
    places = [
        (n, row)
        for n, e in enumerate(reader.episodes)
        for row in (0, shape.count(e.length) // 2)
        if shape.count(e.length)
    ]
    clips = [processor.encode_clip(read_clip(reader, number, row, shape)) for number, row in places]
    return [collate(clips[start : start + 8]) for start in range(0, len(clips), 8)]


def encoded(work: Path, name: str, pipeline: XWAM4DPipeline, reader: EpisodeReader) -> EncodedDataset:
    """The episodes' windows in latents, encoded once."""
    EncodedDatasetWriter(
        work / f"{name}_encoded", Mixture.of(reader, pipeline.robot_processor), pipeline, seed=SEED
    ).run()
    return EncodedDataset(work / f"{name}_encoded")


def train(
    pipeline: XWAM4DPipeline,
    config: TrainConfig,
    data: EncodedDataset,
    clips: list[TrainBatch],
    output: Path,
    **options: Any,
) -> list[dict[str, float]]:
    """Train and give the validation losses: before the first step and on the way."""

    def losses(step: int) -> dict[str, float]:
        report = evaluate(pipeline, clips, seed=SEED, with_samples=False)
        return {"step": step, "loss": report.loss, **report.losses}

    def batches(rank: int, num_ranks: int, done: int) -> Iterable[EncodedBatch]:
        return data.batches(seed=SEED, batch_size=config.batch_size, rank=rank, world_size=num_ranks, start_batch=done)

    def validate(_: object, step: int, __: bool) -> dict[str, float]:
        curve.append(losses(step))
        return curve[-1]

    curve = [losses(0)]
    trainer = Trainer(
        config, pipeline, batches, output, validate=validate,
        encode=lambda batch: drop_prompts(batch, data.empty_prompt_embeds, SEED, config.text_dropout), **options,
    )  # fmt: skip
    trainer.run("never")
    pipeline.transformer.eval()
    return curve


def train_base(work: Path) -> list[dict[str, float]]:
    """Train the tiny untrained pipeline on its own robot."""
    pipeline = create_embedded_pipeline(XWAM4DPipeline)
    fitted, held_out = split(work, "first", get_robot("mujoco_panda"))
    data = encoded(work, "first", pipeline, fitted)
    return train(pipeline, BASE, data, clips_of(held_out, pipeline.robot_processor), work / "base")


def train_robot(work: Path, base: str) -> dict[str, Any]:
    """LoRA for the second robot on a base, and what T7 asks of it."""
    trained_base = work / "base" / "pipeline"
    load = {
        "trained": lambda: XWAM4DPipeline.from_pretrained(trained_base),
        "untrained": lambda: create_embedded_pipeline(XWAM4DPipeline),
    }[base]
    pipeline = load()
    fitted, held_out = split(work, "second", example().ROBOT)
    robot, _ = compute_quantiles([fitted], fitted.robot, widen=True)
    held_out = Selection(
        open_dataset(work / "second", robot), [held_out.numbers[n] for n in range(len(held_out.episodes))]
    )
    before = {name: tensor.clone() for name, tensor in pipeline.transformer.state_dict().items()}
    counts = prepare_lora(pipeline, robot, LoraSettings(rank=RANK), seed=SEED)
    data = encoded(work, f"second_{base}", pipeline, Selection(open_dataset(work / "second", robot), fitted.numbers))
    clips = clips_of(held_out, pipeline.robot_processor)
    output = work / f"lora_{base}"
    curve = train(pipeline, LORA, data, clips, output, export=robot_export())
    file = next((output / "pipeline").glob("*.safetensors"))
    loaded = load()
    loaded.load_robot(output / "pipeline")
    same = evaluate(loaded, clips, seed=SEED, with_samples=False)
    pipeline.unload_robot()
    after = pipeline.transformer.state_dict()
    return {
        "curve": curve,
        "trained": counts.trained,
        "share": counts.share,
        "bytes": file.stat().st_size,
        "loaded gives the same loss": same.loss == curve[-1]["loss"],
        "base is bit-equal afterwards": after.keys() == before.keys()
        and all(torch.equal(after[n], before[n]) for n in before),
    }


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [
        f"# LoRA on a second robot, {result['machine']['processor']}, {result['date'][:10]}",
        "",
        f"`{result['command']}`, {EPISODES - HELD_OUT} episodes of lift_cube trained on, {HELD_OUT} held out; rank {RANK}; "
        f"{LORA.steps} steps of {LORA.batch_size} windows; base trained for {BASE.steps} steps on the first robot.",
        "",
        "| base | step | loss | video | actions | states | depth |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for name in ("trained", "untrained"):
        for row in result[name]["curve"]:
            numbers = " | ".join(f"{row[key]:.4f}" for key in ("loss", "video", "actions", "states", "depth"))
            lines.append(f"| {name} | {row['step']} | {numbers} |")
    lines += [
        "",
        "| base | trained parameters | share | file | loaded again: same loss | base bit-equal when unloaded | seconds |",
    ]
    lines.append("| --- | --: | --: | --: | --- | --- | --: |")
    for name in ("trained", "untrained"):
        own = result[name]
        lines.append(
            f"| {name} | {own['trained']:,} | {100 * own['share']:.1f} % | {own['bytes'] / 1e6:.2f} MB | "
            f"{own['loaded gives the same loss']} | {own['base is bit-equal afterwards']} | {own['seconds']:.0f} |"
        )
    lines += [
        "",
        f"The base on its own robot: loss {result['base'][0]['loss']:.3f} at first, {result['base'][-1]['loss']:.3f} at last.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the stages that are not done; write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where data, weights and logs go")
    parser.add_argument("--output", type=Path, help="where the results go")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    stages = {
        "record": lambda: record(args.work),
        "base": lambda: train_base(args.work),
        "trained": lambda: train_robot(args.work, "trained"),
        "untrained": lambda: train_robot(args.work, "untrained"),
    }
    result: dict[str, Any] = {}
    for name, run in stages.items():
        path = args.work / f"{name}.json"
        if not path.exists():
            start = time.process_time()
            found = run()
            if isinstance(found, dict):
                found = {**found, "seconds": time.process_time() - start}
            write_json(path, found)
        result[name] = json.loads(path.read_text())
    result |= {
        "machine": describe_machine(torch.device("cpu")),
        "commit": dict(commit_of(Path(__file__).parent)),
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "command": f"python benchmarks/lora.py --work {args.work.name}",
    }
    text = table(result)
    print(text)
    if args.output is not None:
        hardware = re.sub(r"[^a-z0-9]+", "-", result["machine"]["processor"].lower()).strip("-")
        stem = args.output / f"lora_{hardware}_{result['date'][:10]}"
        stem.with_suffix(".md").write_text(text, encoding="utf-8")
        write_json(stem.with_suffix(".json"), result)


if __name__ == "__main__":
    main()
