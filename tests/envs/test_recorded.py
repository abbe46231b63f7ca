"""The observation that ships with the package is the world's own, and files keep an observation."""

import dataclasses
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from xwam.envs.recorded import DEPTH_STEP, RECORDING, load_observation, load_recorded_observation, save_observation
from xwam.structures import JointState

HALF_STEP = 0.5 * DEPTH_STEP + 1e-6  # metres; float32 rounds too


def _expect_same(one, other, *, grey_levels: int = 0) -> None:
    assert (one.instruction, one.robot, one.time) == (other.instruction, other.robot, other.time)
    assert list(one.images) == list(other.images)
    for name in one.images:
        difference = np.abs(one.images[name].astype(int) - other.images[name])
        assert difference.max() <= grey_levels
        np.testing.assert_allclose(one.depths[name], other.depths[name], rtol=0, atol=HALF_STEP)
        np.testing.assert_allclose(one.cameras[name].intrinsics, other.cameras[name].intrinsics, atol=1e-9)
        np.testing.assert_allclose(one.cameras[name].base_from_camera, other.cameras[name].base_from_camera, atol=1e-9)
    for name in one.arms:
        np.testing.assert_allclose(one.arms[name].position, other.arms[name].position, atol=1e-9)
        np.testing.assert_allclose(one.arms[name].quaternion, other.arms[name].quaternion, atol=1e-9)
        assert one.arms[name].gripper == other.arms[name].gripper


def test_the_shipped_observation_is_what_the_world_returns(make_world):
    seed = json.loads((RECORDING / "observation.json").read_text())["seed"]
    _expect_same(load_recorded_observation(), make_world(task="pick_by_colour").reset(seed), grey_levels=1)


def test_the_shipped_observation_is_small_and_needs_neither_simulator_nor_torch():
    assert sum(path.stat().st_size for path in RECORDING.iterdir()) <= 300_000
    code = (
        "import sys; from xwam.envs.recorded import load_recorded_observation as load; o = load()\n"
        "print(len(o.images), {'mujoco', 'torch', 'OpenGL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "set()"]


def test_files_keep_an_observation(tmp_path):
    observation = load_recorded_observation()
    save_observation(observation, tmp_path / "new" / "folder")
    _expect_same(load_observation(tmp_path / "new" / "folder"), observation)


def test_depth_that_was_not_measured_becomes_zero(tmp_path):
    observation = load_recorded_observation()
    depths = {name: depth.copy() for name, depth in observation.depths.items()}
    depths["robot0_eye_in_hand"][0, 0] = np.nan
    save_observation(dataclasses.replace(observation, depths=depths), tmp_path)
    assert load_observation(tmp_path).depths["robot0_eye_in_hand"][0, 0] == 0


@pytest.mark.parametrize("value", [-0.1, 7.0, np.inf])
def test_depth_that_does_not_fit_is_refused(tmp_path, value):
    observation = load_recorded_observation()
    depths = {"robot0_eye_in_hand": np.full((4, 4), value, np.float32)}
    with pytest.raises(ValueError, match=r"`depths\['robot0_eye_in_hand'\]` must lie in 0…6.55 m"):
        save_observation(dataclasses.replace(observation, depths=depths), tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "c:\\d", "", 3, "a.b"])
@pytest.mark.parametrize("field", ["views", "depth_views"])
def test_a_name_in_a_file_is_no_path(tmp_path, name, field):
    save_observation(load_recorded_observation(), tmp_path)
    facts = json.loads((tmp_path / "observation.json").read_text())
    facts[field] = [name]
    (tmp_path / "observation.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="`name`"):
        load_observation(tmp_path)


def test_nothing_is_written_outside_the_folder(tmp_path):
    observation = load_recorded_observation()
    images = {"../escaped": observation.images["robot0_eye_in_hand"]}
    with pytest.raises(ValueError, match=r"`name` must be .* slashes"):
        save_observation(dataclasses.replace(observation, images=images), tmp_path / "folder")
    assert not list(tmp_path.iterdir())


def test_joint_states_are_refused(tmp_path):
    observation = dataclasses.replace(load_recorded_observation(), joints={"left": JointState(np.zeros(7), 1.0)})
    with pytest.raises(ValueError, match="`arms`"):
        save_observation(observation, tmp_path)


def test_numbers_of_numpy_are_kept_and_what_is_none_is_said(tmp_path):
    seen = load_recorded_observation()
    arm = replace(seen.arms["left"], gripper=np.float32(0.5))
    save_observation(replace(seen, time=np.float64(2), arms={"left": arm}), tmp_path / "kept")
    back = load_observation(tmp_path / "kept")
    assert (back.time, back.arms["left"].gripper) == (2.0, 0.5)
    with pytest.raises(ValueError, match="must hold what `save_observation` wrote: FileNotFoundError"):
        load_observation(tmp_path / "none")
    (tmp_path / "kept" / "observation.json").write_text("{}")
    with pytest.raises(ValueError, match="must hold what `save_observation` wrote: KeyError: 'views'"):
        load_observation(tmp_path / "kept")
