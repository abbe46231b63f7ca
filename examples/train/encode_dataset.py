"""Encode ahead — VAE and text encoder once per window, instead of once per step.

What you learn: how recordings become latents on the disk, and what is kept so that they are never mistaken for others. In the field the
VAE takes about a third of a training step; latents on the disk cost nothing, but crops and colours are fixed: take several variants.

Usage:
    python examples/train/encode_dataset.py --dataset user/my-robot --robot my_robot.json --base user/x-wam --output encoded --variants 4
    python examples/train/train_xwam.py --encoded encoded --base user/x-wam --output out
    python examples/train/encode_dataset.py --dataset demonstrations --base untrained --output encoded --tiny

Started again with the same options, it goes on where it was stopped. Several GPUs share the work: --rank 0 --world_size 4, and so on.
"""

import argparse
import logging
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from xwam import RobotProcessor, XWAMPolicyPipeline, create_embedded_pipeline
from xwam.data.readers.open import open_dataset
from xwam.data.readers.selection import Selection
from xwam.data.streams.augmentation import Augmentation
from xwam.data.streams.mixture import Mixture
from xwam.data.writers.durable_files import write_json
from xwam.errors import XWAMError
from xwam.robots.registry import read_robot
from xwam.training.encoded_format import DTYPES
from xwam.training.encoded_writer import EncodedDatasetWriter
from xwam.training.publishing import check_targets
from xwam.training.training_data import hold_out, robot_with_quantiles

UNTRAINED = "untrained"  # a tiny model with random weights, to try


def main() -> None:
    """Open, encode, say what was left out."""
    args = parse()

    # 1. Data and robot, as in train_xwam.py: the same episodes are held out
    robot = None if args.robot is None else read_robot(args.robot)
    reader, _ = hold_out(open_dataset(args.dataset, robot, map=args.map), args.validation_episodes)
    if args.tiny:
        reader = Selection(reader, [0])
    pipeline = (
        create_embedded_pipeline(XWAMPolicyPipeline)
        if args.base == UNTRAINED
        else XWAMPolicyPipeline.from_pretrained(args.base, dtype=torch.float32)
    )
    known = pipeline.robot_processor.spec
    robot = robot or (known if known.name == reader.robot.name else reader.robot)
    robot = robot_with_quantiles(robot, [reader], args.output / "robot.json", rows_per_command=args.rows_per_command)
    pipeline.register_modules(
        robot_processor=RobotProcessor(robot)
    )  # the transformer, of another robot maybe, takes no part
    pipeline.to(args.device)

    # 2. The encoded data set: new, or one that was begun with the same options
    augmentation = Augmentation(crop_ratio=robot.crop_ratio) if args.variants > 1 else None
    writer = EncodedDatasetWriter(
        args.output,
        Mixture.of(reader, pipeline.robot_processor, rows_per_command=args.rows_per_command),
        pipeline,
        augmentation=augmentation,
        variants=args.variants,
        stride=30 if args.tiny else args.stride,
        seed=args.seed,
        with_depth=not args.no_depth,
        dtype=args.dtype,
    )

    write_json(args.output / "robot.json", robot.to_dict())  # for train_xwam_lora.py --robot

    # 3. Encode what is missing
    header = writer.header
    print(
        f"{header.num_windows} windows × {header.variants} in {header.num_shards} shards, {len(writer.missing())} to go"
    )
    with tqdm(total=header.num_entries, unit="entry") as bar:
        report = writer.run(
            batch_size=args.batch_size, num_workers=args.num_workers, rank=args.rank, world_size=args.world_size,
            on_shard=bar.update,
        )  # fmt: skip
    print(f"{report.num_entries} entries written, {len(report.skipped)} windows left out")
    print(
        f"complete: {args.output}"
        if report.is_complete
        else "not complete: other processes still have shards to write"
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--dataset", required=True, help="folder, or id on the hub")
    add("--robot", help="name or JSON file of the robot; else that of the data set")
    add("--map", help="JSON file that says where the data set has states, commands and cameras, or a public source")
    add("--rows_per_command", type=int, default=1, help="rows from one command to the next (default: %(default)s)")
    add(
        "--base",
        required=True,
        help=f"pipeline whose VAE and text encoder encode: folder, hub id, 'embedded' or {UNTRAINED!r}",
    )
    add("--output", type=Path, required=True, help="folder of the encoded data set")
    add(
        "--variants",
        type=int,
        default=1,
        help="crops and colours of every window; 1 is the centre crop (default: %(default)s)",
    )
    add("--stride", type=int, default=1, help="encode every so manieth window (default: %(default)s)")
    add("--seed", type=int, default=0, help="of crops and colours (default: %(default)s)")
    add("--dtype", choices=sorted(DTYPES), default="bfloat16", help="of the stored latents (default: %(default)s)")
    add("--no_depth", action="store_true", help="encode no depth")
    add("--validation_episodes", type=int, default=8, help="held out, as in train_xwam.py (default: %(default)s)")
    add("--batch_size", type=int, default=4, help="windows at once (default: %(default)s)")
    add("--num_workers", type=int, default=0, help="processes that read ahead (default: %(default)s)")
    add("--rank", type=int, default=0, help="this process of those that share the work (default: %(default)s)")
    add("--world_size", type=int, default=1, help="processes that share the work (default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(default: %(default)s)")
    add("--tiny", action="store_true", help="a few windows of one episode, to see that it runs")
    args = parser.parse_args()
    check_targets(parser, args.output)
    return args


if __name__ == "__main__":
    try:
        main()
    except (XWAMError, ValueError, ImportError, RuntimeError) as error:
        logging.getLogger("encode_dataset").error("%s", error)
        sys.exit(1)
