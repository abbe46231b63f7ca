"""First actions — observe a scene, ask the policy, read the commands.

What you learn: what an `Observation` holds, what an `ActionChunk` holds, and where the time goes.

Usage:
    python examples/01_first_actions.py [--model PATH_OR_HUB_ID] [--seed 0]

Without `--model` it runs the embedded default: a small X-WAM that was trained in the embedded robot world and comes
with the package.
"""

import argparse

import torch

from xwam import XWAMPolicyPipeline, load_recorded_observation


def main() -> None:
    """Print one chunk of commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="embedded, or a folder or hub id, for the embedded robot")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise")
    parser.add_argument("--tiny", action="store_true", help="two denoising steps, to see that it runs")
    args = parser.parse_args()

    # 1. What the robot knows: one image per camera, the tool's pose, the task in words.
    observation = load_recorded_observation()
    arm = observation.arms["left"]
    print(f"robot {observation.robot!r}: {observation.instruction!r}")
    print(f"cameras {list(observation.images)}, tool at {arm.position.round(3)} m, gripper {arm.gripper:.2f} open")

    # 2. The policy.
    pipe = XWAMPolicyPipeline.from_pretrained(args.model, load_depth=False)

    # 3. One call: a chunk of commands in the robot's own units.
    steps = {"num_action_steps": 2, "num_inference_steps": 2} if args.tiny else {}
    output = pipe(observation, generator=torch.Generator().manual_seed(args.seed), **steps)
    chunk = output.actions[0]
    print(f"\n{len(chunk.commands)} commands, one every {chunk.period} s; the first three:")
    print("  ".join(f"{name:>13}" for name in chunk.columns))
    for command in chunk.commands[:3]:
        print("  ".join(f"{value:13.4f}" for value in command))

    # 4. Where the time went.
    print("\n" + ", ".join(f"{stage} {1000 * seconds:.0f} ms" for stage, seconds in chunk.timings.items()))


if __name__ == "__main__":
    main()
