"""LoRA — put a second robot on a base, train it, save it, switch between robots, and take it off again.

What you learn: what an adapter holds, that the base answers bit for bit as before when it is off, and how a merged robot becomes a
pipeline of its own. How to train in earnest: examples/train/train_xwam_lora.py.

Usage:
    python examples/08_lora.py [--steps 60] [--output lora]

The base is the embedded default, a small trained X-WAM that comes with the package; the second robot has two of its three cameras
under other names, smaller vectors and a shorter window. It is trained on demonstrations that are recorded first.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from xwam import RobotSpec, XWAMPolicyPipeline, load_recorded_observation
from xwam.data.dataset_map import CameraMap, DatasetMap
from xwam.data.readers.base import EpisodeReader
from xwam.data.readers.open import open_dataset
from xwam.data.statistics.quantiles import compute_quantiles
from xwam.data.streams.stream import make_stream
from xwam.recording.demonstrations import Recipe, record_demonstrations
from xwam.training.config import TrainConfig
from xwam.training.lora import LoraSettings, prepare_lora, robot_export
from xwam.training.trainer import Trainer

NAMES = {
    "front": "robot0_agentview_right",
    "hand": "robot0_eye_in_hand",
}  # the second robot's cameras: the recording's


def second_robot(recorded: RobotSpec) -> tuple[RobotSpec, DatasetMap]:
    """A robot of two cameras, and where a recording of another keeps what it needs."""
    cameras = {camera.name: camera for camera in recorded.cameras}
    renamed = tuple(replace(cameras[theirs], name=own) for own, theirs in NAMES.items())
    sizes = {"state_dim": 8, "action_dim": 7, "num_frames": 5}
    robot = replace(recorded, name="second_panda", cameras=renamed, **sizes)
    features = {own: f"observation.images.{theirs}" for own, theirs in NAMES.items()}
    own = tuple(CameraMap(name, image, f"{image}_depth") for name, image in features.items())
    return robot, replace(DatasetMap.identity(recorded), cameras=own)


def commands_of(pipe: XWAMPolicyPipeline) -> np.ndarray:
    """What the base's own robot is told to do."""
    return pipe(load_recorded_observation(), generator=torch.Generator().manual_seed(0)).actions[0].commands


def train(pipe: XWAMPolicyPipeline, open_recording: Callable[[], EpisodeReader], **size: int) -> list[float]:
    """Train the active robot of a pipeline; the loss of every step."""
    config = TrainConfig(**size, learning_rate=1e-3, warmup_steps=0, precision="no", num_workers=0, tracker="none")
    losses: list[float] = []

    def batches(rank: int, num_ranks: int, done: int) -> object:
        place = {"rank": rank, "world_size": num_ranks, "start_batch": done}
        drawn = {"seed": config.seed, "batch_size": config.batch_size}
        return make_stream(open_recording(), pipe.robot_processor, **drawn, **place)

    with tempfile.TemporaryDirectory() as run:
        note = {"on_step": lambda step: losses.append(step.losses["loss"])}
        Trainer(config, pipe, batches, Path(run), export=robot_export(), **note).run()
    pipe.transformer.eval()
    return losses


def main() -> None:
    """Train, save, load, switch, unload, merge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="steps of training")
    parser.add_argument("--output", type=Path, default=Path("lora"), help="folder for all that is made")
    parser.add_argument("--tiny", action="store_true", help="one episode and two steps, to see that it runs")
    args = parser.parse_args()

    # 1. A base, a recording of the second robot, and its quantiles.
    pipe = XWAMPolicyPipeline.from_pretrained("embedded")
    recording = args.output / "recording"
    record_demonstrations(recording, [Recipe("mujoco/lift_cube")], episodes=1 if args.tiny else 6)
    robot, where = second_robot(pipe.robot_processor.spec)
    robot, _ = compute_quantiles([open_dataset(recording, robot, map=where)], robot, widen=True)

    # 2. The robot on the base: new networks for its actions and states, LoRA layers in the blocks.
    before = commands_of(pipe)
    print(prepare_lora(pipe, robot, LoraSettings(rank=16)))

    # 3. Train what belongs to it.
    size = {"steps": 2, "batch_size": 1} if args.tiny else {"steps": args.steps, "batch_size": 4}
    losses = train(pipe, lambda: open_dataset(recording, robot, map=where), **size)
    part = max(1, len(losses) // 5)
    print(f"loss: {np.mean(losses[:part]):.3f} at first, {np.mean(losses[-part:]):.3f} at last")

    # 4. Its folder; push_robot_to_hub("user/my-robot") would publish the same.
    pipe.save_robot(args.output / "second_panda")
    print("its folder, in bytes:", {p.name: p.stat().st_size for p in (args.output / "second_panda").iterdir()})

    # 5. Off: the base, bit for bit. On a fresh base: the robot again, beside others under names of their own.
    pipe.set_robot(None)
    same = np.array_equal(commands_of(pipe), before)
    print(f"switched off, the base gives {'the same' if same else 'OTHER'} commands")
    pipe = XWAMPolicyPipeline.from_pretrained("embedded")
    pipe.load_robot(args.output / "second_panda")
    pipe.load_robot(args.output / "second_panda", adapter_name="its_twin")
    print(f"on the base: {pipe.robots}, active {pipe.active_robot!r}, cameras {[c.name for c in robot.cameras]}")
    pipe.unload_robot("its_twin")
    pipe.set_robot("second_panda")

    # 6. Merged, it is a pipeline of its own, which save_pretrained takes and from_pretrained brings back.
    pipe.merge_robot()
    pipe.save_pretrained(args.output / "merged")
    print(f"merged: {XWAMPolicyPipeline.from_pretrained(args.output / 'merged').robot_processor.spec.name!r}")


if __name__ == "__main__":
    main()
