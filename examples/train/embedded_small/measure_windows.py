"""Windows that no training has seen: recorded anew from seeds of their own, several of every episode."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recipe import EXTRA_STEPS
from tqdm import tqdm

from xwam import ActionChunk, ClipDataset, Future, Observation, RobotSpec
from xwam.data.readers.lerobot import LeRobotReader
from xwam.evaluation.tables import jsonable
from xwam.export.files import replacing
from xwam.futures.reality import clip_future
from xwam.metrics.bootstrap import confidence_interval
from xwam.recording.demonstrations import Recipe, record_demonstrations
from xwam.robots.clip_observation import clip_observation, spec_for_images

EXPERT = {"noise": 0.0, "recovery": False, "speed": 1.0}


@dataclass(frozen=True, eq=False)
class Window:
    """One window of a recording.

    Args:
        episode (`str`): Its episode.
        observation (`Observation`): What was known at its first instant.
        truth (`Future`): What came.
    """

    episode: str
    observation: Observation
    truth: Future

    @property
    def commands(self) -> ActionChunk:
        """What was executed."""
        assert self.truth.actions is not None, "recordings of the embedded world know every command"
        return self.truth.actions


def record_held_out(
    folder: Path, tasks: Sequence[str], options: Mapping[str, Any], episodes: int, first_seed: int, num_processes: int
) -> None:
    """Record successful episodes of the expert; goes on where it was stopped, and does nothing where all are there."""
    print(f"held-out episodes in {folder}", flush=True)
    recipes = [
        Recipe(environment=f"mujoco/{task}", options=dict(options), expert=EXPERT, extra_steps=EXTRA_STEPS)
        for task in tasks
    ]
    with tqdm(total=episodes * len(tasks), desc="held-out episodes", disable=None) as bar:
        record_demonstrations(
            folder,
            recipes,
            episodes=episodes,
            num_processes=num_processes,
            first_seed=first_seed,
            on_result=lambda job, result: bar.update(int(result.is_kept)),
        )


def open_windows(folder: Path, robot: RobotSpec, parts: int) -> tuple[ClipDataset, list[int]]:
    """The recording, and the numbers of so many windows of every episode: from its first one on, evenly, without its last.

    The last one begins when the task is done.
    """
    windows = ClipDataset(LeRobotReader(folder, robot, name="held-out episodes"))
    numbers, first = [], 0
    for episode in windows.reader.episodes:
        count = windows.shape.count(episode.length)
        numbers += dict.fromkeys(first + count * part // parts for part in range(parts))
        first += count
    return windows, numbers


def read_window(windows: ClipDataset, number: int) -> Window:
    """A window as the model would see it."""
    clip: Any = windows[number]
    spec = spec_for_images(windows.reader.robot, clip)
    episode = windows.reader.episodes[windows.place(number)[0]].key
    return Window(episode, clip_observation(spec, clip), clip_future(spec, clip))


def kept(path: Path, measure: Callable[[], Any]) -> Any:
    """What was measured before, or is measured now and kept, so that a stopped run goes on."""
    if not path.exists():
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(measure(), allow_nan=False) + "\n", encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def summary(rows: Sequence[Mapping[str, float | None]], episodes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Mean over the windows with its 95 % bootstrap interval over episodes, for every name; unknown numbers are left out."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    values = np.array([[np.nan if row.get(name) is None else row[name] for name in names] for row in rows], np.float64)
    found = confidence_interval(values, episodes=list(episodes))
    return {
        name: {part: jsonable(getattr(found, part)[place]) for part in ("mean", "low", "high")}
        for place, name in enumerate(names)
    }


def differences(
    rows: Sequence[Mapping[str, float | None]], others: Sequence[Mapping[str, float | None]]
) -> list[dict[str, float | None]]:
    """One minus the other, window by window; unknown where either is."""
    return [
        {
            name: None if value is None or other.get(name) is None else value - float(other[name] or 0)
            for name, value in row.items()
        }
        for row, other in zip(rows, others, strict=True)
    ]
