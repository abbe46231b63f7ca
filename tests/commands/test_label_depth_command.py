"""`xwam label-depth`: one command, one data set; one line for whatever is wrong."""

import json
import sys
from pathlib import Path

import pytest
from depth_models import save_depth_anything, save_dpt

sys.path.append(str(Path(__file__).parents[1] / "data"))

from synthetic_episodes import write_episode

from xwam.commands.dispatch import main
from xwam.data.readers.open import open_dataset
from xwam.data.writers.lerobot_writer import LeRobotWriter


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command") / "source"
    with LeRobotWriter(folder) as writer:
        write_episode(writer, 0)
        writer.finish()
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    save_depth_anything(folder / "relative")
    save_depth_anything(folder / "metric", "metric", max_depth=3)
    save_dpt(folder / "dpt")
    return folder


def test_a_data_set_with_depth_a_card_and_what_was_done(
    source: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    asked = ["label-depth", str(source), "--robot", "mujoco_panda", "--model", str(models / "metric")]
    assert main([*asked, "--output", str(tmp_path / "new"), "--depth-range", "0.2", "3"]) == 0
    assert "1 new episodes, 3 rows, depth metric: " in capsys.readouterr().out
    assert "It is estimated from RGB by `metric`" in (tmp_path / "new/README.md").read_text()
    with open_dataset(tmp_path / "new") as reader:
        assert reader.robot.cameras[0].depth_range == (0.2, 3.0)
        assert reader.read_depths(0, reader.cameras[0], [0]).max() > 0.2
    assert main([*asked, "--output", str(tmp_path / "new"), "--depth-range", "0.2", "3"]) == 0
    assert "0 new episodes" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "new")]) == 0


def test_a_model_that_does_not_say_what_it_answers_is_told(
    source: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    asked = ["label-depth", str(source), "--model", str(models / "dpt"), "--output", str(tmp_path / "new")]
    assert main(asked) == 2
    assert "give `answer`" in capsys.readouterr().err
    assert main([*asked, "--answer", "inverse_relative", "--crf", "20", "--format", "release"]) == 0
    assert "depth relative" in capsys.readouterr().out
    assert json.loads((tmp_path / "new/xwam.json").read_text())["format"]["crf"] == 20


@pytest.mark.parametrize(
    ("asked", "status", "message"),
    [
        (["nowhere", "--model", "relative"], 1, "nowhere"),
        (["source", "--model", "absent"], 1, "absent is neither a folder nor a name on the hub"),
        (["source", "--model", "relative", "--robot", "dancer"], 2, "There is no robot 'dancer'"),
        (["source", "--model", "relative", "--align", "metric"], 2, "which has no unit"),
        (["source", "--model", "relative", "--align", "median"], 2, "`median_depth` must be given"),
        (["source", "--model", "relative", "--align", "range", "--depth-range", "3", "1"], 2, "0 < near < far"),
        (["source", "--model", "relative", "--answer", "disparity"], 2, "`answer` must be one of"),
        (["source", "--model", "relative", "--batch-size", "0"], 2, "--batch-size must be at least 1, but is 0"),
        (["source", "--model", "relative", "--align", "measured"], 1, "No episode could be labelled"),
        (["source", "--model", "relative", "--split", "train"], 1, "Only RLDS has splits"),
        (["source", "--model", "relative", "--output", "source"], 2, "needs a folder of its own"),
        (["source", "--model", "relative", "--output", "file"], 2, "is no folder that you may write to"),
    ],
)
def test_what_cannot_be_labelled_is_one_line(
    asked: list[str],
    status: int,
    message: str,
    source: Path,
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    places = {"source": str(source), "relative": str(models / "relative"), "absent": str(models / "absent")}
    words = [places.get(word, word) for word in asked]
    words += [] if "--output" in words else ["--output", "new"]
    assert main(["label-depth", *words]) == status
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if line.startswith("xwam label-depth: ")]
    assert message in line
    assert not (tmp_path / "new/meta").exists()
