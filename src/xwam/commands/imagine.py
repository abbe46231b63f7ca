"""`xwam imagine`: the windows of a data set as a model imagines them and as they came, to be scored."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from xwam.data.readers.dataset_files import DatasetFiles
from xwam.data.readers.open import open_dataset, read_map
from xwam.data.streams.clip_dataset import ClipDataset
from xwam.data.streams.windows import WindowShape
from xwam.data.writers.durable_files import write_json
from xwam.errors import XWAMError
from xwam.evaluation.imagination import PREDICTIONS, SETTINGS_FILE, TRUTH, ImagineOptions, imagine_windows, spread
from xwam.export.future_folder import FORMATS
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.utils.devices import require_device
from xwam.utils.options import require_at_least, require_own

DELAY = 0.5  # seconds until the bar appears
ROBOT_FILE = "robot.json"  # what the columns of commands mean, for `xwam score`


def main(arguments: Sequence[str]) -> int:
    """Imagine the windows of a data set.

    Args:
        arguments (`Sequence[str]`): What follows `xwam imagine`.

    Returns:
        `int`: 0 when all are there, 1 if they could not be made, 2 if something impossible was asked for.
    """
    asked = _parser().parse_args(arguments)
    try:
        _check(asked)
    except ValueError as error:
        print(f"xwam imagine: {error}", file=sys.stderr)
        return 2
    try:
        count, total = _imagine(asked)
    except (XWAMError, ValueError, OSError, ImportError, RuntimeError) as error:  # the last when memory is out
        print(f"xwam imagine: {error}", file=sys.stderr)
        return 1
    folders = f"{asked.output / PREDICTIONS} {asked.output / TRUTH} --robot {asked.output / ROBOT_FILE}"
    print(
        f"{count} windows imagined, {total} there\nscore them: xwam score {folders} --output {asked.output / 'scores'}"
    )
    return 0


def _imagine(asked: argparse.Namespace) -> tuple[int, int]:
    dataset_map = None if asked.map is None else read_map(asked.map)
    DatasetFiles(asked.source)  # which must be there, before a model is loaded
    dtype = torch.float32 if asked.device == "cpu" else torch.bfloat16
    pipeline = XWAM4DPipeline.from_pretrained(asked.model, dtype=dtype).to(asked.device)
    pipeline.set_progress_bar_config(disable=True)
    spec = pipeline.robot_processor.spec
    options = ImagineOptions(
        seed=asked.seed,
        given_actions=asked.given_actions,
        num_inference_steps=asked.steps,
        num_action_steps=asked.action_steps,
        formats=tuple(dict.fromkeys(("npz", *asked.formats))),
    )
    with open_dataset(asked.source, spec, map=dataset_map) as reader:
        stride = asked.stride or WindowShape.of(spec, asked.rows_per_command).span
        windows = ClipDataset(reader, stride=stride, rows_per_command=asked.rows_per_command)
        numbers = spread(len(windows), asked.windows)
        with tqdm(total=len(numbers), unit="window", desc="imagining", delay=DELAY, disable=None) as bar:
            count = imagine_windows(
                pipeline,
                windows,
                asked.output,
                options,
                numbers=numbers,
                model=asked.model,
                on_window=lambda _: bar.update(),
            )
    write_json(asked.output / ROBOT_FILE, spec.to_dict())
    return count, len(numbers)


def _check(asked: argparse.Namespace) -> None:
    require_at_least(1, asked, "windows", "stride", "rows_per_command", "steps", "action_steps")
    require_own(asked.output, SETTINGS_FILE)
    require_device(asked.device, name="--device")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xwam imagine",
        description="Imagine windows of a data set from their first instants, and keep what came beside it. Started again, it "
        "goes on where it was stopped.",
    )
    add = parser.add_argument
    add("source", help="folder, or dataset on the hub: user/name")
    add("--model", required=True, help="embedded, or a pipeline's folder or hub id; the data set must be of its robot")
    add("--output", type=Path, required=True, help=f"folder of {PREDICTIONS}/ and {TRUTH}/")
    add(
        "--map",
        metavar="FILE",
        help="JSON file that says where columns and cameras are, or a public source such as droid",
    )
    add("--windows", type=int, metavar="N", help="so many, evenly over the data set (default: all)")
    add("--stride", type=int, metavar="ROWS", help="rows from one window to the next (default: they do not overlap)")
    add("--rows-per-command", type=int, default=1, metavar="K", help="rows from one command to the next (default: 1)")
    add("--given-actions", action="store_true", help="tell the model the recorded commands (forward dynamics)")
    add("--steps", type=int, help="denoising steps of the video (default: the model's)")
    add("--action-steps", type=int, help="denoising steps of the actions (default: the model's)")
    add("--seed", type=int, default=0, help="of all noise (default: %(default)s)")
    add("--device", default="cpu", help="where the model computes: cpu, cuda, … (default: %(default)s)")
    add("--formats", nargs="+", choices=FORMATS, default=[], help="write these files too, to look at")
    return parser
