"""A checkpoint is there whole or not at all, whatever is killed, full or damaged."""

import errno
import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from xwam.checkpoints.manifest import MANIFEST_NAME
from xwam.errors import CheckpointError, TrainingError, UnsafeFileError
from xwam.training import checkpoint_store
from xwam.training.checkpoint_store import CheckpointStore, check_checkpoint, recover, save_folder
from xwam.training.state_files import RunFacts, RunState, read_state, write_state

KILL_LOOP = Path(__file__).with_name("kill_loop.py")


def write(text: str, megabytes: int = 0):
    def write_files(folder: Path) -> None:
        (folder / "run.json").write_text(json.dumps({"text": text}))
        if megabytes:
            (folder / "large").write_bytes(bytes(megabytes << 20))

    return write_files


def text_of(folder: Path) -> str:
    return json.loads((folder / "run.json").read_text())["text"]


@pytest.fixture
def store(tmp_path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", keep=2)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(checkpoint_store, "SAVE_WAITS", (0.0, 0.0))


def test_the_newest_are_kept(store):
    for step in (3, 20, 100):
        store.save(step, write(str(step)))
    assert store.steps() == [20, 100]
    assert text_of(store.newest()) == "100"
    assert store.newest().name == "step-00000100"


def test_there_is_none_at_first(store):
    assert store.newest() is None
    assert store.steps() == []
    store.clean()


def test_a_checkpoint_of_the_same_step_is_replaced(store):
    store.save(1, write("old"))
    store.save(1, write("new"))
    assert text_of(store.newest()) == "new"
    assert [path.name for path in store.folder.iterdir()] == ["step-00000001"]


def test_an_older_step_that_is_saved_after_a_newer_one_removes_nothing_newer(store):
    for step in (5, 10):
        store.save(step, write(str(step)))
    store.save(7, write("7"))
    assert store.steps() == [5, 7, 10]


@pytest.mark.parametrize("damage", ["truncate", "delete", "flip", "add", "no manifest", "empty"])
@pytest.mark.parametrize("name", ["run.json", "large", MANIFEST_NAME])
def test_damage_to_any_file_is_found_and_the_one_before_is_taken(store, caplog, damage, name):
    store.save(1, write("1", 1))
    store.save(2, write("2", 1))
    path = store.path_of(2) / name
    content = path.read_bytes()
    if damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "delete":
        path.unlink()
    elif damage == "flip":
        path.write_bytes(bytes([content[0] ^ 4]) + content[1:])
    elif damage == "add":
        (store.path_of(2) / "more.safetensors").write_bytes(b"")
    elif damage == "no manifest":
        (store.path_of(2) / MANIFEST_NAME).unlink()
    else:
        shutil.rmtree(store.path_of(2))
        store.path_of(2).mkdir()
    assert store.newest() == store.path_of(1)
    assert "step-00000002 is damaged and passed over" in caplog.text
    with pytest.raises(CheckpointError):
        check_checkpoint(store.path_of(2))


@pytest.mark.parametrize(
    "name", ["optimizer.bin", "state.pt", "state.pkl", "scheduler.npz", "hook.py", "random_states_0.pkl"]
)
def test_a_pickle_in_a_checkpoint_is_refused_by_its_name(store, name):
    """`write_manifest` would list it, so this is not found as an unlisted file."""
    store.save(1, lambda folder: [write("1")(folder), (folder / name).write_bytes(b"\x80\x04.")])
    assert store.newest() is None
    with pytest.raises(UnsafeFileError, match=name):
        check_checkpoint(store.path_of(1))


def test_a_failing_writer_leaves_nothing_behind(store):
    store.save(1, write("1"))

    def fail(folder):
        (folder / "half").write_text("x")
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        store.save(2, fail)
    assert [path.name for path in store.folder.iterdir()] == ["step-00000001"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), RuntimeError("I/O error (os error 28)")])
def test_a_disk_that_fails_once_is_tried_again(store, error):
    failures = [error]

    def fail_once(folder):
        if failures:
            raise failures.pop()
        write("1")(folder)

    assert text_of(store.save(1, fail_once)) == "1"


def test_a_full_disk_is_one_clear_error_and_the_old_checkpoint_is_intact(store):
    store.save(1, write("1"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        tensors = {"weight": torch.zeros(1 << 20)}
        facts = RunFacts(step=2, samples=0, num_processes=1, config={})
        with pytest.raises(TrainingError, match=r"step-00000002 could not be written .* GB are free") as caught:
            store.save(2, lambda folder: write_state(RunState(facts, tensors, None, {}, []), folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert "keep_checkpoints" in str(caught.value)
    assert store.newest() == store.path_of(1)
    assert [path.name for path in store.folder.iterdir()] == ["step-00000001"]


def test_leftovers_of_killed_saves_are_removed_or_put_back(tmp_path):
    for name in (".tmp-step-00000003-77", ".old-step-00000002-77", ".old-best-77", "step-00000002"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text").write_text(name)
    recover(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "step-00000002"]
    assert (tmp_path / "best" / "text").read_text() == ".old-best-77"
    assert (tmp_path / "step-00000002" / "text").read_text() == "step-00000002"


@pytest.mark.parametrize("fault", ["before the names change", "between the two names", "before the old one goes"])
def test_a_replacement_that_is_killed_anywhere_leaves_one_whole_folder(tmp_path, monkeypatch, fault):
    class Killed(BaseException):
        pass

    target = tmp_path / "best"
    save_folder(target, write("old"))
    rename, rmtree = Path.rename, shutil.rmtree

    def killed_rename(path, goal):
        if fault == "before the names change" or (fault == "between the two names" and ".tmp" in path.name):
            raise Killed
        return rename(path, goal)

    def killed_rmtree(path, **options):
        if fault == "before the old one goes" and ".old" in Path(path).name:
            raise Killed
        rmtree(path, **options)

    monkeypatch.setattr(Path, "rename", killed_rename)
    monkeypatch.setattr(checkpoint_store.shutil, "rmtree", killed_rmtree)
    with pytest.raises(Killed):
        save_folder(target, write("new"))
    monkeypatch.undo()
    recover(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    assert text_of(target) == ("new" if fault == "before the old one goes" else "old")
    check_checkpoint(target)


def test_a_disk_that_fails_between_the_two_names_puts_the_old_one_back(tmp_path, monkeypatch):
    target, rename = tmp_path / "best", Path.rename
    save_folder(target, write("old"))

    def failing_rename(path, goal):
        if path.name.startswith(".tmp"):
            raise OSError(errno.EIO, "I/O error")
        return rename(path, goal)

    monkeypatch.setattr(Path, "rename", failing_rename)
    with pytest.raises(TrainingError, match="best could not be written"):
        save_folder(target, write("new"))
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    assert text_of(target) == "old"


def test_a_folder_that_cannot_be_made_is_the_same_clear_error(tmp_path, monkeypatch):
    def full(path, **_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(TrainingError, match="GB are free there"):
        save_folder(tmp_path / "new" / "best", write("x"))


def test_the_state_is_read_as_it_was_written(tmp_path):
    state = RunState(
        facts=RunFacts(3, 24, 2, {"steps": 5}, {"kitchen": 4}, "abc", {"skipped_steps": 1}, 0.1 + 0.2),
        weights={"a.weight": torch.randn(3, 2), "b": torch.randn(2).bfloat16()},
        average={"a.weight": torch.randn(3, 2)},
        optimizer={"a.weight": {"step": torch.tensor(3.0), "exp_avg": torch.randn(3, 2)}},
        random=[{"torch": torch.arange(5, dtype=torch.uint8)} for _ in range(11)],
    )
    state.random[10]["torch"][0] = 7
    save_folder(tmp_path / "step-00000003", lambda folder: write_state(state, folder))
    again = read_state(tmp_path / "step-00000003")
    assert again.facts == state.facts
    assert again.random[10]["torch"].tolist() == [7, 1, 2, 3, 4]
    for name in ("weights", "average"):
        expected, found = getattr(state, name), getattr(again, name)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert torch.equal(again.optimizer["a.weight"]["exp_avg"], state.optimizer["a.weight"]["exp_avg"])


def kill_loop(folder: Path, *options: str) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, str(KILL_LOOP), str(folder), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_saver_that_is_killed_again_and_again_keeps_what_it_saved(tmp_path):
    counts = kill_loop(tmp_path / "c", "--kills", "8", "--seconds", "0.0", "0.2", "--megabytes", "8")
    assert counts["loadable"] == 8
    assert counts["lost"] == 0
    assert counts["inside"] >= 2, "the kills must hit saves, else this shows nothing"
    assert counts["progressed"] == 8


def test_a_saver_that_writes_in_place_is_caught_by_the_same_kills(tmp_path):
    counts = kill_loop(tmp_path / "c", "--kills", "8", "--seconds", "0.0", "0.2", "--megabytes", "8", "--direct")
    assert counts["loadable"] < 8
