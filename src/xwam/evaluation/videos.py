"""Films of episodes: what the cameras saw and, below it, what the model had imagined for the same instants."""

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from xwam.export.images import resize_frames
from xwam.export.video import write_video
from xwam.policies.base import Policy
from xwam.policies.closed_loop import EpisodeOutcome
from xwam.robots.spec import RobotSpec
from xwam.structures import ActionChunk, Observation

PAPER, INK = (24, 24, 24), (235, 235, 235)
FONT_SIZE = 12  # pixels
LINE = 18  # pixels, height of a line of text
SECONDS_AT_END = 1.0  # that the last picture stays


@runtime_checkable
class Dreamer(Protocol):
    """A policy that can show what it imagined together with its last answer."""

    def imagine(self) -> np.ndarray | None:
        """RGB `uint8` of shape `(V, F, H, W, 3)`: frame f is `actions_per_frame · f` commands after the observation.

        `None` where the policy was made without dreams.
        """
        ...


class Film:
    """A watcher that films an episode at the rate of the model's frames: one picture every `actions_per_frame` commands.

    With dreams, pictures are taken at the model's own instants, counted from each inference, so that both rows always
    show the same instant, at the size of the robot's own images; where `num_executed` is not a multiple of
    `actions_per_frame`, the last interval of a chunk is shorter.

    Args:
        path (`Path`): Video to write when the episode ends, `.mp4`.
        robot (`RobotSpec`): For its cameras, its crop and its frame rate.
        policy (`Policy`): What acts; a `Dreamer` is asked for its dreams.
        num_executed (`int`, *optional*): As in `run_episode`.
    """

    def __init__(self, path: Path, robot: RobotSpec, policy: Policy, *, num_executed: int | None = None) -> None:
        self._path, self._robot, self._policy, self._num_executed = path, robot, policy, num_executed
        self._dream: np.ndarray | None = None
        self._next_in_chunk = 0  # row of the next command, if the chunk so far goes on
        self._pictures: list[np.ndarray] = []

    def wants_images(self, step: int) -> bool:
        """Every so many commands; see the class."""
        return (step if self._dream is None else self._next_in_chunk) % self._robot.actions_per_frame == 0

    def saw(
        self, step: int, observation: Observation, command: np.ndarray, chunk: ActionChunk, index_in_chunk: int
    ) -> None:
        """Take a picture where it is time for one."""
        is_time = self.wants_images(step)
        if index_in_chunk == 0 and isinstance(self._policy, Dreamer):
            self._dream = self._policy.imagine()
        length = min(len(chunk.commands), self._num_executed or len(chunk.commands))
        self._next_in_chunk = (index_in_chunk + 1) % length
        if is_time:
            self._take(step, observation, index_in_chunk)

    def ended(self, observation: Observation, outcome: EpisodeOutcome) -> None:
        """Write the film, with the end in words on its last picture."""
        fps = 1 / (self._period * self._robot.actions_per_frame)
        words = f"{'success' if outcome.is_success else 'no success'} after {outcome.num_steps} commands"
        last = self._pictures[-1].copy()
        _write_line(last, words, len(last) - LINE)
        held = [last] * max(1, round(SECONDS_AT_END * fps))
        write_video(self._path, np.stack([*self._pictures, *held]), fps=fps)
        self._pictures = []

    @property
    def _period(self) -> float:
        self._robot.require("control_period", purpose="film the episode")
        return float(self._robot.control_period or 0)

    def _take(self, step: int, observation: Observation, index_in_chunk: int) -> None:
        views = [observation.images[camera.name] for camera in self._robot.cameras]
        if self._dream is None:
            rows = {"": views}
        else:
            from xwam.robots.images import frames_to_uint8, images_to_frames  # needs torch, which whoever dreams has

            frame = min(index_in_chunk // self._robot.actions_per_frame, self._dream.shape[1] - 1)
            rows = {
                "seen": [*frames_to_uint8(images_to_frames(views, self._robot.image_size, self._robot.crop_ratio))],
                f"imagined {index_in_chunk} commands before": [
                    *resize_frames(self._dream[:, frame], self._robot.image_size)
                ],
            }
        self._pictures.append(_page(rows, f"{step * self._period:5.2f} s  {observation.instruction}"))


def _page(rows: dict[str, list[np.ndarray]], title: str) -> np.ndarray:
    """Views side by side, one row below the other, with a line of text above and below each."""
    pictures = {label: np.concatenate(views, axis=1) for label, views in rows.items()}
    width = max(picture.shape[1] for picture in pictures.values())
    height = LINE + sum(picture.shape[0] + LINE for picture in pictures.values())
    page = np.full((height + height % 2, width + width % 2, 3), PAPER, np.uint8)  # even, as H.264 wants it
    _write_line(page, title, 0)
    top = LINE
    for label, picture in pictures.items():
        page[top : top + picture.shape[0], : picture.shape[1]] = picture
        top += picture.shape[0]
        _write_line(page, label, top)
        top += LINE
    return page


def _write_line(page: np.ndarray, text: str, top: int) -> None:
    """Write a line of text into the picture, over what was there."""
    strip = Image.new("RGB", (page.shape[1], LINE), PAPER)
    ImageDraw.Draw(strip).text((4, LINE // 2), text, INK, font=ImageFont.load_default(FONT_SIZE), anchor="lm")
    page[top : top + LINE] = np.asarray(strip)[: len(page) - top]
