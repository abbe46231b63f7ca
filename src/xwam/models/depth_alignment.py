"""What a depth model answers, in metres or in levels of a depth image: one scale and one shift for all frames of a view.

A fit of each frame would make the standing background breathe: a hand that comes near the camera changes the fit of
everything behind it. One fit per view and clip leaves only what the model itself changes from frame to frame.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from xwam.errors import DepthCalibrationError
from xwam.geometry.depth_calibration import calibrate_affine
from xwam.structures import DepthCalibration

ANSWERS: Mapping[str, str] = {
    "inverse_relative": "inverse depth up to scale and shift, greater is nearer, as Depth Anything and MiDaS",
    "relative": "depth up to scale and shift, greater is farther",
    "metric": "depth in metres",
}
ENDS = (0.005, 0.995)  # quantiles of the numbers that stand for the ends of a range: a few pixels are always odd
LEAST_MEDIAN = 1e-3  # of the largest numbers: below it, most are but ripples of resizing around zero
FARTHEST = 100.0  # metres; beyond it the inverse depth is too near zero to tell anything
LARGEST_LEVEL = 255


@dataclass(frozen=True)
class DepthAlignment:
    r"""How a model's numbers \(x\) become depth in one view.

    With \(n = x\) for `"inverse_relative"` and \(n = 1/x\) for `"metric"`, \(1/metres = scale \cdot n + shift\);
    for `"relative"`, \(metres = scale \cdot x + shift\).

    Args:
        answer (`str`): What the model answers, one of `ANSWERS`.
        scale (`float`, *optional*, defaults to `1.0`): As above.
        shift (`float`, *optional*, defaults to `0.0`): As above.
        calibration (`DepthCalibration`, *optional*): How well the fit explains measured depth, where it was made on some.
    """

    answer: str
    scale: float = 1.0
    shift: float = 0.0
    calibration: DepthCalibration | None = None

    def metres(self, answers: np.ndarray) -> np.ndarray:
        """Depth in metres, float32; zero where there is none, that is, not positive or beyond `FARTHEST`.

        Args:
            answers (`np.ndarray` of shape `(..., H, W)`): The model's numbers.
        """
        fitted = self.scale * comparable(answers, self.answer) + self.shift
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            metres = (fitted if self.answer == "relative" else 1 / fitted).astype(np.float32)
        return np.where((metres > 0) & (metres <= FARTHEST), metres, np.float32(0))

    def levels(self, answers: np.ndarray) -> np.ndarray:
        """Levels of inverse depth, `uint8`, 255 near: what `level_alignment` is for.

        Args:
            answers (`np.ndarray` of shape `(..., H, W)`): The model's numbers.
        """
        share = self.scale * comparable(answers, self.answer) + self.shift
        return np.rint(LARGEST_LEVEL * np.nan_to_num(share).clip(0, 1)).astype(np.uint8)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return asdict(self)


def comparable(answers: np.ndarray, answer: str) -> np.ndarray:
    """Numbers that grow with inverse depth (with depth for `"relative"`), float64; NaN where a metric model sees nothing.

    Args:
        answers (`np.ndarray`): The model's numbers.
        answer (`str`): One of `ANSWERS`.

    Raises:
        ValueError: If `answer` is none.
    """
    _check_answer(answer)
    numbers = np.asarray(answers, dtype=np.float64)
    if answer != "metric":
        return numbers
    return np.divide(1, numbers, out=np.full_like(numbers, np.nan), where=numbers > 0)


def align_as_metric(answer: str) -> DepthAlignment:
    """Take the metres of a metric model as they are.

    Args:
        answer (`str`): What the model answers.

    Raises:
        ValueError: If it does not answer in metres.
    """
    _check_answer(answer)
    if answer != "metric":
        raise ValueError(
            f"The model answers {ANSWERS[answer]}, which has no unit; align it with measured depth, a range or a median."
        )
    return DepthAlignment(answer)


def align_to_measured(answers: np.ndarray, measured: np.ndarray, answer: str) -> DepthAlignment:
    """Scale and shift that explain measured depth, see `calibrate_affine`.

    Args:
        answers (`np.ndarray` of shape `(..., H, W)`): The model's numbers where depth was measured.
        measured (`np.ndarray` of shape `(..., H, W)`): Metres; zero or NaN where nothing was measured.
        answer (`str`): What the model answers, one of `ANSWERS`.

    Raises:
        ValueError: If the shapes differ.
        DepthCalibrationError: If the measured depth is too little, or the model's numbers do not explain it.
    """
    numbers, metres = torch.from_numpy(comparable(answers, answer)), torch.from_numpy(np.array(measured, np.float64))
    if answer != "relative":
        fit = calibrate_affine(numbers, metres)
        calibration = DepthCalibration(**fit._asdict())
        return DepthAlignment(answer, fit.scale, fit.shift, calibration)
    fit = calibrate_affine(numbers, torch.where(metres > 0, 1 / metres, 0))  # which inverts it again
    return DepthAlignment(answer, fit.scale, fit.shift)


def align_to_range(answers: np.ndarray, depth_range: tuple[float, float], answer: str) -> DepthAlignment:
    """Scale and shift that put the nearest and the farthest of what is seen, but for 0.5 % of pixels, into a known range.

    Args:
        answers (`np.ndarray` of shape `(..., H, W)`): The model's numbers.
        depth_range (`tuple[float, float]`): Nearest and farthest depth in view, in metres.
        answer (`str`): What the model answers, one of `ANSWERS`.

    Raises:
        ValueError: If the range is none.
        DepthCalibrationError: If the model answers the same everywhere.
    """
    near, far = depth_range
    if not 0 < near < far < float("inf"):
        raise ValueError(f"`depth_range` must be 0 < near < far in metres, but is {depth_range}.")
    low, high = _ends(comparable(answers, answer))
    first, last = (near, far) if answer == "relative" else (1 / far, 1 / near)
    scale = (last - first) / (high - low)
    return DepthAlignment(answer, scale, first - scale * low)


def align_to_median(answers: np.ndarray, median_depth: float, answer: str) -> DepthAlignment:
    """The scale that gives a known median depth; the shift is taken to be zero, which few relative models keep to.

    Args:
        answers (`np.ndarray` of shape `(..., H, W)`): The model's numbers.
        median_depth (`float`): Median depth in view, in metres.
        answer (`str`): What the model answers, one of `ANSWERS`.

    Raises:
        ValueError: If the median is no depth.
        DepthCalibrationError: If the model answers zero at most pixels.
    """
    if not 0 < median_depth < float("inf"):
        raise ValueError(f"`median_depth` must be positive metres, but is {median_depth}.")
    numbers = comparable(answers, answer)
    known = numbers[np.isfinite(numbers)]
    middle, high = (float(end) for end in np.quantile(known, (0.5, ENDS[1]))) if known.size else (0.0, 0.0)
    if middle <= LEAST_MEDIAN * high:
        raise DepthCalibrationError("the model answers zero at most pixels, so no scale can be seen")
    return DepthAlignment(answer, (median_depth if answer == "relative" else 1 / median_depth) / middle)


def level_alignment(answers: np.ndarray, answer: str) -> DepthAlignment:
    """Scale and shift to levels of inverse depth without a unit: from 0, the farthest, to 1, the nearest, see `levels`.

    Args:
        answers (`np.ndarray` of shape `(..., H, W)`): The model's numbers.
        answer (`str`): What the model answers, `"inverse_relative"` or `"metric"`.

    Raises:
        ValueError: If the model answers depth up to a shift, whose inverse is not known even up to scale and shift.
        DepthCalibrationError: If the model answers the same everywhere.
    """
    if answer == "relative":
        raise ValueError(
            f"The model answers {ANSWERS[answer]}: levels of inverse depth need a metric alignment first."
        )
    low, high = _ends(comparable(answers, answer))
    return DepthAlignment(answer, 1 / (high - low), -low / (high - low))


def _ends(numbers: np.ndarray) -> tuple[float, float]:
    known = numbers[np.isfinite(numbers)]
    low, high = (float(end) for end in np.quantile(known, ENDS)) if known.size else (0.0, 0.0)
    if not high - low > 1e-6 * max(abs(low), abs(high)):
        raise DepthCalibrationError(f"the model answers the same everywhere, {low:.4g}, so no scale can be seen")
    return low, high


def _check_answer(answer: str) -> None:
    if answer not in ANSWERS:
        raise ValueError(f"`answer` must be one of {list(ANSWERS)}, but is {answer!r}.")
