"""Which of video, depth and robot leaves the dream first, in words that are true of the numbers."""

import numpy as np
import pytest

from xwam.evaluation.departure import STATE_TOLERANCES, conclusion, departures
from xwam.evaluation.future_errors import FutureErrors

PERIOD = 0.2
STILL = FutureErrors(
    {
        "psnr": {"left": np.array([np.inf, 20.0, 20, 20, 20])},
        "abs_rel": {"left": np.array([0, 0.1, 0.1, 0.1, 0.1])},
        "position": {"arm": np.array([0, 0.1, 0.2, 0.3, 0.4])},
        "gripper": {"arm": np.array([0, 0, 0, 1.0, 1.0])},
    }
)
GOOD = {
    "psnr": [np.inf, 25, 25, 25, 25],
    "abs_rel": [0, 0.05, 0.05, 0.05, 0.05],
    "position": [0, 0.01, 0.01, 0.01, 0.01],
    "gripper": [0, 0, 0.1, 0.1, 0],
}


def _found(**changes: list[float]):
    values = {**GOOD, **changes}
    return departures(
        FutureErrors(
            {metric: {next(iter(STILL.values[metric])): np.array(own)} for metric, own in values.items() if own}
        ),
        STILL,
        PERIOD,
    )


def _frames(**changes: list[float]) -> dict[str, int | None]:
    return {own.aspect: own.frame for own in _found(**changes)}


BAD_VIDEO = {"psnr": [np.inf, 25, 25, 15, 15]}
BAD_DEPTH = {"abs_rel": [0, 0.05, 0.2, 0.2, 0.2]}
BAD_ROBOT = {"position": [0, 0.01, 0.01, 0.03, 0.05]}


def test_a_good_dream_never_parts():
    assert _frames() == {"video": None, "depth": None, "robot": None}
    assert conclusion(_found()).startswith("Dream and reality agree.")
    assert "PSNR 25.00, frame 0 repeated 20.00" in _found()[0].sentence


def test_frames_of_departure():
    assert _frames(**BAD_VIDEO)["video"] == 3
    assert _frames(**BAD_DEPTH)["depth"] == 2
    assert _frames(**BAD_ROBOT)["robot"] == 3
    assert _frames(gripper=[0, 0.3, 0, 0, 0])["robot"] == 1, "a missed grasp is not mended later"
    assert "from 0.6 s on" in _found(**BAD_VIDEO)[0].sentence
    assert (
        "leaves its dream at 0.6 s (arm position 0.05 m off at most while it moved 0.4 m"
        in _found(**BAD_ROBOT)[2].sentence
    )


def test_a_step_that_is_worse_for_a_while_is_told_but_is_no_departure():
    found = _found(psnr=[np.inf, 15, 25, 25, 25])[0]
    assert found.frame is None
    assert "at 1 of 4 steps, but not at the last" in found.sentence


def test_where_no_frame_came_after_the_first_the_mean_is_a_dash():
    alone = FutureErrors({"psnr": {"left": np.array([np.inf])}})
    assert departures(alone, alone, PERIOD)[0].sentence.endswith("(PSNR –, frame 0 repeated –).")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (BAD_ROBOT, "The robot leaves its dream first"),
        ({**BAD_ROBOT, "psnr": [np.inf, 25, 25, 15, 15]}, "The robot leaves its dream first"),
        ({**BAD_ROBOT, **BAD_DEPTH}, "The depth goes wrong first, and the robot later"),
        (BAD_DEPTH, "The video looks right and the robot moves as imagined, but shapes stand at wrong distances"),
        (BAD_VIDEO, "The robot moves as imagined, but the video does not come true"),
        (
            {"psnr": [np.inf, 9, 9, 9, 9], "abs_rel": [0, 1, 1, 1, 1], "position": [0, 1, 1, 1, 1]},
            "Everything parts at once",
        ),
        ({"position": [], "gripper": []}, "Without states in both, nothing can be said"),
    ],
)
def test_conclusions(changes, words):
    assert conclusion(_found(**changes)).startswith(words)


def test_tolerances_have_units_of_their_metrics():
    assert set(STATE_TOLERANCES) == {"position", "rotation", "joints", "gripper"}
