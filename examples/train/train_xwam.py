"""Train an X-WAM — from recordings to a pipeline.

What you learn: what a training run is put together from. The loop itself is `xwam.training.trainer.Trainer.run`, to be read from top
to bottom.

Usage:
    accelerate launch examples/train/train_xwam.py --dataset user/my-robot --robot my_robot.json --base user/x-wam --output out
    accelerate launch --config_file examples/train/accelerate/fsdp2.yaml examples/train/train_xwam.py --recipe robocasa_paper …
    python examples/train/train_xwam.py --dataset demonstrations --base untrained --output out --tiny

Several data sets, each with its share of the samples: --dataset user/kitchen 3 --dataset user/table 1. Started again with the same
options, a run goes on where it stopped. Every value of the recipe can be overridden: see --help.
"""

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from xwam import RobotProcessor, XWAMPolicyPipeline, create_embedded_pipeline
from xwam.checkpoints.sources import EMBEDDED
from xwam.data.readers.open import open_dataset
from xwam.data.streams.augmentation import Augmentation
from xwam.data.streams.mixture import Mixture, MixturePart
from xwam.data.streams.stream import make_stream
from xwam.errors import XWAMError
from xwam.robots.registry import read_robot
from xwam.training.config import TrainConfig
from xwam.training.encoded_dataset import EncodedDataset
from xwam.training.encoding import drop_prompts
from xwam.training.publishing import check_targets, publishing_explained
from xwam.training.ranks import make_accelerator
from xwam.training.recipes import RECIPES, get_recipe
from xwam.training.trainer import Trainer
from xwam.training.training_data import data_identity, hold_out, robot_with_quantiles, validation_batches
from xwam.training.validation import evaluate
from xwam.utils.options import refuse_together

UNTRAINED = "untrained"  # a tiny model for the embedded world, with random weights: to train from nothing, and to try
USELESS = {  # option: others that would do nothing with it
    "encoded": ("robot", "map", "rows_per_command", "validation_episodes", "validation_clips")
}
TINY = {
    "steps": 2, "batch_size": 1, "accumulation": 1, "num_workers": 0, "warmup_steps": 0, "precision": "no", "log_interval": 1,
    "tracker": "none",
}  # fmt: skip


def main() -> int:
    """Parse, train, publish."""
    args = parse()
    recipe = get_recipe(args.recipe or ("embedded" if args.base in (EMBEDDED, UNTRAINED) else "robocasa"))
    config = (replace(recipe, **TINY) if args.tiny else recipe).overridden(args)
    accelerator = make_accelerator(config, args.output)
    logging.basicConfig(
        level=logging.INFO if accelerator.is_main_process else logging.ERROR, format="%(levelname)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)

    trainer = encoded_run(args, config, accelerator) if args.encoded else recorded_run(args, config, accelerator)
    result = trainer.run(args.resume)
    if result.stopped_by is not None:
        accelerator.print(f"Stopped by signal {result.stopped_by} after step {result.step}: {result.checkpoint}")
        return 128 + result.stopped_by
    accelerator.print(f"{result.step} steps; the trained pipeline: {result.pipeline}")
    if args.push_to_hub and accelerator.is_main_process:
        trained = XWAMPolicyPipeline.from_pretrained(result.pipeline)
        again = f"XWAMPolicyPipeline.from_pretrained({str(result.pipeline)!r}).push_to_hub({args.push_to_hub!r})"
        with publishing_explained(result.pipeline, args.push_to_hub, again):
            address = trained.push_to_hub(args.push_to_hub)
        accelerator.print(f"Published: {address}")
    accelerator.end_training()
    return 0


def recorded_run(args: argparse.Namespace, config: TrainConfig, accelerator: Accelerator) -> Trainer:
    """A run on recordings: frames are decoded by workers and encoded in every step."""
    # 1. Data: some episodes are held out
    pipeline = load_base(args.base)
    robot = None if args.robot is None else read_robot(args.robot)
    readers = [open_dataset(source, robot, map=args.map) for source, _ in args.dataset]
    parted = [hold_out(reader, args.validation_episodes) for reader in readers]
    trained, held = [part for part, _ in parted], [part for _, part in parted if part is not None]

    # 2. Robot: that of the base if the data are of it, with its quantiles; else the data's
    known = pipeline.robot_processor.spec
    robot = robot or (known if known.name == readers[0].robot.name else readers[0].robot)
    with accelerator.main_process_first():
        robot = robot_with_quantiles(
            robot, trained, args.output / "robot.json", rows_per_command=args.rows_per_command
        )
    processor = RobotProcessor(robot)
    pipeline = XWAMPolicyPipeline.from_pipe(pipeline, robot_processor=processor)
    shares = [share for _, share in args.dataset]
    mixture = Mixture(
        [
            MixturePart(reader, processor, share, args.rows_per_command)
            for reader, share in zip(trained, shares, strict=True)
        ]
    )
    augmentation = Augmentation(crop_ratio=robot.crop_ratio) if config.augmentation else None

    # 3. Batches: sample i is a function of the seed and i, whatever the processes and workers
    def make_batches(rank: int, num_ranks: int, start_batch: int) -> Any:
        return make_stream(
            mixture, seed=config.seed, batch_size=config.batch_size, augmentation=augmentation, rank=rank,
            world_size=num_ranks, start_batch=start_batch, num_workers=config.num_workers,
            pin_memory=accelerator.device.type == "cuda",
        )  # fmt: skip

    # 4. Validation: losses at fixed noise; sampled futures and actions now and then
    def validate(pipeline: XWAMPolicyPipeline, step: int, with_samples: bool) -> dict[str, float]:
        folder = args.output / "samples" / f"step-{step:08d}" if accelerator.is_main_process else None
        report = evaluate(
            pipeline,
            validation_batches(
                held,
                processor,
                num_clips=2 if args.tiny else args.validation_clips,
                batch_size=config.batch_size,
                rows_per_command=args.rows_per_command,
            ),
            mode=config.noise_mode,
            weights=config.loss_weights,
            with_samples=with_samples,
            num_inference_steps=2 if args.tiny else None,
            num_action_steps=1 if args.tiny else None,
            folder=folder,
        )
        return report.numbers()

    return Trainer(
        config, pipeline, make_batches, args.output, validate=validate if held else None, data=data_identity(mixture),
        accelerator=accelerator,
    )  # fmt: skip


def encoded_run(args: argparse.Namespace, config: TrainConfig, accelerator: Accelerator) -> Trainer:
    """A run on latents that `encode_dataset.py` made: no VAE and no text encoder on the GPU, no validation."""
    dataset = EncodedDataset(args.encoded)
    pipeline = XWAMPolicyPipeline.from_pipe(load_base(args.base), robot_processor=RobotProcessor(dataset.robot))
    dataset.check(pipeline)

    def make_batches(rank: int, num_ranks: int, start_batch: int) -> Any:
        return dataset.batches(
            seed=config.seed, batch_size=config.batch_size, rank=rank, world_size=num_ranks, start_batch=start_batch,
            num_workers=config.num_workers,
        )  # fmt: skip

    def encode(batch: Any) -> Any:
        batch = batch.to(accelerator.device)
        return drop_prompts(batch, dataset.empty_prompt_embeds, config.seed, config.text_dropout)

    identity = {"windows": len(dataset), "variants": dataset.header.variants, **dataset.header.identity}
    return Trainer(
        config, pipeline, make_batches, args.output, encode=encode, data={"encoded": identity}, accelerator=accelerator
    )


def load_base(base: str) -> XWAMPolicyPipeline:
    """The pipeline to begin with, its weights in float32."""
    return (
        create_embedded_pipeline(XWAMPolicyPipeline) if base == UNTRAINED else XWAMPolicyPipeline.from_pretrained(base)
    )


def parse() -> argparse.Namespace:
    """The command line; fields of `TrainConfig` are options of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--dataset",
        nargs="+",
        action="append",
        metavar=("SOURCE", "SHARE"),
        default=[],
        help="folder or hub id, and its share",
    )
    add("--encoded", type=Path, help="instead: a data set that encode_dataset.py encoded")
    add("--robot", help="JSON file or name of the robot; else what the data set or the base says")
    add("--map", help="JSON file that says where the data set has states, commands and cameras")
    add("--rows_per_command", type=int, default=1, help="rows from one command to the next (1)")
    add("--base", required=True, help=f"pipeline to begin with: folder, hub id, {EMBEDDED!r} or {UNTRAINED!r}")
    add("--output", type=Path, required=True, help="folder of the run")
    add(
        "--recipe",
        choices=sorted(RECIPES),
        help="configuration to begin with: robocasa, or embedded with a base of that world",
    )
    add("--resume", default="auto", help="auto, never, or a checkpoint (auto)")
    add("--validation_episodes", type=int, default=8, help="held out of each data set, at most a fifth (8)")
    add("--validation_clips", type=int, default=16, help="windows of them that are validated on (16)")
    add("--push_to_hub", metavar="REPO", help="publish the trained pipeline, such as user/my-robot-xwam")
    add("--tiny", action="store_true", help="two steps with one window each, to see that all is well")
    TrainConfig.add_arguments(parser)
    args = parser.parse_args()
    if args.validation_episodes < 0 or args.validation_clips < 1:
        parser.error("--validation_episodes must be at least 0 and --validation_clips at least 1")
    refuse_together(parser, args, USELESS)
    check_targets(parser, args.output, args.push_to_hub)
    if bool(args.dataset) == bool(args.encoded):
        parser.error("say either --dataset, once or more, or --encoded")
    if any(len(words) > 2 for words in args.dataset):
        parser.error("--dataset takes a source and at most one share")
    try:
        args.dataset = [(words[0], float(words[1]) if len(words) > 1 else None) for words in args.dataset]
    except ValueError as error:
        parser.error(f"the share of a --dataset must be a number: {error}")
    return args


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (XWAMError, ValueError, ImportError, RuntimeError) as error:
        logging.getLogger("train_xwam").error("%s", error)
        sys.exit(1)
