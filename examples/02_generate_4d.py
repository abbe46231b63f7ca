"""A 4D future — render a scene, imagine what comes next, look at it. This is `make demo`.

What you learn: how RGB, depth, states and actions come out of one call, and that the actions come first.

Usage:
    python examples/02_generate_4d.py [--model PATH_OR_HUB_ID] [--output demo_output] [--seed 0]

Without `--model` it runs the embedded default: a small X-WAM that was trained in the embedded robot world and comes with the
package. Where MuJoCo cannot render, it starts from a recorded observation of the same world.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from xwam import (
    Observation,
    RobotSpec,
    XWAM4DOutput,
    XWAM4DPipeline,
    XWAMPolicyOutput,
    load_recorded_observation,
    make_env,
)
from xwam.envs.opengl import RenderingUnavailableError
from xwam.envs.recorded import save_observation
from xwam.export.actions import plot_actions, write_actions
from xwam.export.images import colour_depth, contact_sheet, resize_frames, write_image
from xwam.export.video import write_video

SHOWN_FRAMES = (2, 4, 6, 8)  # frame 0 is the observed one


def observe(seed: int) -> Observation:
    """A fresh scene of the embedded world, or a recorded one where nothing can be rendered."""
    try:
        with make_env("mujoco/lift_cube") as env:
            return env.reset(seed)
    except (ImportError, RenderingUnavailableError) as error:
        print(f"  cannot render here, using a recorded observation instead ({str(error).splitlines()[0]})")
        return load_recorded_observation()


def write_future(output: Path, observation: Observation, future: XWAM4DOutput, spec: RobotSpec, *, title: str) -> None:
    """Videos of every view, a contact sheet, and the actions as a plot and as JSON."""
    seconds, shown, rows = spec.control_period * spec.actions_per_frame, list(SHOWN_FRAMES), {}
    for index, camera in enumerate(spec.cameras):
        rgb = future.frames[0, index]  # (F, H, W, 3)
        write_video(output / f"{camera.name}_rgb.mp4", rgb, fps=1 / seconds)
        rows[f"{camera.name} RGB"] = np.stack(
            [observation.images[camera.name], *resize_frames(rgb[shown], camera.size)]
        )
        metres = future.future(0).depths.get(camera.name)  # (F, H, W), zero where unknown; see future(0).depth_kind
        if metres is None:
            continue
        seen = observation.depths[camera.name]
        near, far = np.quantile(seen[seen > 0], (0.02, 0.98))
        depth = colour_depth(metres, near=near, far=far)
        write_video(output / f"{camera.name}_depth.mp4", depth, fps=1 / seconds)
        observed = colour_depth(seen, near=near, far=far)
        rows[f"{camera.name} depth"] = np.stack([observed, *resize_frames(depth[shown], camera.size)])
    labels = ["observed, uncropped", *(f"imagined, {index * seconds:.1f} s" for index in shown)]
    write_image(output / "contact_sheet.png", contact_sheet(rows, column_labels=labels, title=title))
    units = dict(zip(spec.command_columns, spec.command_units, strict=True))
    plot_actions(output / "actions.png", future.actions[0], units=units)
    write_actions(output / "actions.json", future.actions[0], units=units)


def main() -> None:
    """Write the observation, the imagined future and the actions into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="embedded, or a folder or hub id, for the embedded robot")
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the scene and of the noise")
    parser.add_argument("--tiny", action="store_true", help="two denoising steps, to see that it runs")
    args = parser.parse_args()
    start = time.perf_counter()

    def done(what: str) -> None:
        print(f"[{time.perf_counter() - start:5.1f} s] {what}", flush=True)

    # 1. Observe
    observation = observe(args.seed)
    save_observation(observation, args.output / "observation")
    done(f"observed the scene; the task is {observation.instruction!r}")

    # 2. Load
    pipe = XWAM4DPipeline.from_pretrained(args.model)
    spec = pipe.robot_processor.spec
    done("loaded the model")

    # 3. Act now, dream later: the actions are there after a few steps, the future after all of them.
    steps = {"num_action_steps": 2, "num_inference_steps": 2} if args.tiny else {}
    for event in pipe.stream(observation, generator=torch.Generator().manual_seed(args.seed), **steps):
        if isinstance(event, XWAMPolicyOutput):
            done(f"{len(event.actions[0].commands)} actions are ready to execute")
        else:
            future = event
    done("imagined the future: RGB and depth of every view, states, actions")
    for stage, seconds in future.timings.items():
        print(f"          {stage:14} {1000 * seconds:8.1f} ms")

    # 4. Write what there is to see.
    title = f"{observation.instruction} (model: {args.model})"
    write_future(args.output, observation, future, spec, title=title)
    done(f"wrote {args.output}/")
    for path in sorted(path for path in args.output.rglob("*") if path.is_file()):
        print(f"          {path}")


if __name__ == "__main__":
    main()
