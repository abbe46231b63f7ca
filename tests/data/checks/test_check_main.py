"""`python -m xwam.data.check` finds the robot where the data set brings it."""

from pathlib import Path

from xwam.data import check


def test_the_robot_of_our_own_recordings_need_not_be_named(own_recording: Path, capsys):
    named = check.main([str(own_recording), "--robot", "mujoco_panda"]), capsys.readouterr().out
    assert (check.main([str(own_recording)]), capsys.readouterr().out) == named
    assert "of robot mujoco_panda" in named[1]


def test_a_robot_that_nobody_names_is_asked_for(own_recording: Path, tmp_path: Path, capsys):
    for path in own_recording.rglob("*"):
        target = tmp_path / path.relative_to(own_recording)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        elif path.name != "xwam_robot.json":
            target.write_bytes(path.read_bytes())
    assert check.main([str(tmp_path)]) == 2
    assert "robot" in capsys.readouterr().err
