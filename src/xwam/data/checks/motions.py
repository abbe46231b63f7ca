"""States that leap, and quaternions that change their sign."""

from collections.abc import Iterator

import numpy as np

from xwam.data.checks.findings import Finding
from xwam.data.checks.numbers import EpisodeNumbers
from xwam.data.checks.turns import turn_between
from xwam.robots.spec import ArmSpec

# Faster than arms on tables move; a leap must also stand out of the episode's other steps.
FASTEST = {"position": (3.0, "m"), "rotation": (15.0, "rad"), "joints": (12.0, "rad")}  # per second
OUTSTANDING = 5.0  # times the largest steps but the 5 % largest


def jump_findings(numbers: EpisodeNumbers) -> Iterator[Finding]:
    """The largest leap of every part of the state, if it is one.

    Args:
        numbers (`EpisodeNumbers`): One episode.
    """
    for arm in numbers.robot.arms:
        for part in ("position", "rotation") if arm.num_joints is None else ("joints",):
            values = numbers.state(arm, part)
            if values is None or len(values) < 3:
                continue
            turns = turn_between(values[:-1], values[1:]) if part == "rotation" else np.diff(values, axis=0)
            steps = np.linalg.norm(turns, axis=1) if part != "joints" else np.abs(turns).max(axis=1)
            speed, unit = FASTEST[part]
            limit = max(speed / numbers.rate, OUTSTANDING * float(np.quantile(steps, 0.95)))
            if steps.max() > limit:
                row = int(steps.argmax()) + 1
                came = f"{steps.max():.3g} {unit} ({int((steps > limit).sum())} such rows)"
                yield Finding("jump", f"at most {limit:.3g} {unit} from row to row", came, f"{arm.name}_{part}", row)


def flip_findings(numbers: EpisodeNumbers) -> Iterator[Finding]:
    """Rows at which a quaternion changes its sign although the tool hardly turns.

    Args:
        numbers (`EpisodeNumbers`): One episode.
    """
    for arm in numbers.robot.arms:
        values = _quaternions(numbers, arm)
        if values is None or len(values) < 2:
            continue
        is_flip = (values[1:] * values[:-1]).sum(axis=1) < 0
        if is_flip.any():
            row = int(is_flip.argmax()) + 1
            whole = values * np.where(values[:, :1] < 0, -1.0, 1.0)
            remains = int(((whole[1:] * whole[:-1]).sum(axis=1) < 0).sum())
            advice = f"{remains} remain with w ≥ 0; choose tool axes (`model_from_tool`) that stay away from w = 0"
            came = f"{int(is_flip.sum())} changes; {advice if remains else 'none remains with w ≥ 0'}"
            yield Finding("quaternion_flip", "the same sign as in the row before", came, f"{arm.name}_rotation", row)


def _quaternions(numbers: EpisodeNumbers, arm: ArmSpec) -> np.ndarray | None:
    return numbers.state(arm, "rotation") if arm.num_joints is None else None
