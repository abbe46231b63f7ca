"""What a data set with estimated depth is: which alignment, which robot, which form, and the words that say where depth comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xwam.data.readers.base import EpisodeReader
from xwam.data.writers.recording_format import CameraFormat, RecordingFormat
from xwam.errors import DamagedVideoError, DataError
from xwam.models.depth_alignment import (
    ANSWERS,
    DepthAlignment,
    align_as_metric,
    align_to_measured,
    align_to_median,
    align_to_range,
    level_alignment,
)
from xwam.robots.spec import CameraSpec, RobotSpec

ALIGNMENTS: Mapping[str, str] = {
    "metric": "in the metres that the model answers",
    "measured": "aligned with the depth that the source measured, scale and shift of inverse depth by a robust fit",
    "range": "stretched so that the nearest and the farthest of each episode and camera lie at the ends of its range",
    "median": "scaled so that each episode and camera has a median depth of {median_depth} m",
    "relative": "in levels without a unit, inverse depth up to a scale and a shift",
}
LABEL_CRF = 8  # of the RGB that is encoded once more; about 45 dB to what was decoded


@dataclass(frozen=True)
class LabelOptions:
    """How depth is estimated and stored.

    Args:
        alignment (`str`): How a model's numbers become depth, one of `ALIGNMENTS`.
        depth_range (`tuple[float, float]`, *optional*): Nearest and farthest depth that is stored, in metres, for all
            cameras; else each camera's own range in the robot's spec.
        median_depth (`float`, *optional*): Metres, for `"median"`.
        num_fitted (`int`, *optional*, defaults to `16`): Frames of an episode, evenly spread, that scale and shift come from.
        pixel_format (`str`, *optional*, defaults to `"yuv444p"`): Of RGB videos.
        crf (`int`, *optional*, defaults to `LABEL_CRF`): Quality of RGB videos; lower is better.

    Raises:
        ValueError: If an argument is out of range, or `median_depth` and the alignment do not belong together.
    """

    alignment: str
    depth_range: tuple[float, float] | None = None
    median_depth: float | None = None
    num_fitted: int = 16
    pixel_format: str = "yuv444p"
    crf: int = LABEL_CRF

    def __post_init__(self) -> None:
        if self.alignment not in ALIGNMENTS:
            raise ValueError(f"`alignment` must be one of {list(ALIGNMENTS)}, but is {self.alignment!r}.")
        if self.alignment == "median" and self.median_depth is None:
            raise ValueError("`median_depth` must be given for the alignment 'median'.")
        if self.alignment != "median" and self.median_depth is not None:
            raise ValueError(f"`median_depth` belongs to the alignment 'median', but that is {self.alignment!r}.")
        if self.median_depth is not None and not 0 < self.median_depth < float("inf"):
            raise ValueError(f"`median_depth` must be positive metres, but is {self.median_depth}.")
        if self.depth_range is not None and not 0 < self.depth_range[0] < self.depth_range[1] < float("inf"):
            raise ValueError(f"`depth_range` must be 0 < near < far in metres, but is {self.depth_range}.")
        if self.depth_range is not None and self.alignment == "relative":
            raise ValueError("`depth_range` has no meaning for the alignment 'relative', which has no metres.")
        if self.num_fitted < 1:
            raise ValueError(f"`num_fitted` must be at least 1, but is {self.num_fitted}.")
        if not 0 <= self.crf <= 51:
            raise ValueError(f"`crf` must be from 0 to 51, but is {self.crf}.")

    @property
    def is_metric(self) -> bool:
        """Whether depth is stored in metres; else in levels."""
        return self.alignment != "relative"

    def check_model(self, answer: str) -> None:
        """Whether a model's answer can be aligned so.

        Args:
            answer (`str`): What the model answers.

        Raises:
            ValueError: If it cannot.
        """
        if self.alignment == "metric":
            align_as_metric(answer)
        if self.alignment == "relative" and answer == "relative":
            raise ValueError(
                f"The model answers {ANSWERS[answer]}: it gives no levels of inverse depth; choose another alignment."
            )

    def align(
        self, answers: np.ndarray, camera: CameraSpec, measured: np.ndarray | None, answer: str
    ) -> DepthAlignment:
        """Scale and shift of one camera in one episode.

        Args:
            answers (`np.ndarray` of shape `(frames, H, W)`): The model's numbers at some frames.
            camera (`CameraSpec`): The camera, with its range.
            measured (`np.ndarray` of shape `(frames, H, W)` or `None`): Metres, for `"measured"`.
            answer (`str`): What the model answers.

        Raises:
            DepthCalibrationError: If there is none.
        """
        if self.alignment == "measured":
            assert measured is not None, "read for this alignment"
            return align_to_measured(answers, measured, answer)
        if self.alignment == "range":
            assert camera.depth_range is not None, "checked by labelled_robot"
            return align_to_range(answers, camera.depth_range, answer)
        if self.alignment == "median":
            assert self.median_depth is not None, "checked in __post_init__"
            return align_to_median(answers, self.median_depth, answer)
        return align_as_metric(answer) if self.alignment == "metric" else level_alignment(answers, answer)


def labelled_robot(reader: EpisodeReader, options: LabelOptions) -> RobotSpec:
    """The robot as the new data set has it: every recorded camera with a depth range, or with levels.

    Args:
        reader (`EpisodeReader`): The source.
        options (`LabelOptions`): How depth is stored.

    Raises:
        DataError: If rates differ, a range is missing, or there is no measured depth to align with.
    """
    robot = reader.robot
    robot.require("command_kind", purpose="label the recordings")
    period = 1 / reader.rate if robot.control_period is None else robot.control_period
    if abs(period * reader.rate - 1) > 1e-3:
        raise DataError(
            f"The data set has {reader.rate:g} rows per second, but {robot.name!r} has a control period of {period:g} s, "
            f"which must be {1 / reader.rate:g} s: label with a robot of that period.",
            dataset=reader.name,
        )
    if options.alignment == "measured" and not (
        reader.depth_is_metric and set(reader.cameras) <= set(reader.depth_cameras)
    ):
        raise DataError(
            f"The alignment 'measured' needs depth in metres of cameras {list(reader.cameras)}, but the data set has "
            f"{'metres' if reader.depth_is_metric else 'levels'} of {list(reader.depth_cameras)}.",
            dataset=reader.name,
        )
    cameras = tuple(
        _labelled(camera, options) if camera.name in reader.cameras else camera for camera in robot.cameras
    )
    if options.is_metric and (
        lacking := [own.name for own in cameras if own.name in reader.cameras and own.depth_range is None]
    ):
        raise DataError(
            f"Depth in metres needs a range to be stored, and {robot.name!r} has none for cameras {lacking}: give one.",
            dataset=reader.name,
        )
    encoding = robot.depth_encoding if options.is_metric else "relative"
    return replace(robot, cameras=cameras, control_period=period, depth_encoding=encoding)


def _labelled(camera: CameraSpec, options: LabelOptions) -> CameraSpec:
    if not options.is_metric:
        return replace(camera, depth_range=None)
    return replace(camera, depth_range=options.depth_range or camera.depth_range)


def labelled_format(
    reader: EpisodeReader, robot: RobotSpec, options: LabelOptions, model: Mapping[str, Any]
) -> RecordingFormat:
    """The form of the new data set, of the size of the source's first images.

    Args:
        reader (`EpisodeReader`): The source.
        robot (`RobotSpec`): As `labelled_robot` gives it.
        options (`LabelOptions`): How depth is stored.
        model (`Mapping[str, Any]`): The estimator's `facts`.

    Raises:
        DataError: If there is no episode with a row.
    """
    first, sizes = _first_sizes(reader)
    cameras = []
    for camera in (camera for camera in robot.cameras if camera.name in reader.cameras):
        calibration = reader.read_calibration(first, camera.name, [0])
        cameras.append(
            CameraFormat(
                name=camera.name,
                size=sizes[camera.name],
                depth_range=camera.depth_range,
                is_calibrated=calibration.intrinsics is not None and calibration.base_from_camera is not None,
                has_levels=not options.is_metric,
            )
        )
    return RecordingFormat(
        robot=robot,
        cameras=tuple(cameras),
        pixel_format=options.pixel_format,
        crf=options.crf,
        depth_source=depth_source(reader.name, options, model),
    )


def _first_sizes(reader: EpisodeReader) -> tuple[int, dict[str, tuple[int, int]]]:
    """The first episode that can be read, and the size of its images by camera."""
    problem = DataError("There is no episode with a row.", dataset=reader.name)
    for number, entry in enumerate(reader.episodes):
        if entry.length:
            try:
                return number, {name: reader.read_images(number, name, [0]).shape[1:3] for name in reader.cameras}
            except DamagedVideoError as error:
                problem = error
    raise problem


def depth_source(source: str, options: LabelOptions, model: Mapping[str, Any]) -> str:
    """Where the depth of the new data set comes from, for its card.

    Args:
        source (`str`): Name of the data set that was labelled.
        options (`LabelOptions`): How depth is stored.
        model (`Mapping[str, Any]`): The estimator's `facts`.
    """
    revision = f"revision `{model['revision']}`" if model["revision"] else "revision unknown"
    how = ALIGNMENTS[options.alignment].format(median_depth=options.median_depth)
    return (
        f"**Depth was not measured.** It is estimated from RGB by `{model['model']}` ({revision}, "
        f"{model['architecture']}, answers {ANSWERS[model['answer']]}), {how}. One scale and one shift hold for all frames of an "
        f"episode and camera; they are found on {options.num_fitted} of its frames at most and stand "
        f"in `options.estimated_depth` of each episode. The frames are those of `{source}`, decoded and encoded once more."
    )
