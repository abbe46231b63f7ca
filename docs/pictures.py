"""Make the pictures that show the embedded model at work: a dream beside what came, and a film of episodes in closed loop.

Usage:
    python docs/pictures.py [--model embedded] [--tasks press_button open_drawer] [--seed 100000] [--output docs/images]

Scenes and phrasings are those of its measurements, from the first one on: none is picked.
"""

import argparse
import tempfile
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from xwam import Future, XWAM4DPipeline, make_env
from xwam.evaluation.reality import act_out
from xwam.evaluation.videos import Film
from xwam.export.files import replacing
from xwam.export.future_sheet import future_sheet
from xwam.policies.closed_loop import run_episode
from xwam.policies.pipeline_policy import PipelinePolicy

IMAGES = Path(__file__).resolve().parent / "images"
TASKS = ("press_button", "open_drawer", "lift_cube", "place_in_bin")
FIRST_SEED = 100_000  # of the episodes that the model card counts
NUM_EXECUTED = 16  # commands of a chunk before the policy looks again, as there
SHOWN_FRAMES = (0, 2, 4, 6, 8)
CELL = (96, 120)  # rows and columns of one picture in the sheet
SHOWN_CAMERAS = {"robot0_agentview_left": "left", "robot0_eye_in_hand": "wrist"}
COLOURS = 64  # of the film
SCALE = 0.75  # of its pictures
MAX_BYTES = 3_000_000  # of it, so that the README opens at once
JPEG_QUALITY = 88


def imagine(pipe: XWAM4DPipeline, task: str, seed: int) -> dict[str, Future]:
    """What the commands of a dream really lead to, and the dream."""
    with make_env(f"mujoco/{task}", instructions="unseen") as env:
        seen = env.reset(seed)
        dream = pipe(seen, generator=torch.Generator().manual_seed(seed)).future()
        real = act_out(env, dream.actions, observation=seen, robot=pipe.robot_processor.spec)
    return {"real": real, "dream": dream}


def film(pipe: XWAM4DPipeline, task: str, seed: int) -> list[Image.Image]:
    """The pictures of one episode: what the policy saw above what it had imagined."""
    policy = PipelinePolicy(pipe, dream=True)
    with make_env(f"mujoco/{task}", instructions="unseen") as env, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        watcher = Film(path, env.robot, policy, num_executed=NUM_EXECUTED)
        run_episode(env, policy, seed=seed, num_executed=NUM_EXECUTED, watchers=[watcher])
        with av.open(path) as video:
            whole = [frame.to_image() for frame in video.decode(video=0)]
    return [own.resize([round(SCALE * side) for side in own.size], Image.Resampling.LANCZOS) for own in whole]


def write_gif(path: Path, pictures: list[Image.Image], seconds: float) -> None:
    """A film that plays where Markdown is shown.

    Raises:
        ValueError: If it would be too large; what was there stays.
    """
    some = pictures[:: max(1, len(pictures) // 16)]
    palette = Image.fromarray(np.concatenate([np.asarray(own)[::2, ::2] for own in some])).quantize(COLOURS)
    plain = [own.quantize(palette=palette, dither=Image.Dither.NONE) for own in pictures]
    with replacing(path) as temporary:
        plain[0].save(temporary, save_all=True, append_images=plain[1:], duration=round(1000 * seconds), loop=0)
        if (size := temporary.stat().st_size) > MAX_BYTES:
            raise ValueError(
                f"{path} must have at most {MAX_BYTES:,} bytes, but would have {size:,}: show fewer tasks."
            )


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="embedded, or a folder or hub id, for the same robot")
    parser.add_argument(
        "--tasks", nargs="+", default=TASKS, help="tasks of the film; the first one is dreamt of in the sheet"
    )
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of the scenes and of the noise")
    parser.add_argument("--output", type=Path, default=IMAGES, help="folder to write")
    args = parser.parse_args()
    pipe = XWAM4DPipeline.from_pretrained(args.model, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    args.output.mkdir(parents=True, exist_ok=True)
    spec = pipe.robot_processor.spec

    with replacing(args.output / "dream_and_reality.jpg") as temporary:
        futures = imagine(pipe, args.tasks[0], args.seed)
        sheet = future_sheet(
            futures, cameras=SHOWN_CAMERAS, frames=SHOWN_FRAMES, cell=CELL, title=futures["dream"].instruction
        )
        Image.fromarray(sheet).save(temporary, quality=JPEG_QUALITY)
    pictures = [picture for task in args.tasks for picture in film(pipe, task, args.seed)]
    path = args.output / "closed_loop.gif"
    write_gif(path, pictures, spec.control_period * spec.actions_per_frame)
    print(f"{path}: {len(pictures)} pictures, {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
