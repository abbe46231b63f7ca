"""Train a new robot with LoRA — the base stays as it is, the robot becomes a folder of its own.

What you learn: what is different from `train_xwam.py` when only a robot is trained: what is put on the base, what is exported.

Usage:
    accelerate launch examples/train/train_xwam_lora.py --dataset user/my-robot --robot my_robot.json --base user/x-wam --output out \
        --rank 16 --push_to_hub user/my-robot-xwam
    accelerate launch examples/train/train_xwam_lora.py … --quantize 4bit
    python examples/train/train_xwam_lora.py --dataset recording --robot robot.json --base embedded --output out --tiny

Started again with the same options, a run goes on where it stopped. The robot, with the quantiles of its recordings, ends in
`out/pipeline`, the best one by validation in `out/best`; `pipeline.load_robot` takes either. What to choose and what it costs:
docs/how_to/fine_tune_with_lora.md.
"""

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from xwam import RobotSpec, XWAMPolicyPipeline, create_embedded_pipeline
from xwam.checkpoints.sources import EMBEDDED
from xwam.data.readers.open import open_dataset
from xwam.data.streams.augmentation import Augmentation
from xwam.data.streams.mixture import Mixture
from xwam.data.streams.stream import make_stream
from xwam.data.writers.durable_files import write_json
from xwam.errors import XWAMError
from xwam.pipelines.model_card import ModelCard
from xwam.pipelines.robot_storage import publish_robot
from xwam.robots.registry import read_robot
from xwam.training.config import TrainConfig
from xwam.training.encoded_dataset import EncodedDataset
from xwam.training.encoding import drop_prompts
from xwam.training.lora import LoraSettings, check_lora_launch, prepare_lora, robot_export, train_robot
from xwam.training.publishing import check_targets, publishing_explained
from xwam.training.quantization import QUANTIZATIONS, quantization
from xwam.training.ranks import make_accelerator
from xwam.training.recipes import get_recipe
from xwam.training.trainer import BEST, Trainer
from xwam.training.training_data import data_identity, hold_out, other_robot, robot_with_quantiles, validation_batches
from xwam.training.validation import evaluate
from xwam.utils.options import refuse_together

UNTRAINED = "untrained"  # a tiny model for the embedded world, with random weights: to try
USELESS = {  # option: others that would do nothing with it
    "encoded": ("map", "rows_per_command", "validation_episodes", "validation_clips"),
    "continue_from": ("rank", "alpha", "rslora", "lora_dropout", "attention_only"),
}
TINY = {
    "steps": 2, "batch_size": 1, "accumulation": 1, "num_workers": 0, "warmup_steps": 0, "precision": "no", "log_interval": 1,
    "tracker": "none",
}  # fmt: skip


def main() -> int:
    """Parse, train, publish."""
    args = parse()
    recipe = get_recipe("lora")
    config = (replace(recipe, **TINY) if args.tiny else recipe).overridden(args)
    accelerator = make_accelerator(config, args.output)
    logging.basicConfig(
        level=logging.INFO if accelerator.is_main_process else logging.ERROR, format="%(levelname)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    check_lora_launch(accelerator)

    trainer = encoded_run(args, config, accelerator) if args.encoded else recorded_run(args, config, accelerator)
    result = trainer.run(args.resume)
    if result.stopped_by is not None:
        accelerator.print(f"Stopped by signal {result.stopped_by} after step {result.step}: {result.checkpoint}")
        return 128 + result.stopped_by
    accelerator.print(f"{result.step} steps; the robot: {result.pipeline}. Load it with pipeline.load_robot(...).")
    if args.push_to_hub and accelerator.is_main_process:
        best = args.output / BEST  # by validation, where there is one
        folder = best if best.is_dir() else result.pipeline
        again = f"xwam.pipelines.robot_storage.publish_robot({str(folder)!r}, {args.push_to_hub!r})"
        with publishing_explained(folder, args.push_to_hub, again):
            address = publish_robot(folder, args.push_to_hub, private=args.private or None)
        accelerator.print(f"Published: {address}")
    accelerator.end_training()
    return 0


def recorded_run(args: argparse.Namespace, config: TrainConfig, accelerator: Accelerator) -> Trainer:
    """A run on recordings: frames are decoded by workers and encoded in every step."""
    # 1. Data and robot: some episodes are held out, the quantiles are those of the rest
    robot = None if args.robot is None else read_robot(args.robot)
    readers = [open_dataset(source, robot, map=args.map) for source in args.dataset]
    parted = [hold_out(reader, args.validation_episodes) for reader in readers]
    trained, held = [part for part, _ in parted], [part for _, part in parted if part is not None]
    with accelerator.main_process_first():
        robot = robot_with_quantiles(
            readers[0].robot, trained, args.output / "robot.json", rows_per_command=args.rows_per_command
        )
    if not any(reader.depth_cameras for reader in trained):
        config = replace(config, depth_weight=0.0)

    # 2. The robot on the frozen base
    pipeline = put_on_base(args, robot, accelerator)
    processor = pipeline.robot_processor  # with the quantiles of its first training, if it is trained further
    mixture = Mixture.of(trained, processor, rows_per_command=args.rows_per_command)
    augmentation = Augmentation(crop_ratio=robot.crop_ratio) if config.augmentation else None

    # 3. Batches and validation, as in train_xwam.py
    def make_batches(rank: int, num_ranks: int, start_batch: int) -> Any:
        return make_stream(
            mixture, seed=config.seed, batch_size=config.batch_size, augmentation=augmentation, rank=rank,
            world_size=num_ranks, start_batch=start_batch, num_workers=config.num_workers,
            pin_memory=accelerator.device.type == "cuda",
        )  # fmt: skip

    def validate(pipeline: XWAMPolicyPipeline, step: int, with_samples: bool) -> dict[str, float]:
        clips = validation_batches(
            held, processor, num_clips=args.validation_clips, batch_size=config.batch_size,
            rows_per_command=args.rows_per_command,
        )  # fmt: skip
        folder = args.output / "samples" / f"step-{step:08d}" if accelerator.is_main_process else None
        return evaluate(
            pipeline, clips, mode=config.noise_mode, weights=config.loss_weights, with_samples=with_samples, folder=folder
        ).numbers()  # fmt: skip

    # 4. What is exported is the robot alone
    episodes = sum(len(reader.episodes) for reader in trained)
    told = f"{episodes} episodes of {', '.join(reader.name for reader in trained)}"
    return Trainer(
        config, pipeline, make_batches, args.output, validate=validate if held else None, data=data_identity(mixture),
        export=robot_export(card(args, config, told)), accelerator=accelerator,
    )  # fmt: skip


def encoded_run(args: argparse.Namespace, config: TrainConfig, accelerator: Accelerator) -> Trainer:
    """A run on latents that `encode_dataset.py` made of the robot's recordings: no VAE and no text encoder on the GPU."""
    dataset = EncodedDataset(args.encoded)
    pipeline = put_on_base(args, read_robot(args.robot), accelerator)
    dataset.check(pipeline)
    pipeline = XWAMPolicyPipeline.from_pipe(pipeline, vae=None, text_encoder=None, tokenizer=None)

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
        config, pipeline, make_batches, args.output, encode=encode, data={"encoded": identity},
        export=robot_export(card(args, config, f"{len(dataset)} encoded windows")), accelerator=accelerator,
    )  # fmt: skip


def put_on_base(args: argparse.Namespace, robot: RobotSpec, accelerator: Accelerator) -> XWAMPolicyPipeline:
    """The base, frozen and so in bfloat16 or fewer bits, with a new robot or one that is trained further."""
    if args.base == UNTRAINED:
        pipeline = create_embedded_pipeline(XWAMPolicyPipeline)
    else:
        few_bits = {"quantization_config": quantization(args.quantize)} if args.quantize else {}
        dtype = torch.bfloat16 if few_bits or accelerator.device.type == "cuda" else torch.float32
        no_text = {"text_encoder": None, "tokenizer": None} if args.encoded else {}
        pipeline = XWAMPolicyPipeline.from_pretrained(args.base, dtype=dtype, **few_bits, **no_text)
    if args.continue_from is not None:
        trained = train_robot(pipeline, pipeline.load_robot(args.continue_from))
        if args.robot is not None and (fields := other_robot(pipeline.robot_processor.spec, robot)):
            raise ValueError(
                f"--robot differs from the robot of --continue_from in {fields}; leave it out, or train anew."
            )
    else:
        settings = LoraSettings(
            rank=args.rank, alpha=args.alpha, is_rank_stabilized=args.rslora, dropout=args.lora_dropout,
            adapts_feed_forward=not args.attention_only,
        )  # fmt: skip
        trained = prepare_lora(pipeline, robot, settings)
    accelerator.print(trained)
    if accelerator.is_main_process:
        write_json(args.output / "robot.json", pipeline.robot_processor.spec.to_dict())
    return pipeline


def card(args: argparse.Namespace, config: TrainConfig, training_data: str) -> ModelCard:
    """What the model card says."""
    can_be_had = args.base == EMBEDDED or not (args.base == UNTRAINED or Path(args.base).is_dir())
    return ModelCard(
        license=args.license,
        base_model=args.base if can_be_had else None,
        training_data=f"{training_data}; {config.steps} steps of {config.batch_size * config.accumulation} windows per process",
    )


def parse() -> argparse.Namespace:
    """The command line; fields of `TrainConfig` are options of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--dataset", nargs="+", default=[], help="recordings of the robot: folders or hub ids")
    add("--encoded", type=Path, help="instead: a data set that encode_dataset.py encoded, with --robot")
    add("--robot", help="JSON file or name of the robot; else what the data set says")
    add("--map", help="JSON file that says where the data set has states, commands and cameras")
    add("--rows_per_command", type=int, default=1, help="rows from one command to the next (1)")
    add("--base", required=True, help=f"base: folder, hub id, {EMBEDDED!r} or {UNTRAINED!r}")
    add("--output", type=Path, required=True, help="folder of the run")
    add("--resume", default="auto", help="auto, never, or a checkpoint (auto)")
    add("--continue_from", help="folder or hub id of a robot to train further")
    add("--rank", type=int, default=16, help="rank of the LoRA layers (16)")
    add("--alpha", type=float, help="their scale is alpha / rank (alpha = rank)")
    add("--rslora", action="store_true", help="scale by alpha / √rank")
    add("--lora_dropout", type=float, default=0.0, help="of the input of LoRA layers (0)")
    add("--attention_only", action="store_true", help="leave the feed-forward layers as they are")
    add("--quantize", choices=QUANTIZATIONS, help="keep the base in few bits: int8 anywhere, 8bit and 4bit on a GPU")
    add("--validation_episodes", type=int, default=8, help="held out of each data set, at most a fifth (8)")
    add("--validation_clips", type=int, default=16, help="windows of them that are validated on (16)")
    add("--push_to_hub", metavar="REPO", help="publish the robot, such as user/my-robot-xwam")
    add("--private", action="store_true", help="make a new repository private")
    add("--license", help="SPDX identifier of the robot's licence")
    add("--tiny", action="store_true", help="two steps with one window each, to see that all is well")
    TrainConfig.add_arguments(parser)
    args = parser.parse_args()
    if args.validation_episodes < 0 or args.validation_clips < 1:
        parser.error("--validation_episodes must be at least 0 and --validation_clips at least 1")
    refuse_together(parser, args, USELESS)
    check_targets(parser, args.output, args.push_to_hub)
    if bool(args.dataset) == bool(args.encoded) or (args.encoded and not args.robot):
        parser.error("say either --dataset, or --encoded and --robot")
    if args.quantize and args.base == UNTRAINED:
        parser.error("--quantize needs a base that is loaded, not one that is made here")
    return args


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (XWAMError, ValueError, ImportError, RuntimeError) as error:
        logging.getLogger("train_xwam_lora").error("%s", error)
        sys.exit(1)
