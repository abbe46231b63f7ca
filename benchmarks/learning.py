"""Does it learn? A quarter of `small` on three tasks of the embedded world, in an hour of CPU.

    OMP_NUM_THREADS=1 LP_NUM_THREADS=1 python benchmarks/learning.py --work DIR --output benchmarks/results

Stages: record, codec, encode, transformer, samples; then short runs: modes, branches, overfit. Each is skipped once it is done; the long ones go on
where they were stopped. Everything follows from seeds.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from learning_report import write_report
from learning_setup import (
    ROBOT,
    SEED,
    batches_of,
    held_out_clips,
    make_pipeline,
    make_vae,
    open_episodes,
    record,
    train,
)

from xwam.data.streams.mixture import Mixture
from xwam.data.writers.durable_files import write_json
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.robots.processor import RobotProcessor
from xwam.training.config import NOISE_MODES, TrainConfig
from xwam.training.encoded_dataset import EncodedDataset
from xwam.training.encoded_writer import EncodedDatasetWriter
from xwam.training.noise import noise_for
from xwam.training.objective import LossWeights, weighted_sum
from xwam.training.step import training_losses
from xwam.training.validation import evaluate
from xwam.training.video_codec_training import VideoCodecConfig, draw_clips, measure_latents, train_video_codec

OVERFIT_STEPS, OVERFIT_RATE, OVERFIT_SHARE = 1200, 2e-3, 0.01
CODEC = VideoCodecConfig(steps=3600)
STRIDE = 2  # rows from one encoded window to the next
MAIN = TrainConfig(
    steps=2400, batch_size=8, learning_rate=1.5e-3, warmup_steps=50, betas=(0.9, 0.95), ema_decay=0.995, seed=SEED,
    num_workers=0, augmentation=False, log_interval=20, validation_interval=100, sample_interval=2400, save_interval=100,
    keep_checkpoints=1, tracker="none",
)  # fmt: skip
MEASURED_BATCHES = 40


SHORT = replace(
    MAIN, steps=80, batch_size=4, warmup_steps=20, ema_decay=None, validation_interval=80, save_interval=80
)


class Clock:
    """CPU seconds of this process that a stage took, over all its starts."""

    def __init__(self, path: Path) -> None:
        self.path, self.start = path, time.process_time()
        self.before = json.loads(path.read_text())["seconds"] if path.exists() else 0.0

    def seconds(self) -> float:
        """All seconds so far."""
        return self.before + time.process_time() - self.start

    def note(self, _: object = None) -> None:
        """Write them down."""
        write_json(self.path, {"seconds": round(self.seconds(), 1)})


def record_stage(work: Path, clock: Clock) -> None:
    """Episodes of scripted experts."""
    record(work / "data")


def codec_stage(work: Path, clock: Clock) -> None:
    """Train the VAE on RGB and depth, and measure its latents."""
    train, _ = open_episodes(work / "data")
    vae = make_vae()
    lines = (work / "codec.jsonl").open("a")

    def log(step: int, losses: dict[str, float]) -> None:
        if step % 20 == 0:
            clock.note()
            lines.write(json.dumps({"step": step, "seconds": round(clock.seconds(), 1), **losses}) + "\n")
            lines.flush()

    train_video_codec(vae, batches_of(train, 1), CODEC, work / "codec", log)
    batches = iter(batches_of(train, 1)(0))
    clips = [draw_clips(next(batches), CODEC, 4 * number) for number in range(MEASURED_BATCHES)]
    mean, std = measure_latents(vae, clips)
    vae.register_to_config(latents_mean=mean, latents_std=std)
    vae.save_pretrained(work / "vae")


def encode_stage(work: Path, clock: Clock) -> None:
    """Encode the episodes ahead of the training."""
    train, _ = open_episodes(work / "data")
    pipeline = make_pipeline(AutoencoderKLWan.from_pretrained(work / "vae"))
    mixture = Mixture.of(train, RobotProcessor(ROBOT))
    writer = EncodedDatasetWriter(work / "encoded", mixture, pipeline, stride=STRIDE, seed=SEED)
    writer.run(on_shard=clock.note)


def transformer_stage(work: Path, clock: Clock) -> None:
    """Train the X-WAM on the encoded windows."""
    pipeline = make_pipeline(AutoencoderKLWan.from_pretrained(work / "vae"))
    clips = held_out_clips(work / "data")
    train(
        pipeline,
        MAIN,
        work / "transformer",
        EncodedDataset(work / "encoded"),
        validate=lambda own, step, _: evaluate(own, clips, with_samples=False).numbers(),
        on_step=clock.note,
    )


def samples_stage(work: Path, clock: Clock) -> None:
    """Sample the future of every held-out clip."""
    pipeline = XWAM4DPipeline.from_pretrained(work / "transformer" / "pipeline", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    clips = held_out_clips(work / "data")
    report = evaluate(pipeline, clips, folder=work / "samples", max_pictures=24)
    write_json(work / "validation.json", report.to_dict())


def modes_stage(work: Path, clock: Clock) -> None:
    """Each way of drawing noise levels, from the same new weights."""
    compare(work, "modes", {mode: ("interleaved", replace(SHORT, noise_mode=mode)) for mode in NOISE_MODES}, clock)


def branches_stage(work: Path, clock: Clock) -> None:
    """Each depth branch, from new weights."""
    branches = ("none", "interleaved", "sequence", "channel")
    compare(work, "branches", {branch: (branch, SHORT) for branch in branches}, clock)


def compare(work: Path, name: str, runs: dict[str, tuple[str, TrainConfig]], clock: Clock) -> None:
    """Short runs with their validation losses before and after."""
    vae, encoded, clips = AutoencoderKLWan.from_pretrained(work / "vae"), EncodedDataset(work / "encoded"), held_out_clips(work / "data")  # fmt: skip
    found = {}
    for run, (branch, config) in runs.items():
        pipeline = make_pipeline(vae, branch)
        before = evaluate(pipeline, clips[:1], mode=config.noise_mode, with_samples=False)
        train(pipeline, config, work / name / run, encoded, on_step=clock.note)
        pipeline.transformer.eval()
        after = evaluate(pipeline, clips[:1], mode=config.noise_mode, with_samples=False)
        found[run] = {"before": before.losses, "after": after.losses}
    write_json(work / f"{name}.json", found)


def overfit_stage(work: Path, clock: Clock) -> None:
    """Eight windows at fixed noise, until the loss is below 1 % of what it was."""
    pipeline = make_pipeline(AutoencoderKLWan.from_pretrained(work / "vae"))
    batch = next(iter(EncodedDataset(work / "encoded").batches(seed=SEED, batch_size=8)))
    pairs, noise = noise_for(batch.indices, SEED, pipeline.scheduler, batch.clean)
    transformer, history = pipeline.transformer.train(), []
    optimizer = torch.optim.AdamW(transformer.parameters(), lr=OVERFIT_RATE, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(OVERFIT_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = OVERFIT_RATE * min(1, (step + 1) / 30) * (1 - step / OVERFIT_STEPS)
        with torch.autocast("cpu", torch.bfloat16):
            losses = training_losses(transformer, pipeline.scheduler, batch, pairs, noise)
        loss = weighted_sum(losses, LossWeights())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(transformer.parameters(), 1.0)
        optimizer.step()
        history.append({"step": step, "loss": loss.item(), **{name: own.item() for name, own in losses.items()}})
        clock.note()
        if loss.item() < OVERFIT_SHARE * history[0]["loss"]:
            break
    write_json(work / "overfit.json", history, indent=None)


STAGES: dict[str, tuple[str, Callable[[Path, Clock], None]]] = {
    "record": ("data/meta/info.json", record_stage),
    "codec": ("vae/config.json", codec_stage),
    "encode": ("encoded/manifest.json", encode_stage),
    "transformer": ("transformer/pipeline/model_index.json", transformer_stage),
    "samples": ("validation.json", samples_stage),
    "modes": ("modes.json", modes_stage),
    "branches": ("branches.json", branches_stage),
    "overfit": ("overfit.json", overfit_stage),
}


def main() -> None:
    """Run the stages that are not done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where data, weights and logs go")
    parser.add_argument("--output", type=Path, help="where the results go")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in asked.stages:
        result, run = STAGES[name]
        if (asked.work / result).exists():
            continue
        clock = Clock(asked.work / "clocks" / f"{name}.json")
        run(asked.work, clock)
        clock.note()
        print(f"{name}: {clock.seconds():.0f} CPU seconds", flush=True)
    if asked.output and all((asked.work / result).exists() for result, _ in STAGES.values()):
        print(write_report(asked.work, asked.output))


if __name__ == "__main__":
    main()
