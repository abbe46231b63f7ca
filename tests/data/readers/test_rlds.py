"""RLDS without TensorFlow: the Bridge sample, what it says wrong of itself, and its way through our own format."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from foreign_datasets import ForeignEpisode, example, moving_square, tfrecord, write_rlds
from recorded_folder import RECORDED, needs_recorded
from scipy.spatial.transform import Rotation

from xwam.data.dataset_map import ArmMap, CameraMap, Columns, DatasetMap
from xwam.data.readers.lerobot import LeRobotReader
from xwam.data.readers.rlds import RldsReader, find_version
from xwam.data.readers.tfrecord import TFRecordFile
from xwam.data.streams.windows import WindowIndex, WindowShape, read_clip
from xwam.data.writers.episode_writer import EpisodeDescription
from xwam.data.writers.lerobot_writer import LeRobotWriter
from xwam.data.writers.recording_format import RecordingFormat
from xwam.errors import DataError
from xwam.robots.spec import ArmSpec, CameraSpec, GripperSpec, RobotSpec
from xwam.structures import ArmState, Observation

BRIDGE = RECORDED / "data" / "bridge_rlds_mini"
bridge_only = needs_recorded("data", "bridge_rlds_mini")

WIDOWX = RobotSpec(
    name="widowx",
    arms=(ArmSpec("left", GripperSpec(command_open=1.0, command_closed=0.0)),),
    cameras=tuple(CameraSpec(f"image_{number}", (64, 64)) for number in range(3)),
    command_kind="delta_end_effector",
    control_period=0.2,
    state_slots=tuple(range(8)),
    action_slots=tuple(range(7)),
    image_size=(64, 64),
    actions_per_frame=1,
    source="BridgeData V2, from memory: 5 Hz, deltas in the base frame",
)


def arm(feature: str) -> ArmMap:
    return ArmMap(
        "left",
        position=Columns(feature, (0, 1, 2)),
        rotation=Columns(feature, (3, 4, 5)),
        rotation_form="euler_xyz",
        gripper=Columns(feature, (6,)),
    )


MAP = DatasetMap(
    states=(arm("observation/state"),),
    commands=(arm("action"),),
    cameras=tuple(CameraMap(f"image_{number}", f"observation/image_{number}") for number in range(3)),
    instructions=("language_instruction",),
)


def stored(split: str, feature: str, episode: int) -> np.ndarray:
    """The numbers as they are in the file."""
    name = f"bridge_dataset-{split}.tfrecord-00000-of-00001"
    with TFRecordFile(BRIDGE / "bridge_dataset" / "1.0.0" / name) as file:
        return file.features(episode)[f"steps/{feature}"].numbers().reshape(10, -1)


@bridge_only
@pytest.mark.parametrize("split", ["train", "val"])
def test_bridge_is_read(split: str):
    reader = RldsReader(BRIDGE, WIDOWX, MAP, split)
    assert (len(reader.episodes), reader.rate, reader.name) == (25, 5.0, "bridge_dataset")
    assert {episode.length for episode in reader.episodes} == {10}
    assert all(episode.instructions for episode in reader.episodes)
    index = WindowIndex(reader, WindowShape.of(WIDOWX))
    assert len(index) == 50  # two windows of nine frames per episode of ten steps
    for episode in (0, 24):
        state, action = (stored(split, name, episode) for name in ("observation/state", "action"))
        states, commands = reader.read_states(episode, 0, 10).values, reader.read_commands(episode, 0, 10).values
        assert (states[:, :3].astype(np.float32) == state[:, :3]).all()
        assert (states[:, 7].astype(np.float32) == state[:, 6]).all()
        turns = Rotation.from_euler("xyz", state[:, 3:6].astype(np.float64))
        np.testing.assert_allclose(states[:, 3:7], turns.as_quat(canonical=True, scalar_first=True), atol=1e-12)
        assert (commands[:, :3].astype(np.float32) == action[:, :3]).all()
        turns = Rotation.from_euler("xyz", action[:, 3:6].astype(np.float64))
        np.testing.assert_allclose(commands[:, 3:6], turns.as_rotvec(), atol=1e-12)
        np.testing.assert_allclose(commands[:, 6], action[:, 6].astype(float) - state[:, 6], atol=1e-12)


@bridge_only
def test_what_bridge_says_of_its_images_is_not_believed():
    """Its flags say that no image is there; three are, and the fourth is black."""
    cameras = (*WIDOWX.cameras, CameraSpec("image_3", (64, 64)))
    own = replace(MAP, cameras=(*MAP.cameras, CameraMap("image_3", "observation/image_3")))
    reader = RldsReader(BRIDGE, replace(WIDOWX, cameras=cameras), own)
    assert [reader.read_metadata(0)[f"has_image_{number}"] for number in range(4)] == [0, 0, 0, 0]
    for number in range(4):
        images = reader.read_images(0, f"image_{number}", [0, 5, 9])
        assert images.shape == (3, 64, 64, 3)
        assert (images.std() > 20) == (number < 3)


@bridge_only
def test_bridge_goes_through_our_own_format(tmp_path: Path):
    """States and commands bit for bit in float32, images within what H.264 loses."""
    reader = RldsReader(BRIDGE, WIDOWX, MAP)
    count = 3
    with LeRobotWriter(tmp_path / "copy") as writer:
        for number in range(count):
            episode = reader.episodes[number]
            states, commands = reader.read_states(number, 0, 10).values, reader.read_commands(number, 0, 10).values
            images = {name: reader.read_images(number, name, list(range(10))) for name in reader.cameras}
            seen = [
                Observation(
                    images={name: frames[row] for name, frames in images.items()},
                    instruction=episode.instructions[0],
                    arms={"left": ArmState(state[:3], state[3:7], float(state[7]))},
                    time=row / reader.rate,
                )
                for row, state in enumerate(states)
            ]
            description = EpisodeDescription("bridge", number, {}, {}, {})
            with writer.episode(f"bridge-{number:02d}", description, RecordingFormat.of(WIDOWX, seen[0])) as recording:
                for observation, command in zip(seen, commands, strict=True):
                    recording.add(observation, command)
                recording.publish(is_success=True)
        writer.finish()
    copy = LeRobotReader(tmp_path / "copy")
    assert copy.robot == WIDOWX
    worst = np.inf
    for number in range(count):
        assert copy.episodes[number].instructions == reader.episodes[number].instructions[:1]
        for read in ("read_states", "read_commands"):
            ours, theirs = (getattr(own, read)(number, 0, 10).values for own in (copy, reader))
            assert (ours == theirs.astype(np.float32)).all()
        for name in reader.cameras:
            pair = [own.read_images(number, name, list(range(10))).astype(float) for own in (copy, reader)]
            errors = np.square(pair[0] - pair[1]).mean(axis=(1, 2, 3))
            worst = min(worst, float((10 * np.log10(255**2 / errors)).min()))
    assert worst >= 35


def foreign() -> list[ForeignEpisode]:
    rng = np.random.default_rng(0)
    return [
        ForeignEpisode(
            {name: rng.uniform(-0.4, 0.4, (rows, 7)).astype(np.float32) for name in ("observation/state", "action")},
            {f"observation/image_{number}": moving_square(rows, (16, 24), 50 * number) for number in range(3)},
            [f" task {rows} "],
        )
        for rows in (3, 5)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_rlds(tmp_path / "foreign", foreign())


def shard(folder: Path) -> Path:
    return next(folder.rglob("*.tfrecord*"))


def test_only_what_a_window_needs_is_decoded(folder: Path):
    reader = RldsReader(folder, WIDOWX, MAP)
    assert [episode.length for episode in reader.episodes] == [3, 5]
    assert [episode.instructions for episode in reader.episodes] == [("task 3",), ("task 5",)]
    clip = read_clip(pickle.loads(pickle.dumps(reader)), 1, 2, WindowShape(3, 1))  # noqa: S301
    for number in range(3):
        truth = foreign()[1].images[f"observation/image_{number}"]
        assert (clip.images[f"image_{number}"] == truth[2:5]).all()
    stored = foreign()[1].numbers
    assert (clip.states[:, :3] == stored["observation/state"][2:5, :3]).all()
    assert (clip.commands[:, :3] == stored["action"][2:4, :3]).all()
    assert clip.source == "foreign/foreign-train.tfrecord-00000-of-00001#1@2"


def test_a_flipped_bit_in_an_image_is_noticed(folder: Path):
    path = shard(folder)
    with TFRecordFile(path) as file:
        images = file.features(1)["steps/observation/image_1"]
        place = images.places[4][1] - 20  # in the compressed pixels
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    reader = RldsReader(folder, WIDOWX, MAP)
    assert reader.read_states(0, 0, 3).is_valid.all()
    with pytest.raises(DataError, match=r"episode .*#1.*Record 1 is damaged: its checksum differs"):
        reader.read_states(1, 0, 1)
    assert RldsReader(folder, WIDOWX, MAP, check_content=False).read_states(1, 0, 1).is_valid.all()


def test_a_shard_with_too_few_episodes_is_named(folder: Path):
    path = shard(folder)
    with TFRecordFile(path) as file:
        end = file.records[1].start - 12
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(DataError, match="must hold 2 episodes, but holds 1"):
        RldsReader(folder, WIDOWX, MAP)


def rewritten(folder: Path, **changes: object) -> Path:
    """The data set with its first episode changed."""
    episode = foreign()[0]
    own = {
        "steps/is_first": np.array([1, 0, 0]),
        "steps/language_instruction": [b"task"] * 3,
        **{f"steps/{name}": values for name, values in episode.numbers.items()},
        **{f"steps/observation/image_{number}": [b"\x89PNG"] * 3 for number in range(3)},
        **{f"steps/{name}": value for name, value in changes.items()},
    }
    path = shard(folder)
    with TFRecordFile(path) as file:
        record = file.records[1]
        second = bytes(file.content[record.start : record.start + record.length])
    path.write_bytes(tfrecord([example({name: value for name, value in own.items() if value is not None}), second]))
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": np.zeros(20, np.float32)}, "3 rows must have 7 numbers each, but there are 20"),
        ({"action": None}, "feature action.*The episode has no such feature"),
        ({"action": np.full(21, np.nan, np.float32)}, r"feature action, row 0: Column 0 holds nan"),
    ],
)
def test_numbers_that_cannot_be_used_are_named(folder: Path, changes: dict, message: str):
    reader = RldsReader(rewritten(folder, **changes), WIDOWX, MAP)
    with pytest.raises(DataError, match=message):
        reader.read_commands(0, 0, 3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([b"\x89PNG"] * 3, "row 2: An image cannot be decoded"),
        ([b""] * 3, "An image has no bytes"),
        ([b"x"] * 2, "has 3 rows, but 2 images"),
    ],
)
def test_images_that_cannot_be_used_are_named(folder: Path, images: list[bytes], message: str):
    reader = RldsReader(rewritten(folder, **{"observation/image_1": images}), WIDOWX, MAP)
    with pytest.raises(DataError, match=message):
        reader.read_images(0, "image_1", [2])


def test_splits_and_features_that_do_not_exist_are_named(folder: Path, tmp_path: Path):
    with pytest.raises(DataError, match=r"no split 'test'; there are \['train'\]"):
        RldsReader(folder, WIDOWX, MAP, "test")
    other = replace(MAP, cameras=(CameraMap("image_0", "observation/rgb"),))
    with pytest.raises(DataError, match=r"features \['observation/rgb'\] are missing; the data set has \['action'"):
        RldsReader(folder, WIDOWX, other)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"There is no features\.json"):
        RldsReader(tmp_path / "none", WIDOWX, MAP)


def test_the_map_says_the_rate_where_it_differs(folder: Path):
    assert RldsReader(folder, WIDOWX, replace(MAP, rate=10.0)).rate == 10.0
    with pytest.raises(DataError, match="how many rows a second has"):
        RldsReader(folder, replace(WIDOWX, control_period=None), MAP)


def test_several_data_sets_below_a_folder_must_be_told_apart(folder: Path, tmp_path: Path):
    for name in ("bridge/0.1.0", "droid/1.0.0", "droid/1.0.1"):
        shutil.copytree(find_version(folder), tmp_path / "all" / name)
    with pytest.raises(DataError, match=r"It holds several data sets; name one of \[.*bridge.*droid"):
        find_version(tmp_path / "all")
    assert find_version(tmp_path / "all" / "droid").name == "1.0.1"


def test_a_tilde_is_the_home(folder: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert len(RldsReader(f"~/{folder.name}", WIDOWX, MAP).episodes) == 2


def test_an_instruction_may_be_said_once_per_episode(folder: Path):
    path = find_version(folder) / "features.json"
    tree = json.loads(path.read_text())
    tree["featuresDict"]["features"]["episode_metadata"] = {"featuresDict": {"features": {"file_path": {"text": {}}}}}
    path.write_text(json.dumps(tree))
    reader = RldsReader(folder, WIDOWX, replace(MAP, instructions=("episode_metadata/file_path",)))
    assert [episode.instructions for episode in reader.episodes] == [("somewhere",)] * 2
    with pytest.raises(DataError, match=r"none of the instructions \['episode_metadata/none'\] is there"):
        RldsReader(folder, WIDOWX, replace(MAP, instructions=("episode_metadata/none",)))
