"""A data set whose windows can all be encoded: a square that wanders over noise, and a robot that stands upright."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xwam.data.readers.base import Episode, EpisodeReader, Numbers
from xwam.data.streams.mixture import Mixture
from xwam.errors import DamagedVideoError
from xwam.pipelines.embedded import create_embedded_pipeline
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.robots.processor import RobotProcessor
from xwam.robots.registry import get_robot

ROBOT = replace(get_robot("mujoco_panda"), image_size=(32, 64))
SIZE = (32, 64)


class MovingSquares(EpisodeReader):
    """Episodes of the given lengths; windows that touch a row of `damaged`, as (episode, row), cannot be read."""

    def __init__(
        self, lengths: Sequence[int] = (34, 36), *, has_depth: bool = True, damaged: Sequence[tuple[int, int]] = ()
    ) -> None:
        words = [("lift it", "pick it up"), ("push it",)]
        episodes = [Episode(f"{number:03d}", length, words[number % 2]) for number, length in enumerate(lengths)]
        super().__init__("squares", ROBOT, 20.0, episodes)
        self.has_depth, self.damaged = has_depth, set(damaged)

    @property
    def cameras(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self.robot.cameras)

    @property
    def depth_cameras(self) -> tuple[str, ...]:
        return self.cameras if self.has_depth else ()

    def read_states(self, episode: int, start: int, stop: int) -> Numbers:
        rows = np.zeros((stop - start, 8))
        rows[:, 0] = 0.4 + 0.002 * np.arange(start, stop)
        rows[:, 1], rows[:, 3] = 0.1 * episode, 1.0
        return Numbers(rows, np.ones(rows.shape, dtype=bool))

    def read_commands(self, episode: int, start: int, stop: int) -> Numbers:
        rows = np.sin(np.arange(start, stop)[:, None] + np.arange(7) + episode) / 2
        return Numbers(rows, np.ones(rows.shape, dtype=bool))

    def read_images(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        if any((episode, row) in self.damaged for row in rows):
            raise DamagedVideoError("The video is damaged.", dataset=self.name)
        view = self.cameras.index(camera)
        ground = np.random.default_rng((episode, view)).integers(0, 100, (*SIZE, 3), dtype=np.uint8)
        frames = np.repeat(ground[None], len(rows), axis=0)
        for frame, row in zip(frames, rows, strict=True):
            frame[8:20, row : row + 12] = (255, 200, 40 * view)
        return frames

    def read_depths(self, episode: int, camera: str, rows: Sequence[int]) -> np.ndarray:
        depths = np.full((len(rows), *SIZE), 1.2, dtype=np.float32)
        for depth, row in zip(depths, rows, strict=True):
            depth[8:20, row : row + 12] = 0.6
        depths[:, :4] = 0  # a sensor that sees nothing at its upper edge
        return depths


def mixture_of(*readers: EpisodeReader) -> Mixture:
    return Mixture.of(list(readers), RobotProcessor(ROBOT))


def squares_pipeline(seed: int = 0, branch: str = "interleaved") -> XWAM4DPipeline:
    pipeline = create_embedded_pipeline(XWAM4DPipeline, seed=seed, depth_branch=branch)
    pipeline.register_modules(robot_processor=RobotProcessor(ROBOT))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
