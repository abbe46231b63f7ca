"""Sound calibration passes, and each way to give a wrong one shows."""

from dataclasses import replace

import numpy as np
import pytest

from xwam.envs.recorded import load_recorded_observation
from xwam.robots.calibration_check import compare_views, tool_pixels
from xwam.robots.camera_formats import OPENCV_FROM_OPENGL, invert_pose
from xwam.robots.registry import get_robot
from xwam.structures import Camera, Observation

SPEC = get_robot("mujoco_panda")
LEFT, RIGHT, WRIST = (camera.name for camera in SPEC.cameras)
SEEN = load_recorded_observation()


def with_left(observation: Observation, pose: np.ndarray, intrinsics: np.ndarray | None = None) -> Observation:
    old = observation.cameras[LEFT]
    camera = Camera(old.intrinsics if intrinsics is None else intrinsics, pose)
    return replace(observation, cameras={**observation.cameras, LEFT: camera})


def worst_of_left(observation: Observation) -> float:
    return min(found.agreed for pair, found in compare_views(SPEC, observation).items() if LEFT in pair)


def test_the_views_of_a_sound_robot_agree():
    found = compare_views(SPEC, SEEN)
    assert set(found) == {(a, b) for a in (LEFT, RIGHT, WRIST) for b in (LEFT, RIGHT, WRIST) if a != b}
    for pair, comparison in found.items():
        assert comparison.agreed > 0.97, pair
        assert comparison.num_points > 500, pair


POSE = SEEN.cameras[LEFT].base_from_camera
MOVED = POSE.copy()
MOVED[:3, 3] += [0.05, 0.05, 0]
WRONG = {
    "the inverse pose": invert_pose(POSE),
    "OpenGL's axes": POSE @ OPENCV_FROM_OPENGL,
    "the other camera's": SEEN.cameras[RIGHT].base_from_camera,
    "a transposed rotation": np.block([[POSE[:3, :3].T, POSE[:3, 3:]], [POSE[3:]]]),
    "half a turn about the optical axis": POSE @ np.diag([-1.0, -1, 1, 1]),
    "7 cm beside": MOVED,
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_pose_shows(case):
    assert worst_of_left(with_left(SEEN, WRONG[case])) < 0.7


def test_a_wrong_focal_length_shows():
    wrong = SEEN.cameras[LEFT].intrinsics @ np.diag([1.3, 1.3, 1])
    assert worst_of_left(with_left(SEEN, POSE, wrong)) < 0.7


def test_a_wrong_hand_eye_shows():
    cameras = tuple(
        replace(camera, tool_from_camera=invert_pose(np.array(camera.tool_from_camera)) @ np.diag([1.0, -1, -1, 1]))
        if camera.name == WRIST
        else camera
        for camera in SPEC.cameras
    )
    found = compare_views(replace(SPEC, cameras=cameras), SEEN)
    assert min(comparison.agreed for pair, comparison in found.items() if WRIST in pair) < 0.5


def test_holes_say_nothing():
    holes = {name: np.where(np.arange(160) % 2, depth, np.nan) for name, depth in SEEN.depths.items()}
    found = compare_views(SPEC, replace(SEEN, depths={n: d.astype(np.float32) for n, d in holes.items()}))
    for comparison in found.values():
        assert comparison.agreed > 0.95


def test_one_camera_alone_cannot_be_compared():
    blind = replace(SEEN, depths={}, cameras={})
    with pytest.raises(
        ValueError, match=r"two cameras or more have depth, a camera matrix and a pose.* only \[\] have"
    ):
        compare_views(SPEC, blind)


def test_the_tool_is_drawn_where_it_is():
    """Checked against the depth there: the surface of the fingers beside the tool point is as far away as the tool."""
    pixels = tool_pixels(SPEC, SEEN)
    assert set(pixels) == {LEFT, RIGHT, WRIST}
    for name in (LEFT, RIGHT):
        u, v = pixels[name]["left"]
        camera_from_base = invert_pose(SEEN.cameras[name].base_from_camera)
        distance = (camera_from_base @ [*SEEN.arms["left"].position, 1])[2]
        around = SEEN.depths[name][int(v) - 8 : int(v) + 8, int(u) - 8 : int(u) + 8]
        assert np.abs(around - distance).min() < 0.03
    behind = with_left(SEEN, POSE @ OPENCV_FROM_OPENGL)
    assert tool_pixels(SPEC, behind)[LEFT] == {}
    assert LEFT not in tool_pixels(SPEC, replace(SEEN, cameras={}))
