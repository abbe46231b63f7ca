"""What a page can show of a future: films, clouds, numbers by time."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from xwam import ActionChunk, ArmState, Future, Observation, PointCloud, RobotSpec, point_cloud
from xwam.export.images import colour_depth, depth_ends
from xwam.export.points import Y_UP_FROM_BASE, write_glb, write_ply
from xwam.export.video import write_video

VOXEL = 0.006  # metres
SHOWN_RADIUS = 0.8  # metres around the middle of the observed scene; floor and walls would make the table tiny
UNITS = {"controller": "controller units"}  # where the RobotSpec's own word says too little
REAL = " (real)"  # behind the names of lines
FEWEST_POINTS = 1000  # of a cloud without what lies beside a step in depth
GAP = 4  # pixels between imagined and real
Ranges = Mapping[str, tuple[float, float]]  # metres of the brightest and the darkest colour by camera


def strip(images: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Pictures side by side, padded with white to one height; those not there yet are left out."""
    known = [image for image in images if image is not None]
    if not known:
        return None
    height = max(len(image) for image in known)
    padded = [np.pad(image, ((0, height - len(image)), (0, GAP), (0, 0)), constant_values=255) for image in known]
    return np.concatenate(padded, axis=1)[:, :-GAP]


def depth_ranges(future: Future, observation: Observation) -> Ranges:
    """Colours of depth by camera: from what was measured in the observation, else from what is imagined."""
    ranges = {}
    for name, imagined in future.depths.items():
        measured = observation.depths.get(name)
        is_known = measured is not None and (measured > 0).any()
        ranges[name] = depth_ends(measured if is_known else imagined)
    return ranges


def write_films(folder: Path, future: Future, ranges: Ranges) -> tuple[list[str], list[str | None]]:
    """One film of RGB and one of depth per camera, as fast as they would happen.

    Args:
        folder (`Path`): Where to write them.
        future (`Future`): What to film.
        ranges (`Mapping[str, tuple[float, float]]`): Of the colours of depth.

    Returns:
        `tuple[list[str], list[str | None]]`: Paths of RGB and of depth, in the order of the cameras; `None` without depth.
    """
    rgb, depth, fps = [], [], 1 / future.frame_period
    for name, frames in future.frames.items():
        rgb.append(str(folder / f"{name}_rgb.mp4"))
        write_video(rgb[-1], frames, fps=fps)
        depth.append(str(folder / f"{name}_depth.mp4") if name in future.depths else None)
        if depth[-1] is not None:
            write_video(depth[-1], _coloured(future, name, ranges), fps=fps)
    return rgb, depth


def write_pairs(folder: Path, dream: Future, reality: Future, ranges: Ranges) -> list[str]:
    """One film per camera: imagined on the left, real on the right; RGB above, depth below where both have it."""
    paths = []
    for name in dream.frames:
        rows = [_beside(dream.frames[name], reality.frames[name])]
        if name in dream.depths and name in reality.depths:
            rows.append(_beside(*(_coloured(future, name, ranges) for future in (dream, reality))))
        paths.append(str(folder / f"{name}_pair.mp4"))
        write_video(paths[-1], np.concatenate(rows, axis=1), fps=1 / dream.frame_period)
    return paths


def write_moving_cloud(path: Path, future: Future) -> str | None:
    """All frames as one cloud that moves, for a viewer; `None` where depth or calibration are unknown."""
    if not has_clouds(future):
        return None
    clouds = [_shown_cloud(future, frame) for frame in range(future.num_frames)]
    write_glb(path, clouds, frame_period=future.frame_period)
    return str(path)


def write_cloud(path: Path, future: Future, frame: int) -> str:
    """One frame as a PLY for a viewer, whose up is y."""
    cloud = _shown_cloud(future, frame)
    write_ply(path, PointCloud((cloud.points @ Y_UP_FROM_BASE[:3, :3].T).astype(np.float32), cloud.colours))
    return str(path)


def has_clouds(future: Future) -> bool:
    """Whether some camera has depth and calibration."""
    return bool(_calibrated(future))


def command_tables(spec: RobotSpec, chunk: ActionChunk) -> list[pd.DataFrame]:
    """Commands over time in long form, one table per part of the command, such as the position of an arm."""
    times = chunk.period * np.arange(len(chunk.commands))
    return [
        _long(times, dict(zip(columns, chunk.commands[:, first : first + len(columns)].T, strict=True)))
        for _, first, columns in command_parts(spec)
    ]


def command_parts(spec: RobotSpec) -> list[tuple[str, int, tuple[str, ...]]]:
    """Title, first column and short column names of every part of a command."""
    parts, first = [], 0
    for part, width in spec.command_layout.parts:
        names = spec.command_columns[first : first + width]
        units = set(spec.command_units[first : first + width])
        title, arm = _title(spec, part, units), part.partition("_")[0]
        parts.append((title, first, tuple(name.removeprefix(f"{arm}_") for name in names)))
        first += width
    return parts


def command_sheet(chunk: ActionChunk) -> pd.DataFrame:
    """All commands as a table for reading."""
    sheet = pd.DataFrame(np.round(chunk.commands, 4), columns=list(chunk.columns))
    sheet.insert(0, "s", np.round(chunk.period * np.arange(len(sheet)), 3))
    return sheet


def state_parts(spec: RobotSpec) -> list[tuple[str, tuple[str, ...]]]:
    """Title and lines of every plot of states: where each arm is, how far it has turned and how far it is open."""
    parts = []
    for arm in spec.arms:
        prefix = f"{arm.name} " if len(spec.arms) > 1 else ""
        if arm.num_joints is None:
            parts += [(f"{prefix}position (m)", tuple("xyz")), (f"{prefix}turned (°)", ("angle",))]
        else:
            parts.append((f"{prefix}joints (rad)", tuple(str(index + 1) for index in range(arm.num_joints))))
        parts.append((f"{prefix}gripper", ("open",)))
    return parts


def state_tables(spec: RobotSpec, future: Future, *, suffix: str = "") -> list[pd.DataFrame]:
    """States over time in long form, one table per title of `state_parts`.

    Args:
        spec (`RobotSpec`): The robot.
        future (`Future`): Imagined or real.
        suffix (`str`, *optional*, defaults to `""`): Behind the name of each line.
    """
    times, tables = future.frame_period * np.arange(len(future.states)), []
    for arm in spec.arms:
        own = [state[arm.name] for state in future.states]
        if isinstance(own[0], ArmState):
            positions = np.array([state.position for state in own])
            tables.append(_long(times, {axis + suffix: row for axis, row in zip("xyz", positions.T, strict=True)}))
            tables.append(_long(times, {"angle" + suffix: _turned([state.quaternion for state in own])}))
        else:
            joints = np.array([state.positions for state in own]).T
            tables.append(_long(times, {f"{index + 1}{suffix}": row for index, row in enumerate(joints)}))
        tables.append(_long(times, {"open" + suffix: np.array([state.gripper for state in own])}))
    return tables


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Lines of several tables in one plot."""
    return pd.concat(tables, ignore_index=True)


def _calibrated(future: Future) -> list[str]:
    return [name for name in future.depths if name in future.intrinsics and name in future.base_from_camera]


def _title(spec: RobotSpec, part: str, units: Collection[str]) -> str:
    arm, _, kind = part.partition("_")
    known = [UNITS.get(unit, unit) for unit in sorted(units) if unit != "1"]
    unit = f" ({', '.join(known)})" if known else ""
    return (f"{arm} {kind}" if len(spec.arms) > 1 else kind) + unit


def _long(times: np.ndarray, rows: Mapping[str, np.ndarray]) -> pd.DataFrame:
    return pd.concat(
        [pd.DataFrame({"s": times.round(3), "value": np.round(row, 5), "line": name}) for name, row in rows.items()],
        ignore_index=True,
    )


def _turned(quaternions: Sequence[np.ndarray]) -> np.ndarray:
    """Degrees from the first orientation."""
    unit = np.array(quaternions) / np.linalg.norm(quaternions, axis=1, keepdims=True)
    return np.rad2deg(2 * np.arccos(np.clip(np.abs(unit @ unit[0]), 0, 1)))


def _coloured(future: Future, name: str, ranges: Ranges) -> np.ndarray:
    near, far = ranges[name]
    return colour_depth(future.depths[name], near=near, far=far)


def _beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    gap = np.full((*left.shape[:2], GAP, 3), 255, np.uint8)
    return np.concatenate([left, gap, right], axis=2)


def _shown_cloud(future: Future, frame: int) -> PointCloud:
    """What lies near the middle of the scene. Depth that is all steps, such as noise, is shown as it is."""
    options = {"cameras": _calibrated(future), "voxel_size": VOXEL}
    try:
        cloud = point_cloud(future, frame, **options)
    except ValueError:
        cloud = None
    if cloud is None or len(cloud.points) < FEWEST_POINTS:
        cloud = point_cloud(future, frame, edge_threshold=None, **options)
    near = np.linalg.norm(cloud.points - np.median(cloud.points, axis=0), axis=1) < SHOWN_RADIUS
    return PointCloud(cloud.points[near], cloud.colours[near]) if near.any() else cloud
