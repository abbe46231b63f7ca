"""`xwam check` is the check of `xwam.data`."""

import subprocess
import sys

from xwam.commands import dispatch


def test_it_is_the_same_as_the_module(capsys):
    assert dispatch.main(["check", "/nowhere/at/all", "--robot", "droid"]) == 2
    said = capsys.readouterr().err.partition(": ")
    assert said[0] == "xwam check"
    words = [sys.executable, "-m", "xwam.data.check", "/nowhere/at/all", "--robot", "droid"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.partition(": ") == ("python -m xwam.data.check", ": ", said[2])


def test_numbers_and_folders_are_checked_before_the_data(capsys, tmp_path):
    (tmp_path / "file").touch()
    for words, message in (
        (["--frames", "0"], "--frames must be at least 1, but is 0"),
        (["--episodes", "0"], "--episodes must be at least 1, but is 0"),
        (["--output", str(tmp_path / "file")], f"--output {tmp_path / 'file'} cannot be written"),
    ):
        assert dispatch.main(["check", "/nowhere/at/all", *words]) == 2
        assert message in capsys.readouterr().err
