"""Depth that was not measured, or not in metres."""

from collections.abc import Iterator

import numpy as np

from xwam.data.checks.findings import Finding
from xwam.data.checks.frames import Trace
from xwam.robots.observation_checks import MAX_MEDIAN_DEPTH
from xwam.robots.spec import CameraSpec

LEAST_MEASURED = 0.1  # of all pixels; a real sensor at a shelf measures a quarter
MOST_CLIPPED = 0.5  # of measured pixels
FARTHEST = 100.0  # metres, where the robot's spec names no range
ONE_LEVEL = 2.0  # of 255, between fields of depth without a unit


def depth_findings(trace: Trace, camera: CameraSpec, *, is_metric: bool) -> Iterator[Finding]:
    """What is wrong with the depth of one camera in one episode.

    Args:
        trace (`Trace`): Its frames.
        camera (`CameraSpec`): The camera.
        is_metric (`bool`): Whether depth is in metres; else in levels from 0 to 255.
    """
    yield from trace.findings
    if not trace.rows:
        return
    blocks = np.stack(trace.blocks)
    if not is_metric:
        if np.ptp(blocks, axis=(1, 2)).max() < ONE_LEVEL:
            yield Finding(
                "dead_depth", "levels that differ", f"{blocks.mean():.0f} everywhere", trace.feature, trace.rows[0]
            )
        return
    measured, near, median = np.stack(trace.shares).T
    if not measured.any():
        yield Finding("dead_depth", "depth somewhere", "no measurement in any frame", trace.feature, trace.rows[0])
        return
    if measured.mean() < LEAST_MEASURED:
        row = trace.rows[int(measured.argmin())]
        came = f"{100 * measured.mean():.1f} % of pixels"
        yield Finding("sparse_depth", "a measurement at most pixels", came, trace.feature, row)
    farthest = FARTHEST if camera.depth_range is None else MAX_MEDIAN_DEPTH * camera.depth_range[1]
    middle = float(np.median(median[measured > 0]))
    if middle > farthest:
        came = f"{middle:.4g} in the middle, as millimetres"
        yield Finding("depth_unit", f"metres, at most {farthest:.4g}", came, trace.feature, trace.rows[0])
    elif near[measured > 0].mean() > MOST_CLIPPED:
        came = f"{100 * near[measured > 0].mean():.0f} % of it there"
        yield Finding("clipped_depth", "depth beyond the near end of its range", came, trace.feature, trace.rows[0])
