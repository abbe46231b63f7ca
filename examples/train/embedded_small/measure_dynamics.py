"""Does the model follow commands that it is given: the true ones, and those of another window."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measure_windows import Window, kept, open_windows, read_window, summary
from tqdm import tqdm

from xwam import ActionChunk, ClipDataset, Future, XWAM4DPipeline
from xwam.evaluation.departure import where_commands_lead
from xwam.evaluation.future_errors import ErrorOptions, future_errors, mean
from xwam.evaluation.moved_pixels import pooled_errors
from xwam.evaluation.tables import jsonable
from xwam.metrics.bootstrap import ratio_interval
from xwam.utils.seeding import seed_from

WAYS = ("denoise", "integrate")
TRUE, SHUFFLED = "true", "shuffled"


def measure_dynamics(pipeline: XWAM4DPipeline, held_out: Path, parts: int, work: Path) -> dict[str, Any]:
    """Imagine every window four times: with its own commands and with another window's, states denoised and integrated.

    With `states="denoise"` the model itself must say where the commands take the tool. With `"integrate"`, what the network
    was trained with, the states are given, and only the pictures tell whether it follows: those of the wrist above all. Where
    the tool stands in a picture is not measured; that would need a detector.

    Args:
        pipeline (`XWAM4DPipeline`): The model.
        held_out (`Path`): Recorded episodes.
        parts (`int`): Windows of each.
        work (`Path`): Where numbers are kept.
    """
    windows, numbers = open_windows(held_out, pipeline.robot_processor.spec, parts)
    partners = shuffled([windows.place(number)[0] for number in numbers])
    found = []
    for place in tqdm(range(len(numbers)), desc="forward dynamics", disable=None):

        def measure(place: int = place) -> dict[str, Any]:
            return _window_numbers(pipeline, windows, numbers[place], numbers[partners[place]])

        found.append(kept(work / f"{numbers[place]:06d}.json", measure))
    return compared(found)


def shuffled(episodes: Sequence[int]) -> list[int]:
    """For each window the place of another one, of another episode; every window lends its commands once.

    Raises:
        ValueError: If more than half of the windows are of one episode.
    """
    most = max(episodes.count(own) for own in episodes)
    if 2 * most > len(episodes):
        raise ValueError("Commands cannot be exchanged: more than half of the windows are of one episode.")
    drawn = list(dict.fromkeys(episodes))
    random.Random(0).shuffle(drawn)  # neighbours are of one task
    order = sorted(range(len(episodes)), key=lambda place: drawn.index(episodes[place]))
    partners = {place: order[(rank + most) % len(order)] for rank, place in enumerate(order)}
    return [partners[place] for place in range(len(episodes))]


def compared(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means with intervals, and the ratio of each error with the true commands to that with shuffled ones."""
    episodes = [own["episode"] for own in found]
    ways: dict[str, Any] = {}
    for way in WAYS:
        rows = {kind: [own[way][kind] for own in found] for kind in (TRUE, SHUFFLED)}
        ratios = {}
        for name in rows[TRUE][0]:
            pair = [[float("nan") if row[name] is None else row[name] for row in rows[kind]] for kind in rows]
            ratio = ratio_interval(*pair, episodes=episodes)
            ratios[name] = {part: jsonable(getattr(ratio, part)) for part in ("mean", "low", "high")}
        ways[way] = {**{kind: summary(own, episodes) for kind, own in rows.items()}, "ratio": ratios}
    without = summary([own["without a model"] for own in found], episodes)
    return {"num_windows": len(found), "num_episodes": len(set(episodes)), "without a model": without, **ways}


def _window_numbers(pipeline: XWAM4DPipeline, windows: ClipDataset, number: int, other: int) -> dict[str, Any]:
    window, lender = read_window(windows, number), read_window(windows, other)
    given = {TRUE: window.commands, SHUFFLED: replace(lender.commands, start_time=window.commands.start_time)}
    found: dict[str, Any] = {"episode": window.episode}
    for way in WAYS:
        found[way] = {
            kind: following_numbers(pipeline, _imagine(pipeline, window, actions, way, number), window.truth)
            for kind, actions in given.items()
        }
    spec = pipeline.robot_processor.spec
    led = replace(window.truth, states=where_commands_lead(spec, window.truth))
    stands = replace(window.truth, states=window.truth.states[:1] * window.truth.num_frames)
    found["without a model"] = {
        "path of the integrated commands": _path_error(led, window.truth),
        "path of standing still": _path_error(stands, window.truth),
    }
    return found


def _imagine(pipeline: XWAM4DPipeline, window: Window, actions: ActionChunk, way: Any, number: int) -> Future:
    """Both sets of commands are imagined from the same noise."""
    generator = torch.Generator().manual_seed(seed_from("dynamics", way, number))
    return pipeline(window.observation, actions=actions, states=way, generator=generator).future()


def following_numbers(pipeline: XWAM4DPipeline, imagined: Future, truth: Future) -> dict[str, Any]:
    """Errors over the frames after frame 0: the tool's path in metres, the wrist's pictures and depth, and all pictures."""
    wrist = [camera.name for camera in pipeline.robot_processor.spec.cameras if camera.arm is not None]
    found = {"path": _path_error(imagined, truth)}
    for place, names in (("wrist", wrist), ("all views", list(imagined.cameras))):
        errors = pooled_errors(imagined.with_cameras(names), truth.with_cameras(names))
        for name in ("squared_error", "abs_rel"):
            if name in errors:
                found[f"{place} {name}"] = jsonable(float(mean(errors[name][1:], axis=0)))
    return found


def _path_error(future: Future, truth: Future) -> Any:
    """Mean distance of the tool positions over the frames after frame 0, in metres."""
    bare = [replace(own, depths={}, depth_kind="none") for own in (future, truth)]
    return jsonable(future_errors(*bare, ErrorOptions(groups=("states",))).total("position"))
