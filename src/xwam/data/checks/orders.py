"""Whether quaternions are (w, x, y, z). The wrong order still has unit length and turns as far: only axes tell.

Three witnesses, each for one arm, asked in this order: a camera on the arm whose poses are known moves with the tool only if
quaternions are read rightly; turns that commands ask for have the axes of those that follow; and where the last column is
never negative but the first is, somebody made the last one w.
"""

from collections.abc import Iterator

import numpy as np

from xwam.data.checks.findings import Finding
from xwam.data.checks.following import WXYZ, Sums, rotations_asked_and_done
from xwam.data.checks.numbers import EpisodeNumbers
from xwam.data.checks.turns import XYZW, angles_of, to_matrices, turn_between
from xwam.data.readers.base import EpisodeReader
from xwam.data.readers.mapped import MappedReader
from xwam.robots.spec import ArmSpec, RobotSpec

ORDERS = (WXYZ, XYZW)
_STORED = {"quaternion_wxyz": WXYZ, "quaternion_xyzw": XYZW}  # columns of each form in the order (w, x, y, z)
LEAST_TURN = 0.05  # radians that a tool must turn about, before its axis tells something
TIGHT = 0.02  # radians by which camera and tool may disagree
WINDOW = 6  # rows over which turns are added; controllers lag
CLEAR = 0.3  # of a correlation, by which one order must beat the other


def stored_quaternions(reader: EpisodeReader, episode: int) -> dict[str, np.ndarray]:
    """Quaternions `(rows, 4)` by arm, in the order that is claimed for them but with the signs that they are stored with.

    Args:
        reader (`EpisodeReader`): The data set; readers with a map make w positive, so that signs are asked of the columns.
        episode (`int`): Index into its episodes.
    """
    found: dict[str, np.ndarray] = {}
    for arm in reader.map.states if isinstance(reader, MappedReader) else ():
        own = arm.rotation
        if own is not None and arm.rotation_form in _STORED:
            values = reader.read_features([own.feature], episode, 0, reader.episodes[episode].length)[own.feature]
            places = own.places(reader.features[own.feature])
            found[arm.name] = values[:, [places[number] for number in _STORED[arm.rotation_form]]]
    return found


def order_sums(
    numbers: EpisodeNumbers, stored: dict[str, np.ndarray], camera_rotations: dict[str, np.ndarray]
) -> Sums:
    """What one episode adds.

    Args:
        numbers (`EpisodeNumbers`): One episode.
        stored (`dict[str, np.ndarray]`): Quaternions as they are stored, by arm, where that is known.
        camera_rotations (`dict[str, np.ndarray]`): Rotations `(rows, 3, 3)` of carried cameras in the base frame, by arm.
    """
    found: Sums = {}
    for arm in numbers.robot.arms:
        values = numbers.state(arm, "rotation") if arm.num_joints is None else None
        if values is None or len(values) < 2:
            continue
        signed = stored.get(arm.name, values)
        negative = [(signed[:, column] < -0.02).sum() for column in (0, 3)]
        positive = [(signed[:, column] > 0.02).sum() for column in (0, 3)]
        found[f"{arm.name} signs"] = np.array([*negative, *positive, len(values)])
        turned = np.linalg.norm(turn_between(np.repeat(values[:1], len(values), axis=0), values), axis=1).max()
        if turned > LEAST_TURN:
            found |= _turn_sums(numbers, arm)
            if arm.name in camera_rotations:
                found[f"{arm.name} camera"] = _camera_sums(values, camera_rotations[arm.name])
    return found


def order_findings(robot: RobotSpec, sums: Sums) -> Iterator[Finding]:
    """What the sums over all episodes tell.

    Args:
        robot (`RobotSpec`): The robot.
        sums (`Sums`): Of all episodes.
    """
    for arm in robot.arms:
        feature, witnesses = f"state {arm.name}_rotation", [_camera(arm, sums), _turns(arm, sums), _signs(arm, sums)]
        answer = next((witness for witness in witnesses if witness is not None), "")
        if answer.startswith("poses"):
            yield Finding("loose_camera", "a camera that stays where it is on its tool", answer, feature)
        elif answer:
            yield Finding("quaternion_order", "(w, x, y, z)", f"(x, y, z, w), since {answer}", feature)


def _camera(arm: ArmSpec, sums: Sums) -> str | None:
    """Nothing to say, no complaint or a complaint."""
    if f"{arm.name} camera" not in sums:
        return None
    given, other = sums[f"{arm.name} camera"][:2] / sums[f"{arm.name} camera"][2]
    if given <= TIGHT:
        return ""
    if other < given / 3:
        return f"only so the camera on it moves with it (by {other:.3f} rad, else {given:.3f} rad)"
    return f"poses of camera and tool disagree by {given:.3f} rad on average"


def _turns(arm: ArmSpec, sums: Sums) -> str | None:
    if f"{arm.name} turns" not in sums:
        return None
    products, done, asked = sums[f"{arm.name} turns"][:2], sums[f"{arm.name} turns"][2:4], sums[f"{arm.name} turns"][4]
    given, other = products / np.sqrt(asked * done + 1e-300)
    if given > CLEAR or other > CLEAR:
        return (
            ""
            if other < given + CLEAR
            else f"only so it turns as commanded (correlation {other:.2f}, else {given:.2f})"
        )
    return None


def _signs(arm: ArmSpec, sums: Sums) -> str | None:
    if f"{arm.name} signs" not in sums:
        return None
    first_negative, last_negative, first_positive, last_positive, rows = sums[f"{arm.name} signs"]
    mixed = min(first_negative, first_positive) > 0.05 * rows
    if mixed and not last_negative and last_positive > 0.5 * rows:
        return f"the last number is never negative, the first in {100 * first_negative / rows:.0f} % of rows"
    return None


def _turn_sums(numbers: EpisodeNumbers, arm: ArmSpec) -> Sums:
    pairs = [rotations_asked_and_done(numbers, arm, order) for order in ORDERS]
    if pairs[0] is None or pairs[1] is None or len(pairs[0][0]) < 2 * WINDOW:
        return {}
    asked = _added(pairs[0][0])
    done = [_added(pair[1]) for pair in pairs if pair is not None]
    sums = [*((asked * turns).sum() for turns in done), *(np.square(turns).sum() for turns in done)]
    return {f"{arm.name} turns": np.array([*sums, np.square(asked).sum()])}


def _added(turns: np.ndarray) -> np.ndarray:
    """Sums over windows of rows; turns of neighbouring rows are small, so that they add up."""
    total = np.concatenate([np.zeros((1, 3)), turns.cumsum(axis=0)])
    return total[WINDOW:] - total[:-WINDOW]


def _camera_sums(values: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """Angles by which the camera turns against the tool, for both orders, and how many rows they are of."""
    sums = []
    for order in ORDERS:
        tool_from_camera = np.swapaxes(to_matrices(values[:, order]), 1, 2) @ cameras
        sums.append(angles_of(np.swapaxes(tool_from_camera[:1], 1, 2) @ tool_from_camera).sum())
    return np.array([*sums, len(values)])
