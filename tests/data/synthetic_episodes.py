"""Small episodes that need no simulator: a square that moves over a gradient, depth with holes, a turning wrist camera."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xwam.data.writers.dataset_writer import DatasetWriter
from xwam.data.writers.episode_writer import EpisodeDescription
from xwam.data.writers.lerobot_writer import LeRobotWriter
from xwam.data.writers.recording_format import RecordingFormat
from xwam.robots.registry import get_robot
from xwam.structures import ArmState, Camera, Observation

ROBOT = get_robot("mujoco_panda")
CAMERAS = [camera.name for camera in ROBOT.cameras]
SIZE = (32, 48)


def observation(
    frame: int, seed: int = 0, size: tuple[int, int] = SIZE, instruction: str | None = None
) -> Observation:
    rng = np.random.default_rng([seed, frame])
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    images, depths, cameras = {}, {}, {}
    for number, name in enumerate(CAMERAS):
        image = np.stack([5 * rows, 4 * columns, np.full(size, 40 * number)], axis=-1).astype(np.uint8)
        place = (3 * frame + 5 * seed) % (width - 8)
        image[8:16, place : place + 8] = (200, 30 * number, 20)
        depth = (0.5 + 0.02 * rows + 0.001 * frame).astype(np.float32)
        depth[0, :4], depth[1, :4], depth[2, :4] = 0.0, np.nan, 40.0
        pose = np.eye(4)
        pose[:3, 3] = (0.1 * number, 0.01 * frame, 1.0)
        images[name], depths[name] = image, depth
        cameras[name] = Camera(np.array([[60.0, 0, width / 2], [0, 60.0, height / 2], [0, 0, 1]]), pose)
    quaternion = rng.normal(size=4)
    arm = ArmState(rng.normal(size=3), quaternion / np.linalg.norm(quaternion), float(rng.uniform()))
    return Observation(
        images=images,
        depths=depths,
        cameras=cameras,
        arms={"left": arm},
        instruction=instruction or f"task {seed % 2}",
        time=0.05 * frame,
        robot=ROBOT.name,
    )


def command(frame: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, frame, 1]).uniform(-1, 1, size=7)


def state(frame: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, frame, 2]).normal(size=11 + seed % 2)  # other tasks, other states


def length(seed: int) -> int:
    return 3 + seed % 4


def key(seed: int) -> str:
    return f"synthetic-{seed:04d}"


def frames(seed: int) -> Iterator[tuple[Observation, np.ndarray, np.ndarray]]:
    for frame in range(length(seed)):
        yield observation(frame, seed), command(frame, seed), state(frame, seed)


def description(seed: int) -> EpisodeDescription:
    return EpisodeDescription(f"synthetic/task_{seed % 2}", seed, {"randomized": True}, {"world": "1"}, {"noise": 0.1})


def write_episode(writer: DatasetWriter, seed: int, *, is_success: bool = True) -> None:
    form = RecordingFormat.of(ROBOT, observation(0, seed))
    with writer.episode(key(seed), description(seed), form) as episode:
        for seen, commanded, simulated in frames(seed):
            episode.add(seen, commanded, simulator_state=simulated)
        episode.publish(is_success=is_success, num_steps=length(seed) - 1)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


if __name__ == "__main__":  # what the test with kill -9 runs: <folder> <number of episodes>
    with LeRobotWriter(sys.argv[1]) as recorder:
        done = recorder.outcomes()
        for number in range(int(sys.argv[2])):
            if key(number) not in done:
                write_episode(recorder, number)
                sys.stdout.write(f"{number}\n")
                sys.stdout.flush()
        sys.stdout.write("finishing\n")
        sys.stdout.flush()
        recorder.finish()
