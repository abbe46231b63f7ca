import json
from functools import partial
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.spatial.transform import Rotation

from xwam.data import lerobot_layout as layout
from xwam.data.depth_codes import DepthCode
from xwam.data.writers.dataset_writer import DatasetWriter
from xwam.envs.mujoco_world import MujocoWorld
from xwam.policies.baselines import StillPolicy
from xwam.policies.scripted import ScriptedPolicy
from xwam.recording import demonstrations
from xwam.recording.demonstrations import Job, JobResult, Recipe, record_demonstrations
from xwam.recording.stored_episodes import list_stored_episodes, read_numbers
from xwam.robots.registry import read_robot

SMALL = {"image_size": [32, 40]}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def recipes() -> list[Recipe]:
    return [Recipe("mujoco/push_to_region", SMALL), Recipe("mujoco/lift_cube", {**SMALL, "randomized": True})]


@pytest.fixture(scope="module")
def dataset(recipes: list[Recipe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "dataset"
    assert set(record_demonstrations(folder, recipes, episodes=2)) == {recipe.environment for recipe in recipes}
    return folder


def test_episodes_are_successful_and_say_where_they_come_from(dataset: Path):
    episodes = list_stored_episodes(dataset)
    assert [(one.environment, one.is_success) for one in episodes] == [
        ("mujoco/lift_cube", True),
        ("mujoco/lift_cube", True),
        ("mujoco/push_to_region", True),
        ("mujoco/push_to_region", True),
    ]
    for one in episodes:
        assert {"mujoco", "world"} <= set(one.versions)
        assert one.expert["policy"] == "scripted"
        numbers = read_numbers(dataset, one)
        assert 4 <= one.expert["extra_steps"] <= 8
        assert len(numbers.commands) == one.num_steps + one.expert["extra_steps"]
        quaternions = numbers.robot_states[:, 3:7]
        assert (np.sum(quaternions[1:] * quaternions[:-1], axis=1) > 0.9).all(), "no sign flips"


def test_state_and_hand_eye_give_the_recorded_pose_of_the_wrist_camera(dataset: Path):
    table = pq.read_table(dataset / layout.DATA_PATH.format(chunk_index=0, file_index=0))
    states = np.array(table[layout.STATE_KEY].to_pylist())
    camera = next(camera for camera in read_robot(str(dataset / layout.ROBOT_FILE)).cameras if camera.arm == "left")
    poses = np.array(table[layout.pose_key(camera.name)].to_pylist()).reshape(-1, 4, 4)
    base_from_tool = np.tile(np.eye(4), (len(states), 1, 1))
    base_from_tool[:, :3, :3] = Rotation.from_quat(states[:, [4, 5, 6, 3]]).as_matrix()
    base_from_tool[:, :3, 3] = states[:, :3]
    difference = base_from_tool @ np.array(camera.tool_from_camera) - poses
    assert len(states) > 50
    assert np.abs(difference[:, :3, 3]).max() < 1e-5, "metres"
    assert np.abs(difference[:, :3, :3]).max() < 1e-5


def test_stored_depth_and_calibration_find_the_table(dataset: Path):
    """Depth frames and calibration as the dataset has them, unprojected; the table's plane is known from the world."""
    info = json.loads((dataset / layout.INFO_FILE).read_text())
    table = pq.read_table(dataset / layout.DATA_PATH.format(chunk_index=0, file_index=0))
    scene = MujocoWorld("lift_cube").scene
    base = scene.data.body("base")
    assert base.xmat[8] == pytest.approx(1), "the table is level in the robot's base frame"
    height = -base.xpos[2]  # of the table's upper face, which is the world's origin
    for camera in read_robot(str(dataset / layout.ROBOT_FILE)).cameras:
        key = layout.depth_key(camera.name)
        code = DepthCode.from_info(info["features"][key]["info"])
        matrices = np.array(table[layout.intrinsics_key(camera.name)].to_pylist()).reshape(-1, 3, 3)
        poses = np.array(table[layout.pose_key(camera.name)].to_pylist()).reshape(-1, 4, 4)
        path = layout.VIDEO_PATH.format(video_key=key, chunk_index=0, file_index=0)
        with av.open(str(dataset / path)) as video:
            codes = np.stack([frame.to_ndarray(format="gray12le") for frame in video.decode(video=0)])
        assert len(codes) == len(poses)
        depth = code.decode(codes).astype(np.float64)
        rows, columns = np.mgrid[: depth.shape[1], : depth.shape[2]] + 0.5
        pixels = np.stack([columns, rows, np.ones_like(rows)])
        rays = np.einsum("tij,jhw->tihw", poses[:, :3, :3] @ np.linalg.inv(matrices), pixels)
        above = poses[:, 2, 3, None, None] + depth * rays[:, 2] - height
        is_table = code.is_measured(codes) & (np.abs(above) < 0.005)
        allowed = 0.502 * code.step(depth) * np.abs(rays[:, 2]) + 2e-5
        assert is_table.mean() > 0.2, camera.name
        is_within = np.abs(above) <= allowed
        assert is_within[is_table].mean() > 0.9, f"{camera.name}: all but a disc of 1 mm and edges"
        assert abs(np.median(above[is_table])) < 1e-4, "metres; no bias"


def test_two_processes_record_what_one_records(dataset: Path, recipes: list[Recipe], tmp_path: Path):
    results: list[tuple[Job, JobResult]] = []
    record_demonstrations(
        tmp_path / "two",
        recipes[::-1],
        episodes=2,
        num_processes=2,
        on_result=lambda job, result: results.append((job, result)),
    )
    assert contents(tmp_path / "two") == contents(dataset)
    assert len(results) == 4
    assert all(result.is_kept and result.num_frames > 10 for _, result in results)


def test_nothing_is_recorded_twice(dataset: Path, recipes: list[Recipe]):
    before = contents(dataset)

    def never(job: Job, result: JobResult) -> None:
        raise AssertionError(job)

    record_demonstrations(dataset, recipes, episodes=2, on_result=never)
    assert contents(dataset) == before


class FailsOnOddSeeds(ScriptedPolicy):
    def reset(self, seed: int) -> None:
        super().reset(seed)
        self._still = seed % 2 == 1

    def infer(self, observation, *, seed):
        chunk = super().infer(observation, seed=seed)
        if self._still:
            chunk.commands[:] = 0
        return chunk


def test_failed_seeds_are_skipped_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demonstrations, "ScriptedPolicy", FailsOnOddSeeds)
    kept = {}
    recipe = Recipe("mujoco/lift_cube", {"image_size": [16, 16]}, with_depth=False)
    for count in (1, 2):  # the second time goes on
        skipped = record_demonstrations(tmp_path / "some", [recipe], episodes=count)
        kept[count] = [one.seed for one in list_stored_episodes(tmp_path / "some")]
    assert kept == {1: [0], 2: [0, 2]}
    assert skipped == {"mujoco/lift_cube": [1]}


def test_an_expert_that_fails_mostly_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demonstrations, "_FEW_SEEDS", 1)
    monkeypatch.setattr(demonstrations, "ScriptedPolicy", lambda environment: StillPolicy(environment.robot))
    recipe = Recipe("mujoco/lift_cube", {"image_size": [16, 16]}, with_depth=False)
    with pytest.raises(RuntimeError, match="Only 0 of 1 seeds of mujoco/lift_cube succeeded"):
        record_demonstrations(tmp_path / "none", [recipe], episodes=1)


def test_a_task_that_fails_does_not_keep_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fails_one_task(environment):
        make = StillPolicy if "lift_cube" in environment.name else ScriptedPolicy
        return make(environment.robot) if make is StillPolicy else make(environment)

    monkeypatch.setattr(demonstrations, "_FEW_SEEDS", 1)
    monkeypatch.setattr(demonstrations, "ScriptedPolicy", fails_one_task)
    recipes = [
        Recipe(f"mujoco/{task}", {"image_size": [16, 16]}, with_depth=False) for task in ("lift_cube", "press_button")
    ]
    for _ in range(2):  # it is said again, and nothing is lost
        with pytest.raises(RuntimeError, match="seeds of mujoco/lift_cube succeeded"):
            record_demonstrations(tmp_path / "some", recipes, episodes=1)
        assert [one.environment for one in list_stored_episodes(tmp_path / "some")] == ["mujoco/press_button"]


def test_skipped_seeds_of_recipes_of_one_environment_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demonstrations, "_skipped", lambda outcomes, recipe, first_seed: [len(recipe.options)])
    monkeypatch.setattr(demonstrations._Progress, "of", lambda recipe, *_: demonstrations._Progress(recipe, [], 1, 1))
    recipes = [Recipe("mujoco/lift_cube"), Recipe("mujoco/lift_cube", {"randomized": True})]
    assert record_demonstrations(tmp_path, recipes, episodes=1) == {"mujoco/lift_cube": [0, 1]}


def test_keys_depend_on_all_that_changes_an_episode():
    recipe = Recipe("mujoco/lift_cube", SMALL)
    variants = [recipe, Recipe("mujoco/lift_cube", {}), Recipe("mujoco/lift_cube", SMALL, {"noise": 0.1})]
    variants += [Recipe("mujoco/stack_cubes", SMALL), Recipe("mujoco/lift_cube", SMALL, extra_steps=(0, 0))]
    variants += [Recipe("mujoco/lift_cube", SMALL, with_depth=False)]
    variants += [Recipe("mujoco/lift_cube", SMALL, pixel_format="yuv420p")]
    assert len({variant.key(0) for variant in variants}) == len(variants)
    assert recipe.key(3) == Recipe("mujoco/lift_cube", {"image_size": (32, 40)}).key(3)
    assert {recipe.num_extra_steps(seed) for seed in range(100)} == {4, 5, 6, 7, 8}


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"episodes": 0}, "`episodes` must be at least 1"), ({"episodes": 1, "output_format": "zip"}, "`output_format`")],
)
def test_wrong_arguments_are_named(tmp_path: Path, settings: dict, message: str):
    record = partial(record_demonstrations, tmp_path / "new", [Recipe("mujoco/lift_cube")])
    with pytest.raises(ValueError, match=message):
        record(**settings)
    assert not (tmp_path / "new").exists()


def test_every_format_has_a_writer(tmp_path: Path):
    for number, writer in enumerate(demonstrations.WRITER_OF_FORMAT.values()):
        assert isinstance(writer(tmp_path / str(number)), DatasetWriter)
