"""`xwam statistics` writes a robot that carries its quantiles, and says what it did."""

import json
from pathlib import Path

import numpy as np
import pytest
from lerobot_copies import LENGTHS, SMALL, change_column, copy, write_clean

from xwam.commands import dispatch
from xwam.data.lerobot_layout import STATE_KEY
from xwam.robots.registry import read_robot


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clean(tmp_path_factory.mktemp("lerobot") / "clean")


@pytest.fixture
def robot(tmp_path: Path) -> Path:
    path = tmp_path / "robot.json"
    path.write_text(json.dumps(SMALL.to_dict()))
    return path


def test_the_robot_gets_its_quantiles(clean, robot, tmp_path, capsys):
    output = tmp_path / "out" / "robot.json"
    assert dispatch.main(["statistics", str(clean), str(clean), "--robot", str(robot), "--output", str(output)]) == 0

    found = read_robot(str(output))
    assert found.quantiles != SMALL.quantiles
    assert found.name == SMALL.name
    assert found.notes[-1] == f"Quantiles: {2 * sum(LENGTHS)} rows of 8 episodes of clean, clean."
    said = capsys.readouterr().out
    assert f"{2 * sum(LENGTHS)} rows of 8 episodes of clean, clean" in said
    assert "state   left_qw                 passes through unchanged" in said
    assert "exact" in said
    assert str(output) in said
    assert [path.name for path in output.parent.iterdir()] == ["robot.json"], "nothing temporary stays"


def test_channels_that_cannot_be_normalised_are_told_and_widened_when_asked(clean, robot, tmp_path, capsys):
    def hold(states: np.ndarray, episodes: np.ndarray) -> None:
        states[:, 1] = 0.25

    folder, output = copy(clean, tmp_path / "copy"), tmp_path / "out.json"
    change_column(folder, STATE_KEY, hold)
    words = ["statistics", str(folder), "--robot", str(robot), "--output", str(output)]

    assert dispatch.main(words) == 0
    assert (
        "state left_y cannot be normalised by its quantiles. 98 % of its values lie within 0"
        in capsys.readouterr().out
    )
    assert read_robot(str(output)).quantiles.state_low[1] == 0.25

    assert dispatch.main([*words, "--widen"]) == 0
    quantiles = read_robot(str(output)).quantiles
    assert (quantiles.state_low[1], quantiles.state_high[1]) == (-0.75, 1.25)


@pytest.mark.parametrize(
    ("source", "robot_name", "extra", "status", "said"),
    [
        ("clean", "marvin", [], 2, "There is no robot 'marvin'"),
        ("/nowhere/at/all", "mujoco_panda", [], 1, "neither a folder"),
        ("clean", "mujoco_panda", ["--rows-per-command", "2"], 2, "cannot be skipped"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(source, robot_name, extra, status, said, clean, tmp_path, capsys):
    source = str(clean) if source == "clean" else source
    words = ["statistics", source, "--robot", robot_name, "--output", str(tmp_path / "out.json"), *extra]
    assert dispatch.main(words) == status
    error = capsys.readouterr().err
    assert error.startswith("xwam statistics: ")
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(("output", "status"), [(".", 2), ("file/out.json", 1)])
def test_a_file_that_cannot_be_written_is_told_before_the_work(output, status, clean, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = ["statistics", str(clean), "--robot", "mujoco_panda", "--output", str(tmp_path / output)]
    assert dispatch.main(words) == status
    told = capsys.readouterr()
    assert str(tmp_path) in told.err
    assert (told.out, told.err.count("\n")) == ("", 1)
