"""Train the embedded model from nothing: every stage is one command, goes on where it was stopped, and follows from its seed.

    python examples/train/embedded_small/train.py --size cpu --work DIR [--stages record language codec encode transformer export]

Stages that are done are skipped. `--size tiny` runs all of them in a minute, `quick` in an hour or two; `cpu` takes hours on two cores; `gpu` wants a large GPU.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import language
import torch
from card import make_card
from diffusers import AutoencoderKLWan
from recipe import (
    PROMPT_LENGTH,
    SIZES,
    Size,
    batches_of,
    held_out_clips,
    make_pipeline,
    make_vae,
    open_episodes,
    record,
)
from tqdm.auto import tqdm
from transformers import T5TokenizerFast, UMT5EncoderModel

from xwam import RobotProcessor, XWAM4DPipeline
from xwam.data.streams.mixture import Mixture
from xwam.data.writers.durable_files import write_json
from xwam.export.files import replacing_folder
from xwam.training.config import TrainConfig
from xwam.training.encoded_dataset import EncodedDataset
from xwam.training.encoded_writer import EncodedDatasetWriter
from xwam.training.encoding import drop_prompts
from xwam.training.ranks import make_accelerator
from xwam.training.step import EncodedBatch
from xwam.training.trainer import StepReport, Trainer, Validate
from xwam.training.validation import evaluate
from xwam.training.video_codec_training import draw_clips, measure_latents, train_video_codec
from xwam.utils.differences import first_difference

RECORDED = "recorded.json"
TRAINED = Path("transformer") / "pipeline"  # of the stage `transformer`, in float32
LICENSE = Path(__file__).resolve().parents[3] / "LICENSE"
MEASURED_BATCHES = 100  # windows from which the statistics of the latents are taken


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        name (`str`): Of the size.
        size (`Size`): What is trained.
        work (`Path`): Where everything goes.
        data (`Path`): Demonstrations, which trainings with other seeds can share.
        device (`str`): Where networks compute.
        num_processes (`int`): Processes that record.
    """

    name: str
    size: Size
    work: Path
    data: Path
    device: str
    num_processes: int

    @property
    def facts(self) -> dict[str, Any]:
        """What must stay the same while a folder is filled."""
        size = self.size
        data = {name: getattr(size, name) for name in ("tasks", "episodes", "appearances")}
        return json.loads(json.dumps({"size": self.name, "seed": size.seed, "data": data}))

    def begin(self) -> None:
        """Claim the folders for this training.

        Raises:
            ValueError: If another one was begun there, or the demonstrations are another size's; nothing is written then.
        """
        claim = self.work / "run.json"
        for path, own in ((claim, self.facts), (self.data / RECORDED, self.facts["data"])):
            if path.exists() and (difference := first_difference(json.loads(path.read_text()), own)):
                field, there, here = difference
                raise ValueError(
                    f"{path.parent} was made with {field} {there}, but now it is {here}; choose another folder."
                )
        self.work.mkdir(parents=True, exist_ok=True)
        if not claim.exists():
            write_json(claim, self.facts)

    def language(self) -> tuple[T5TokenizerFast, UMT5EncoderModel]:
        """Tokenizer and text encoder of the stage `language`."""
        folder = self.work / "language"
        encoder = UMT5EncoderModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
        return T5TokenizerFast.from_pretrained(folder / "tokenizer"), encoder

    def new_pipeline(self, depth_branch: str = "interleaved") -> XWAM4DPipeline:
        """A new transformer between the encoders that are trained."""
        vae = AutoencoderKLWan.from_pretrained(self.work / "vae", torch_dtype=torch.float32)
        return make_pipeline(self.size, vae, *self.language(), depth_branch).to(self.device)


class Clock:
    """Seconds that a stage took, over all its starts; those of its own processes count as soon as they have ended."""

    def __init__(self, path: Path) -> None:
        self.path, self.start = path, (time.perf_counter(), _cpu_seconds())
        self.before = (
            json.loads(path.read_text()) if path.exists() else {"seconds": 0.0, "cpu_seconds": 0.0, "starts": 0}
        )
        self.note()

    def note(self, *_: object) -> None:
        """Write them down."""
        spent = {
            "seconds": round(self.before["seconds"] + time.perf_counter() - self.start[0], 1),
            "cpu_seconds": round(self.before["cpu_seconds"] + _cpu_seconds() - self.start[1], 1),
            "starts": self.before["starts"] + 1,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, spent)


def _cpu_seconds() -> float:
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def record_stage(run: Run, clock: Clock) -> None:
    """Demonstrations of scripted experts."""
    with tqdm(desc="record", unit=" episodes") as bar:

        def on_result(*_: object) -> None:
            bar.update()
            clock.note()

        record(run.data, run.size, run.num_processes, on_result)
    write_json(run.data / RECORDED, run.facts["data"])


def language_stage(run: Run, clock: Clock) -> None:
    """Tokenizer and text encoder."""
    tokenizer = language.make_tokenizer()
    encoder = language.make_text_encoder(len(tokenizer), run.size.seed)
    steps = language.train_text_encoder(encoder, tokenizer, steps=run.size.language_steps, seed=run.size.seed)
    for _, loss in (bar := tqdm(steps, desc="language", total=run.size.language_steps)):
        bar.set_postfix(loss=f"{loss:.3f}")
    tokenizer.model_max_length = PROMPT_LENGTH
    with whole_folder(run.work / "language") as draft:
        encoder.save_pretrained(draft / "text_encoder")
        tokenizer.save_pretrained(draft / "tokenizer")


def codec_stage(run: Run, clock: Clock) -> None:
    """The VAE, on RGB and depth, and the statistics of its latents."""
    size = run.size
    train, _ = open_episodes(run.data, size)
    vae = make_vae(size).to(run.device)
    windows = max(1, size.codec.clips_per_step // 6)
    with (run.work / "codec.jsonl").open("a") as lines, tqdm(desc="codec", total=size.codec.steps) as bar:

        def log(step: int, losses: dict[str, float]) -> None:
            bar.update(step - bar.n)
            if step % 20 == 0:
                clock.note()
                bar.set_postfix(mse=f"{losses['squared_error']:.4f}")
                lines.write(json.dumps({"step": step, **losses}) + "\n")
                lines.flush()

        train_video_codec(
            vae, batches_of(train, size, windows, size.main.num_workers), size.codec, run.work / "codec", log
        )
    batches = iter(batches_of(train, size, 1)(0))
    clips = (draw_clips(next(batches), size.codec, 4 * number).to(run.device) for number in range(MEASURED_BATCHES))
    mean, std = measure_latents(vae, clips)
    vae.register_to_config(latents_mean=mean, latents_std=std)
    with whole_folder(run.work / "vae") as draft:
        vae.save_pretrained(draft)


def encode_stage(run: Run, clock: Clock) -> None:
    """Latents and prompts of all windows, ahead of the training."""
    train, _ = open_episodes(run.data, run.size)
    mixture = Mixture.of(train, RobotProcessor(run.size.robot))
    writer = EncodedDatasetWriter(
        run.work / "encoded", mixture, run.new_pipeline(), stride=run.size.stride, seed=run.size.seed
    )
    writer.run(num_workers=run.size.main.num_workers, on_shard=clock.note)


def transformer_stage(run: Run, clock: Clock) -> None:
    """The X-WAM."""
    clips = held_out_clips(run.data, run.size)
    train_transformer(
        run,
        run.new_pipeline(),
        run.work / "transformer",
        validate=lambda own, step, _: evaluate(own, clips, with_samples=False).numbers(),
        on_step=clock.note,
    )


def train_transformer(
    run: Run,
    pipeline: XWAM4DPipeline,
    output: Path,
    validate: Validate | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    config: TrainConfig | None = None,
) -> None:
    """Train on the encoded windows; goes on where it was stopped.

    Args:
        run (`Run`): Whose stages up to `encode` are done.
        pipeline (`XWAM4DPipeline`): New, of `Run.new_pipeline`.
        output (`Path`): Where checkpoints and at the end the pipeline go.
        validate (`Callable`, *optional*): See `Trainer`.
        on_step (`Callable`, *optional*): See `Trainer`.
        config (`TrainConfig`, *optional*): How; the size's `main` by default.

    Raises:
        SystemExit: If a signal stopped it, so that nothing that needs its end begins.
    """
    config, encoded = _compilable(config or run.size.main), EncodedDataset(run.work / "encoded")
    encoded.check(pipeline)
    if run.device == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"  # also where there is a GPU
    accelerator = make_accelerator(config, output)

    def batches(rank: int, num_ranks: int, done: int) -> object:
        return encoded.batches(
            seed=config.seed, batch_size=config.batch_size, rank=rank, world_size=num_ranks, start_batch=done,
            num_workers=config.num_workers,
        )  # fmt: skip

    def encode(batch: EncodedBatch) -> EncodedBatch:
        batch = batch.to(accelerator.device)
        if pipeline.transformer.config.depth_branch == "none":
            batch = replace(batch, clean=replace(batch.clean, depth=None), depth_mask=None)
        return drop_prompts(batch, encoded.empty_prompt_embeds, config.seed, config.text_dropout)

    trainer = Trainer(
        config, pipeline, batches, output, encode=encode, validate=validate, on_step=on_step, accelerator=accelerator
    )
    result = trainer.run()
    if result.stopped_by is not None:
        sys.stderr.write(f"Stopped by signal {result.stopped_by} after step {result.step}: {result.checkpoint}\n")
        raise SystemExit(128 + result.stopped_by)


def _compilable(config: TrainConfig) -> TrainConfig:
    """The same without compiling where there is no compiler: slower, nothing else."""
    if config.compile_blocks and not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        sys.stderr.write("No C++ compiler was found: the blocks are not compiled, which takes a fifth longer.\n")
        return replace(config, compile_blocks=False)
    return config


def export_stage(run: Run, clock: Clock) -> None:
    """The folder that is published, its transformer in bfloat16, with card and licence."""
    dtypes = {"default": torch.float32, "transformer": torch.bfloat16}
    pipeline = XWAM4DPipeline.from_pretrained(run.work / TRAINED, dtype=dtypes)
    with whole_folder(run.work / "pipeline") as draft:
        shutil.copyfile(LICENSE, draft / LICENSE.name)
        pipeline.save_pretrained(draft, card=make_card(run.size, pipeline, run.work / "clocks"))


def whole_folder(folder: Path) -> AbstractContextManager[Path]:
    """A folder that is there only once all of it is: the stages take it for their mark."""
    return replacing_folder(folder, own_files=lambda _: set())


STAGES: dict[str, tuple[str, Callable[[Run, Clock], None]]] = {
    "record": (RECORDED, record_stage),
    "language": ("language/tokenizer/tokenizer.json", language_stage),
    "codec": ("vae/config.json", codec_stage),
    "encode": ("encoded/manifest.json", encode_stage),
    "transformer": (f"{TRAINED}/model_index.json", transformer_stage),
    "export": ("pipeline/model_index.json", export_stage),
}


def main(arguments: list[str] | None = None) -> None:
    """Run the stages that are not done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="cpu", help="see recipe.py")
    parser.add_argument("--work", type=Path, required=True, help="where weights and logs go")
    parser.add_argument("--data", type=Path, help="demonstrations; DIR/data by default")
    parser.add_argument("--seed", type=int, default=0, help="of weights and training")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="processes that record")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args(arguments)
    size = SIZES[asked.size].with_seed(asked.seed)
    run = Run(asked.size, size, asked.work, asked.data or asked.work / "data", asked.device, asked.processes)
    try:
        run.begin()
    except ValueError as error:
        parser.exit(1, f"train.py: {error}\n")
    for name in asked.stages:
        result, do = STAGES[name]
        folder = run.data if name == "record" else run.work
        if (folder / result).exists():
            continue
        clock = Clock(run.work / "clocks" / f"{name}.json")
        do(run, clock)
        clock.note()
        sys.stdout.write(f"{name}: {json.loads(clock.path.read_text())}\n")


if __name__ == "__main__":
    main()
