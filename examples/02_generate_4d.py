"""A 4D future — render a scene, imagine what comes next, act, and see what came.

What you learn: how RGB, depth, states and actions come out of one call, that the actions come first, and how a dream is held
against reality.

Usage:
    python examples/02_generate_4d.py [--model PATH_OR_HUB_ID] [--task close_drawer] [--output demo_output] [--seed 0]

Without `--model` it runs the embedded default: a small X-WAM that was trained in the embedded robot world and comes with the
package. It is the first half of `make demo`. Where MuJoCo cannot render, it starts from a recorded observation of the same world,
and nothing can be executed.
"""

import argparse
import time
from pathlib import Path

import torch

from xwam import (
    ActionChunk,
    Future,
    Observation,
    RobotSpec,
    XWAM4DOutput,
    XWAM4DPipeline,
    XWAMPolicyOutput,
    act_out,
    compare,
    load_recorded_observation,
    make_env,
)
from xwam.envs.opengl import RenderingUnavailableError
from xwam.envs.recorded import save_observation
from xwam.evaluation.future_errors import ErrorOptions
from xwam.export.actions import plot_actions, write_actions
from xwam.export.future_sheet import future_sheet
from xwam.export.images import colour_depth, write_image
from xwam.export.video import write_video

SHOWN_FRAMES = (0, 2, 4, 6, 8)  # frame 0 is the observed one, through the video codec


def observe(task: str, seed: int) -> Observation:
    """A fresh scene of the embedded world, or a recorded one where nothing can be rendered."""
    try:
        with make_env(f"mujoco/{task}") as env:
            return env.reset(seed)
    except (ImportError, RenderingUnavailableError) as error:
        print(f"  cannot render here, using a recorded observation instead ({str(error).splitlines()[0]})")
        return load_recorded_observation()


def act(task: str, seed: int, actions: ActionChunk, robot: RobotSpec) -> Future | None:
    """What comes when the actions are executed in the same scene; `None` where nothing can be rendered."""
    try:
        with make_env(f"mujoco/{task}") as env:
            return act_out(env, actions, observation=env.reset(seed), robot=robot)
    except (ImportError, RenderingUnavailableError):
        return None


def write_future(output: Path, future: XWAM4DOutput, came: Future | None, spec: RobotSpec, *, title: str) -> None:
    """Videos of every view, a sheet of what was imagined and what came, and the actions as a plot and as JSON."""
    dream, fps = future.future(), 1 / (spec.control_period * spec.actions_per_frame)
    for camera in dream.cameras:
        write_video(output / f"{camera}_rgb.mp4", dream.frames[camera], fps=fps)
        if camera in dream.depths:  # metres; a relative model has them only where it could be calibrated
            write_video(output / f"{camera}_depth.mp4", colour_depth(dream.depths[camera]), fps=fps)
    futures = {"imagined": dream} if came is None else {"imagined": dream, "came": came}
    sheet = future_sheet(futures, frames=SHOWN_FRAMES, cell=spec.cameras[0].size, title=title)
    write_image(output / "contact_sheet.png", sheet)
    units = dict(zip(spec.command_columns, spec.command_units, strict=True))
    plot_actions(output / "actions.png", future.actions[0], units=units)
    write_actions(output / "actions.json", future.actions[0], units=units)


def main() -> None:
    """Write the observation, the imagined future and the actions into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="embedded, or a folder or hub id, for the embedded robot")
    parser.add_argument("--task", default="close_drawer", help="a task of the embedded world")
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the scene and of the noise")
    parser.add_argument("--tiny", action="store_true", help="two denoising steps, to see that it runs")
    args = parser.parse_args()
    start = time.perf_counter()

    def done(what: str) -> None:
        print(f"[{time.perf_counter() - start:5.1f} s] {what}", flush=True)

    # 1. Observe
    observation = observe(args.task, args.seed)
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

    # 4. Do what was imagined, in the same scene, and hold the dream against what comes.
    came = act(args.task, args.seed, future.actions[0], spec)
    if came is not None:
        done("executed the actions")
        comparison = compare(future.future(), came, ErrorOptions(groups=("images", "depth")))
        print("\n".join(f"          {finding}" for finding in comparison.findings[:2]))  # of the video, of the depth

    # 5. Write what there is to see.
    title = f"{observation.instruction} (model: {args.model})"
    write_future(args.output, future, came, spec, title=title)
    done(f"wrote {args.output}/")
    for path in sorted(path for path in args.output.rglob("*") if path.is_file()):
        print(f"          {path}")


if __name__ == "__main__":
    main()
