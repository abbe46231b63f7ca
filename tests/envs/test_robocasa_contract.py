"""The RoboCasa adapter against a double that is built from a table of RoboCasa's names, shapes, orders and frames."""

import sys
from pathlib import Path

import numpy as np
import pytest
import robocasa_double as double
from scipy.spatial.transform import Rotation

from xwam.envs import robosuite_import
from xwam.envs.base import Environment
from xwam.envs.robocasa import RoboCasaEnvironment
from xwam.envs.robocasa_frames import matrix_from_quaternion
from xwam.envs.robocasa_tasks import MUJOCO, NUMPY, STEP_LIMITS, TASKS, release_seed
from xwam.envs.robosuite_views import RobosuiteViews
from xwam.robots.camera_formats import pose_matrix
from xwam.robots.observation_checks import check_observation
from xwam.robots.registry import get_robot

PAGE = Path(__file__).parents[2] / "docs" / "simulators" / "robocasa.md"
PINS = {"robocasa": "0.2.0", "robosuite": "1.5.0", "mujoco": MUJOCO, "numpy": NUMPY[-1]}
STILL = np.zeros(7)
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


@pytest.fixture
def make(mujoco, monkeypatch):
    monkeypatch.setattr(robosuite_import, "installed_version", PINS.get)
    for name, module in double.modules(mujoco).items():
        monkeypatch.setitem(sys.modules, name, module)
    double.KitchenDouble.made = []
    made = []

    def make(task="OpenDrawer", **options):
        made.append(RoboCasaEnvironment(task, **options))
        return made[-1]

    yield make
    for environment in made:
        environment.close()


def kitchen() -> double.KitchenDouble:
    return double.KitchenDouble.made[-1]


def pose_of(observation) -> np.ndarray:
    arm = observation.arms["left"]
    return pose_matrix(arm.position, matrix_from_quaternion(arm.quaternion))


# --- the table ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", double.MAKE, ids=lambda row: row.key)
def test_the_simulation_is_made_as_the_release_makes_it(make, row):
    make().reset(7)
    assert set(kitchen().arguments) == {row.key for row in double.MAKE}
    assert kitchen().arguments[row.key] == row.value


def shown(value: object) -> str:
    """A value of the table as the page writes it; words of the page stand for what has no literal."""
    if value is None or value is bool:
        return ""
    if isinstance(value, dict):
        return f'`load_composite_controller_config(controller={value["controller"]}, robot="{value["robot"]}")`'
    if isinstance(value, list):
        return ", ".join(f"`{name}`" for name in value)
    if isinstance(value, np.ndarray):
        return "`[" + ", ".join("[" + ", ".join(f"{number:g}" for number in row) + "]" for row in value) + "]`"
    return f"`{value!r}`"


@pytest.mark.parametrize("row", double.MAKE + double.CONTRACT, ids=lambda row: row.key)
def test_the_page_has_every_row(row):
    line = next(
        (line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{row.key}` |")), ""
    )
    assert row.meaning in line
    assert shown(row.value) in line.split(" | ")[1]
    assert row.source in line


def test_tasks_and_their_limits(make):
    assert len(TASKS) == 24
    assert dict(STEP_LIMITS) == double.STEP_LIMITS
    assert TASKS[:2] == ("PnPCounterToCab", "PnPCabToCounter")
    environment = make("CoffeePressButton")
    assert (environment.name, environment.max_steps) == ("robocasa/CoffeePressButton", 300)
    assert environment.versions["robocasa"] == "0.2.0"
    assert isinstance(environment, Environment)


def test_the_order_of_a_command(make):
    environment = make()
    environment.reset(0)
    environment.step(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, -1.0]))
    np.testing.assert_array_equal(kitchen().commands, [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, -1.0, 0, 0, 0, 0, 0]])


def test_another_order_is_refused(make, monkeypatch):
    stock = {"right": (0, 6), "torso": (6, 7), "base": (7, 10), "right_gripper": (10, 11)}
    monkeypatch.setattr(double.CompositeController, "order", stock)
    with pytest.raises(RuntimeError, match="must begin with"):
        make().reset(0)


def test_minus_one_opens_and_one_closes(make):
    environment = make()
    before = environment.reset(0).arms["left"].gripper
    assert before == pytest.approx(0.5)
    environment.step(np.array([0, 0, 0, 0, 0, 0, -1.0]))
    opened = environment.observe(with_images=False).arms["left"].gripper
    environment.step(np.array([0, 0, 0, 0, 0, 0, 1.0]))
    assert opened == pytest.approx(0.7)
    assert environment.observe(with_images=False).arms["left"].gripper == pytest.approx(0.5)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_state_is_the_grip_site_in_the_base_frame_without_the_models_axes(make, seed):
    observation = make().reset(seed)
    controller = kitchen()._controller
    controller.update()
    arm = controller.part_controllers["right"]
    world_from_base, world_from_tool = np.eye(4), np.eye(4)
    world_from_base[:3, :3], world_from_base[:3, 3] = arm.origin_ori, arm.origin_pos
    world_from_tool[:3, :3], world_from_tool[:3, 3] = arm.ref_ori_mat, arm.ref_pos
    expected = np.linalg.inv(world_from_base) @ world_from_tool
    np.testing.assert_allclose(pose_of(observation), expected, atol=1e-12)
    assert observation.arms["left"].quaternion[0] >= 0
    assert (list(observation.arms), observation.robot) == (["left"], "robocasa")
    assert np.abs(np.array(world_from_base[:3, 3])).max() > 0.5, "a base at the origin would prove nothing"


def test_the_state_is_of_the_joints_instant_and_not_one_physics_step_older(make):
    environment = make()
    environment.reset(0)
    environment.step(np.array([1.0, 0, 0, 0, 0, 0, 0]))
    stale = kitchen()._controller.part_controllers["right"].ref_pos.copy()
    position = environment.observe(with_images=False).arms["left"].position
    kitchen()._controller.update()
    fresh = kitchen()._controller.part_controllers["right"].ref_pos
    world_from_base = environment._world_from_base
    np.testing.assert_allclose((world_from_base @ [*position, 1])[:3], fresh, atol=1e-12)
    assert 1e-4 < np.linalg.norm(fresh - stale) < 0.05


def test_images_are_turned_the_right_way_up(make):
    observation = make().reset(0)
    for name in double.CAMERAS:
        picture = kitchen().sim.render(height=256, width=256, camera_name=name, depth=False, segmentation=False)
        np.testing.assert_array_equal(observation.images[name], picture[::-1])
    left = observation.images[double.CAMERAS[0]].astype(int)
    assert (left[10, :40, 0] > left[10, :40, 2]).all(), "the upper half of the wall is red"
    assert (left[-30, :40, 2] > left[-30, :40, 0]).all(), "the lower half is blue"


def test_static_cameras_are_where_robocasa_hangs_them_and_move_with_the_base(make):
    environment = make()
    before = environment.reset(0)
    for _ in range(5):
        environment.step(STILL)
    after = environment.observe(with_images=False)
    for name in double.CAMERAS[:2]:
        position, quaternion, _ = double.FACTS[name]
        expected = np.eye(4)
        expected[:3, 3] = position
        expected[:3, :3] = Rotation.from_quat(quaternion, scalar_first=True).as_matrix()
        np.testing.assert_allclose(before.cameras[name].base_from_camera, expected @ OPENGL, atol=1e-6)
        moved = after.cameras[name].base_from_camera - before.cameras[name].base_from_camera
        np.testing.assert_allclose(moved[:3, 3], [5 * double.DRIFT, 0, 0], atol=1e-12)
        np.testing.assert_allclose(moved[:3, :3], 0, atol=1e-12)


def test_the_wrist_camera_hangs_at_the_official_matrix(make):
    environment = make()
    environment.reset(1)
    generator = np.random.default_rng(0)
    for _ in range(10):
        environment.step(generator.uniform(-1, 1, 7))
        observation = environment.observe(with_images=False)
        camera = observation.cameras["robot0_eye_in_hand"].base_from_camera
        np.testing.assert_allclose(pose_of(observation) @ double.EE_TO_CAM @ OPENGL, camera, atol=1e-6)
    hand_eye = np.array(get_robot("robocasa").cameras[2].tool_from_camera)
    np.testing.assert_allclose(double.EE_TO_CAM @ OPENGL, hand_eye, atol=1e-12)


def test_intrinsics_are_those_of_the_spec(make):
    observation = make().reset(0)
    for camera in get_robot("robocasa").cameras:
        np.testing.assert_allclose(observation.cameras[camera.name].intrinsics, np.array(camera.intrinsics), rtol=1e-9)


def test_an_observation_passes_the_robots_checks_and_looking_moves_nothing(make):
    environment = make()
    observation = environment.reset(0)
    check_observation(get_robot("robocasa"), observation)
    assert observation.instruction == double.FACTS["get_ep_meta()['lang']"]
    assert not observation.depths
    state = environment.state()
    blind = environment.observe(with_images=False)
    assert (dict(blind.images), dict(blind.depths)) == ({}, {})
    assert set(blind.cameras) == set(double.CAMERAS)
    np.testing.assert_array_equal(environment.state(), state)


def test_depth_sees_what_is_rendered_and_neither_collision_shapes_nor_sites(make):
    environment = make(with_depth=True)
    observation = environment.reset(0)
    check_observation(environment.robot, observation)
    camera = observation.cameras[double.CAMERAS[0]]
    depth = observation.depths[double.CAMERAS[0]]
    assert (depth.dtype, depth.shape) == (np.float32, (256, 256))
    ray = np.linalg.solve(camera.intrinsics, [10.5, 10.5, 1.0])
    point = camera.base_from_camera @ [*(ray * depth[10, 10]), 1]
    assert point[0] == pytest.approx(1.98, abs=1e-3)  # the face of the wall, 2 m in front of the base


# --- episodes ------------------------------------------------------------------------------------------------------------


def test_every_episode_is_a_simulation_of_its_own(make):
    environment = make(seed=20)
    environment.reset()
    environment.reset()
    environment.reset(release_seed(3, 5, 4))
    assert [one.arguments["seed"] for one in double.KitchenDouble.made] == [20, 21, 19]
    assert [one.calls for one in double.KitchenDouble.made] == [["reset", "close"], ["reset", "close"], ["reset"]]
    environment.close()
    assert kitchen().calls == ["reset", "close"]


def test_success_is_asked_after_every_command_and_lasts(make):
    environment = make()
    environment.reset(0)
    results = [environment.step(np.array([0, 0, 1.0, 0, 0, 0, 0])) for _ in range(3)]
    assert [(result.is_success, result.is_over) for result in results] == [
        (False, False),
        (False, False),
        (True, True),
    ]
    down = [environment.step(np.array([0, 0, -1.0, 0, 0, 0, 0])) for _ in range(3)]
    assert all(result.is_success and result.is_over for result in down)
    environment.reset(0)
    assert not environment.step(STILL).is_success


def test_an_episode_ends_with_its_last_command(make):
    environment = make("CoffeePressButton")
    environment.reset(0)
    over = [environment.step(STILL).is_over for _ in range(301)]
    assert over == [False] * 299 + [True, True]
    assert environment.observe(with_images=False).time == pytest.approx(301 / 20)


def test_a_bad_command_moves_nothing(make):
    environment = make()
    environment.reset(0)
    state = environment.state()
    for command in (np.zeros(12), np.full(7, np.nan)):
        with pytest.raises(ValueError, match="`command` must be"):
            environment.step(command)
    assert kitchen().commands == []
    np.testing.assert_array_equal(environment.state(), state)


def test_splits_and_kitchens_can_be_chosen(make):
    environment = make(object_split="A", kitchens=[(0, 0)])
    environment.reset(0)
    assert kitchen().arguments["obj_instance_split"] == "A"
    assert kitchen().arguments["layout_and_style_ids"] == ((0, 0),)
    assert environment.versions["object_split"] == "A"


def test_a_demonstration_is_loaded_as_the_playback_script_does(make):
    environment = make()
    environment.reset(5)
    states = [environment.state()]
    for _ in range(3):
        environment.step(np.array([0.5, 0, 0.5, 0, 0, 0, -1.0]))
        states.append(environment.state())
    live = environment.observe()
    demonstration = {
        "states": np.stack(states),
        "actions": np.zeros((4, 12)),
        "model_file": environment.model_xml(),
        "ep_meta": {"layout_id": 1},
        "env_args": {"env_name": "OpenDrawer"},
    }
    first = environment.start_replay(demonstration)
    assert kitchen().calls == ["set_ep_meta", "reset", "edit_model_xml", "reset_from_xml_string", "update_state"]
    assert (kitchen().facts, first.time) == ({"layout_id": 1}, 0.0)
    environment.set_state(states[-1])
    again = environment.observe()
    assert again.time == pytest.approx(3 / 20)
    for name in double.CAMERAS:
        np.testing.assert_array_equal(again.images[name], live.images[name])
    with pytest.raises(ValueError, match="numbers but has shape"):
        environment.set_state(states[0][:-1])
    with pytest.raises(ValueError, match="task 'OpenDrawer' but is of 'CloseDrawer'"):
        environment.start_replay({**demonstration, "env_args": {"env_name": "CloseDrawer"}})


# --- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["PickPlaceCounterToCabinet", "openDrawer", "NavigateKitchen", ""])
def test_other_tasks_are_refused_with_those_that_exist(make, task):
    with pytest.raises(ValueError, match=r"known tasks are PnPCounterToCab.*RoboCasa365 has other names"):
        make(task)


@pytest.mark.parametrize("options", [{"object_split": "C"}, {"kitchens": ()}, {"kitchens": ((1,),)}])
def test_other_options_are_refused(make, options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must"):
        make(**options)


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ({"robocasa": None}, "robocasa is absent"),
        ({"robocasa": "1.0.1"}, r"but 1\.0\.1 is installed; 1\.0 \(RoboCasa365\) renamed tasks"),
        ({"mujoco": "3.3.1"}, r"mujoco==3\.2\.6, .*Found: .*mujoco 3\.3\.1"),
        ({"numpy": "2.2.5"}, r"numpy==1\.23\.2 or .*Found: .*numpy 2\.2\.5"),
        ({"robosuite": None}, "robosuite is absent"),
        ({"robosuite": "1.4.1"}, r"robosuite 1\.5 is needed .*Found: .*robosuite 1\.4\.1"),
        ({"robosuite": "1.6.0"}, r"robosuite 1\.5 is needed .*Found: .*robosuite 1\.6\.0"),
    ],
)
def test_another_version_is_refused_with_the_lines_that_install(make, monkeypatch, versions, said):
    monkeypatch.setattr(robosuite_import, "installed_version", {**PINS, **versions}.get)
    with pytest.raises(ImportError, match=said) as caught:
        make()
    for line in ("pip install mujoco==3.2.6", "pip install --no-deps xwam", "git checkout 756598a5"):
        assert line in str(caught.value)
    assert "xwam[robosuite]" not in str(caught.value), "that is the environment of plain robosuite"


def test_a_package_that_lies_about_its_version_is_refused(make, monkeypatch):
    monkeypatch.setattr(sys.modules["robocasa"], "__version__", "1.0.1")
    with pytest.raises(ImportError, match=r"but 1\.0\.1 is installed"):
        make()


def test_without_robocasa_the_real_message_names_everything(monkeypatch):
    monkeypatch.setattr(robosuite_import, "installed_version", lambda name: None if name == "robocasa" else "1.0")
    with pytest.raises(ImportError, match="git checkout 756598a5"):
        RoboCasaEnvironment("OpenDrawer")


def test_before_and_after_an_episode(make):
    environment = make()
    with pytest.raises(ValueError, match="call `reset` first"):
        environment.observe()
    environment.reset(0)
    views = environment._views
    assert isinstance(views, RobosuiteViews)
    environment.close()
    environment.close()
    with pytest.raises(ValueError, match="is closed"):
        environment.step(STILL)
    with pytest.raises(ValueError, match="is closed"):
        environment.reset(0)
