import json
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub

from xwam.commands import record, replay
from xwam.commands.dispatch import main
from xwam.recording.stored_episodes import list_stored_episodes

SMALL = ["--episodes", "1", "--image-size", "16", "24", "--extra-steps", "1", "1"]


def test_record_and_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str], loopback_hub: LoopbackHub):
    first, second = tmp_path / "first", tmp_path / "second"
    asked = ["record", "--tasks", "press_button", *SMALL, "--noise", "0.05", "--output", str(first)]
    assert main([*asked, "--push-to-hub", "tester/recorded"]) == 0
    assert "1 new episodes" in capsys.readouterr().out
    (episode,) = list_stored_episodes(first)
    assert (episode.environment, episode.seed, episode.expert["noise"]) == ("mujoco/press_button", 0, 0.05)
    assert "datasets/tester/recorded" in loopback_hub.repositories
    assert (first / "README.md").read_text().count("press_button") == 1

    asked = ["replay", str(first), "--output", str(second), "--image-size", "32", "40", "--no-depth"]
    assert main(asked) == 0
    features = json.loads((second / "meta/info.json").read_text())["features"]
    assert features["observation.images.robot0_eye_in_hand"]["shape"] == [32, 40, 3]
    assert "observation.images.robot0_eye_in_hand_depth" not in features

    assert main(["record", "--tasks", "press_button", *SMALL, "--output", str(second)]) == 1
    assert "holds episodes of another form" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], "Say what to record"),
        (["--tasks", "lift_cube", "fly"], r"no tasks ['mujoco/fly'] with a scripted expert"),
        (["--tasks", "robosuite/Lift"], "with a scripted expert"),
        (["--all", "--episodes", "0"], "--episodes must be at least 1, but is 0"),
        (
            ["--all", "--extra-steps", "8", "4"],
            "--extra-steps must be the least and the most, from 0 on, but are 8 and 4",
        ),
        (["--all", "--tasks", "lift_cube"], "not both"),
        (["--all", "--first-seed", "-1"], "at least 0"),
        (["--all", "--push-to-hub", "no//name"], "no//name"),
        (["--all", "--option", "shadows", "yes"], "must be JSON"),
        (["--all", "--format", "release", "--push-to-hub", "a/b"], "Only LeRobot datasets"),
    ],
)
def test_impossible_recordings_are_refused(
    asked: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert record.main([*asked, "--output", str(tmp_path / "new")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("asked", "status", "message"),
    [
        (["demo.hdf5"], 2, "--environment is missing: demo.hdf5 does not say where it was recorded"),
        (["folder", "--environment", "robosuite/Lift"], 2, "--environment is for HDF5 files; folder says itself"),
        (["folder", "--option", "shadows", "yes"], 2, "must be JSON"),
        (["folder", "--processes", "0"], 2, "at least 1"),
        (["folder", "--push-to-hub", "no//name"], 2, "no//name"),
        (["none"], 2, "There is neither a file nor a folder none."),
        (["none.hdf5", "--environment", "robosuite/Lift"], 2, "There is neither a file nor a folder none.hdf5."),
        (["folder"], 1, "no LeRobot dataset recorded by xwam"),
    ],
)
def test_impossible_replays_are_refused(
    asked: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "demo.hdf5").touch()
    assert replay.main([*asked, "--output", str(tmp_path / "new")]) == status
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--option", "wings", "2"], "mujoco/lift_cube cannot be made with {'image_size': [16, 24], 'wings': 2}"),
        (["--noise", "-1"], "`noise` must lie in"),
        (["--speed", "0"], "`speed` must lie"),
        (["--image-size", "7", "9"], "must be 16 pixels or more for depth, but are (7, 9)"),
    ],
)
def test_what_only_the_world_refuses_is_one_line_too(
    asked: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert record.main(["--tasks", "lift_cube", *SMALL, *asked, "--output", str(tmp_path / "new")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "mine").write_text("mine")
    assert record.main(["--tasks", "lift_cube", *SMALL, "--output", str(tmp_path / "mine")]) == 2
    assert (
        f"--output {tmp_path / 'mine'} cannot be written: {tmp_path / 'mine'} is no folder" in capsys.readouterr().err
    )
    assert (tmp_path / "mine").read_text() == "mine"
