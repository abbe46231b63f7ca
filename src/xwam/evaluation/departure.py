"""Where dream and reality part, in plain words: the video, its depth, or the robot itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from xwam.evaluation.future_errors import FutureErrors
from xwam.evaluation.future_metrics import METRICS
from xwam.evaluation.tables import shown
from xwam.futures.future import Future
from xwam.metrics.states import state_errors
from xwam.robots.integration import integrate_commands
from xwam.robots.spec import RobotSpec
from xwam.robots.states import RobotState
from xwam.structures import ArmState

# From these errors on, a robot is somewhere else than it was imagined: a finger's width, six degrees, a quarter of the way.
STATE_TOLERANCES: Mapping[str, float] = {"position": 0.02, "rotation": 0.1, "joints": 0.1, "gripper": 0.25}
SCENE = {"video": "psnr", "depth": "abs_rel"}


@dataclass(frozen=True)
class Departure:
    """Where one aspect of a dream parts from reality.

    Args:
        aspect (`str`): `"video"`, `"depth"` or `"robot"`.
        frame (`int` or `None`): First frame from which on video or depth is wrong to the end, or at which the robot is too far
            off; `None` where it holds.
        sentence (`str`): The same in words, with numbers.
    """

    aspect: str
    frame: int | None
    sentence: str


def departures(dream: FutureErrors, still: FutureErrors, frame_period: float) -> list[Departure]:
    """Where each aspect that was measured parts from reality.

    Video and depth part where they are worse than frame 0 repeated, and stay so to the end. The robot parts where any arm is
    further from where it was imagined than `STATE_TOLERANCES`.

    Args:
        dream (`FutureErrors`): Of the dream.
        still (`FutureErrors`): Of the forecast that nothing moves.
        frame_period (`float`): Seconds between frames.
    """
    found = [
        _scene_departure(aspect, metric, dream, still, frame_period)
        for aspect, metric in SCENE.items()
        if metric in dream.values
    ]
    if any(metric in dream.values for metric in STATE_TOLERANCES):
        found.append(_robot_departure(dream, still, frame_period))
    return found


def conclusion(found: list[Departure]) -> str:
    """Why the action may fail although the video looks right, as far as these numbers tell.

    Args:
        found (`list[Departure]`): What `departures` gave.
    """
    frame_of = {own.aspect: own.frame for own in found}
    parted = {aspect: frame for aspect, frame in frame_of.items() if frame is not None}
    if "robot" not in frame_of:
        return "Without states in both, nothing can be said about the robot."
    if not parted:
        return "Dream and reality agree. If the task still fails, the plan itself leads there: the model imagined what then came."
    first = min(parted.values())
    if len(found) > 1 and all(own.frame == first for own in found):
        return (
            "Everything parts at once: this model does not know this scene, or was not told how this robot is set up."
        )
    if parted.get("robot") == first:
        return (
            "The robot leaves its dream first: these commands do not take it where the model imagined. Either it executes them "
            "otherwise (units, signs, frames, controller, contact), or the imagined states do not belong to the imagined "
            "commands."
        )
    what = " and ".join(aspect for aspect, frame in parted.items() if frame == first)
    if "robot" in parted:
        return f"The {what} goes wrong first, and the robot later: the model misjudged the scene that it acts on."
    if what == "depth":
        return (
            "The video looks right and the robot moves as imagined, but shapes stand at wrong distances: look at the depth range "
            "of the cameras and at their calibration."
        )
    return f"The robot moves as imagined, but the {what} does not come true: objects or light behave otherwise than imagined."


def where_commands_lead(spec: RobotSpec, reality: Future) -> tuple[RobotState, ...]:
    """States at the frames if the robot had followed what was executed exactly; empty where that cannot be told.

    Args:
        spec (`RobotSpec`): The robot.
        reality (`Future`): What came.
    """
    actions = reality.actions
    if any(path.split(".")[0] in ("command_kind", "arms") for path in spec.unknown):
        return ()
    is_raw = spec.command_kind == "raw" and spec.raw_scale is None
    if actions is None or not len(actions.commands) or reality.num_frames == 1:
        return ()
    if not reality.states or actions.columns != spec.command_columns or is_raw:
        return ()
    commands = torch.from_numpy(np.asarray(actions.commands, dtype=np.float64))
    path = [reality.states[0], *integrate_commands(spec, commands, reality.states[0])]
    return tuple(path[:: len(commands) // (reality.num_frames - 1)])


def on_commands(dream: Future, reality: Future, led: Sequence[RobotState]) -> str:
    """Whether the robot or the dream is further from where the commands lead, in one sentence.

    Arms are compared by their tool positions; only where there are none, by their joints.

    Args:
        dream (`Future`): What was imagined.
        reality (`Future`): What came.
        led (`Sequence[Mapping[str, ArmState | JointState]]`): What `where_commands_lead` gave.
    """
    kind = "position" if any(isinstance(own, ArmState) for own in led[0].values()) else "joints"
    unit = METRICS[kind].unit
    real, imagined = (
        max(parts[kind].max() for parts in state_errors(states, led).values() if kind in parts)
        for states in (reality.states, dream.states)
    )
    if max(real, imagined) <= STATE_TOLERANCES[kind]:
        verdict = "both follow them"
    elif imagined > real:
        verdict = "the imagined states are further off than the robot"
    else:
        verdict = "the robot does not follow its commands, or the spec does not say truly what they do"
    return (
        f"Followed exactly, these commands lead {real:.3g} {unit} from where the robot went and {imagined:.3g} {unit} from "
        f"where it was imagined, at most: {verdict}."
    )


def _scene_departure(
    aspect: str, metric: str, dream: FutureErrors, still: FutureErrors, frame_period: float
) -> Departure:
    facts = METRICS[metric]
    own, other = dream.over_frames(metric), still.over_frames(metric)
    worse = [facts.is_worse(a, b) for a, b in zip(own, other, strict=True)]
    frame = _from_here_on(worse)
    totals = [shown(errors.total(metric), facts.digits) for errors in (dream, still)]
    numbers = f"{facts.title} {totals[0]}, frame 0 repeated {totals[1]}"
    if frame is not None:
        sentence = f"The {aspect} is worse than a still picture from {frame * frame_period:.2g} s on ({numbers})."
    elif any(worse[1:]):
        sentence = f"The {aspect} is worse than a still picture at {sum(worse[1:])} of {len(worse) - 1} steps, but not at the last ({numbers})."
    else:
        sentence = f"The {aspect} is never worse than a still picture ({numbers})."
    return Departure(aspect, frame, sentence)


def _robot_departure(dream: FutureErrors, still: FutureErrors, frame_period: float) -> Departure:
    beyond, parts = np.zeros(0, dtype=bool), []
    for metric, tolerance in STATE_TOLERANCES.items():
        for arm, errors in dream.values.get(metric, {}).items():
            beyond = (errors > tolerance) | (beyond if beyond.size else False)
            moved = still.values[metric][arm].max()
            unit = f" {METRICS[metric].unit}" if METRICS[metric].unit else ""
            parts.append(f"{arm} {metric} {errors.max():.3g}{unit} off at most while it moved {moved:.3g}{unit}")
    frame = int(beyond.argmax()) if beyond.any() else None
    begin = "stays with its dream" if frame is None else f"leaves its dream at {frame * frame_period:.2g} s"
    return Departure("robot", frame, f"The robot {begin} ({'; '.join(parts)}).")


def _from_here_on(worse: list[bool]) -> int | None:
    """First frame after frame 0 from which all to the end are worse."""
    frame = len(worse)
    while frame > 1 and worse[frame - 1]:
        frame -= 1
    return frame if frame < len(worse) else None
