"""`xwam label-depth`: a copy of a data set with depth that a model estimates from RGB."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from xwam.data.readers.open import open_dataset
from xwam.data.writers.dataset_card import write_card
from xwam.data.writers.dataset_writer import describe_failure
from xwam.errors import CheckpointError, DataError, HubError, XWAMError
from xwam.recording.depth_labels import ALIGNMENTS, LABEL_CRF, LabelOptions
from xwam.robots.registry import read_robot
from xwam.utils.devices import require_device
from xwam.utils.options import require_at_least, require_writable

DELAY = 0.5  # seconds until the bar appears, so that what is refused before gives one line
DTYPES = ("float32", "bfloat16", "float16")
COULD_NOT = (DataError, CheckpointError, HubError, OSError, RuntimeError)


def main(arguments: Sequence[str]) -> int:
    """Label a data set.

    Args:
        arguments (`Sequence[str]`): What follows `xwam label-depth`.

    Returns:
        `int`: 0 when the new data set is complete, 1 if it could not be made, 2 if something impossible was asked for.
    """
    asked = _parser().parse_args(arguments)
    try:
        _label(asked)
    except (XWAMError, ValueError, ImportError, OSError, RuntimeError) as error:
        print(f"xwam label-depth: {describe_failure(error, asked.output)}", file=sys.stderr)
        return 1 if isinstance(error, COULD_NOT) else 2
    return 0


def _label(asked: argparse.Namespace) -> None:
    if Path(asked.source).resolve() == asked.output.resolve():
        raise ValueError(f"The new data set needs a folder of its own, not {asked.output} that is labelled.")
    require_at_least(1, asked, "batch_size")
    require_writable(asked.output)
    require_device(asked.device, name="--device")
    _options(asked, "metric")  # rather now than when a model of gigabytes is there
    robot = None if asked.robot is None else read_robot(asked.robot)
    with open_dataset(asked.source, robot, map=asked.map, split=asked.split) as reader:
        import torch

        from xwam.models.depth_estimation import DepthEstimator
        from xwam.recording.pseudo_depth import label_depth

        estimator = DepthEstimator.from_pretrained(
            asked.model,
            revision=asked.revision,
            answer=asked.answer,
            device=asked.device,
            dtype=getattr(torch, asked.dtype),
            batch_size=asked.batch_size,
        )
        options = _options(asked, estimator.answer)
        total = sum(entry.length for entry in reader.episodes)
        with tqdm(total=total, unit="row", desc="estimating depth", delay=DELAY, disable=None) as bar:
            result = label_depth(
                reader, asked.output, estimator, options, output_format=asked.format, on_rows=bar.update
            )
    if asked.format == "lerobot":
        write_card(asked.output)
    print(f"{result.num_episodes} new episodes, {result.num_rows} rows, depth {options.alignment}: {asked.output}")
    for episode, reason in result.skipped.items():
        print(f"skipped {episode}: {reason}")


def _options(asked: argparse.Namespace, answer: str) -> LabelOptions:
    return LabelOptions(
        alignment=asked.align or ("metric" if answer == "metric" else "relative"),
        depth_range=None if asked.depth_range is None else tuple(asked.depth_range),
        median_depth=asked.median_depth,
        num_fitted=asked.fit_frames,
        pixel_format=asked.pixel_format,
        crf=asked.crf,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xwam label-depth",
        description="Copy a data set and add depth that a model estimates from RGB, which is encoded once more. Started again, it goes on where it was stopped.",
    )
    add = parser.add_argument
    add("source", help="folder, or dataset on the hub: user/name")
    add(
        "--robot",
        help="name of a robot, or its JSON file (default: that of the public source named by --map, else the one that the data set brings)",
    )
    add("--model", required=True, help="depth model of transformers: folder or hub id")
    add("--output", type=Path, required=True, help="folder of the new data set, or one to go on with")
    add(
        "--map",
        metavar="FILE",
        help="JSON file that says where columns and cameras are, or a public source such as droid",
    )
    add("--split", help="split of an RLDS data set (default: train)")
    add("--revision", help="branch, tag or commit of the model on the hub")
    add("--answer", help="what the model answers, if its config does not say: inverse_relative, relative or metric")
    add(
        "--align",
        choices=ALIGNMENTS,
        help="how its numbers become depth (default: metric if it answers metres, else relative)",
    )
    add("--depth-range", type=float, nargs=2, metavar=("NEAR", "FAR"), help="metres stored (default: the robot's own)")
    add("--median-depth", type=float, metavar="M", help="metres, for --align median")
    add(
        "--fit-frames",
        type=int,
        default=16,
        metavar="N",
        help="frames of an episode to align by (default: %(default)s)",
    )
    add("--format", choices=("lerobot", "release"), default="lerobot", help="release is lossy (default: %(default)s)")
    add("--device", default="cpu", help="where the model computes: cpu, cuda, … (default: cpu)")
    add("--dtype", choices=DTYPES, default="float32", help="in which it computes (default: %(default)s)")
    add("--batch-size", type=int, default=8, metavar="N", help="images at once (default: %(default)s)")
    add("--crf", type=int, default=LABEL_CRF, help="quality of RGB videos; lower is better (default: %(default)s)")
    add(
        "--pixel-format",
        choices=("yuv444p", "yuv420p"),
        default="yuv444p",
        help="yuv420p: for every browser, blurs colours",
    )
    return parser
