"""The names of what is measured between two futures: titles, units, which way is good, and the exact definitions."""

from collections.abc import Mapping
from dataclasses import dataclass

GROUPS = ("images", "depth", "clouds", "states", "commands")
PAPER_COLUMNS = ("psnr", "ssim", "lpips", "abs_rel", "delta1", "chamfer")


@dataclass(frozen=True)
class MetricFacts:
    """What a number is.

    Args:
        title (`str`): As tables name it.
        unit (`str`): Empty for plain numbers.
        higher_is_better (`bool`): Which way is good.
        group (`str`): One of `GROUPS`.
        digits (`int`): Decimals in tables.
        definition (`str`): What exactly is measured.
    """

    title: str
    unit: str
    higher_is_better: bool
    group: str
    digits: int
    definition: str

    @property
    def label(self) -> str:
        """Title, direction and unit, for a heading."""
        return f"{self.title} {'↑' if self.higher_is_better else '↓'}" + (f" ({self.unit})" if self.unit else "")

    def is_worse(self, value: float, other: float) -> bool:
        """Whether the first value is worse than the second; never where one is NaN.

        Args:
            value (`float`): The first.
            other (`float`): The second.
        """
        return bool(value < other if self.higher_is_better else value > other)


METRICS: Mapping[str, MetricFacts] = {
    "psnr": MetricFacts(
        "PSNR", "dB", True, "images", 2, "10 log10(255² / mean squared error) of each image, all channels"
    ),
    "ssim": MetricFacts(
        "SSIM", "", True, "images", 4, "gaussian window of 11 × 11, σ 1.5, of each image, mean over channels"
    ),
    "lpips": MetricFacts(
        "LPIPS", "", False, "images", 4, "learned distance of each pair of images, by the weights given"
    ),
    "abs_rel": MetricFacts("AbsRel", "", False, "depth", 4, "mean of |p − t| / t over pixels known in both"),
    "delta1": MetricFacts("δ1", "", True, "depth", 4, "share of pixels known in both with max(p/t, t/p) < 1.25"),
    "rmse": MetricFacts("RMSE", "m", False, "depth", 4, "root of the mean of (p − t)² over pixels known in both"),
    "coverage": MetricFacts("coverage", "", True, "depth", 4, "share of the truly known pixels that were predicted"),
    "chamfer": MetricFacts(
        "CD",
        "m",
        False,
        "clouds",
        4,
        "mean nearest-neighbour distance of the fused clouds, half of both ways together",
    ),
    "chamfer_squared": MetricFacts(
        "CD²",
        "m²",
        False,
        "clouds",
        6,
        "the same of squared distances, both ways together: the paper's may be this one",
    ),
    "f_score": MetricFacts(
        "F-score", "", True, "clouds", 4, "harmonic mean of precision and recall of the fused clouds within two voxels"
    ),
    "position": MetricFacts("position", "m", False, "states", 4, "distance of the tool positions"),
    "rotation": MetricFacts("rotation", "rad", False, "states", 4, "angle between the tool orientations"),
    "joints": MetricFacts("joints", "rad", False, "states", 4, "mean difference of the joint positions"),
    "gripper": MetricFacts("gripper", "", False, "states", 4, "difference of the openings, 1 is the whole way"),
    "command_position": MetricFacts(
        "commanded position", "", False, "commands", 4, "distance of the commands' positions, in metres or raw numbers"
    ),
    "command_rotation": MetricFacts(
        "commanded rotation",
        "",
        False,
        "commands",
        4,
        "angle between the commands' rotations, or distance of raw numbers",
    ),
    "command_joints": MetricFacts(
        "commanded joints", "rad", False, "commands", 4, "mean difference of the commanded joints"
    ),
    "command_gripper": MetricFacts(
        "commanded gripper", "", False, "commands", 4, "difference of the gripper commands"
    ),
}
