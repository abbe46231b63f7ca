"""What LeRobot's layouts hold comes back, row by row, and what is wrong with it is named."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import synthetic_episodes as synthetic
from foreign_datasets import ForeignEpisode, moving_square, write_lerobot, write_video
from synthetic_episodes import CAMERAS, ROBOT

from xwam.data import lerobot_layout as layout
from xwam.data.dataset_map import DatasetMap
from xwam.data.readers.lerobot import LeRobotReader
from xwam.data.streams.windows import WindowShape, read_clip
from xwam.errors import DamagedVideoError, DataError, UnsafeFileError

SIZE = (24, 32)


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(np.square(image.astype(float) - truth).mean(), 1e-9))


def canonical(state: np.ndarray) -> np.ndarray:
    """As the writer was given it, with the sign that readers give quaternions."""
    state = state.copy()
    state[3:7] *= np.sign(state[3])
    return state


def foreign_episode(seed: int, rows: int) -> ForeignEpisode:
    rng = np.random.default_rng(seed)
    quaternions = rng.normal(size=(rows, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    state = np.concatenate([rng.normal(size=(rows, 3)), quaternions, rng.uniform(size=(rows, 1))], axis=1)
    numbers = {
        layout.STATE_KEY: state.astype(np.float32),
        layout.ACTION_KEY: rng.uniform(-1, 1, (rows, 7)).astype(np.float32),
    }
    images = {
        layout.image_key(name): moving_square(rows, SIZE, 60 * index + seed) for index, name in enumerate(CAMERAS)
    }
    return ForeignEpisode(numbers, images, [f"task {seed % 2}"])


EPISODES = [foreign_episode(seed, rows) for seed, rows in enumerate((5, 4, 6))]
NAMES = {layout.STATE_KEY: {"motors": list(ROBOT.state_columns)}, layout.ACTION_KEY: list(ROBOT.command_columns)}


@pytest.fixture(scope="module", params=["v2.1", "v3.0"])
def foreign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign") / request.param
    return write_lerobot(folder, EPISODES, version=request.param, names=NAMES, stills=[layout.image_key(CAMERAS[1])])


@pytest.fixture
def copy(foreign: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(foreign, tmp_path / "copy"))


def test_a_recording_of_this_library_comes_back(own_recording: Path):
    reader = LeRobotReader(own_recording)
    assert (reader.robot, reader.rate, reader.name) == (ROBOT, 20.0, "own")
    assert reader.cameras == reader.depth_cameras == tuple(CAMERAS)
    for seed, episode in enumerate(reader.episodes):
        length = synthetic.length(seed)
        assert (episode.key, episode.length) == (synthetic.key(seed), length)
        assert episode.instructions == (f"task {seed % 2}",)
        assert episode.facts["seed"] == seed
        assert episode.facts["success"] is True
        assert episode.facts["options"] == {"randomized": True}
        states, commands = reader.read_states(seed, 0, length), reader.read_commands(seed, 0, length)
        for row in range(length):
            seen = synthetic.observation(row, seed)
            arm = seen.arms["left"]
            state = np.float32([*arm.position, *arm.quaternion, arm.gripper])
            assert (states.values[row] == canonical(state)).all()
            assert (commands.values[row] == synthetic.command(row, seed).astype(np.float32)).all()
        assert states.is_valid.all()
        assert commands.is_valid.all()
        np.testing.assert_allclose(reader.read_timestamps(seed), 0.05 * np.arange(length), atol=1e-6)


def test_images_depth_and_calibration_come_back(own_recording: Path):
    reader = LeRobotReader(own_recording)
    for seed in (0, 2, 4):
        rows = [0, 2]
        for camera in CAMERAS:
            images, depths = reader.read_images(seed, camera, rows), reader.read_depths(seed, camera, rows)
            calibration = reader.read_calibration(seed, camera, rows)
            assert (images.dtype, depths.dtype) == (np.uint8, np.float32)
            for index, row in enumerate(rows):
                seen = synthetic.observation(row, seed)
                assert psnr(images[index], seen.images[camera]) > 30  # sharp squares on 32 × 48 pixels
                truth = seen.depths[camera]
                code = reader._depth_code(layout.depth_key(camera))
                is_told = np.isfinite(truth) & (truth > 0) & (truth < code.far)
                assert (depths[index] > 0).tolist() == is_told.tolist()
                worst = np.abs(depths[index] - truth)[is_told] / code.step(truth[is_told])
                assert worst.max() < 0.51
                pose = seen.cameras[camera].base_from_camera.astype(np.float32)
                assert (calibration.base_from_camera[index] == pose).all()
            assert (calibration.intrinsics == seen.cameras[camera].intrinsics).all()


def test_both_versions_give_the_same(foreign: Path):
    reader = LeRobotReader(foreign, ROBOT)
    assert [episode.length for episode in reader.episodes] == [5, 4, 6]
    assert [episode.key for episode in reader.episodes] == [f"episode_{number:06d}" for number in range(3)]
    for number, episode in enumerate(EPISODES):
        states = reader.read_states(number, 1, 4).values
        assert (states == [canonical(row) for row in episode.numbers[layout.STATE_KEY][1:4]]).all()
        assert (reader.read_commands(number, 3, 4).values == episode.numbers[layout.ACTION_KEY][3:4]).all()
        assert reader.episodes[number].instructions == tuple(episode.tasks)
        for camera in CAMERAS:
            truth = episode.images[layout.image_key(camera)]
            images = reader.read_images(number, camera, [0, 3])
            assert min(psnr(image, truth[row]) for image, row in zip(images, (0, 3), strict=True)) > 35
        stored = reader.read_images(number, CAMERAS[1], [1, 2])  # in the table, not in a video
        assert (stored == EPISODES[number].images[layout.image_key(CAMERAS[1])][1:3]).all()


def test_a_clip_is_read_after_a_journey_through_pickle(foreign: Path):
    reader = LeRobotReader(foreign, ROBOT)
    reader.read_states(0, 0, 1)
    shape = WindowShape(num_frames=3, actions_per_frame=2)
    clip, again = (read_clip(own, 2, 1, shape) for own in (reader, pickle.loads(pickle.dumps(reader))))  # noqa: S301
    assert clip.source == f"{foreign.name}/episode_000002@1"
    assert (clip.states == again.states).all()
    for camera in CAMERAS:
        assert (clip.images[camera] == again.images[camera]).all()
        assert clip.images[camera].shape == (3, *SIZE, 3)


def test_cameras_that_were_not_recorded_are_left_out(tmp_path: Path):
    episode = EPISODES[0]
    wrist = layout.image_key(CAMERAS[2])
    folder = write_lerobot(tmp_path, [replace(episode, images={wrist: episode.images[wrist]})], names=NAMES)
    assert LeRobotReader(folder, ROBOT).cameras == (CAMERAS[2],)
    other = {"observation.images.other": episode.images[wrist]}
    folder = write_lerobot(tmp_path / "other", [replace(episode, images=other)], names=NAMES)
    with pytest.raises(DataError, match=r"No camera of \['robot0_agentview_left'.*observation\.images\.other"):
        LeRobotReader(folder, ROBOT)


def test_columns_of_another_robot_are_named(tmp_path: Path):
    names = {**NAMES, layout.STATE_KEY: [f"motor_{number}" for number in range(8)]}
    folder = write_lerobot(tmp_path, EPISODES[:1], names=names)
    with pytest.raises(DataError, match=r"position of arm 'left'.*observation\.state.*motor_0.*not \['left_x'"):
        LeRobotReader(folder, ROBOT)


def test_a_robot_must_be_known(foreign: Path):
    with pytest.raises(DataError, match="does not say which robot"):
        LeRobotReader(foreign)


def test_stored_times_do_not_move_rows_or_frames(copy: Path):
    def stretch(table: pa.Table) -> pa.Table:
        times = pa.array(np.asarray(table["timestamp"]) * np.float32(20 / 18.5))
        return table.set_column(table.column_names.index("timestamp"), "timestamp", times)

    for path in (copy / "data").rglob("*.parquet"):
        pq.write_table(stretch(pq.read_table(path)), path)
    reader = LeRobotReader(copy, ROBOT)
    times = reader.read_timestamps(2)
    assert times is not None
    assert 1 / np.diff(times).mean() == pytest.approx(18.5, rel=1e-5)
    truth = EPISODES[2].images[layout.image_key(CAMERAS[0])]
    assert psnr(reader.read_images(2, CAMERAS[0], [5])[0], truth[5]) > 35


def data_files(folder: Path) -> list[Path]:
    return sorted((folder / "data").rglob("*.parquet"))


def test_tables_with_missing_rows_are_named(copy: Path):
    path = data_files(copy)[0]
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(DataError, match=r"episode_000000.*rows, but the file has"):
        LeRobotReader(copy, ROBOT).read_states(0, 0, 2)


def test_rows_of_another_episode_are_named(copy: Path):
    path = data_files(copy)[0]
    table = pq.read_table(path)
    place = table.column_names.index("episode_index")
    pq.write_table(table.set_column(place, "episode_index", pa.array(np.full(len(table), 7))), path)
    with pytest.raises(DataError, match=r"must be of episode 0, but are of \[7\]"):
        LeRobotReader(copy, ROBOT).read_states(0, 0, 2)


@pytest.mark.parametrize("change", [-2, 3])
def test_videos_with_another_number_of_frames_are_named(copy: Path, change: int):
    path = sorted((copy / "videos").rglob("*.mp4"))[0]
    is_new = "file-" in path.name
    length = 9 if is_new else 5
    write_video(path, moving_square(length + change, SIZE, 0), 20)
    reader = LeRobotReader(copy, ROBOT)
    if is_new and change > 0:  # files of v3.0 may hold frames of no episode
        assert reader.read_images(1, CAMERAS[0], [3]).shape == (1, *SIZE, 3)
        return
    with pytest.raises(DamagedVideoError, match=rf"rows, which are frames.*video of {length + change} frames"):
        reader.read_images(1 if is_new else 0, CAMERAS[0], [0])


def test_an_episode_with_too_few_frames_in_the_metadata_is_named(tmp_path: Path):
    folder = write_lerobot(tmp_path, EPISODES, names=NAMES)
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(path).to_pylist()
    key = f"videos/{layout.image_key(CAMERAS[0])}/to_timestamp"
    rows[1][key] -= 2 / 20
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(DataError, match=r"episode_000001.*4 rows, but 2\.00 frames"):
        LeRobotReader(folder, ROBOT).read_images(1, CAMERAS[0], [0])


def test_episodes_that_share_frames_are_found(tmp_path: Path):
    """The table of a merged data set may place an episode upon another: frames are there, but those of another episode."""
    folder = write_lerobot(tmp_path, EPISODES, names=NAMES, episodes_per_file=len(EPISODES))
    path, rows = folder / "meta/episodes/chunk-000/file-000.parquet", []
    key = f"videos/{layout.image_key(CAMERAS[0])}"
    for row in pq.read_table(path).to_pylist():
        moved = 1 / 20 if row["episode_index"] == 1 else 0
        rows.append(row | {f"{key}/{end}_timestamp": row[f"{key}/{end}_timestamp"] - moved for end in ("from", "to")})
    pq.write_table(pa.Table.from_pylist(rows), path)
    reader = LeRobotReader(folder, ROBOT)
    with pytest.raises(DataError, match=r"episode_000000.*but another begins at"):
        reader.read_images(0, CAMERAS[0], [0])
    reader.read_images(0, CAMERAS[1], [0])


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("length", None, "must hold whole numbers, but holds null"),
        ("length", -1, "whole numbers from 0, but holds -1"),
        ("length", 2.5, "must hold whole numbers, but holds double"),
        ("dataset_from_index", "a", "must hold whole numbers, but holds string"),
        ("data/chunk_index", None, "must hold whole numbers, but holds null"),
        ("tasks", 3, "`tasks` of episode 0 must be a list of texts, but is 3"),
        (f"videos/{layout.image_key(CAMERAS[0])}/from_timestamp", "a", "must hold numbers, but holds string"),
        (f"videos/{layout.image_key(CAMERAS[0])}/from_timestamp", -1.0, "which is none|frames"),
    ],
)
def test_places_that_are_no_numbers_are_named(tmp_path: Path, column: str, values: object, message: str):
    folder = write_lerobot(tmp_path, EPISODES[:1], names=NAMES)
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(pa.Table.from_pylist([row | {column: values} for row in pq.read_table(path).to_pylist()]), path)
    with pytest.raises(DataError, match=message):
        LeRobotReader(folder, ROBOT).read_images(0, CAMERAS[0], [0])


def test_a_map_without_states_gives_rows_that_are_not_valid(copy: Path):
    whole = LeRobotReader(copy, ROBOT)
    states = LeRobotReader(copy, ROBOT, map=replace(whole.map, states=())).read_states(0, 1, 4)
    assert states.values.shape == (3, len(ROBOT.state_columns))
    assert not states.is_valid.any()
    assert whole.read_states(0, 1, 4).is_valid.all()


def edit_info(folder: Path, **changes: object) -> None:
    info = json.loads((folder / "meta/info.json").read_text())
    (folder / "meta/info.json").write_text(json.dumps(info | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codebase_version": "v1.6"}, r"this is 'v1\.6'"),
        ({"fps": 0}, "`fps` must be a positive number"),
        ({"features": []}, "`features` must be an object"),
        ({"data_path": "data/{nothing}.parquet"}, "`data_path` is no pattern"),
        ({"data_path": None}, "`data_path` is no pattern"),
        ({"data_path": "{episode_index:>9999999999}{file_index:>9999999999}"}, "`data_path` is no pattern"),
        ({"fps": float("1e400")}, "Infinity is not a number|`fps` must be a positive number"),
        ({"chunks_size": 0}, "`chunks_size` must be a positive whole number, but is 0"),
    ],
)
def test_metadata_that_cannot_be_used_are_named(copy: Path, changes: dict, message: str):
    edit_info(copy, **changes)
    with pytest.raises(DataError, match=message):
        LeRobotReader(copy, ROBOT).read_states(0, 0, 1)


@pytest.mark.parametrize("pattern", ["../{episode_index}", "/etc/{episode_index}", "{episode_index}/../../x"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, pattern: str):
    folder = write_lerobot(tmp_path, EPISODES[:1], names=NAMES, version="v2.1")
    edit_info(folder, data_path=pattern, video_path=pattern)
    reader = LeRobotReader(folder, ROBOT)
    for read in (lambda: reader.read_states(0, 0, 1), lambda: reader.read_images(0, CAMERAS[0], [0])):
        with pytest.raises(UnsafeFileError, match="leads out of the folder"):
            read()


def test_a_git_lfs_pointer_is_called_one(copy: Path):
    (copy / "meta/info.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DataError, match="Git LFS pointer"):
        LeRobotReader(copy, ROBOT)


@pytest.mark.parametrize("name", ["meta/info.json", "data/chunk-000/episode_000000.parquet"])
def test_missing_files_are_named(tmp_path: Path, name: str):
    folder = write_lerobot(tmp_path, EPISODES[:1], names=NAMES, version="v2.1")
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"file {name}.*No such file"):
        LeRobotReader(folder, ROBOT).read_states(0, 0, 1)


def damaged_column(table: pa.Table, feature: str, rng: np.random.Generator) -> tuple[pa.Table, str]:
    """A table with one wrong number in a feature, and what the message must say."""
    rows = table[feature].to_pylist()
    row, column = int(rng.integers(len(rows))), int(rng.integers(len(rows[0])))
    kind = rng.choice(["nan", "inf", "none", "none row", "ragged", "wide", "text", "zero quaternion", "missing"])
    if kind == "missing":
        return table.drop_columns([feature]), "no such column"
    if kind == "text":
        values = pa.array([str(numbers) for numbers in rows])
        return table.set_column(table.column_names.index(feature), feature, values), "Numbers are needed"
    message = f"row {row}"
    if kind == "none row":
        rows[row] = None
    elif kind == "ragged":
        rows[row] = rows[row][:-1]
        message = "row 1" if row == 0 else message  # the first row is what others are compared with
    elif kind == "wide":
        rows, message = [[*numbers, 0.0] for numbers in rows], f"must have {len(rows[0])} numbers"
    elif kind == "zero quaternion" and feature == layout.STATE_KEY:
        rows[row][3:7] = [0.0] * 4
        message += r".*: a quaternion has length 0, not 1"
    else:
        rows[row][column] = {"nan": np.nan, "inf": -np.inf}.get(str(kind))
        message += rf".*column {column}\b"
    return table.set_column(table.column_names.index(feature), feature, pa.array(rows)), message


def test_no_number_that_is_not_one_gets_through(tmp_path: Path):
    """500 faults: each is named with its feature, and with row and column where it has one."""
    folder = write_lerobot(tmp_path, EPISODES[:1], names=NAMES, version="v2.1")
    (path,) = data_files(folder)
    intact, rng = pq.read_table(path), np.random.default_rng(0)
    for _ in range(500):
        feature = str(rng.choice([layout.STATE_KEY, layout.ACTION_KEY]))
        table, message = damaged_column(intact, feature, rng)
        pq.write_table(table, path)
        reader = LeRobotReader(folder, ROBOT)
        read = reader.read_states if feature == layout.STATE_KEY else reader.read_commands
        with pytest.raises(DataError, match=rf"(?is)feature {feature}.*{message}"):
            read(0, 0, 5)


def test_other_kinds_of_numbers_are_taken(tmp_path: Path):
    numbers = {name: values.astype(np.float64) for name, values in EPISODES[0].numbers.items()}
    folder = write_lerobot(tmp_path, [replace(EPISODES[0], numbers=numbers)], names=NAMES)
    assert (LeRobotReader(folder, ROBOT).read_commands(0, 0, 5).values == numbers[layout.ACTION_KEY]).all()


def test_rows_and_cameras_that_do_not_exist_are_refused(foreign: Path):
    reader = LeRobotReader(foreign, ROBOT)
    with pytest.raises(IndexError, match="rows 0 to 4"):
        reader.read_states(1, 2, 5)
    with pytest.raises(IndexError, match="rows 0 to 4"):
        reader.read_images(1, CAMERAS[0], [4])
    with pytest.raises(DataError, match="no camera 'head'"):
        reader.read_images(1, "head", [0])
    with pytest.raises(DataError, match="no feature with depth"):
        reader.read_depths(1, CAMERAS[0], [0])


def test_the_next_state_may_be_the_command(tmp_path: Path):
    robot = replace(ROBOT, command_kind="absolute_end_effector", raw_scale=None)
    own = DatasetMap.identity(robot)
    cameras = tuple(replace(camera, depth=None, base_from_camera=None, intrinsics=None) for camera in own.cameras)
    folder = write_lerobot(tmp_path, EPISODES[:1], names=NAMES)
    own = replace(own, commands=(), cameras=cameras, next_state_is_command=True)
    reader = LeRobotReader(folder, robot, map=own)
    states, commands = reader.read_states(0, 0, 5).values, reader.read_commands(0, 1, 5)
    closed, opened = robot.arms[0].gripper.command_closed, robot.arms[0].gripper.command_open
    assert (commands.values[:3, :7] == states[2:, :7]).all()
    np.testing.assert_allclose(commands.values[:3, 7], closed + states[2:, 7] * (opened - closed))
    assert commands.is_valid[:, 0].tolist() == [True, True, True, False]
    assert (commands.values[3] == 0).all()
