"""Timestamps: whether they increase, and whether they are those of the declared rate."""

from collections.abc import Iterator

import numpy as np

from xwam.data.checks.findings import Finding

WRONG_RATE = 0.2  # relative; beyond it the rate is another one, below it a clock drifts
HALF_A_FRAME = 0.5
RATE_TOLERANCE = 0.02
MANY_GAPS = 0.05  # of all rows; from there on it is the rate that is another


def time_findings(times: np.ndarray, rate: float) -> Iterator[Finding]:
    """What is wrong with the timestamps of one episode. Rows are found by number, whatever these say.

    Args:
        times (`np.ndarray` of shape `(rows,)`): Seconds.
        rate (`float`): Declared rows per second.
    """
    if not np.isfinite(times).all():
        row = int(np.argmin(np.isfinite(times)))
        yield Finding("not_finite", "a finite number", f"{times[row]}", "timestamp", row)
        return
    if len(times) < 2:
        return
    steps = np.diff(times) * rate  # in frames
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        yield Finding(
            "unordered_timestamps",
            f"more than {times[row - 1]:.4f} s",
            f"{times[row]:.4f} s",
            "timestamp",
            row,
        )
        return
    if abs(times[0]) * rate > HALF_A_FRAME:
        yield Finding("timestamp_offset", "0 s", f"{times[0]:.3f} s", "timestamp", 0)
    measured = (len(times) - 1) / (times[-1] - times[0])
    drift = (times - times[0]) * rate - np.arange(len(times))
    said = f"{measured:.4g} per second"
    is_gap = steps - 1 > HALF_A_FRAME
    if is_gap.mean() < MANY_GAPS and HALF_A_FRAME < drift[-1] < (steps[is_gap] - 1).sum() + HALF_A_FRAME:
        row = int(is_gap.argmax()) + 1
        came = f"{times[row] - times[row - 1]:.3f} s ({int(is_gap.sum())} such gaps)"
        yield Finding("timestamp_gap", f"{1 / rate:.3f} s after the row before", came, "timestamp", row)
    elif abs(measured / rate - 1) > WRONG_RATE:
        yield Finding("wrong_fps", f"{rate:.4g} per second, as declared", said, "timestamp")
    elif abs(drift[-1]) > HALF_A_FRAME:
        row = int(np.argmax(np.abs(drift) > HALF_A_FRAME))
        size = f"{said}, {abs(drift[-1]):.1f} frames off at the end"
        yield Finding("drifting_timestamps", f"{rate:.4g} per second, as declared", size, "timestamp", row)
    elif np.abs(steps - 1).max() > HALF_A_FRAME:
        row = int(np.abs(steps - 1).argmax()) + 1
        yield Finding(
            "jittering_timestamps",
            f"{1000 / rate:.1f} ms after the row before",
            f"{1000 * (times[row] - times[row - 1]):.1f} ms",
            "timestamp",
            row,
        )


def rate_findings(rate: float, period: float | None) -> Iterator[Finding]:
    """Whether a data set was recorded at the robot's rate.

    Args:
        rate (`float`): Rows per second of the data set.
        period (`float` or `None`): Seconds between the robot's commands; `None` where unknown.
    """
    if period is not None and abs(rate * period - 1) > RATE_TOLERANCE:
        yield Finding(
            "rate_mismatch", f"{1 / period:.4g} rows per second, as the robot's control period", f"{rate:.4g}"
        )
