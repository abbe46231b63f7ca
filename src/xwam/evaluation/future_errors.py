"""How far one future is from another: every metric by camera, arm or cloud, and by frame."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from xwam.evaluation.future_metrics import GROUPS, METRICS
from xwam.futures.checks import check_future
from xwam.futures.future import Future
from xwam.futures.point_clouds import point_cloud
from xwam.metrics.actions import command_part_errors
from xwam.metrics.depth import ALIGNMENTS, depth_errors
from xwam.metrics.images import psnr, ssim
from xwam.metrics.points import neighbour_distances
from xwam.metrics.states import state_errors
from xwam.robots.registry import get_robot, list_robots
from xwam.robots.spec import RobotSpec

ALL_VIEWS = "all views"  # the subject of what is measured on fused clouds
F_SCORE_VOXELS = 2  # nearer than that, the grid is measured
PERIOD_TOLERANCE = 0.01  # relative

ImageDistance = Callable[[np.ndarray, np.ndarray], np.ndarray]  # RGB `uint8` `(F, H, W, 3)` twice, to `(F,)`
Errors = dict[str, dict[str, np.ndarray]]  # by metric and subject, `(F,)`


@dataclass(frozen=True)
class ErrorOptions:
    """What is measured, and how.

    Args:
        groups (`tuple[str, ...]`, *optional*): Of `GROUPS`; all by default.
        lpips (`Callable`, *optional*): Distances `(F,)` of two RGB `uint8` videos `(F, H, W, 3)`.
        depth_alignment (`str`, *optional*, defaults to `"none"`): See `xwam.metrics.depth.aligned`.
        voxel_size (`float`, *optional*, defaults to `0.005`): Edge of the voxels of the clouds, in metres.
        robot (`RobotSpec`, *optional*): What the columns of commands mean; else what the registry has under that name.
    """

    groups: tuple[str, ...] = GROUPS
    lpips: ImageDistance | None = None
    depth_alignment: str = "none"
    voxel_size: float = 0.005
    robot: RobotSpec | None = None

    def __post_init__(self) -> None:
        if unknown := [group for group in self.groups if group not in GROUPS]:
            raise ValueError(f"`groups` must be of {list(GROUPS)}, but hold {unknown}.")
        if self.depth_alignment not in ALIGNMENTS:
            raise ValueError(f"`depth_alignment` must be one of {list(ALIGNMENTS)}, but is {self.depth_alignment!r}.")

    def spec_of(self, future: Future) -> RobotSpec | None:
        """The robot of a future: `robot`, else the registry's; `None` where it has none of that name.

        Args:
            future (`Future`): Imagined or real.
        """
        return self.robot or (get_robot(future.robot) if future.robot in list_robots() else None)


@dataclass(frozen=True, eq=False)
class FutureErrors:
    """How far a future is from the truth. What could not be measured is left out, or NaN in single frames.

    Args:
        values (`Mapping[str, Mapping[str, np.ndarray]]`): By metric, see `METRICS`, and by subject, a camera, an arm or
            `"all views"`: arrays `(F,)`.
    """

    values: Mapping[str, Mapping[str, np.ndarray]]

    def over_frames(self, metric: str) -> np.ndarray:
        """Mean over the subjects, `(F,)`; NaN where nothing was measured.

        Args:
            metric (`str`): One of `values`.
        """
        return mean(np.stack(list(self.values[metric].values())), axis=0)

    def total(self, metric: str) -> float:
        """Mean over the subjects and the frames after frame 0, which is observed.

        Args:
            metric (`str`): One of `values`.
        """
        return float(mean(self.over_frames(metric)[1:], axis=0))


def future_errors(prediction: Future, truth: Future, options: ErrorOptions | None = None) -> FutureErrors:
    """Measure a future against the truth on the cameras of the prediction.

    Args:
        prediction (`Future`): What was imagined.
        truth (`Future`): What came, with at least its cameras.
        options (`ErrorOptions`, *optional*): What to measure; everything by default.

    Raises:
        ValueError: If one of them is malformed or they do not belong together.
    """
    check_future(prediction, name="prediction")
    check_future(truth, name="truth")
    check_pair_of_futures(prediction, truth)
    own = ErrorOptions() if options is None else options
    values: Errors = {}
    for group in own.groups:
        values |= _MEASURES[group](prediction, truth, own)
    return FutureErrors({name: values[name] for name in METRICS if values.get(name)})


def check_pair_of_futures(prediction: Future, truth: Future) -> None:
    """Check that two futures are of one robot, cameras, size and time.

    Args:
        prediction (`Future`): What was imagined.
        truth (`Future`): What came.

    Raises:
        ValueError: On the first difference, with what was expected and what came.
    """
    if prediction.robot != truth.robot:
        raise ValueError(f"The prediction must be of robot {truth.robot!r}, but is of {prediction.robot!r}.")
    if extra := [camera for camera in prediction.cameras if camera not in truth.cameras]:
        raise ValueError(f"The prediction has cameras {extra} that the truth lacks; it has {list(truth.cameras)}.")
    own, expected = (next(iter(future.frames.values())).shape[:3] for future in (prediction, truth))
    if own != expected:
        raise ValueError(f"The prediction must have (F, H, W) = {expected} like the truth, but has {own}.")
    if abs(prediction.frame_period - truth.frame_period) > PERIOD_TOLERANCE * truth.frame_period:
        raise ValueError(
            f"The prediction must have frames every {truth.frame_period:g} s like the truth, but has them every "
            f"{prediction.frame_period:g} s."
        )


def stand_still(truth: Future) -> Future:
    """The forecast that nothing moves: frame 0, its depth, its cameras and its state repeated. What any dream must beat.

    Args:
        truth (`Future`): What came.
    """

    def repeat(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: np.broadcast_to(own[:1], own.shape) for name, own in arrays.items()}

    return replace(
        truth,
        frames=repeat(truth.frames),
        depths=repeat(truth.depths),
        base_from_camera=repeat(truth.base_from_camera),
        states=truth.states[:1] * len(truth.states),
        actions=None,
    )


def still_errors(prediction: Future, truth: Future, options: ErrorOptions | None = None) -> FutureErrors:
    """Errors of the forecast that nothing moves, on the cameras and depth that the prediction has: means over the same.

    Args:
        prediction (`Future`): What was imagined.
        truth (`Future`): What came, with at least its cameras.
        options (`ErrorOptions`, *optional*): What to measure; everything by default.

    Raises:
        ValueError: If the truth is malformed.
    """
    seen = truth.with_cameras(prediction.cameras)
    depths = {name: own for name, own in seen.depths.items() if name in prediction.depths}
    kind = seen.depth_kind if depths or not seen.depths else "none"
    seen = replace(seen, depths=depths, depth_kind=kind)
    return future_errors(stand_still(seen), seen, options)


def mean(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Mean of what is not NaN; NaN where nothing is, without a warning.

    Args:
        values (`np.ndarray`): Any shape.
        axis (`int` or `tuple[int, ...]`): What to average over.
    """
    known = ~np.isnan(values)
    total, count = np.where(known, values, 0).sum(axis=axis), known.sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _image_errors(prediction: Future, truth: Future, options: ErrorOptions) -> Errors:
    measures = {"psnr": psnr, "ssim": ssim} | ({} if options.lpips is None else {"lpips": options.lpips})
    return {
        name: {camera: measure(own, truth.frames[camera]) for camera, own in prediction.frames.items()}
        for name, measure in measures.items()
    }


def _depth_errors(prediction: Future, truth: Future, options: ErrorOptions) -> Errors:
    errors: Errors = {}
    for camera, own in prediction.depths.items():
        if camera in truth.depths:
            found = depth_errors(own, truth.depths[camera], alignment=options.depth_alignment)
            for name in ("abs_rel", "delta1", "rmse", "coverage"):
                errors.setdefault(name, {})[camera] = found[name]
    return errors


def _cloud_errors(prediction: Future, truth: Future, options: ErrorOptions) -> Errors:
    """Of the cameras with depth in both; nothing where one of them has no calibration. Every pixel with depth counts."""
    names = [camera for camera in prediction.cameras if camera in prediction.depths and camera in truth.depths]
    if not names or not all(
        camera in future.intrinsics and camera in future.base_from_camera
        for future in (prediction, truth)
        for camera in names
    ):
        return {}
    futures = [prediction.with_cameras(names), truth.with_cameras(names)]
    found = np.full((3, truth.num_frames), np.nan)
    for frame in range(truth.num_frames):
        if all(any((depth[frame] > 0).any() for depth in future.depths.values()) for future in futures):
            clouds = [
                point_cloud(future, frame, voxel_size=options.voxel_size, edge_threshold=None).points
                for future in futures
            ]
            distances = neighbour_distances(*clouds)
            matched = distances.f_score(F_SCORE_VOXELS * options.voxel_size).f_score
            found[:, frame] = distances.chamfer_distance(), distances.chamfer_distance("squared"), matched
    return {name: {ALL_VIEWS: own} for name, own in zip(("chamfer", "chamfer_squared", "f_score"), found, strict=True)}


def _state_errors(prediction: Future, truth: Future, options: ErrorOptions) -> Errors:
    if not prediction.states or not truth.states:
        return {}
    errors: Errors = {}
    for arm, parts in state_errors(prediction.states, truth.states).items():
        for part, values in parts.items():
            errors.setdefault(part, {})[arm] = values
    return errors


def _command_errors(prediction: Future, truth: Future, options: ErrorOptions) -> Errors:
    """Means over the commands that lead to each frame; none leads to frame 0."""
    spec = options.spec_of(truth)
    own, other = prediction.actions, truth.actions
    if spec is None or spec.command_kind is None or own is None or other is None:
        return {}
    if {own.columns, other.columns} != {spec.command_columns}:
        return {}
    if truth.num_frames == 1 or not len(own.commands) or not len(other.commands):
        return {}
    errors: Errors = {}
    for arm, parts in command_part_errors(spec, own, other).items():
        for part, values in parts.items():
            by_frame = values.reshape(truth.num_frames - 1, -1).mean(axis=1)
            errors.setdefault(f"command_{part}", {})[arm] = np.concatenate([[np.nan], by_frame])
    return errors


_MEASURES: Mapping[str, Callable[[Future, Future, ErrorOptions], Errors]] = {
    "images": _image_errors,
    "depth": _depth_errors,
    "clouds": _cloud_errors,
    "states": _state_errors,
    "commands": _command_errors,
}
