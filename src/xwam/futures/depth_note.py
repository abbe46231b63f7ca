"""What the depth of a future is, in plain words: metres that were declared, fitted, measured or guessed, or none at all."""

from xwam.futures.future import Future

_NOTES = {
    "metric": "Metric: decoded with the depth range that the robot declares.",
    "calibrated": "Calibrated, not metric: depth without a unit, fitted in each view to the measured depth of frame 0",
    "measured": "Measured by a sensor or a simulator.",
    "estimated": "Estimated from RGB by a depth model, not metric.",
    "relative": "Relative: known only up to a scale and a shift, so there are no metres.",
    "none": "None: there is no depth.",
}


def depth_note(future: Future) -> str:
    """One statement of what the depth is; where it was calibrated, with residual and inlier share of every view.

    Args:
        future (`Future`): Imagined or real.
    """
    note = _NOTES[future.depth_kind]
    if not future.depth_calibrations:
        return note if note.endswith(".") else f"{note}."
    views = "; ".join(
        f"{camera}: median residual {fit.residual:.1%}, {fit.inlier_share:.0%} inliers of {fit.num_pixels} pixels"
        for camera, fit in future.depth_calibrations.items()
    )
    return f"{note.removesuffix('.')} ({views})."
