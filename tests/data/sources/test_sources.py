"""Every public data set opens in its own layout, and what is stored there becomes what it means."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

sys.path.append(str(Path(__file__).parents[1] / "readers"))

from foreign_datasets import ForeignEpisode, moving_square, write_lerobot, write_rlds

from xwam.data.readers.lerobot import LeRobotReader
from xwam.data.readers.open import open_dataset
from xwam.data.readers.rlds import RldsReader
from xwam.data.sources.base import LAYOUTS, PRETRAINING, get_source, list_sources, with_own_frames
from xwam.data.streams.windows import WindowShape, read_clip
from xwam.robots.registry import get_robot
from xwam.robots.states import states_to_channels
from xwam.structures import ArmState

ROWS = 12
TURNS = Rotation.random(2 * ROWS, random_state=0)
QUATERNIONS = TURNS.as_quat(canonical=True, scalar_first=True)
POSITIONS = np.random.default_rng(1).uniform(-0.5, 0.5, (2 * ROWS, 3))
OPENINGS = np.linspace(0, 1, ROWS)


def pose(side: int, row: int | slice = slice(None)) -> np.ndarray:
    """What arm `side` is at: position and quaternion (w, x, y, z)."""
    return np.concatenate([POSITIONS, QUATERNIONS], axis=1)[side * ROWS : (side + 1) * ROWS][row]


def xyzw(side: int) -> np.ndarray:
    return TURNS.as_quat()[side * ROWS : (side + 1) * ROWS]


def euler(side: int) -> np.ndarray:
    """Turns about the fixed axes x, y, z, after each other."""
    return TURNS.as_euler("xyz")[side * ROWS : (side + 1) * ROWS]


def following(values: np.ndarray) -> np.ndarray:
    """The next row's, as simulators record commands."""
    return np.concatenate([values[1:], values[-1:]])


def column(values: np.ndarray) -> np.ndarray:
    return values[:, None]


# For each source: its numbers written down by hand as its documentation says, from the poses and openings above.
def agibot_world() -> dict[str, np.ndarray]:
    numbers = {}
    for prefix, shift in (("observation.states", lambda values: values), ("actions", following)):
        positions, turns = np.stack([pose(0)[:, :3], pose(1)[:, :3]], 1), np.stack([xyzw(0), xyzw(1)], 1)
        numbers |= {f"{prefix}.end.position": shift(positions), f"{prefix}.end.orientation": shift(turns)}
    stored = 123 - 88 * OPENINGS  # 35 is open
    numbers["observation.states.effector.position"] = np.stack([stored, stored[::-1]], axis=1)
    closed = 1 - following(OPENINGS)
    numbers["actions.effector.position"] = np.stack([closed, closed], axis=1)
    return numbers


def droid(states: str = "observation.state.", actions: str = "action.") -> dict[str, np.ndarray]:
    cartesian = np.concatenate([pose(0)[:, :3], euler(0)], axis=1)
    return {
        f"{states}cartesian_position": cartesian,
        f"{states}gripper_position": column(1 - OPENINGS),
        f"{actions}cartesian_position": following(cartesian),
        f"{actions}gripper_position": column(1 - following(OPENINGS)),
    }


def interna1(stroke: float) -> dict[str, np.ndarray]:
    numbers = {}
    for side, name in enumerate(("left", "right")):
        openings = OPENINGS if side == 0 else OPENINGS[::-1]
        for prefix, shift in (("states", lambda values: values), ("actions", following)):
            numbers[f"{prefix}.{name}_ee_to_robot_pose"] = shift(pose(side))
            numbers[f"{prefix}.{name}_gripper.position"] = column(stroke * shift(openings))
    return numbers


def robocasa() -> dict[str, np.ndarray]:
    base = np.full((ROWS, 7), 9.0)
    fingers = 0.04 * np.stack([OPENINGS, -OPENINGS], axis=1)
    state = np.concatenate([base, pose(0)[:, :3], xyzw(0), fingers], axis=1)
    command = np.concatenate([np.full((ROWS, 5), 9.0), raw_commands()], axis=1)
    return {"observation.state": state, "action": command}


def raw_commands() -> np.ndarray:
    return np.random.default_rng(2).uniform(-1, 1, (ROWS, 7)).astype(np.float32)


def robotwin() -> dict[str, np.ndarray]:
    arms = [np.concatenate([pose(0), column(OPENINGS)], 1), np.concatenate([pose(1), column(OPENINGS[::-1])], 1)]
    return {"observation.state": np.concatenate(arms, axis=1)}


MINIATURES = {
    "agibot_world": agibot_world,
    "droid": droid,
    "droid_rlds": lambda: droid("observation/", "action_dict/"),
    "interna1_aloha": lambda: interna1(0.1),
    "interna1_genie1": lambda: interna1(5.74),
    "interna1_lift2": lambda: interna1(0.088),
    "robocasa_mimicgen": robocasa,
    "robotwin": robotwin,
}
every_source = pytest.mark.parametrize("name", list_sources())


def miniature(name: str, folder: Path) -> Path:
    source = get_source(name)
    numbers = {feature: values.astype(np.float32) for feature, values in MINIATURES[name]().items()}
    images = {camera.image: moving_square(ROWS, (16, 24), 40) for camera in source.map.cameras if camera.image}
    episode = ForeignEpisode(numbers, images, ["tidy up"])
    if source.layout == "rlds":
        return write_rlds(folder, [episode])
    columns = {"observation.state": list(get_robot("robotwin").state_columns)} if name == "robotwin" else {}
    return write_lerobot(folder, [episode], names=columns, fps=round(source.rate))


def test_the_paper_pretrains_on_seven():
    assert len(PRETRAINING) == 7
    assert sorted(MINIATURES) == list_sources() == sorted([*PRETRAINING, "droid_rlds"])
    with pytest.raises(ValueError, match=r"no source 'bridge', and no file; known sources are \['agibot_world'"):
        get_source("bridge")


@every_source
def test_what_is_known_of_a_source_is_complete(name: str):
    source = get_source(name)
    assert source.name == name
    assert source.layout in LAYOUTS
    assert source.map.source
    assert source.map.notes
    assert [camera.name for camera in source.map.cameras] == [
        camera.name for camera in get_robot(source.robot).cameras
    ]
    assert 1 / get_robot(source.robot).control_period == pytest.approx(source.rate)


@every_source
def test_a_source_gives_physical_values(name: str, tmp_path: Path):
    source, robot = get_source(name), get_robot(get_source(name).robot)
    reader = source.open(miniature(name, tmp_path / "data"))
    assert isinstance(reader, RldsReader if source.layout == "rlds" else LeRobotReader)
    assert reader.cameras == tuple(camera.name for camera in robot.cameras)
    assert reader.rate == pytest.approx(round(source.rate) if source.layout == "lerobot" else source.rate)
    clip = read_clip(reader, 0, 0, WindowShape(num_frames=3, actions_per_frame=4))
    assert clip.instruction == "tidy up"
    assert clip.state_is_valid.all()
    assert clip.command_is_valid.all()
    for side, arm in enumerate(robot.arms):
        openings = (OPENINGS, OPENINGS[::-1])[side]
        states = clip.states[:, robot.state_layout.part(f"{arm.name}_position").start :][:, :8]
        np.testing.assert_allclose(states[:, :7], pose(side)[:9], atol=2e-6)
        np.testing.assert_allclose(states[:, 7], openings[:9], atol=1e-6)
        if robot.command_kind == "raw":
            assert (clip.commands == raw_commands()[:8]).all()
            continue
        commands = clip.commands[:, robot.command_layout.part(f"{arm.name}_position").start :][:, :8]
        np.testing.assert_allclose(commands[:, :7], pose(side)[1:9], atol=2e-6)
        gripper = arm.gripper
        stored = (commands[:, 7] - gripper.command_closed) / (gripper.command_open - gripper.command_closed)
        reached = OPENINGS if name == "agibot_world" else openings  # whose two commands are written down alike above
        np.testing.assert_allclose(stored, reached[1:9], atol=1e-6)


def test_a_source_is_opened_by_its_name(tmp_path: Path):
    folder = miniature("droid", tmp_path / "data")
    reader = open_dataset(folder, map="droid")
    assert (reader.robot, reader.map) == (get_robot("droid_pose"), get_source("droid").map)
    chosen = with_own_frames(reader.robot)
    assert open_dataset(folder, chosen, map="droid").robot is chosen
    with pytest.raises(ValueError, match="no source 'driod'"):
        open_dataset(folder, map="driod")


@every_source
def test_what_is_unknown_can_be_chosen(name: str):
    source = get_source(name)
    robot = get_robot(source.robot)
    chosen = with_own_frames(robot)
    assert not [path for path in chosen.unknown if path.split(".")[0] in ("model_from_base", "arms")]
    if chosen == robot:
        assert not [path for path in source.unknown if "model_from" in path]
        return
    assert "model_from_base" in source.unknown
    assert "not known" in chosen.notes[-1]
    state = {arm.name: ArmState(pose(0, 0)[:3], pose(0, 0)[3:], 0.5) for arm in robot.arms}
    channels = states_to_channels(chosen, [state])[0]
    np.testing.assert_allclose(channels[:7], pose(0, 0), atol=1e-12)
