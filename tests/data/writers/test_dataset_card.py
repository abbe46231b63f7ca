from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic_episodes as synthetic
from huggingface_hub import DatasetCard, HfApi, snapshot_download
from loopback_hub import LoopbackHub
from PIL import Image
from synthetic_episodes import CAMERAS, contents, write_episode

from xwam.data.writers.dataset_card import push_to_hub, write_card
from xwam.data.writers.lerobot_writer import LeRobotWriter
from xwam.data.writers.recording_format import RecordingFormat


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    with LeRobotWriter(tmp_path / "dataset") as writer:
        for seed in range(3):
            write_episode(writer, seed)
        writer.skip("synthetic-0009", {"environment": "synthetic/task_1", "seed": 9})
        writer.finish()
    return tmp_path / "dataset"


def test_the_card_tells_what_is_in_the_dataset(dataset: Path):
    card = write_card(dataset, license_name="cc-by-4.0").read_text()
    assert 'license: "cc-by-4.0"' in card
    assert "data_files: data/*/*.parquet" in card
    assert f"| `synthetic/task_0` | 2 | {synthetic.length(0) + synthetic.length(2)} | 0 | task 0 |" in card
    assert f"| `synthetic/task_1` | 1 | {synthetic.length(1)} | 1 | task 1 |" in card
    assert f"| `{CAMERAS[2]}` | arm `left` | 32×48 | 0.015 | 2.0 |" in card
    assert "command -1 opens the gripper of arm `left`, 1 closes it." in card


def test_the_hub_understands_the_card(dataset: Path):
    card = DatasetCard.load(write_card(dataset, license_name="cc-by-4.0", repo_id="user/blocks"))
    assert card.data.to_dict() == {
        "license": "cc-by-4.0",
        "task_categories": ["robotics"],
        "tags": ["LeRobot", "xwam", "depth"],
        "configs": [{"config_name": "default", "data_files": "data/*/*.parquet"}],
    }
    assert 'LeRobotDataset("user/blocks")' in card.content
    assert "RGB, depth and calibration of 3 cameras" in card.content


def test_the_card_claims_nothing_that_is_not_there(tmp_path: Path):
    seen = replace(synthetic.observation(0, instruction="left | right\nhand"), cameras={})
    form = RecordingFormat.of(synthetic.ROBOT, seen, with_depth=False)
    with LeRobotWriter(tmp_path / "plain") as writer:
        with writer.episode("a", synthetic.description(0), form) as episode:
            episode.add(seen, synthetic.command(0))
            episode.publish(is_success=True)
        writer.finish()
    card = DatasetCard.load(write_card(tmp_path / "plain"))
    assert card.data.tags == ["LeRobot", "xwam"]
    assert "20 Hz, RGB of 3 cameras" in card.content
    assert "No depth was recorded." in card.content
    assert "The cameras are not calibrated." in card.content
    assert r"| left \| right hand |" in card.content


def test_the_picture_shows_every_task(dataset: Path):
    write_card(dataset)
    with Image.open(dataset / "preview.jpg") as picture:
        pixels = np.asarray(picture).astype(float)
    assert pixels.shape == (2 * 32, 6 * 48, 3)
    for row, seed in enumerate((0, 1)):
        for column, name in enumerate(CAMERAS):
            tile = pixels[row * 32 : (row + 1) * 32, column * 48 : (column + 1) * 48]
            assert np.abs(tile - synthetic.observation(0, seed).images[name]).mean() < 10


def test_a_dataset_goes_to_the_hub_and_comes_back(dataset: Path, loopback_hub: LoopbackHub, tmp_path: Path):
    commit = push_to_hub(dataset, "tester/dataset-card", token="x")
    back = snapshot_download(
        "tester/dataset-card", repo_type="dataset", revision="v3.0", local_dir=tmp_path / "back", token="x"
    )
    theirs = {name: content for name, content in contents(Path(back)).items() if not name.startswith(".")}
    assert theirs == contents(dataset)
    with LeRobotWriter(dataset) as writer:
        write_episode(writer, 3)
        with pytest.raises(ValueError, match="not yet part"):
            push_to_hub(dataset, "tester/dataset-card", token="x")
        writer.finish()
        writer.skip("synthetic-0010", {"seed": 10})
    assert push_to_hub(dataset, "tester/dataset-card", token="x") != commit
    files = HfApi(token="x").list_repo_files("tester/dataset-card", repo_type="dataset", revision="v3.0")
    assert {name for name in files if name != ".gitattributes"} == set(contents(dataset)) - {
        ".staging/skipped/synthetic-0010.json"
    }


def test_another_folder_has_no_card(tmp_path: Path):
    with pytest.raises(ValueError, match="cannot be read"):
        write_card(tmp_path)
