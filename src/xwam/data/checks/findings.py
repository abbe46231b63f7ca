"""The kinds of defects, what each means and how bad it is; and one defect that was found."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from xwam.errors import DamagedVideoError, DataError

ERROR, WARNING = "error", "warning"

# Kind: how bad it is, and what it means. An error makes training wrong or impossible; a warning is worth a look.
KINDS = {
    "unreadable": (ERROR, "something cannot be read at all"),
    "missing_column": (ERROR, "the robot has this number, the data set does not"),
    "wrong_shape": (ERROR, "rows hold another count of numbers"),
    "not_finite": (ERROR, "NaN, infinity or nothing where a number must be"),
    "not_a_rotation": (ERROR, "a quaternion or matrix that turns nothing"),
    "quaternion_order": (ERROR, "quaternions are (x, y, z, w) where (w, x, y, z) is expected"),
    "quaternion_flip": (WARNING, "the sign of a quaternion changes between two rows"),
    "unit": (ERROR, "numbers are too large for their unit"),
    "gripper_range": (ERROR, "an opening is not between 0, closed, and 1, open"),
    "narrow_gripper": (WARNING, "a gripper moves so little that its unit may be another"),
    "constant_channel": (WARNING, "a number never changes in the whole data set"),
    "degenerate_quantiles": (WARNING, "a channel cannot be normalised by its quantiles"),
    "jump": (WARNING, "a state leaps further than an arm can move in one row"),
    "time_shift": (WARNING, "states move before they are commanded to"),
    "copied_commands": (WARNING, "commands are the states of their own rows: nothing is asked for"),
    "wrong_sign": (WARNING, "states move against their commands"),
    "wrong_axes": (WARNING, "a command along one axis moves another: frames differ"),
    "wrong_fps": (ERROR, "the declared rate is not that of the timestamps"),
    "rate_mismatch": (WARNING, "the data set's rate is not the robot's"),
    "drifting_timestamps": (WARNING, "timestamps drift away from the declared rate by more than half a frame"),
    "timestamp_gap": (WARNING, "rows are missing: time leaps, and is at the declared rate before and after"),
    "jittering_timestamps": (WARNING, "single timestamps are off by more than half a frame"),
    "timestamp_offset": (WARNING, "timestamps of an episode do not begin at zero"),
    "unordered_timestamps": (ERROR, "timestamps do not increase"),
    "missing_camera": (WARNING, "the robot has this camera, the data set does not"),
    "damaged_video": (ERROR, "a video cannot be decoded without inventing pixels"),
    "short_camera": (ERROR, "a video has fewer frames than its episodes have rows"),
    "long_camera": (ERROR, "a video has more frames than its episodes have rows"),
    "dead_camera": (ERROR, "images are black or of one colour"),
    "frozen_camera": (ERROR, "images stand still while the robot moves"),
    "doubled_camera": (WARNING, "two cameras show the same"),
    "swapped_cameras": (WARNING, "a standing camera shows what a carried one should: everything moves"),
    "image_size": (WARNING, "images are not of the size that the calibration is for"),
    "dead_depth": (ERROR, "depth was measured nowhere"),
    "sparse_depth": (WARNING, "depth was measured at hardly any pixel"),
    "clipped_depth": (WARNING, "most of the depth lies at an end of its range"),
    "depth_unit": (ERROR, "depth is too large for metres"),
    "broken_calibration": (ERROR, "a camera matrix or pose that no camera has"),
    "loose_camera": (WARNING, "a carried camera moves against its tool: poses disagree"),
    "no_instruction": (ERROR, "nobody wrote down the task"),
    "short_episode": (WARNING, "the episode is too short for one window"),
    "duplicate_episode": (WARNING, "two episodes hold the same numbers"),
    "missing_statistics": (WARNING, "the data set's own statistics are missing or not finite"),
    "wrong_flag": (WARNING, "a flag of the data set contradicts the data"),
}

_KIND_OF_PROBLEM = (  # first match; what readers say
    (r"video (of|has) \d+ frames|video ends before|rows, but .* (frames|images)", "short_camera"),
    (r"\b(nan|-?inf)\b|not finite|There is nothing", "not_finite"),
    (r"no such column|map does not fit|lacks columns|is missing", "missing_column"),
    (r"equally long|must have \d+ numbers|numbers are needed", "wrong_shape"),
    (r"quaternion|rotation|unit length", "not_a_rotation"),
)


@dataclass(frozen=True)
class Finding:
    """One defect.

    Args:
        kind (`str`): One of `KINDS`.
        expected (`str`): What there should be.
        came (`str`): What there is.
        feature (`str`, *optional*): Column or camera.
        row (`int`, *optional*): First row, or frame, of the episode.
        episode (`str`, *optional*): Key of the episode; `None` for the whole data set.
        dataset (`str`, *optional*): Name of the data set.
    """

    kind: str
    expected: str
    came: str
    feature: str | None = None
    row: int | None = None
    episode: str | None = None
    dataset: str | None = None

    @property
    def severity(self) -> str:
        """`"error"` or `"warning"`."""
        return KINDS[self.kind][0]

    @property
    def place(self) -> str:
        """Where it is, in words."""
        places = {"episode": self.episode, "row": self.row, "": self.feature}
        return ", ".join(f"{name} {value}".strip() for name, value in places.items() if value is not None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"severity": self.severity, **asdict(self)}


def finding_of(error: DataError, *, feature: str | None = None, row: int | None = None) -> Finding:
    """What a reader refused, as a finding.

    Args:
        error (`DataError`): What it said.
        feature (`str`, *optional*): Column or camera, if the error names none.
        row (`int`, *optional*): Row of the episode, if it is known better.
    """
    kind = next((kind for words, kind in _KIND_OF_PROBLEM if re.search(words, error.problem, re.IGNORECASE)), None)
    kind = kind or ("damaged_video" if isinstance(error, DamagedVideoError) else "unreadable")
    if isinstance(error, DamagedVideoError) and kind != "short_camera":
        kind = "damaged_video"
    where = f" ({error.path})" if error.path else ""
    return Finding(
        kind,
        KINDS_EXPECTED.get(kind, "data that can be read"),
        f"{error.problem}{where}",
        error.feature or feature,
        error.row if row is None else row,
    )


KINDS_EXPECTED = {
    "not_finite": "a finite number",
    "missing_column": "a column for every number of the robot",
    "wrong_shape": "equally many numbers in every row",
    "not_a_rotation": "a rotation",
    "short_camera": "a frame for every row",
    "damaged_video": "frames that decode",
}
