"""Convert a checkpoint of the reference release to a pipeline folder, or a pipeline folder back.

Usage:
    python scripts/convert_official_checkpoint.py robocasa_sft/ x-wam-robocasa/ --robot robocasa --tokenizer umt5-xxl/
    python scripts/convert_official_checkpoint.py robocasa_sft/ --robot robocasa --inspect
    python scripts/convert_official_checkpoint.py x-wam-robocasa/ robocasa_sft/ --back
"""

import argparse
import sys
from pathlib import Path

from xwam.checkpoints.json_files import read_json
from xwam.errors import XWAMError
from xwam.loaders.conversion import (
    convert_official_checkpoint,
    export_official_checkpoint,
    inspect_official_checkpoint,
)
from xwam.loaders.official_config import OfficialSizes
from xwam.loaders.sharding import MAX_SHARD_SIZE
from xwam.robots.registry import list_robots, read_robot
from xwam.utils.options import refuse_together


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="experiment folder or DeepSpeed file; with --back a pipeline folder")
    parser.add_argument("output", type=Path, nargs="?", help="folder to make")
    parser.add_argument(
        "--robot", help=f"robot of the experiment: one of {', '.join(list_robots())}, or a JSON file of a RobotSpec"
    )
    parser.add_argument("--step", help="which checkpoints/<step>.ckpt")
    parser.add_argument("--config", type=Path, help="config.yaml, where it is not in the experiment folder")
    parser.add_argument("--tokenizer", type=Path, help="folder of the UMT5 tokenizer to copy")
    parser.add_argument(
        "--sizes", type=Path, help="JSON with transformer, text_encoder and vae in the release's words"
    )
    parser.add_argument("--max-shard-size", type=int, default=MAX_SHARD_SIZE, help="most bytes of a weight file")
    parser.add_argument("--back", action="store_true", help="pipeline folder to checkpoint of the release")
    parser.add_argument("--inspect", action="store_true", help="only compare the tensors")
    parser.add_argument("--every-tensor", action="store_true", help="list the tensors that went well, too")
    arguments = parser.parse_args()
    if arguments.output is None and not arguments.inspect:
        parser.error("`output` is needed unless --inspect is given")
    refuse_together(parser, arguments, {"back": ("inspect", "robot", "tokenizer", "sizes", "max_shard_size")})
    if arguments.inspect and arguments.output is not None:
        parser.error("--inspect writes nothing: leave `output` out")
    if arguments.robot is None and not arguments.back:
        parser.error("--robot is needed unless --back is given")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    common = {"step": arguments.step, "config": arguments.config}
    try:
        sizes = OfficialSizes(**read_json(arguments.sizes)) if arguments.sizes else None
        if arguments.back:
            report = export_official_checkpoint(arguments.source, arguments.output, **common)
        elif arguments.inspect:
            report = inspect_official_checkpoint(
                arguments.source, robot=read_robot(arguments.robot), sizes=sizes, **common
            )
        else:
            report = convert_official_checkpoint(
                arguments.source,
                arguments.output,
                robot=read_robot(arguments.robot),
                tokenizer=arguments.tokenizer,
                sizes=sizes,
                max_shard_size=arguments.max_shard_size,
                **common,
            )
    except (XWAMError, ValueError, TypeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(report.to_text(every_tensor=arguments.every_tensor))
    return 0 if report.is_full_match else 1


if __name__ == "__main__":
    sys.exit(main())
