"""How right are dreams of what an expert then did: video, depth, clouds, states and actions, against simpler forecasts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure_windows import Window, differences, kept, open_windows, read_window, summary
from tqdm import tqdm

from xwam import ActionChunk, Future, Policy, RobotSpec, XWAM4DPipeline
from xwam.evaluation.departure import where_commands_lead
from xwam.evaluation.future_errors import ErrorOptions, FutureErrors, future_errors, mean, stand_still
from xwam.evaluation.imagination import PREDICTIONS, ImagineOptions, imagine_windows
from xwam.evaluation.moved_pixels import pooled_errors
from xwam.evaluation.tables import jsonable
from xwam.export.future_folder import load_future
from xwam.futures.imagined import imagined_future
from xwam.geometry.depth import depth_to_image
from xwam.models.video_codec import decode_latents, encode_frames
from xwam.robots.images import frames_to_uint8

DREAM, STILL, CODEC = "dream", "frame 0 repeated", "truth through the VAE"
IMAGES = ("images", "depth", "clouds", "states")


def measure_dreams(
    pipeline: XWAM4DPipeline, policies: Mapping[str, Policy], held_out: Path, parts: int, work: Path, model: str
) -> dict[str, Any]:
    """Imagine every window once, from what was known at its first instant, and hold all forecasts against what came.

    Args:
        pipeline (`XWAM4DPipeline`): The model.
        policies (`Mapping[str, Policy]`): Whose actions are measured on the same windows.
        held_out (`Path`): Recorded episodes.
        parts (`int`): Windows of each.
        work (`Path`): Where dreams and numbers are kept.
        model (`str`): Fingerprint of the model.
    """
    windows, numbers = open_windows(held_out, pipeline.robot_processor.spec, parts)
    names: list[str] = []
    with tqdm(total=len(numbers), desc="dreams", disable=None) as bar:

        def on_window(name: str) -> None:
            names.append(name)
            bar.update()

        imagine_windows(
            pipeline,
            windows,
            work,
            ImagineOptions(formats=("npz",)),
            numbers=numbers,
            model=model,
            on_window=on_window,
        )
    found = []
    for number, name in tqdm(list(zip(numbers, names, strict=True)), desc="errors of dreams", disable=None):

        def measure(number: int = number, name: str = name) -> dict[str, Any]:
            window, dream = read_window(windows, number), load_future(work / PREDICTIONS / name)
            return {
                "episode": window.episode,
                "futures": future_rows(pipeline, dream, window),
                "actions": action_rows(pipeline, dream, window, policies),
            }

        found.append(kept(work / "numbers" / f"{name}.json", measure))
    episodes = [own["episode"] for own in found]
    return {
        "num_windows": len(found),
        "num_episodes": len(set(episodes)),
        **{kind: _compared(found, kind, episodes) for kind in ("futures", "actions")},
    }


def future_rows(pipeline: XWAM4DPipeline, dream: Future, window: Window) -> dict[str, dict[str, Any]]:
    """Numbers of every forecast of a window, by forecast and name."""
    cameras = dream.cameras
    truth = window.truth.with_cameras(cameras)
    forecasts = {DREAM: dream, STILL: stand_still(truth), CODEC: through_codec(pipeline, window).with_cameras(cameras)}
    return {name: future_numbers(own, truth) for name, own in forecasts.items()}


def future_numbers(forecast: Future, truth: Future) -> dict[str, Any]:
    """Errors of the last frame, under `last_…`, and of all frames after frame 0; those on moved pixels end in `_moved`."""
    errors = future_errors(forecast, truth, ErrorOptions(groups=IMAGES))
    by_frame = {name: errors.over_frames(name) for name in errors.values}
    for suffix, only_moved in (("", False), ("_moved", True)):
        for name, values in pooled_errors(forecast, truth, only_moved=only_moved).items():
            by_frame[name + suffix] = values
    found = {f"last_{name}": values[-1] for name, values in by_frame.items()}
    found |= {name: mean(values[1:], axis=0) for name, values in by_frame.items()}
    return {name: jsonable(float(value)) for name, value in found.items()}


def through_codec(pipeline: XWAM4DPipeline, window: Window) -> Future:
    """The truth encoded and decoded by the VAE: what no dream can pass."""
    spec, truth = pipeline.robot_processor.spec, window.truth
    frames = torch.from_numpy(np.stack([truth.frames[camera.name] for camera in spec.cameras])[None])
    levels = frames_to_uint8(_coded(pipeline, frames.permute(0, 1, 2, 5, 3, 4).float() / 127.5 - 1))
    depth = None
    if all(camera.depth_range and camera.name in truth.depths for camera in spec.cameras):
        near, far = torch.tensor([camera.depth_range for camera in spec.cameras]).T[:, :, None]
        metres = torch.from_numpy(np.stack([truth.depths[camera.name] for camera in spec.cameras]))
        depth = _coded(pipeline, depth_to_image(metres, near, far, spec.depth_encoding)[0][None]).mean(dim=2).numpy()
    return imagined_future(spec, window.observation, levels, depth, truth.states, truth.actions)


def action_rows(
    pipeline: XWAM4DPipeline, dream: Future, window: Window, policies: Mapping[str, Policy]
) -> dict[str, dict[str, Any]]:
    """Errors of what every policy would do at the first instant of a window, by policy and name."""
    assert dream.actions is not None, "this model predicts actions"
    answers = {DREAM: dream.actions}
    answers |= {name: policy.infer(window.observation, seed=0) for name, policy in policies.items()}
    return {name: action_numbers(pipeline, answer, window) for name, answer in answers.items()}


def action_numbers(pipeline: XWAM4DPipeline, answer: ActionChunk, window: Window) -> dict[str, Any]:
    """`rms` over all channels in the model's units, the robot's own units by part, and `path`: where the commands lead, in metres.

    A policy that answers with fewer commands repeats its last one.
    """
    processor, spec = pipeline.robot_processor, pipeline.robot_processor.spec
    rows = np.minimum(np.arange(len(window.commands.commands)), len(answer.commands) - 1)
    answer = replace(answer, commands=np.asarray(answer.commands)[rows])
    encoded = [processor.encode_actions(own, window.observation) for own in (answer, window.commands)]
    squared = (encoded[0] - encoded[1]).square()[:, processor.action_mask.bool()]
    errors = future_errors(
        _led(spec, window.truth, answer),
        _led(spec, window.truth, window.commands),
        ErrorOptions(groups=("commands", "states"), robot=spec),
    )
    found = {"rms": float(squared.mean().sqrt())}
    for part in ("position", "rotation", "gripper"):
        found[part] = _total(errors, f"command_{part}")
    return {name: jsonable(value) for name, value in {**found, "path": _total(errors, "position")}.items()}


def _led(spec: RobotSpec, truth: Future, actions: ActionChunk) -> Future:
    """What came if the robot had followed these commands exactly, as far as states go."""
    future = replace(truth, actions=actions)
    return replace(future, states=where_commands_lead(spec, future))


def _total(errors: FutureErrors, metric: str) -> float:
    return errors.total(metric) if metric in errors.values else float("nan")


@torch.no_grad()
def _coded(pipeline: XWAM4DPipeline, frames: torch.Tensor) -> torch.Tensor:
    """Views `(V, F, 3, H, W)` of frames `(1, V, F, 3, H, W)` through the VAE."""
    return decode_latents(pipeline.vae, encode_frames(pipeline.vae, frames.to(pipeline.vae.device)))[0].cpu()


def _compared(found: list[dict[str, Any]], kind: str, episodes: list[str]) -> dict[str, Any]:
    """Every forecast summed up, and how far the dream is from each other one, window by window."""
    rows = {name: [own[kind][name] for own in found] for name in found[0][kind]}
    others = [name for name in rows if name != DREAM]
    return {
        "forecasts": {name: summary(own, episodes) for name, own in rows.items()},
        "dream_minus": {name: summary(differences(rows[DREAM], rows[name]), episodes) for name in others},
    }
