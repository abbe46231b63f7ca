"""`xwam evaluate` survives being killed, shares its work with other ranks, and refuses the impossible at once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xwam.commands import record
from xwam.commands.evaluate import main
from xwam.envs.opengl import RenderingUnavailableError
from xwam.envs.registry import list_envs, make_env

LIFT = "mujoco/lift_cube"
REPORT = "report.json"
NUM_EPISODES = 16


@pytest.fixture(scope="module", autouse=True)
def _world_runs() -> None:
    try:
        make_env(LIFT).close()
    except (ImportError, RenderingUnavailableError) as error:
        pytest.skip(f"the embedded world does not run here: {error}")


def _arguments(output: Path, *more: str, episodes: int = NUM_EPISODES) -> list[str]:
    words = ["--environments", LIFT, "--policy", "scripted", "--episodes", str(episodes), "--output", str(output)]
    return [*words, *more]


def _finished(output: Path) -> list[Path]:
    return sorted(output.glob(f"episodes/{LIFT}/0*.json"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> bytes:
    """Report of a run in this process that nothing disturbed."""
    output = tmp_path_factory.mktemp("uninterrupted")
    assert main(_arguments(output)) == 0
    return (output / REPORT).read_bytes()


def _start(output: Path, *more: str, num_finished: int) -> subprocess.Popen:
    """Start the command and wait until so many episodes are finished."""
    command = [sys.executable, "-m", "xwam", "evaluate", *_arguments(output, *more)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while len(_finished(output)) < num_finished:
        assert child.poll() is None, "the evaluation ended before it could be killed"
        time.sleep(0.002)
    return child


def _workers(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children")
    if not children.exists():
        pytest.skip("this system does not list the children of a process")
    return [pid for pid in map(int, children.read_text().split()) if "spawn_main" in _command_line(pid)]


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_a_killed_evaluation_goes_on_to_the_report_of_an_uninterrupted_one(tmp_path, uninterrupted):
    child = _start(tmp_path, num_finished=3)
    child.kill()
    child.communicate()
    survivors = {path: path.stat().st_mtime_ns for path in _finished(tmp_path)}
    assert 3 <= len(survivors) < NUM_EPISODES
    assert not (tmp_path / REPORT).exists()
    (tmp_path / "episodes" / LIFT / ".000009-0a1b2c3d.json").write_text('{"environment":')  # torn by the kill

    assert main(_arguments(tmp_path)) == 0
    assert {path: path.stat().st_mtime_ns for path in survivors} == survivors
    assert not list(tmp_path.rglob(".*"))
    assert (tmp_path / REPORT).read_bytes() == uninterrupted


def test_neither_a_killed_worker_nor_a_killed_parent_of_workers_costs_a_finished_episode(tmp_path, uninterrupted):
    child = _start(tmp_path, "--processes", "2", num_finished=1)
    os.kill(_workers(child.pid)[0], signal.SIGKILL)
    said = child.communicate()[1]
    assert child.returncode == 1
    assert said.startswith("xwam evaluate: A process died while"), said
    assert said.count("\n") == 1
    num_finished = len(_finished(tmp_path))

    child = _start(tmp_path, "--processes", "2", num_finished=num_finished + 1)
    child.kill()
    child.communicate()  # the workers hold its standard error: this waits for their end, too
    survivors = {path: path.stat().st_mtime_ns for path in _finished(tmp_path)}
    assert num_finished < len(survivors)
    assert not (tmp_path / REPORT).exists()

    assert main(_arguments(tmp_path)) == 0
    assert {path: path.stat().st_mtime_ns for path in survivors} == survivors
    assert (tmp_path / REPORT).read_bytes() == uninterrupted


def test_two_ranks_make_the_report_of_one(tmp_path, uninterrupted):
    launcher = "accelerate.commands.launch"
    flags = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
    command = [sys.executable, "-m", launcher, *flags, "-m", "xwam", "evaluate", *_arguments(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote ") == 1
    assert json.loads((tmp_path / "timings.json").read_text())["machine"]["num_ranks"] == 2
    assert (tmp_path / REPORT).read_bytes() == uninterrupted


def test_a_recorded_dataset_is_replayed_with_the_same_successes(tmp_path):
    words = ["--tasks", "lift_cube", "--episodes", "2", "--no-depth", "--output", str(tmp_path / "data")]
    assert record.main(words) == 0
    replay = ["--policy", f"replay:{tmp_path / 'data'}"]
    assert main(_arguments(tmp_path / "results", *replay, episodes=2)) == 0
    assert json.loads((tmp_path / "results" / REPORT).read_text())["overall"]["num_successes"] == 2
    assert main(_arguments(tmp_path / "results", *replay, episodes=3)) == 2, "there is no third one"


def test_the_table_is_printed_and_films_are_made(tmp_path, capsys):
    assert main(_arguments(tmp_path, "--videos", "1", "--first-seed", "7", "--randomized", episodes=2)) == 0
    said = capsys.readouterr().out
    assert f"| {LIFT}" in said
    assert "| 2/2" in said
    assert [path.name for path in tmp_path.rglob("*.mp4")] == ["000007.mp4"]
    facts = json.loads((tmp_path / REPORT).read_text())["environments"][LIFT]
    assert [episode["seed"] for episode in facts["episodes"]] == [7, 8]
    assert facts["identity"]["settings"] == {
        "num_executed": 16, "options": {"randomized": True, "instructions": "seen"},
    }  # fmt: skip
    assert set(facts["identity"]) == {"policy", "environment", "settings", "code"}


def test_a_simulator_stands_for_all_of_its_tasks(tmp_path):
    arguments = [
        "--environments",
        LIFT,
        "mujoco",
        "--policy",
        "scripted",
        "--episodes",
        "1",
        "--output",
        str(tmp_path),
    ]
    assert main(arguments) == 0
    known = [name for name in list_envs() if name.startswith("mujoco/")]
    assert sorted(json.loads((tmp_path / REPORT).read_text())["environments"]) == sorted(known)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--policy", "nobody"], "There is no policy 'nobody'"),
        (["--environments", "mujoco/fly"], "There is no environment 'mujoco/fly'; there are ['mujoco/lift_cube', "),
        (["--environments", "lift_cube"], "There is no environment 'lift_cube'; there are ['mujoco/lift_cube']"),
        (["--environments", "gym/fly"], "there are tasks of ['mujoco', 'robocasa', 'robosuite', 'robotwin']"),
        (["--device", "gpu"], "`device`"),
        (["--option", "seed", "3"], "--option seed is none"),
        (["--episodes", "0"], "--episodes must be at least 1"),
        (["--execute", "0"], "`num_executed` must be at least 1"),
        (["--processes", "0"], "--processes must be at least 1"),
        (["--first-seed", "-3"], "`seeds` must not be negative"),
        (["--dream", "--videos", "1"], "Only a pipeline dreams"),
        (["--option", "shadows", "yes"], "--option shadows must be JSON"),
    ],
)
def test_what_is_impossible_is_said_in_one_line_before_any_work(tmp_path, capsys, more, message):
    assert main(_arguments(tmp_path / "output", *more)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "output").exists()


def test_an_output_that_cannot_be_written_is_said_before_any_work(tmp_path, capsys):
    (tmp_path / "file").touch()
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main(_arguments(output)) == 2
        assert f"--output {output} cannot be written" in capsys.readouterr().err


def test_nothing_is_written_among_the_files_of_others(tmp_path, capsys):
    (tmp_path / "report.json").write_text("of xwam score")
    assert main(_arguments(tmp_path)) == 2
    assert (
        "must be a new folder, an empty one, or one that this command made, but holds report.json"
        in capsys.readouterr().err
    )
    assert (tmp_path / "report.json").read_text() == "of xwam score"


def test_results_of_another_policy_are_refused_in_one_line(tmp_path, capsys):
    assert main(_arguments(tmp_path, episodes=1)) == 0
    before = (tmp_path / REPORT).read_bytes()
    assert main(_arguments(tmp_path, "--policy", "still", episodes=2)) == 1
    assert "another `policy.name`" in capsys.readouterr().err
    assert (tmp_path / REPORT).read_bytes() == before


def test_an_option_that_the_simulator_does_not_have_is_said_in_one_line(tmp_path, capsys):
    assert main(_arguments(tmp_path, "--option", "gravity", "3")) == 1
    assert "gravity" in capsys.readouterr().err


def test_evaluation_needs_no_torch():
    code = "import sys, xwam.commands.evaluate, xwam.evaluation.runner; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
