"""The plan of the robosuite experts; that they succeed is tested where robosuite runs, in tests/envs/test_robosuite_world.py."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from xwam.envs.robocasa_frames import quaternion_from_matrix
from xwam.policies.base import Policy
from xwam.policies.robosuite_expert import CLEARANCE, CLOSED, GRASP_STEPS, OPEN, PLANS, RobosuiteExpert, grasp_axes
from xwam.robots.camera_formats import pose_matrix
from xwam.robots.registry import get_robot
from xwam.structures import ArmState, Observation

DOWN = np.diag([1.0, -1.0, -1.0])


class Table:
    """A world with cubes that stay where they are and a tool that goes where it is told."""

    def __init__(self, task: str, **cubes):
        self.name, self.robot, self.cubes = f"robosuite/{task}", get_robot("robocasa"), cubes
        self.tool = np.array([0.4, 0.0, 0.3])

    def base_from(self, body: str) -> np.ndarray:
        return self.cubes[body]

    def look(self) -> Observation:
        arm = ArmState(self.tool, quaternion_from_matrix(DOWN), 1.0)
        return Observation(images={}, instruction="go", arms={"left": arm}, robot="robocasa")


@pytest.mark.parametrize("angle", np.linspace(-np.pi, np.pi, 9))
@pytest.mark.parametrize("side", [np.eye(3), Rotation.from_euler("x", 90, degrees=True).as_matrix()])
def test_the_fingers_close_along_an_edge_and_turn_by_45_degrees_at_most(angle, side):
    cube = Rotation.from_euler("z", angle).as_matrix() @ side
    axes = grasp_axes(DOWN, cube)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    np.testing.assert_array_equal(axes[:, 2], [0, 0, -1])
    assert np.abs(axes[:, 0] @ cube).max() == pytest.approx(1)
    assert axes[:, 0] @ DOWN[:, 0] >= np.cos(np.pi / 4) - 1e-9


def test_the_hand_turns_towards_the_edge():
    cube = pose_matrix(np.array([0.5, 0.1, 0.0]), Rotation.from_euler("z", 0.3).as_matrix())
    table = Table("Lift", cube_main=cube)
    command = RobosuiteExpert(table).infer(table.look(), seed=0).commands[0]
    assert command[5] == 1.0  # about the base's z, the way the cube is turned
    np.testing.assert_allclose(command[3:5], 0, atol=1e-12)
    np.testing.assert_allclose(command[:3], [1.0, 1.0, -1.0])


def test_lift_goes_above_then_down_then_closes_then_up():
    cube = pose_matrix(np.array([0.5, 0.1, 0.02]), np.eye(3))
    table = Table("Lift", cube_main=cube)
    expert = RobosuiteExpert(table)
    assert isinstance(expert, Policy)
    heights, grippers = [], []
    for _ in range(80):
        command = expert.infer(table.look(), seed=0).commands[0]
        assert np.abs(command).max() <= 1.0
        table.tool = table.tool + 0.0125 * command[:3]
        heights.append(table.tool[2])
        grippers.append(command[6])
    closing = grippers.index(CLOSED)
    assert grippers[:closing] == [OPEN] * closing
    assert heights[closing] == pytest.approx(0.02, abs=0.01)
    assert max(heights[closing : closing + GRASP_STEPS]) < 0.04
    assert heights[-1] == pytest.approx(0.02 + CLEARANCE, abs=0.02)


def test_a_new_episode_begins_anew_and_other_tasks_are_refused():
    cube = pose_matrix(np.array([0.4, 0.0, 0.2]), np.eye(3))
    table = Table("Lift", cube_main=cube)
    expert = RobosuiteExpert(table)
    table.tool = cube[:3, 3]
    for _ in range(40):
        expert.infer(table.look(), seed=0)
        table.tool = expert._goal()
    assert expert._index == len(PLANS["robosuite/Lift"]) - 1
    expert.reset(1)
    assert expert._index == 0
    with pytest.raises(ValueError, match="`environment` must be one of robosuite/Lift"):
        RobosuiteExpert(SimpleNamespace(name="robosuite/Door"))
