"""What the metrics cost: the Chamfer distance of two clouds against SciPy's k-d tree alone, and every metric on one future.

The clouds are two noisy samples of one surface, in random order. SciPy's side builds both trees and asks both ways with all
cores, one after the other, as one would write it by hand.

With `--still FOLDER`, also the score of a still picture on real videos: what a model must beat to have predicted anything.

Usage:
    python benchmarks/scoring.py
    python benchmarks/scoring.py --points 100000 --rounds 15
    python benchmarks/scoring.py --still ../shared/data/droid_3view
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from measuring import Contestant, describe_machine, interleave, summarize
from scipy.spatial import cKDTree

from xwam.data.video.reader import read_frames, scan_video
from xwam.metrics.bootstrap import confidence_interval
from xwam.metrics.depth import depth_errors
from xwam.metrics.images import lpips, psnr, ssim
from xwam.metrics.perceptual import LPIPSNetwork
from xwam.metrics.points import chamfer_distance

TARGET = 1.2  # times SciPy's own time
VIEWS, FRAMES, HEIGHT, WIDTH = 3, 9, 256, 320  # of the released robots


def cloud(num_points: int, seed: int) -> np.ndarray:
    """A sample `(M, 3)` of a wavy square metre with 2 mm of noise, float32."""
    rng = np.random.default_rng(seed)
    x, y = rng.random((2, num_points))
    height = 0.1 * np.sin(6 * x) * np.cos(5 * y) + rng.normal(0, 0.002, num_points)
    return np.stack([x, y, height], axis=-1).astype(np.float32)


def scipy_chamfer(prediction: np.ndarray, truth: np.ndarray) -> float:
    """The mean of both directed means, by SciPy alone."""
    to_truth = cKDTree(truth).query(prediction, workers=-1)[0]
    to_prediction = cKDTree(prediction).query(truth, workers=-1)[0]
    return float(to_truth.mean() + to_prediction.mean()) / 2


def compare(num_points: int, rounds: int) -> dict[str, float]:
    """Medians in seconds of both sides, run in turn, and their ratio."""
    clouds = cloud(num_points, seed=0), cloud(num_points, seed=1)
    assert abs(chamfer_distance(*clouds) - scipy_chamfer(*clouds)) < 1e-9
    sides = (
        Contestant("xwam", lambda _: chamfer_distance(*clouds)),
        Contestant("scipy", lambda _: scipy_chamfer(*clouds)),
    )
    times = interleave(torch.device("cpu"), sides, rounds, lambda _: None)
    medians = {side: summarize([timing.wall for timing in own])["p50_s"] for side, own in times.items()}
    return {**medians, "ratio": medians["xwam"] / medians["scipy"]}


def whole_future() -> dict[str, float]:
    """Seconds of every metric on the frames and depth of one future, once each."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (VIEWS, FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(2)]
    depths = [rng.uniform(0.3, 2, (VIEWS, FRAMES, HEIGHT, WIDTH)).astype(np.float32) for _ in range(2)]
    network = LPIPSNetwork()  # random weights take the same time
    calls = {
        "psnr": lambda: psnr(*frames),
        "ssim": lambda: ssim(*frames),
        "lpips": lambda: lpips(*frames, network=network),
        "depth_errors": lambda: depth_errors(*depths),
    }
    seconds = {}
    for name, call in calls.items():
        start = time.perf_counter()
        call()
        seconds[name] = time.perf_counter() - start
    return seconds


def still_picture(video: Path, *, windows: int = 8, stride: int = 4) -> dict[str, np.ndarray]:
    """PSNR and SSIM `(windows, FRAMES - 1)` of frame 0, taken as the prediction of the frames that follow it."""
    starts = np.linspace(0, scan_video(video).num_frames - 1 - stride * (FRAMES - 1), windows).astype(int)
    clips = [read_frames(video, [int(start) + stride * frame for frame in range(FRAMES)]) for start in starts]
    truth = np.stack([clip[1:] for clip in clips])
    still = np.stack([np.broadcast_to(clip[:1], clip[1:].shape) for clip in clips])
    return {"PSNR": psnr(still, truth), "SSIM": ssim(still, truth)}


def main() -> None:
    """Print one line per comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000, help="points of each cloud")
    parser.add_argument("--rounds", type=int, default=15, help="timed runs of each side")
    parser.add_argument("--still", type=Path, help="folder of mp4 videos to hold still pictures against")
    options = parser.parse_args()
    print(", ".join(f"{name} {value}" for name, value in describe_machine(torch.device("cpu")).items()))
    found = compare(options.points, options.rounds)
    print(
        f"Chamfer distance of two clouds of {options.points} points: xwam {found['xwam'] * 1000:.0f} ms, SciPy "
        f"{found['scipy'] * 1000:.0f} ms, ratio {found['ratio']:.2f} (at most {TARGET} is asked for)"
    )
    for name, seconds in whole_future().items():
        print(f"{name} of {VIEWS} × {FRAMES} images of {HEIGHT} × {WIDTH}: {seconds:.2f} s")
    for video in sorted(options.still.glob("*.mp4")) if options.still else ():
        for name, values in still_picture(video).items():
            own = confidence_interval(values)
            steps = " ".join(
                f"{mean:.2f} [{low:.2f}, {high:.2f}]"
                for mean, low, high in zip(own.mean, own.low, own.high, strict=True)
            )
            print(f"{video.stem}: {name} of a still picture, frames 1 to {FRAMES - 1}: {steps}")


if __name__ == "__main__":
    main()
