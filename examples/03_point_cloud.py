"""Moving point clouds — imagine a future, fuse its views, take the clouds away as PLY, GLB and a Rerun recording.

What you learn: how depth in metres, cameras that move with the predicted states and colours become one cloud per frame, what the
output says about its depth, and how dreamt clouds compare with those that came when the robot did what it had imagined.

Usage:
    python examples/03_point_cloud.py [--model PATH_OR_HUB_ID] [--output cloud_output] [--seed 0]

Without `--model` it runs the embedded default: a small X-WAM that was trained in the embedded robot world and comes with the
package. Where MuJoCo cannot render, it starts from a recorded observation, and nothing comes.
"""

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from xwam import (
    Environment,
    Future,
    Observation,
    PointCloud,
    XWAM4DPipeline,
    load_recorded_observation,
    make_env,
    point_cloud,
    save_future,
)
from xwam.envs.opengl import RenderingUnavailableError
from xwam.evaluation.reality import act_out

SHOWN_FRAMES = (0, 4, 8)  # frame 0 is the observed one
CLOUD_OPTIONS = {"voxel_size": 0.005, "depth_range": (0.05, 1.3)}  # metres; the far floor is left out
ELEVATION, AZIMUTH = 35, 200  # degrees, of the eye


def observe(seed: int, stack: contextlib.ExitStack) -> tuple[Environment | None, Observation]:
    """A world and a fresh scene in it, or no world and a recorded scene where nothing can be rendered."""
    try:
        environment = stack.enter_context(make_env("mujoco/lift_cube"))
        return environment, environment.reset(seed)
    except (ImportError, RenderingUnavailableError) as error:
        print(f"  cannot render here, using a recorded observation instead ({str(error).splitlines()[0]})")
        return None, load_recorded_observation()


def clouds_of(future: Future) -> list[PointCloud]:
    """The shown frames, fused."""
    return [point_cloud(future, frame, **CLOUD_OPTIONS) for frame in SHOWN_FRAMES]


def draw(path: Path, rows: dict[str, Sequence[PointCloud]], frame_period: float) -> None:
    """One row per future, time to the right, all seen from one place and in one scale."""
    points = np.concatenate([cloud.points for cloud in next(reversed(rows.values()))])
    low, high = np.quantile(points, (0.005, 0.995), axis=0)
    figure = Figure(figsize=(4.2 * len(SHOWN_FRAMES), 3.6 * len(rows)), layout="constrained")
    for row, (name, clouds) in enumerate(rows.items()):
        for column, (frame, cloud) in enumerate(zip(SHOWN_FRAMES, clouds, strict=True)):
            place = row * len(SHOWN_FRAMES) + column + 1
            axes = figure.add_subplot(len(rows), len(SHOWN_FRAMES), place, projection="3d", computed_zorder=False)
            is_inside = np.all((cloud.points >= low) & (cloud.points <= high), axis=1)
            seen = cloud.points[is_inside]
            axes.scatter(*seen.T, c=cloud.colours[is_inside] / 255, s=9, marker="s", linewidths=0, depthshade=False)
            axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
            axes.set_box_aspect(high - low, zoom=1.6)
            axes.view_init(ELEVATION, AZIMUTH)
            axes.set_axis_off()
            axes.set_title(f"{name}, {frame * frame_period:.1f} s: {len(cloud.points):,} points", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Write the dreamt future, the one that came, and a picture of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="embedded, or a folder or hub id, for the embedded robot")
    parser.add_argument("--output", type=Path, default=Path("cloud_output"), help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the scene and of the noise")
    parser.add_argument("--tiny", action="store_true", help="two denoising steps, to see that it runs")
    args = parser.parse_args()

    with contextlib.ExitStack() as stack:
        # 1. Observe and dream
        environment, observation = observe(args.seed, stack)
        pipe = XWAM4DPipeline.from_pretrained(args.model)
        steps = {"num_action_steps": 2, "num_inference_steps": 2} if args.tiny else {}
        output = pipe(observation, generator=torch.Generator().manual_seed(args.seed), **steps)
        print(f"depth: {output.depth_notes[0]}")
        # 2. See what comes of it
        futures = {"dreamt": output.future()}
        if environment is not None:
            futures["came"] = act_out(
                environment, output.actions[0], observation=observation, robot=pipe.robot_processor.spec
            )

    # 3. Fuse
    rows = {name: clouds_of(future) for name, future in futures.items()}
    draw(args.output / "clouds.png", rows, output.future().frame_period)

    # 4. Take it away: docs/how_to/export_a_future.md tells how to open each file.
    for name, future in futures.items():
        for path in save_future(args.output / name, future, cloud_options=CLOUD_OPTIONS):
            if path.parent == args.output / name:
                print(f"  {path}")


if __name__ == "__main__":
    main()
