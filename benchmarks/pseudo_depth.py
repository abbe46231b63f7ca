"""What labelling with depth costs the frames, and what one scale and shift per episode is worth against one per frame.

    python benchmarks/pseudo_depth.py --episodes 4

Episodes of the embedded world stand for a recording, and their true depth, up to a scale and a shift of its inverse, for the
answers of a perfect relative depth model. No weights are needed.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from measuring import describe_machine

from xwam.data.readers.base import EpisodeReader
from xwam.data.readers.open import open_dataset
from xwam.data.video.reader import read_frames
from xwam.data.video.writer import VideoWriter
from xwam.models.depth_alignment import align_to_range
from xwam.recording.demonstrations import Recipe, record_demonstrations

QUALITIES = (4, 8, 14, 20)
STILL = 1e-3  # metres that the depth of a pixel may vary by over an episode to count as standing still
ANSWER = "inverse_relative"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="lift_cube")
    parser.add_argument("--episodes", type=int, default=4, help="(default: %(default)s)")
    asked = parser.parse_args()
    print(describe_machine(torch.device("cpu")))
    with tempfile.TemporaryDirectory() as folder:
        record_demonstrations(f"{folder}/recorded", [Recipe(f"mujoco/{asked.task}")], episodes=asked.episodes)
        with open_dataset(f"{folder}/recorded") as reader:
            print("\nRGB encoded once more, first camera\n\n| crf | dB | bytes per frame |\n| --: | --: | --: |")
            for crf in QUALITIES:
                decibels, size = encoded_again(reader, crf, Path(folder) / "video.mp4")
                print(f"| {crf} | {decibels:.1f} | {size} |")
            print("\nDeviation of depth over an episode, median of the pixels that stand still, in percent\n")
            print("| camera | one fit per episode | one per frame |\n| --- | --: | --: |")
            for camera in reader.depth_cameras:
                whole, single = np.transpose([flicker(reader, n, camera) for n in range(asked.episodes)])
                print(f"| {camera} | {100 * whole.max():.1f} | {100 * single.min():.1f} to {100 * single.max():.1f} |")


def encoded_again(reader: EpisodeReader, crf: int, path: Path) -> tuple[float, int]:
    """Peak signal-to-noise ratio in dB against what was decoded, and bytes per frame."""
    frames = reader.read_images(0, reader.cameras[0], range(reader.episodes[0].length))
    with VideoWriter(path, frames.shape[1:3], round(reader.rate), crf=crf) as video:
        for frame in frames:
            video.add(frame)
    error = np.square(frames.astype(float) - read_frames(path, range(len(frames)))).mean()
    return 10 * np.log10(255**2 / error), path.stat().st_size // len(frames)


def flicker(reader: EpisodeReader, episode: int, camera: str) -> tuple[float, float]:
    """Relative deviation of depth where nothing moves: with one range fit for the episode, and with one per frame."""
    depth = reader.read_depths(episode, camera, range(reader.episodes[episode].length)).astype(float)
    own = next(each.depth_range for each in reader.robot.cameras if each.name == camera)
    assert own is not None, "the embedded robot has ranges"
    answers = 30 / np.where(depth > 0, depth, own[1]) + 5
    is_still = (depth > 0).all(axis=0) & (depth.std(axis=0) < STILL)
    whole = align_to_range(answers, own, ANSWER).metres(answers)
    single = np.stack([align_to_range(each, own, ANSWER).metres(each) for each in answers])
    return tuple(float(np.median(own[:, is_still].std(0) / own[:, is_still].mean(0))) for own in (whole, single))


if __name__ == "__main__":
    main()
