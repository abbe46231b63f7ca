"""What depth images keep of metres, and how well a scale that nobody knows is found: the figures of docs/how_to/metric_depth.md.

Usage:
    python benchmarks/depth.py
    python benchmarks/depth.py --model FOLDER --scenes 8

With a pipeline that was trained on metric depth of the embedded robot, its depth is also calibrated as if its encoding were
unknown, and both answers are held against the simulator's depth of frame 0.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from measuring import describe_machine

from xwam.envs.registry import make_env
from xwam.geometry.depth import depth_error_bound, depth_to_image, image_to_depth
from xwam.geometry.depth_calibration import calibrate_affine
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.robots.depth import decode_depths
from xwam.robots.images import depths_to_views
from xwam.robots.registry import get_robot
from xwam.structures import Observation

BITS = (8, 16)
SHOWN = {"fixed cameras": (0.3, 0.5, 1.0, 2.0, 4.0), "wrist camera": (0.02, 0.05, 0.1, 0.3, 1.0)}  # metres
SCALE, SHIFT = 3.0, 0.3  # planted, per metre
OUTLIER_SHARE = 0.4
SEEDS = 20
OUTLIERS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "all farther": lambda true, even: true / (1.02 + 2 * even),
    "all nearer": lambda true, even: true * (1.02 + 2 * even),
    "both sides": lambda true, even: true * torch.exp(2 * even - 1),
    "another scale": lambda true, even: 0.5 * true + 1.4,
    "one surface": lambda true, even: 2.9 + 0.01 * even,
}


def bounds_table() -> list[str]:
    """Rows of Markdown: the largest error in millimetres at some depths, by camera, encoding and bits."""
    lines = ["| camera | encoding | bits | unknown beyond | largest error |", "| --- | --- | --: | --: | --- |"]
    cameras = get_robot("mujoco_panda").cameras
    for name, camera in (("fixed cameras", cameras[0]), ("wrist camera", cameras[2])):
        assert camera.depth_range is not None, "the embedded robot measures depth"
        near, far = camera.depth_range
        depth = torch.tensor(SHOWN[name], dtype=torch.float64)[None]
        for encoding in ("inverse", "linear"):
            limit = float(image_to_depth(torch.full((1, 1, 1), 1 / 255 - 1), near, far, encoding))
            for bits in BITS:
                bound = 1000 * depth_error_bound(depth, near, far, encoding, 2**bits)[0]
                errors = ", ".join(f"{d:g} m: {e:.3g} mm" for d, e in zip(SHOWN[name], bound.tolist(), strict=True))
                lines.append(f"| {name}, {near:g} … {far:g} m | {encoding} | {bits} | {limit:.2f} m | {errors} |")
    return lines


def round_trips() -> list[str]:
    """Rows of Markdown: errors of a million depths through 8 bits, in shares of the bound and of a level."""
    lines = [
        "| encoding | largest error / bound | mean error, in levels | standard error |",
        "| --- | --: | --: | --: |",
    ]
    random = torch.Generator().manual_seed(0)
    near, far = 0.3, 5.0
    for encoding in ("inverse", "linear"):
        image = 2 * torch.rand(1, 1000, 1000, generator=random, dtype=torch.float64) - 1
        depth = image_to_depth(image, near, far, encoding)
        rounded = ((depth_to_image(depth, near, far, encoding)[0][:1] + 1) / 2 * 255).round() / 255 * 2 - 1
        again = image_to_depth(rounded, near, far, encoding)
        share = ((again - depth).abs() / depth_error_bound(depth, near, far, encoding)).max()
        level = 255 * (depth_to_image(again, near, far, encoding)[0][0] - image[0]) / 2
        lines.append(f"| {encoding} | {share:.5f} | {level.mean():.6f} | {12**-0.5 / 1000:.6f} |")
    return lines


def planted(kind: str, num_pixels: int, noise: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Levels and measured depth; the noise is relative to the median inverse depth."""
    random = torch.Generator().manual_seed(seed)
    level = torch.rand(num_pixels, generator=random, dtype=torch.float64)
    true = SCALE * level + SHIFT
    seen = true + noise * true.median() * torch.randn(num_pixels, generator=random, dtype=torch.float64)
    is_wrong = torch.arange(num_pixels) < OUTLIER_SHARE * num_pixels  # levels are in random order
    even = torch.rand(num_pixels, generator=random, dtype=torch.float64)
    return level, 1 / torch.where(is_wrong, OUTLIERS[kind](true, even), seen).clamp(min=1e-3)


def recovery_table() -> list[str]:
    """Rows of Markdown: the worst error of scale and shift over the seeds."""
    sizes = [(60, 0.0), (1000, 0.002), (20_000, 0.01), (81_920, 0.02)]
    heads = [f"{num_pixels} pixels, noise {noise:.1%}" for num_pixels, noise in sizes]
    lines = [f"| outliers | {' | '.join(heads)} |", "| --- |" + " --- |" * len(sizes)]
    for kind in OUTLIERS:
        cells = []
        for num_pixels, noise in sizes:
            fits = [calibrate_affine(*planted(kind, num_pixels, noise, seed)) for seed in range(SEEDS)]
            scale = max(abs(fit.scale / SCALE - 1) for fit in fits)
            shift = max(abs(fit.shift / SHIFT - 1) for fit in fits)
            cells.append(f"{scale:.2%}, {shift:.2%}")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines


def model_table(folder: str, scenes: int) -> list[str]:
    """Rows of Markdown: a trained model's depth, decoded and calibrated, against the simulator's; medians over scenes."""
    pipeline = XWAM4DPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    spec = pipeline.robot_processor.spec
    found: dict[str, list[tuple[float, ...]]] = {camera.name: [] for camera in spec.cameras}
    unknown = replace(spec, depth_encoding="relative")
    with make_env("mujoco/lift_cube", image_size=list(spec.cameras[0].size)) as env:
        for seed in range(scenes):
            observation: Observation = env.reset(1000 + seed)
            future = pipeline(observation, generator=torch.Generator().manual_seed(seed))
            images = {camera.name: future.depth_images[0, view] for view, camera in enumerate(spec.cameras)}
            metric, fitted = (decode_depths(own, images, observation) for own in (spec, unknown))
            for camera in spec.cameras:
                name = camera.name
                if name not in fitted.depths or camera.depth_range is None:
                    continue
                (truth,) = depths_to_views([observation.depths[name]], spec.image_size, spec.crop_ratio).numpy()
                errors = [_median_error(own.depths[name][0], truth) for own in (metric, fitted)]
                near, far = camera.depth_range
                fit = fitted.calibrations[name]
                found[name].append((*errors, fit.scale / (1 / near - 1 / far), fit.inlier_share))
    lines = [
        "| camera | scenes | decoded, median error | calibrated | scale found / declared | inliers |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for name, rows in found.items():
        if rows:
            decoded, calibrated, scale, share = np.median(np.array(rows), axis=0)
            lines.append(f"| {name} | {len(rows)} | {decoded:.1%} | {calibrated:.1%} | {scale:.3f} | {share:.0%} |")
    return lines


def _median_error(depth: np.ndarray, truth: np.ndarray) -> float:
    known = (depth > 0) & (truth > 0)
    return float(np.median(np.abs(depth - truth)[known] / truth[known]))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="embedded, or a folder or hub id, for the embedded robot")
    parser.add_argument("--scenes", type=int, default=8, help="scenes that the model is asked about")
    args = parser.parse_args()
    print(describe_machine(torch.device("cpu")))
    for table in (bounds_table, round_trips, recovery_table):
        start = time.perf_counter()
        print("", *table(), sep="\n")
        print(f"({time.perf_counter() - start:.1f} s)")
    if args.model:
        print("", *model_table(args.model, args.scenes), sep="\n")


if __name__ == "__main__":
    main()
