"""Whether states do what commands ask. Sums over all episodes; one alone tells little."""

from collections.abc import Iterator

import numpy as np

from xwam.data.checks.findings import Finding
from xwam.data.checks.numbers import EpisodeNumbers
from xwam.data.checks.turns import turn_between
from xwam.robots.spec import ArmSpec, RobotSpec

LAGS = np.arange(-4, 9)  # rows by which a state may follow its command; negative where it comes first
LEAST_ROWS = 30  # that move, before anything is said
MARGIN = 0.03  # of a correlation, by which one lag must beat another
NEARER = 0.5  # of the squared distance, by which goals must be nearer to states before than to states after
AGAINST = 0.5  # correlation below whose negative something goes the wrong way
OTHER_AXIS, OTHER_GOAL = 0.8, 0.9  # correlations from which on a command moves another axis
MORE_THAN_OWN = 0.4  # by which it must do so more than it moves its own
LEAP = 5.0  # times the largest steps but the 5 % largest, to which single steps are held
WXYZ = (0, 1, 2, 3)
COPIED = 1e-9  # of the movement
GRIPPER_ROWS = 6  # within which a gripper shows what it does
LEAST_CLOSING = 0.005  # of an opening in one row, to count as movement
GOALS = ("joint_position", "absolute_end_effector")  # commands that say where to be, not how to move

Sums = dict[str, np.ndarray]


def following_sums(numbers: EpisodeNumbers) -> Sums:
    """What one episode adds.

    Args:
        numbers (`EpisodeNumbers`): One episode.
    """
    found: Sums = {}
    for arm in numbers.robot.arms:
        part = _place(arm)
        state, command = numbers.state(arm, part), numbers.command(arm, part)
        if state is not None and command is not None and len(state) > len(LAGS) + 2:
            is_goal = numbers.robot.command_kind in GOALS
            sums = _goal_sums(command, state) if is_goal else _movement_sums(command, np.diff(state, axis=0))
            found |= {f"{arm.name} {name}": value for name, value in sums.items()}
            turns = rotations_asked_and_done(numbers, arm, WXYZ)
            if turns is not None:
                found |= {f"{arm.name} turn {name}": value for name, value in _movement_sums(*turns).items()}
        if (gripper := _gripper_sums(numbers, arm)) is not None:
            found[f"{arm.name} gripper"] = gripper
    return found


def add_sums(one: Sums, other: Sums) -> Sums:
    """Those of two sets of episodes together."""
    zero = np.zeros(())
    return {name: one.get(name, zero) + other.get(name, zero) for name in one.keys() | other.keys()}


def following_findings(robot: RobotSpec, sums: Sums) -> Iterator[Finding]:
    """What the sums over all episodes tell.

    Args:
        robot (`RobotSpec`): The robot.
        sums (`Sums`): Of all episodes.
    """
    for arm in robot.arms:
        own = {
            name.removeprefix(f"{arm.name} "): value for name, value in sums.items() if name.startswith(f"{arm.name} ")
        }
        found = list(_arm_findings(robot, arm, own))
        yield from found
        if "gripper" in own and all(finding.kind != "time_shift" for finding in found):  # late commands look reversed
            yield from _gripper_findings(f"{arm.name}_gripper", own["gripper"])


def _arm_findings(robot: RobotSpec, arm: ArmSpec, own: Sums) -> Iterator[Finding]:
    layout, place, rotation = robot.command_layout, f"{arm.name}_{_place(arm)}", f"{arm.name}_rotation"
    if "rows" in own and own["rows"] >= LEAST_ROWS:
        columns = layout.columns[layout.part(place)]
        yield from (_goal_findings if "near" in own else _movement_findings)(place, columns, own)
    if "turn rows" in own and own["turn rows"] >= LEAST_ROWS:
        turns = {name.removeprefix("turn "): value for name, value in own.items() if name.startswith("turn ")}
        yield from _axis_findings(rotation, layout.columns[layout.part(rotation)], _strongest(turns), OTHER_AXIS)


def _gripper_findings(feature: str, own: np.ndarray) -> Iterator[Finding]:
    product, asked, done, rows = own
    follows = product / np.sqrt(asked * done + 1e-300)
    strongest = follows[
        int((np.abs(follows) > np.abs(follows).max() - MARGIN).argmax())
    ]  # the first; later ones are chance
    if rows.min() >= LEAST_ROWS / 3 and strongest < -AGAINST:
        came = f"it closes where it should open (correlation {strongest:.2f})"
        yield Finding("wrong_sign", "a gripper that goes where it is told", came, feature)


def _place(arm: ArmSpec) -> str:
    return "joints" if arm.num_joints is not None else "position"


def _inner(rows: np.ndarray) -> np.ndarray:
    """Rows that have neighbours at all lags."""
    return np.arange(-LAGS[0], len(rows) - LAGS[-1])


def _moving(done: np.ndarray) -> np.ndarray:
    moves = np.linalg.norm(done, axis=1)
    return np.array(int((moves > 0.05 * max(moves.max(), 1e-12)).sum()))


def _movement_sums(command: np.ndarray, done: np.ndarray) -> Sums:
    """Products of the movement asked for and made, of all axes at every lag, over the same rows for all lags."""
    most = LEAP * np.quantile(np.abs(done), 0.95, axis=0)
    done = done.clip(-most, most)
    inner = _inner(done)
    asked, shifted = command[inner], np.stack([done[inner + lag] for lag in LAGS])  # (lags, rows, axes)
    return {
        "cross": np.einsum("ri,lrj->lij", asked, shifted),
        "asked": np.square(asked).sum(axis=0),
        "done": np.square(shifted).sum(axis=1),
        "rows": _moving(done[inner]),
    }


def _movement_findings(feature: str, columns: tuple[str, ...], own: Sums) -> Iterator[Finding]:
    cross, asked, done = own["cross"], own["asked"], own["done"]
    follows = np.trace(cross, axis1=1, axis2=2) / (np.sqrt(asked.sum() * done.sum(axis=1)) + 1e-300)
    before, after = follows[LAGS < 0].max(), follows[LAGS >= 0].max()
    if before > 0.3 and before > after + MARGIN:
        rows = -LAGS[int(follows.argmax())]
        came = f"they move {rows} rows before their command (correlation {before:.2f}; after it {after:.2f})"
        yield Finding("time_shift", "states that follow their commands", came, feature)
    yield from _axis_findings(feature, columns, _strongest(own), OTHER_AXIS)


def _strongest(own: Sums) -> np.ndarray:
    """Correlation `(axes, axes)` of asking and doing, at the lag where it is strongest; zero for axes that stand still."""
    cross, asked, done = own["cross"], own["asked"], own["done"]
    per_axis = cross / np.sqrt(asked[None, :, None] * done[:, None, :] + 1e-300)
    lags = np.abs(per_axis).argmax(axis=0)
    strongest = np.take_along_axis(per_axis, lags[None], axis=0)[0]
    is_still = (asked < 1e-3 * asked.max())[:, None] | (done[0] < 1e-3 * done[0].max())[None]
    return np.where(is_still, 0.0, strongest)


def _goal_sums(command: np.ndarray, state: np.ndarray) -> Sums:
    """Squared distances of goals to states at every lag, and moments of both, over the same rows for all lags."""
    inner = _inner(state)
    goal, now = command[inner], state[inner]
    return {
        "near": np.array([np.square(goal - state[inner + lag]).sum() for lag in LAGS]),
        "way": np.square(np.diff(state, axis=0)).sum(),
        "count": np.array(len(inner)),
        "goal": goal.sum(axis=0),
        "state": now.sum(axis=0),
        "goal squared": np.square(goal).sum(axis=0),
        "state squared": np.square(now).sum(axis=0),
        "product": goal.T @ now,
        "rows": _moving(np.diff(state, axis=0)),
    }


def _goal_findings(feature: str, columns: tuple[str, ...], own: Sums) -> Iterator[Finding]:
    near = own["near"]
    if near[LAGS == 0][0] <= COPIED * own["way"]:
        yield Finding("copied_commands", "commands that lead the state", "equal to the state of their row", feature)
        return
    if near[LAGS < 0].min() < NEARER * near[LAGS > 0].min():
        rows = -LAGS[int(near.argmin())]
        yield Finding(
            "time_shift", "states that follow their commands", f"goals are the states {rows} rows before", feature
        )
    count = own["count"]
    covariance = own["product"] - np.outer(own["goal"], own["state"]) / count
    goal, state = (own[f"{kind} squared"] - np.square(own[kind]) / count for kind in ("goal", "state"))
    is_still = (goal < 1e-3 * goal.max())[:, None] | (state < 1e-3 * state.max())[None]
    correlation = covariance / np.sqrt(np.abs(np.outer(goal, state)) + 1e-300)
    yield from _axis_findings(feature, columns, np.where(is_still, 0.0, correlation), OTHER_GOAL)


def _axis_findings(
    feature: str, columns: tuple[str, ...], follows: np.ndarray, other_axis: float
) -> Iterator[Finding]:
    """From correlations `(axes, axes)` of what is asked and of what is done."""
    for axis, column in enumerate(columns):
        same, other = follows[axis, axis], int(np.abs(follows[axis]).argmax())
        most = follows[axis, other]
        if other != axis and abs(most) > max(other_axis, abs(same) + MORE_THAN_OWN):
            came = f"{'−' if most < 0 else ''}{columns[other]} moves (correlation {most:.2f}; own {same:.2f})"
            yield Finding("wrong_axes", f"a command of {column} that moves {column}", came, feature)
        elif other == axis and same < -AGAINST:
            yield Finding("wrong_sign", f"{column} with its command", f"correlation {same:.2f}", feature)


def _gripper_sums(numbers: EpisodeNumbers, arm: ArmSpec) -> np.ndarray | None:
    """Product of asked and done, their squares and the rows that move, `(4, lags)`."""
    state, command = numbers.state(arm, "gripper"), numbers.command(arm, "gripper")
    if state is None or command is None or arm.gripper is None or len(state) <= GRIPPER_ROWS:
        return None
    opening = state[:, 0]
    span = arm.gripper.command_open - arm.gripper.command_closed
    if numbers.robot.command_kind == "delta_end_effector":
        asked = command[:, 0] / span
    else:  # a raw command says which way, others say where to
        goal = np.clip((command[:, 0] - arm.gripper.command_closed) / span, 0, 1)
        asked = goal - (0.5 if numbers.robot.command_kind == "raw" else opening)
    done, inner = np.diff(opening), np.arange(len(opening) - GRIPPER_ROWS)
    lagged = np.stack([done[inner + lag] for lag in range(GRIPPER_ROWS)])  # (lags, rows)
    asked = np.where(np.abs(lagged) > LEAST_CLOSING, asked[inner], 0.0)
    moving = (np.abs(lagged) > LEAST_CLOSING).sum(axis=1)
    return np.stack(
        [(asked * lagged).sum(axis=1), np.square(asked).sum(axis=1), np.square(lagged).sum(axis=1), moving]
    )


def rotations_asked_and_done(numbers: EpisodeNumbers, arm: ArmSpec, order: tuple[int, ...]) -> tuple | None:
    """Turns that commands ask for and that states make, `(rows, 3)` each, if quaternions are read in another order.

    Args:
        numbers (`EpisodeNumbers`): One episode.
        arm (`ArmSpec`): The arm.
        order (`tuple[int, ...]`): Columns of the state that make (w, x, y, z).
    """
    if arm.num_joints is not None or numbers.robot.command_kind not in ("raw", "delta_end_effector"):
        return None
    state, command = numbers.state(arm, "rotation"), numbers.command(arm, "rotation")
    if state is None or command is None or len(state) < 3:
        return None
    return command[:-1], turn_between(state[:-1, order], state[1:, order])
