"""Closed loop — let a policy act in the embedded world, film it with its dream beside it, count successes.

What you learn: how an episode runs (plan a chunk, execute its first commands, look, plan again), and how `xwam.evaluation` turns
episodes into a success rate that somebody else can repeat.

Usage:
    python examples/04_closed_loop_mujoco.py [--model PATH_OR_HUB_ID] [--task close_drawer] [--episodes 5] [--output closed_loop]

Without `--model` it runs the embedded default: a small X-WAM that was trained in this world and comes with the package, beside the
scripted expert; it is the second half of `make demo`. From the command line, `xwam evaluate --policy embedded` does the same for
many tasks at once.
"""

import argparse
from pathlib import Path

import torch

from xwam import XWAM4DPipeline, make_env
from xwam.envs.opengl import RenderingUnavailableError
from xwam.evaluation.report import make_report
from xwam.evaluation.results import ResultsFolder
from xwam.evaluation.runner import run_suite
from xwam.evaluation.suite import Suite
from xwam.evaluation.videos import Film
from xwam.policies.closed_loop import run_episode
from xwam.policies.pipeline_policy import PipelinePolicy
from xwam.policies.scripted import ScriptedPolicy

NUM_EXECUTED = 16  # commands of each chunk of 32 before the policy looks again


def load_policy(model: str, device: str, *, tiny: bool) -> PipelinePolicy:
    """The model as a policy that can show what it imagines."""
    steps = {"num_action_steps": 1, "num_inference_steps": 2} if tiny else {}
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    return PipelinePolicy(XWAM4DPipeline.from_pretrained(model, dtype=dtype).to(device), dream=True, **steps)


def main() -> None:
    """Film one episode of each policy, then evaluate both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="embedded, or a folder or hub id, for the embedded robot")
    parser.add_argument("--task", default="close_drawer", help="a task of the embedded world")
    parser.add_argument("--episodes", type=int, default=5, help="episodes of each policy")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=Path("closed_loop"), help="folder to write")
    parser.add_argument("--tiny", action="store_true", help="one episode, one denoising step, to see that it runs")
    args = parser.parse_args()
    try:
        make_env(f"mujoco/{args.task}").close()
    except (ImportError, RenderingUnavailableError) as error:
        print(f"cannot render here, so no policy can act ({str(error).splitlines()[0]})")
        return
    episodes, num_executed = (1, 32) if args.tiny else (args.episodes, NUM_EXECUTED)
    pipeline_policy = load_policy(args.model, args.device, tiny=args.tiny)

    # 1. One episode at a time, watched.
    with make_env(f"mujoco/{args.task}") as env:
        for policy in (ScriptedPolicy(env), pipeline_policy):
            path = args.output / f"{policy.name}.mp4"
            film = Film(path, env.robot, policy, num_executed=num_executed)
            outcome = run_episode(env, policy, seed=0, num_executed=num_executed, watchers=[film])
            print(f"{policy.name}: {outcome.instruction!r}")
            print(f"  {'success' if outcome.is_success else 'no success'} after {outcome.num_steps} commands, {path}")

    # 2. Many episodes: a success rate with its interval, and everything it depends on.
    for name, make_policy in (("scripted", ScriptedPolicy), ("pipeline", lambda env: pipeline_policy)):
        suite = Suite((f"mujoco/{args.task}",), tuple(range(episodes)), make_policy, num_executed=num_executed)
        folder = ResultsFolder(args.output / name)  # finished episodes in it are not run again
        report = make_report(folder, run_suite(suite, folder))
        report.write(folder.path, plot=False)
        print(f"\n{name}, wrote {folder.path}/report.md\n{report.table}")


if __name__ == "__main__":
    main()
