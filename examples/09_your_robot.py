"""Your robot — from a LeRobot recording to a robot spec, a check, statistics and a first LoRA.

What you learn: what a `RobotSpec` must say, how a recording is opened and checked, where the quantiles come from, and how little is
trained when a robot is put on a base.

Usage:
    python examples/09_your_robot.py [--output your_robot]
    python examples/09_your_robot.py --dataset user/my-robot --robot my_robot.json [--map map.json] [--base user/x-wam]

Without `--dataset` it records one: an arm that is commanded by joint positions and seen by two RGB-D cameras, in the embedded world.
Without `--base` the base is the embedded default: a small X-WAM that was trained in the same world and comes with the package.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from xwam import JointState, Observation, RobotSpec, XWAMPolicyPipeline, make_env
from xwam.data.check import main as check
from xwam.data.readers.open import open_dataset
from xwam.data.statistics.quantiles import compute_quantiles
from xwam.data.streams.augmentation import Augmentation
from xwam.data.streams.mixture import Mixture
from xwam.data.streams.stream import make_stream
from xwam.data.streams.windows import WindowShape, check_rate
from xwam.data.writers.episode_writer import EpisodeDescription
from xwam.data.writers.lerobot_writer import LeRobotWriter
from xwam.data.writers.recording_format import RecordingFormat
from xwam.policies.scripted import ScriptedPolicy
from xwam.robots.spec import ArmSpec, CameraSpec, GripperSpec
from xwam.training.config import TrainConfig
from xwam.training.lora import LoraSettings, prepare_lora, robot_export
from xwam.training.trainer import Trainer

VIEWS = {"front": "robot0_agentview_left", "wrist": "robot0_eye_in_hand"}  # our cameras: those of the embedded world
ROBOT = RobotSpec(
    name="joint_panda",
    arms=(ArmSpec("left", GripperSpec(command_open=1.0, command_closed=0.0), num_joints=7),),
    cameras=(
        CameraSpec("front", (128, 160), depth_range=(0.3, 5.0)),
        CameraSpec("wrist", (128, 160), arm="left", depth_range=(0.015, 2.0)),
    ),
    command_kind="joint_position",
    control_period=0.05,
    state_slots=tuple(range(8)),  # seven joints and the gripper, nothing else
    action_slots=tuple(range(8)),
    state_dim=8,
    action_dim=8,
)


def record(robot: RobotSpec, folder: Path, episodes: int) -> None:
    """Let the scripted expert act; write what the joints did as states, and where they went next as commands."""
    with make_env("mujoco/lift_cube") as world, LeRobotWriter(folder) as writer:
        expert = ScriptedPolicy(world)
        for seed in range(episodes):
            seen, episode, done = world.reset(seed), None, False
            while not done:
                joints = {"left": JointState(world.scene.data.qpos[:7].copy(), seen.arms["left"].gripper)}
                images, depths = ({o: side[t] for o, t in VIEWS.items()} for side in (seen.images, seen.depths))
                own = Observation(images, seen.instruction, joints=joints, depths=depths, robot=robot.name)
                if episode is None:
                    about = EpisodeDescription("mujoco/lift_cube", seed)
                    episode = writer.episode(f"{seed:04d}", about, RecordingFormat.of(robot, own))
                command = expert.infer(seen, seed=seed).commands[0]
                result = world.step(command)
                done = result.is_over
                # The command in joints: where they went, and whether the gripper was told to open, which is -1 there.
                episode.add(own, np.append(world.scene.data.qpos[:7], command[6] < 0))
                seen = world.observe()
            episode.publish(is_success=result.is_success)
        writer.finish()


def main() -> None:
    """Recording, robot, check, statistics, LoRA."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("dataset", "robot", "map"):
        parser.add_argument(f"--{name}", help="see above")
    parser.add_argument("--base", default="embedded", help="embedded, or a folder or hub id")
    parser.add_argument("--output", type=Path, default=Path("your_robot"), help="folder for all that is made")
    parser.add_argument(
        "--rows_per_command", type=int, default=1, help="rows of the recording from one command to the next"
    )
    parser.add_argument("--steps", type=int, default=100, help="steps of the first LoRA")
    parser.add_argument("--tiny", action="store_true", help="one episode and two steps, to see that it runs")
    args = parser.parse_args()

    # 1. A base, a recording, and the robot in words that the model understands.
    pipe = XWAMPolicyPipeline.from_pretrained(args.base)
    own = replace(ROBOT, image_size=pipe.robot_processor.spec.image_size)  # of what the model sees
    robot = RobotSpec.from_dict(json.loads(Path(args.robot).read_text())) if args.robot else own
    source, file = args.dataset or args.output / "recording", args.output / "robot.json"
    if args.dataset is None and not (source / "meta" / "info.json").exists():  # else it goes on where it was stopped
        record(robot, source, episodes=1 if args.tiny else 8)
    args.output.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(robot.to_dict(), indent=1))

    reader = open_dataset(source, robot, map=args.map)
    check_rate(reader, robot, args.rows_per_command)

    # 2. Is it what the spec says? Every defect with its episode and row, and a sheet of pictures.
    given_map = ["--map", args.map] if args.map else []
    check([str(source), "--robot", str(file), "--output", str(args.output / "check"), *given_map])

    # 3. Quantiles of its states and commands go into the spec.
    shape = WindowShape.of(robot, args.rows_per_command)
    robot, statistics = compute_quantiles([reader], robot, shape, widen=True)
    print(f"\n{statistics.note} Degenerate: {[channel.name for channel in statistics.degenerate] or 'none'}.")

    # 4. A first LoRA: the base stays as it is, the robot's own networks and the LoRA layers learn.
    print(prepare_lora(pipe, robot, LoraSettings(rank=16)))
    size = {"steps": 2, "batch_size": 1} if args.tiny else {"steps": args.steps, "batch_size": 4}
    config = TrainConfig(**size, learning_rate=1e-3, warmup_steps=0, precision="no", num_workers=0, tracker="none")

    def batches(rank: int, num_ranks: int, done: int) -> object:
        place = {"rank": rank, "world_size": num_ranks, "start_batch": done}
        drawn = {"seed": config.seed, "batch_size": config.batch_size, "augmentation": Augmentation()}
        mixture = Mixture.of(reader, pipe.robot_processor, rows_per_command=args.rows_per_command)
        return make_stream(mixture, **drawn, **place)

    trainer = Trainer(config, pipe, batches, args.output / "run", export=robot_export())
    folder = trainer.run().pipeline
    print(f"trained for {config.steps} steps; curves: {args.output / 'run' / 'metrics.jsonl'}; the robot: {folder}")


if __name__ == "__main__":
    main()
