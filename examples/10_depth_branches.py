"""Depth branches — where depth can come from, and what it costs.

What you learn: the four values of `depth_branch`, their parameters, their sequence lengths, and that a policy may leave an
interleaved branch out without changing an action.

What is compared first are tiny models with random weights, since a checkpoint has one branch only; the policy is the trained one that
comes with the package.

Usage:
    python examples/10_depth_branches.py [--tiny]
"""

import argparse
import time

import numpy as np
import torch

from xwam import XWAM4DPipeline, XWAMPolicyPipeline, create_embedded_pipeline, load_recorded_observation

BRANCHES = {
    "none": "no depth",
    "interleaved": "blocks of its own beside the last trunk blocks, run in the last step only",
    "sequence": "tokens of its own, denoised like the video",
    "channel": "channels of its own in the video's tokens",
}


def main() -> None:
    """Compare the four branches, and a policy with and without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="two denoising steps, to see that it runs")
    args = parser.parse_args()
    observation = load_recorded_observation()
    steps = {"num_action_steps": 2, "num_inference_steps": 2} if args.tiny else {}

    print(f"{'branch':12} {'parameters':>11} {'denoise':>9}  depth  meaning")
    for branch, meaning in BRANCHES.items():
        pipe = create_embedded_pipeline(XWAM4DPipeline, depth_branch=branch)
        pipe.set_progress_bar_config(disable=True)
        pipe(observation, num_inference_steps=1, num_action_steps=1)  # warm up
        start = time.perf_counter()
        future = pipe(observation, generator=torch.Generator().manual_seed(0), **steps)
        count = sum(parameter.numel() for parameter in pipe.transformer.parameters())
        shape = "-" if future.depth_images is None else "yes"
        print(f"{branch:12} {count:11,} {time.perf_counter() - start:7.2f} s  {shape:5}  {meaning}")

    pipe = XWAMPolicyPipeline.from_pretrained("embedded")
    lean = XWAMPolicyPipeline.from_pretrained("embedded", load_depth=False)
    chunks = []
    for policy in (pipe, lean):
        policy.set_progress_bar_config(disable=True)
        chunks.append(policy(observation, generator=torch.Generator().manual_seed(0), **steps).actions[0].commands)
    saved = sum(p.numel() for p in pipe.transformer.parameters()) - sum(
        p.numel() for p in lean.transformer.parameters()
    )
    same = np.array_equal(*chunks)
    print(
        f"\nwithout its {saved:,} depth parameters the interleaved policy gives {'the same' if same else 'OTHER'} actions"
    )


if __name__ == "__main__":
    main()
