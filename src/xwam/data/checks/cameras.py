"""Cameras that are dead, stand still while the robot moves, show what another one shows, or carry its name."""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from xwam.data.checks.findings import Finding
from xwam.data.checks.frames import Trace
from xwam.data.checks.numbers import EpisodeNumbers
from xwam.robots.spec import CameraSpec, RobotSpec

ONE_COLOUR = 6.0  # levels between the fields of an image; a covered lens has noise
SAME = 5.0  # levels by which fields of one image differ after ways through a codec; movement makes tens of levels
BRIGHT = 100.0  # levels between the fields of a scene, below which movement makes fewer levels and codecs less noise
OTHER = 10.0  # levels by which another camera must change, where no state tells that the robot moves
LEAST_SECONDS = 0.5  # of a defect; shorter ones happen in good recordings
BLIND_SECONDS = 2.0  # of images that stand still, where only another camera tells that something moves
LEAST_FRAMES = 5
TRAVEL = {True: 0.03, False: 0.1}  # metres that the robot moves meanwhile, for carried and standing cameras


def camera_findings(
    robot: RobotSpec, traces: Mapping[str, Trace], rate: float, numbers: EpisodeNumbers | None
) -> Iterator[Finding]:
    """What is wrong with the images of one episode.

    Args:
        robot (`RobotSpec`): The robot.
        traces (`Mapping[str, Trace]`): Frames by camera.
        rate (`float`): Rows per second.
        numbers (`EpisodeNumbers` or `None`): States and commands; `None` where they cannot be read.
    """
    cameras = {camera.name: camera for camera in robot.cameras}
    dead = set()
    for name, trace in traces.items():
        yield from trace.findings
        if len(trace.rows) < 2:
            continue
        found = list(_dead(trace, rate))
        if found:
            dead.add(name)
        else:
            found = list(_frozen(trace, cameras[name], traces, rate, numbers))
        yield from found
        yield from _size(trace, cameras[name])
    alive = {name: trace for name, trace in traces.items() if name not in dead and trace.rows}
    yield from _doubled(alive)
    yield from _swapped(alive, cameras, numbers)


def _dead(trace: Trace, rate: float) -> Iterator[Finding]:
    blocks = np.stack(trace.blocks)
    flat = blocks.reshape(len(blocks), -1, blocks.shape[-1] if blocks.ndim == 4 else 1)
    is_dead = (flat.max(axis=1) - flat.min(axis=1)).max(axis=1) < ONE_COLOUR
    start, stop = longest_run(is_dead)
    if stop - start >= _least(trace, start, rate):
        colour = flat[start].mean(axis=0).round().astype(int).tolist()
        came = f"{'black' if max(colour) < 8 else f'all of colour {colour}'} until row {trace.rows[stop - 1]}"
        yield Finding("dead_camera", "images with something in them", came, trace.feature, trace.rows[start])


def _frozen(
    trace: Trace, camera: CameraSpec, traces: Mapping[str, Trace], rate: float, numbers: EpisodeNumbers | None
) -> Iterator[Finding]:
    blocks = np.stack(trace.blocks)
    same, start = _same(blocks), 0
    for end in range(1, len(blocks) + 1):
        if end < len(blocks) and np.abs(blocks[end] - blocks[start]).max() < same:
            continue
        first, last = trace.rows[start], trace.rows[end - 1]
        if end - start >= _least(trace, start, rate) and (
            moved := _movement(camera, traces, first, last, rate, numbers)
        ):
            yield Finding(
                "frozen_camera",
                "images that change",
                f"one image until row {last}, while {moved}",
                trace.feature,
                first,
            )
            return
        start = end


def _movement(
    camera: CameraSpec, traces: Mapping[str, Trace], first: int, last: int, rate: float, numbers: EpisodeNumbers | None
) -> str:
    """What moved between two rows, in words; empty if nothing is known to have moved."""
    way = None if numbers is None else numbers.moved(first, last)
    if way is not None:
        return way[1] if way[0] > TRAVEL[camera.arm is not None] else ""
    if last - first < BLIND_SECONDS * rate:
        return ""
    for name, other in traces.items():
        inside = [block for row, block in zip(other.rows, other.blocks, strict=True) if first <= row <= last]
        if name != camera.name and inside and max(np.abs(block - inside[0]).max() for block in inside) > OTHER:
            return f"{name} changes"
    return ""


def _size(trace: Trace, camera: CameraSpec) -> Iterator[Finding]:
    if camera.intrinsics is not None and trace.size is not None and trace.size != camera.size:
        came = "×".join(map(str, trace.size))
        yield Finding("image_size", f"{camera.size[0]}×{camera.size[1]}, as the robot's spec", came, trace.feature)


def _doubled(traces: Mapping[str, Trace]) -> Iterator[Finding]:
    for one, two in itertools.combinations(traces.values(), 2):
        is_comparable = one.rows and one.rows == two.rows and np.shape(one.blocks) == np.shape(two.blocks)
        if not is_comparable:
            continue
        first, second = np.stack(one.blocks), np.stack(two.blocks)
        if np.abs(first - second).max() < min(_same(first), _same(second)):
            yield Finding("doubled_camera", "another view", f"the images of {one.feature}", two.feature)


def _same(blocks: np.ndarray) -> float:
    """Levels by which fields of one image may differ: fewer in a dark or dull scene."""
    return SAME * float(np.clip(np.ptp(blocks) / BRIGHT, 0.1, 1.0))


def _swapped(
    traces: Mapping[str, Trace], cameras: Mapping[str, CameraSpec], numbers: EpisodeNumbers | None
) -> Iterator[Finding]:
    """While an arm moves, most of the image of a camera on it changes, and little of that of a standing one."""
    for carried, standing in itertools.permutations(traces.values(), 2):
        if cameras[carried.feature].arm is None or cameras[standing.feature].arm is not None:
            continue
        way = None if numbers is None else numbers.moved(carried.rows[0], carried.rows[-1])
        own, other = (float(np.median(np.ptp(np.stack(trace.blocks), axis=0))) for trace in (carried, standing))
        if way is not None and way[0] > TRAVEL[False] and own < OTHER < other and 2 * own < other:
            came = f"most of it stands still, and most of {standing.feature} changes, while {way[1]}"
            yield Finding("swapped_cameras", "an image that moves with the arm", came, carried.feature)


def longest_run(flags: np.ndarray) -> tuple[int, int]:
    """Begin and end of the longest run of true values; equal where there is none.

    Args:
        flags (`np.ndarray` of shape `(n,)`): bool.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    if not len(edges):
        return 0, 0
    starts, stops = edges[::2], edges[1::2]
    longest = int((stops - starts).argmax())
    return int(starts[longest]), int(stops[longest])


def _least(trace: Trace, start: int, rate: float) -> int:
    """Frames that a defect must last."""
    spacing = (trace.rows[-1] - trace.rows[0]) / (len(trace.rows) - 1)
    return min(max(LEAST_FRAMES, round(LEAST_SECONDS * rate / spacing)), len(trace.rows))
