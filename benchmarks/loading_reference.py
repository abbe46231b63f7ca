"""The data set of the reference release (github.com/sharinka0715/X-WAM, commit 72cfb86) over our recordings, from a checkout."""

import contextlib
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from xwam.data.readers.base import EpisodeReader
from xwam.data.streams.windows import WindowIndex, WindowShape, read_clip
from xwam.robots.processor import RobotProcessor


def open_reference(checkout: Path, folder: Path, processor: RobotProcessor) -> Callable[..., Any]:
    """The release's dataset over a folder, with our robot's quantiles; its switches as in its fine-tuning configurations."""
    sys.path.insert(0, str(checkout))
    try:
        module = importlib.import_module("data.robot_dataset")
    finally:
        sys.path.remove(str(checkout))
    spec = processor.spec
    quantiles = spec.quantiles
    assert quantiles is not None, "the embedded robot has some"
    statistics = {}
    for level, state, action in (
        ("q01", quantiles.state_low, quantiles.action_low),
        ("q99", quantiles.state_high, quantiles.action_high),
    ):
        statistics[level] = {
            "proprio_left_ee_xyz": list(state[:3]),
            "gripper_pos": list(state[7:8]),
            "action_left_ee_xyz": list(action[:3]),
            "action_left_ee_axisangle": list(action[3:6]),
        }

    def dataset(augment: bool) -> Any:
        with contextlib.redirect_stdout(sys.stderr):
            return module.RobotDataset(
                str(folder), spec.num_frames, spec.actions_per_frame, spec.image_size, augment=augment,
                normalize_depths_per_view=False, shuffle_view_order=False, statistics=statistics,
            )  # fmt: skip

    return dataset


def compare_numbers(
    theirs: Callable[[int], Any],
    reader: EpisodeReader,
    index: WindowIndex,
    processor: RobotProcessor,
    numbers: Sequence[int],
) -> dict[str, float]:
    """Largest differences to the tensors of the release's reader, without augmentation."""
    shape = WindowShape.of(processor.spec)
    box = [(0, 0, *processor.image_size)] * processor.num_views
    largest: dict[str, float] = {}
    for number in numbers[:10]:
        given, clip = theirs(number), read_clip(reader, *index[number], shape)
        own = processor.encode_clip(clip, boxes=box)
        assert own.depth_images is not None, "these recordings have depth"
        pairs = {
            "states": (own.states, given["proprios"]),
            "actions": (own.actions, given["actions"]),
            "frames, levels": (own.frames * 127.5, given["video"] * 127.5),
            "depth, levels": (own.depth_images * 127.5, given["depths"] * 127.5),
        }
        for name, (ours, other) in pairs.items():
            largest[name] = max(largest.get(name, 0.0), float((ours - other).abs().max()))
    return largest
