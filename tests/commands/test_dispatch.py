"""Which command a word means, and what is said when it means none."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

import xwam
from xwam.commands import dispatch


@pytest.mark.parametrize("command", dispatch.SUMMARY_OF_COMMAND)
def test_every_command_exists_and_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as error:
        dispatch.main([command, "--help"])
    assert error.value.code == 0
    assert f"usage: xwam {command}" in capsys.readouterr().out


def test_the_rest_of_the_words_goes_to_the_command_and_its_status_comes_back(monkeypatch):
    heard = []

    def answer(words):
        heard.append(words)
        return 1

    monkeypatch.setitem(sys.modules, "xwam.commands.gallery", SimpleNamespace(main=answer))
    assert dispatch.main(["gallery", "--output", "a.png"]) == 1
    assert heard == [["--output", "a.png"]]


def test_the_version_is_told(capsys):
    assert dispatch.main(["--version"]) == 0
    assert capsys.readouterr().out == f"xwam {xwam.__version__}\n"


def test_control_c_ends_a_command_in_one_line(monkeypatch, capsys):
    def interrupt(words):
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "xwam.commands.gallery", SimpleNamespace(main=interrupt))
    assert dispatch.main(["gallery"]) == 130
    assert capsys.readouterr().err.strip() == "xwam gallery: stopped"


@pytest.mark.parametrize(("words", "status"), [(["--help"], 0), (["-h"], 0), ([], 2)])
def test_without_a_command_all_are_listed(words, status, capsys):
    assert dispatch.main(words) == status
    said = capsys.readouterr()
    assert all(command in said.out + said.err for command in dispatch.SUMMARY_OF_COMMAND)


def test_an_unknown_command_is_answered_with_those_that_exist(capsys):
    assert dispatch.main(["dance"]) == 2
    assert "There is no command 'dance'; known commands are ['check', 'evaluate', 'gallery'" in capsys.readouterr().err


def test_python_m_xwam_is_the_same_and_the_list_needs_nothing_heavy():
    code = (
        "import sys; from xwam.commands.dispatch import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'mujoco')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
    done = subprocess.run([sys.executable, "-m", "xwam", "dance"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "There is no command 'dance'" in done.stderr
