"""robosuite's Lift and Stack driven in closed loop through the RoboCasa adapter: success, speed, geometry, and a video.

It runs in the environment that `make test-robosuite` makes, and writes a table, its numbers as JSON and, where asked, videos.

Usage:
    OMP_NUM_THREADS=1 LP_NUM_THREADS=1 python benchmarks/robosuite_closed_loop.py
    python benchmarks/robosuite_closed_loop.py --episodes 2 --tasks Lift --output results --videos videos
"""

import argparse
import datetime
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xwam.envs.robocasa_frames import matrix_from_quaternion
from xwam.envs.robosuite_world import ARM_BASES, RobosuiteWorld
from xwam.evaluation.provenance import code_version, machine
from xwam.export.video import write_video
from xwam.policies.closed_loop import EpisodeOutcome, run_episode
from xwam.policies.robosuite_expert import PLANS, RobosuiteExpert
from xwam.robots.camera_formats import pose_matrix
from xwam.structures import ActionChunk, Observation

RESULTS = Path(__file__).parent / "results"
TASKS = tuple(name.partition("/")[2] for name in PLANS)
FILMED = ("robot0_agentview_left", "robot0_eye_in_hand")
FILM_EVERY = 2  # commands
FPS = 10.0
# The release's own matrix, from the grip site to the wrist camera with OpenGL axes.
EE_TO_CAM = np.array([[-1.0, 0, 0, 0], [0, 1, 0, 0.05], [0, 0, -1, -0.097], [0, 0, 0, 1]])


@dataclass
class Audience:
    """Films the first episodes, and holds the wrist camera against the hand-eye matrix at every command."""

    is_filming: bool = False
    frames: list[np.ndarray] = field(default_factory=list)
    hand_eye_error: float = 0.0
    num_poses: int = 0

    def wants_images(self, step: int) -> bool:
        return self.is_filming and step % FILM_EVERY == 0

    def saw(
        self, step: int, observation: Observation, command: np.ndarray, chunk: ActionChunk, index_in_chunk: int
    ) -> None:
        if observation.images and self.is_filming:
            self.frames.append(np.hstack([observation.images[name] for name in FILMED]))
        arm = observation.arms["left"]
        tool = pose_matrix(arm.position, matrix_from_quaternion(arm.quaternion))
        camera = observation.cameras[FILMED[1]].base_from_camera @ np.diag([1.0, -1.0, -1.0, 1.0])
        self.hand_eye_error = max(self.hand_eye_error, float(np.abs(tool @ EE_TO_CAM - camera).max()))
        self.num_poses += 1

    def ended(self, observation: Observation, outcome: EpisodeOutcome) -> None:
        pass


def ray_errors(world: RobosuiteWorld, observation: Observation, count: int) -> np.ndarray:
    """Metres between rendered depth and the first hit of a ray, `(rays,)`, at random pixels of every camera."""
    mujoco, sim = world._mujoco, world._simulation.sim
    generator, errors = np.random.default_rng(0), []
    shown = np.array([0, 1, 0, 0, 0, 0], np.uint8)  # geom groups that are rendered
    for name, depth in observation.depths.items():
        camera = observation.cameras[name]
        world_from_camera = world._world_from_base @ camera.base_from_camera
        for row, column in generator.integers(0, depth.shape, (count, 2)):
            ray = np.linalg.solve(camera.intrinsics, [column + 0.5, row + 0.5, 1.0])
            direction = world_from_camera[:3, :3] @ ray
            hit = mujoco.mj_ray(
                sim.model._model,
                sim.data._data,
                world_from_camera[:3, 3],
                direction,
                shown,
                1,
                -1,
                np.zeros(1, np.int32),
            )
            if depth[row, column] > 0:
                errors.append(abs(hit - depth[row, column]))
    return np.array(errors)


def measure(task: str, arm: str, num_episodes: int, num_filmed: int, folder: Path | None) -> dict[str, Any]:
    """What one task and arm give; the first episodes go on for 20 commands after success, so that the video shows it."""
    audience, outcomes, start = Audience(), [], time.perf_counter()
    with RobosuiteWorld(task, arm=arm) as world:
        expert, versions = RobosuiteExpert(world), dict(world.versions)
        for seed in range(num_episodes):
            audience.is_filming = folder is not None and seed < num_filmed
            extra = 20 if audience.is_filming else 0
            outcomes.append(run_episode(world, expert, seed=seed, extra_steps=extra, watchers=[audience]))
    seconds = time.perf_counter() - start
    if folder is not None and audience.frames:
        write_video(folder / f"robosuite_{task}_{arm}.mp4", np.stack(audience.frames), fps=FPS)
    with RobosuiteWorld(task, arm=arm, with_depth=True) as world:
        errors = ray_errors(world, world.reset(0), 2000)
    steps = [outcome.num_steps for outcome in outcomes]
    return {
        "task": task,
        "arm": arm,
        "successes": [outcome.is_success for outcome in outcomes],
        "commands": steps,
        "step_s": sum(outcome.step_seconds for outcome in outcomes) / sum(steps),
        "episode_s": seconds / num_episodes,
        "hand_eye_error": audience.hand_eye_error,
        "hand_eye_poses": audience.num_poses,
        "depth_errors_mm": {
            "p50": 1e3 * np.median(errors),
            "p99": 1e3 * np.percentile(errors, 99),
            "rays": len(errors),
        },
        "versions": {name: version for name, version in versions.items() if name != "arm"},
    }


def render(result: Mapping[str, Any]) -> str:
    """The whole result in Markdown."""
    commit, first = str(result["commit"]), result["rows"][0]
    facts = {**result["machine"], **first["versions"]}
    lines = [
        f"# robosuite through the RoboCasa adapter, {result['machine']['processor']}, {result['date']}",
        "",
        f"`{result['command']}`  ",
        f"commit {commit[:12]}{' with changes' if commit.endswith('+changes') else ''}; "
        + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items()),
        "",
        f"Scripted expert, seeds 0 to {len(first['successes']) - 1}. The hand-eye error is the largest of any entry of the 4×4 "
        "matrix; depth is compared with rays at random pixels of three cameras.",
        "",
        "| task | arm | success | commands | ms per command | s per episode | hand-eye, largest error (poses) | "
        "depth against rays, mm, median / p99 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        depth = row["depth_errors_mm"]
        lines.append(
            f"| {row['task']} | {row['arm']} | {sum(row['successes'])}/{len(row['successes'])} | "
            f"{min(row['commands'])}–{max(row['commands'])} | {1e3 * row['step_s']:.1f} | {row['episode_s']:.1f} | "
            f"{row['hand_eye_error']:.1e} ({row['hand_eye_poses']}) | {depth['p50']:.4f} / {depth['p99']:.4f} |"
        )
    return "\n".join(lines) + "\n"


def write(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the result as Markdown and JSON; the file name says what was measured where and when."""
    hardware = re.sub(r"[^a-z0-9]+", "-", result["machine"]["processor"].lower()).strip("-")
    table = folder / f"robosuite_{hardware}_{result['date'][:10]}.md"
    data = table.with_suffix(".json")
    folder.mkdir(parents=True, exist_ok=True)
    table.write_text(render(result), encoding="utf-8")
    data.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return [table, data]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every task with every arm and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--filmed", type=int, default=3, help="episodes of each row that the video shows")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--arms", nargs="+", choices=tuple(ARM_BASES), default=tuple(ARM_BASES))
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the table (default: %(default)s)")
    parser.add_argument("--videos", type=Path, help="folder for videos; without it there are none")
    given = parser.parse_args(arguments)
    rows = []
    for task in given.tasks:
        for arm in given.arms:
            rows.append(measure(task, arm, given.episodes, given.filmed, given.videos))
            print(f"{task}, {arm}: {sum(rows[-1]['successes'])}/{given.episodes}", file=sys.stderr, flush=True)
    words = sys.argv[1:] if arguments is None else arguments
    threads = [f"{name}={os.environ[name]}" for name in ("OMP_NUM_THREADS", "LP_NUM_THREADS") if name in os.environ]
    result = {
        "command": " ".join([*threads, "python benchmarks/robosuite_closed_loop.py", *words]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "commit": code_version()["commit"],
        "machine": machine(),
        "rows": rows,
    }
    print(render(result))
    print(*write(result, given.output), sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main()
