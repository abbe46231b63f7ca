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
