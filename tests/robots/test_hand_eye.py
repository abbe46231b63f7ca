"""Hand-eye calibration finds the camera that was planted, says how sure it is, and refuses what cannot tell."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from xwam.robots.camera_formats import invert_pose, pose_matrix
from xwam.robots.hand_eye import solve_hand_eye, solve_standing_camera

ON_TOOL = pose_matrix(np.array([0.03, -0.07, 0.05]), Rotation.from_rotvec([0.2, -0.3, 1.4]).as_matrix())
IN_BASE = pose_matrix(np.array([1.1, -0.4, 0.6]), Rotation.from_rotvec([1.5, -1.2, 0.7]).as_matrix())
TARGET = pose_matrix(np.array([0.5, 0.1, 0.02]), Rotation.from_rotvec([0.1, 0.2, -0.5]).as_matrix())


def tool_poses(count: int, seed: int = 0, turn: float = 0.6) -> np.ndarray:
    """Poses above a table, each turned by some angle about an axis of its own."""
    generator = np.random.default_rng(seed)
    axes = generator.normal(size=(count, 3))
    turns = axes / np.linalg.norm(axes, axis=1, keepdims=True) * turn
    down = Rotation.from_rotvec([np.pi, 0, 0])
    places = generator.uniform([0.3, -0.3, 0.2], [0.7, 0.3, 0.6], (count, 3))
    return np.stack(
        [pose_matrix(p, (Rotation.from_rotvec(r) * down).as_matrix()) for p, r in zip(places, turns, strict=True)]
    )


def shaken(poses: np.ndarray, radians: float, metres: float, seed: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    noise = [
        pose_matrix(generator.normal(0, metres, 3), Rotation.from_rotvec(generator.normal(0, radians, 3)).as_matrix())
        for _ in poses
    ]
    return poses @ np.stack(noise)


def seen_from_tool(tools: np.ndarray) -> np.ndarray:
    """The target that stands, as the camera on the tool sees it."""
    return np.stack([invert_pose(tool @ ON_TOOL) @ TARGET for tool in tools])


def seen_from_base(tools: np.ndarray) -> np.ndarray:
    """The target that the tool carries, as the standing camera sees it."""
    return np.stack([invert_pose(IN_BASE) @ tool @ TARGET for tool in tools])


def difference(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Radians and metres."""
    turn = Rotation.from_matrix(true[:3, :3].T @ found[:3, :3]).magnitude()
    return float(turn), float(np.linalg.norm(found[:3, 3] - true[:3, 3]))


@pytest.mark.parametrize("count", [3, 4, 12])
def test_what_was_planted_is_found(count):
    for seed in range(10):
        tools = tool_poses(count, seed, turn=1.0)
        hand_eye = solve_hand_eye(tools, seen_from_tool(tools))
        np.testing.assert_allclose(hand_eye.tool_from_camera, ON_TOOL, atol=1e-9)
        standing = solve_standing_camera(tools, seen_from_base(tools))
        np.testing.assert_allclose(standing.base_from_camera, IN_BASE, atol=1e-9)
        assert max(hand_eye.rotation_error, standing.rotation_error) < 1e-7
        assert max(hand_eye.translation_error, standing.translation_error) < 1e-9


def test_noise_averages_out_and_is_reported():
    """Noise of 0.5° and 1 mm in what the camera sees; the error falls with the root of the number of samples."""
    found = {}
    for count in (6, 96):
        errors = []
        for seed in range(12):
            tools = tool_poses(count, seed)
            result = solve_hand_eye(tools, shaken(seen_from_tool(tools), np.deg2rad(0.5), 0.001, seed))
            errors.append(difference(result.tool_from_camera, ON_TOOL))
            assert 0.3 < result.rotation_error / (np.deg2rad(0.5) * np.sqrt(3)) < 1.7
            assert 0.0005 < result.translation_error < 0.02  # turning shakes the target at its distance, too
            assert result.rotation_errors.shape == result.translation_errors.shape == (count,)
        found[count] = np.median(errors, axis=0)
    assert (found[96] < [np.deg2rad(0.25), 0.003]).all()
    assert (found[96] < 0.5 * found[6]).all()


def test_a_bad_sample_stands_out():
    tools = tool_poses(15)
    seen = seen_from_tool(tools)
    seen[4] = seen[4] @ pose_matrix(np.array([0.03, 0, 0]), Rotation.from_rotvec([0, 0.2, 0]).as_matrix())
    result = solve_hand_eye(tools, seen)
    assert result.rotation_errors.argmax() == result.translation_errors.argmax() == 4
    assert result.rotation_errors[4] > 5 * np.median(result.rotation_errors)


def test_turns_of_half_a_circle_do_no_harm():
    """The axis of a motion by 180° flips its sign with the noise; such motions are left out."""
    for seed in range(10):
        first, generator = tool_poses(1, seed)[0], np.random.default_rng(seed)
        axes = generator.normal(size=(4, 3))
        halves = Rotation.from_rotvec(np.pi * axes / np.linalg.norm(axes, axis=1, keepdims=True)).as_matrix()
        others = [first @ pose_matrix(generator.uniform(-0.2, 0.2, 3), half) for half in halves]
        tools = np.stack([first, *others])
        result = solve_hand_eye(tools, shaken(seen_from_tool(tools), 0.003, 1e-4, seed))
        assert difference(result.tool_from_camera, ON_TOOL)[0] < 0.01


PARK = np.array(  # cv2.calibrateHandEye of opencv-python-headless 4.12.0.88 for the samples below
    [
        [0.147997855, -0.984463376, -0.09449072, 0.026237303],
        [0.931779991, 0.170822822, -0.320321106, -0.068276152],
        [0.331485569, -0.040637726, 0.942584687, 0.049005714],
    ]
)


def noisy_samples() -> tuple[np.ndarray, np.ndarray]:
    tools = tool_poses(9, seed=3)
    return tools, shaken(seen_from_tool(tools), 0.01, 0.002, seed=4)


def test_opencv_found_the_same():
    found = solve_hand_eye(*noisy_samples()).tool_from_camera
    np.testing.assert_allclose(found[:3], PARK, atol=1e-6)
    assert difference(found, ON_TOOL)[0] > 1e-4, "noise was in it"


def test_opencv_finds_the_same():
    tools, seen = noisy_samples()
    found = solve_hand_eye(tools, seen).tool_from_camera
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "calibrateHandEye"):
        pytest.skip(f"OpenCV {cv2.__version__} has no hand-eye calibration in Python")
    rotation, position = cv2.calibrateHandEye(
        tools[:, :3, :3], tools[:, :3, 3], seen[:, :3, :3], seen[:, :3, 3], method=cv2.CALIB_HAND_EYE_PARK
    )
    np.testing.assert_allclose(found, pose_matrix(position.ravel(), rotation), atol=1e-6)


def about_one_axis(count: int = 8) -> np.ndarray:
    turns = np.linspace(-1, 1, count)[:, None] * [0, 0.3, 0.4]
    return np.stack([pose_matrix(r, Rotation.from_rotvec(r).as_matrix()) for r in turns])


def without_turns(count: int = 8) -> np.ndarray:
    poses = np.tile(tool_poses(1), (count, 1, 1))
    poses[:, :3, 3] = np.random.default_rng(0).uniform(-0.3, 0.3, (count, 3))
    return poses


TOOLS = tool_poses(12, turn=0.4)
SEEN = seen_from_tool(TOOLS)
INVERSE_TOOLS, INVERSE_SEEN = (np.stack([invert_pose(pose) for pose in poses]) for poses in (TOOLS, SEEN))
FAR = SEEN * np.array([[1, 1, 1, 1000]] * 3 + [[1, 1, 1, 1]])
MALFORMED = {
    "too few": (TOOLS[:2], SEEN[:2], r"`base_from_tool` must have 3 poses or more, but has 2"),
    "none": ([], [], r"3 poses or more, but has 0"),
    "different numbers": (TOOLS, SEEN[1:], r"one pose each per sample, but have 12 and 11"),
    "one axis": (about_one_axis(), seen_from_tool(about_one_axis()), r"must turn about two axes"),
    "no turns": (
        without_turns(),
        seen_from_tool(without_turns()),
        r"must turn the tool, by 0.1 rad or more, but do so by",
    ),
    "inverse targets": (TOOLS, INVERSE_SEEN, r"one of them seems to be inverse, tool_from_base or target_from_camera"),
    "inverse tools": (INVERSE_TOOLS, SEEN, r"one of them seems to be inverse"),
    "a standing camera": (TOOLS, seen_from_base(TOOLS), r"or the camera stands"),
    "another order": (TOOLS, np.roll(SEEN, 1, axis=0), r"do not fit one camera and one target.*the same order"),
    "millimetres": (TOOLS, FAR, r"`camera_from_target\[0\]` must be in metres, .* as if in millimetres"),
    "mirrored": (
        TOOLS @ np.diag([1.0, 1, -1, 1]),
        SEEN,
        r"`base_from_tool\[0\]` must be a rotation, but is a reflection",
    ),
    "NaN": (TOOLS * np.nan, SEEN, r"`base_from_tool\[0\]` must be finite"),
    "rotations alone": (TOOLS[:, :3, :3], SEEN, r"`base_from_tool\[0\]` must have shape \(4, 4\)"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_calibrates_nothing_is_refused_in_words(case):
    tools, seen, text = MALFORMED[case]
    with pytest.raises(ValueError, match=text):
        solve_hand_eye(tools, seen)


def test_where_both_lists_are_inverse_the_target_is_found_in_place_of_the_camera():
    """A X B = C and its inverse are one equation, so nothing but the result can tell."""
    found = solve_hand_eye(INVERSE_TOOLS, INVERSE_SEEN)
    np.testing.assert_allclose(found.tool_from_camera, TARGET, atol=1e-9)


def test_a_camera_on_the_tool_is_not_a_standing_one():
    with pytest.raises(ValueError, match="or the other way round"):
        solve_standing_camera(TOOLS, SEEN)
