"""New files take the place of those of an earlier save, and of no others; what fails changes nothing."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from xwam.checkpoints import saved_files
from xwam.checkpoints.manifest import verify_manifest, write_manifest
from xwam.checkpoints.saved_files import files_of_saves, replacing_files
from xwam.errors import CheckpointError, CorruptFileError, UnsafeFileError

PLAIN = {"config.json", "tokenizer.json", "spiece.model"}
OWN = {
    "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model-00001-of-00002.safetensors", "model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json", "model.safetensors.index.json",
}  # fmt: skip
HALF = {
    "diffusion_pytorch_model.bf16.safetensors", "diffusion_pytorch_model.bf16-00001-of-00002.safetensors",
    "diffusion_pytorch_model.safetensors.index.bf16.json", "model.bf16.safetensors", "model.safetensors.index.bf16.json",
}  # fmt: skip
OTHERS = {
    "notes.txt",
    "notes.json",
    "pytorch_lora_weights.safetensors",
    "adapter_config.json",
    "my_model.safetensors",
    "model.json",
}


def _write(folder: Path, names: set[str], content: str = "old") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def _contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_save_owns_configurations_and_the_weights_of_its_variant():
    def owned(variant: str | None) -> set[str]:
        files = [f"{folder}/{name}" for folder in ("vae", "my_vae") for name in PLAIN | OWN | HALF | OTHERS]
        files += ["README.md", "vae/below/config.json"]
        found = files_of_saves(files, ["vae"], variant)
        assert all(name.startswith("vae/") for name in found)
        return {name.removeprefix("vae/") for name in found}

    assert owned(None) == PLAIN | OWN
    assert owned("bf16") == PLAIN | HALF


def test_new_files_replace_old_ones_and_leave_others_alone(tmp_path):
    folder = tmp_path / "model"
    _write(folder, {"index.txt", "vae/a.txt", "text/b.txt", "text/notes.txt", "old/c.txt", "notes.txt"})
    with replacing_files(folder, {"vae/a.txt", "text/b.txt", "old/c.txt"}) as new:
        _write(new, {"index.txt", "vae/d.txt"}, "new")
    found = _contents(folder)
    assert found.pop("manifest.json")
    assert verify_manifest(folder)
    assert found == {"index.txt": "new", "vae/d.txt": "new", "text/notes.txt": "old", "notes.txt": "old"}
    assert not (folder / "old").exists()
    assert list(tmp_path.iterdir()) == [folder]


def _failing_replace(monkeypatch, failing: int, fails_before: bool, error: BaseException) -> None:
    """`os.replace` fails once, before or after the move that it was asked for; the first is that of the manifest itself."""
    replace, calls = os.replace, []

    def failing_replace(path: Path, target: Path) -> None:
        calls.append(path)
        if len(calls) == failing + 2 and fails_before:
            raise error
        replace(path, target)
        if len(calls) == failing + 2:
            raise error

    monkeypatch.setattr(saved_files.os, "replace", failing_replace)


@pytest.mark.parametrize("failing", range(8))
@pytest.mark.parametrize("fails_before", [True, False])
def test_whatever_fails_the_folder_is_as_it_was(failing, fails_before, tmp_path, monkeypatch):
    """Each move fails once, or is followed by a Ctrl-C: three files are laid aside, five arrive."""
    folder = tmp_path / "model"
    _write(folder, {"manifest.json", "index.txt", "vae/a.txt", "notes.txt"})
    before = _contents(folder)
    error = OSError("No space left on device") if fails_before else KeyboardInterrupt("No space left in time")
    _failing_replace(monkeypatch, failing, fails_before, error)
    with pytest.raises(type(error), match="No space"), replacing_files(folder, {"vae/a.txt"}) as new:
        _write(new, {"index.txt", "vae/a.txt", "vae/b.txt", "text/c.txt"}, "new")
    monkeypatch.undo()
    assert _contents(folder) == before
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "index.txt", "vae", "notes.txt"}
    assert list(tmp_path.iterdir()) == [folder]


def test_a_save_makes_as_many_moves_as_the_test_above_lets_fail(tmp_path, monkeypatch):
    folder, replace, calls = tmp_path / "model", os.replace, []
    _write(folder, {"manifest.json", "index.txt", "vae/a.txt", "notes.txt"})
    monkeypatch.setattr(saved_files.os, "replace", lambda *paths: calls.append(paths) or replace(*paths))
    with replacing_files(folder, {"vae/a.txt"}) as new:
        _write(new, {"index.txt", "vae/a.txt", "vae/b.txt", "text/c.txt"}, "new")
    assert len(calls) == 1 + 8


def test_a_disk_that_is_full_when_the_manifest_is_written_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    for folder in (tmp_path / "old", tmp_path / "new"):
        if folder.name == "old":
            _write(folder, {"manifest.json", "vae/a.txt"})
        before = _contents(folder)
        monkeypatch.setattr("xwam.checkpoints.manifest.os.fsync", full)
        with pytest.raises(OSError, match="No space"), replacing_files(folder, {"vae/a.txt"}) as new:
            _write(new, {"vae/a.txt"}, "new")
        monkeypatch.undo()
        assert _contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert {path.name for path in (tmp_path / "old").iterdir()} == {"manifest.json", "vae"}


def test_a_file_in_the_place_of_a_folder_is_named_and_stays(tmp_path):
    for name, arriving, said in (
        ("vae", "vae/a.txt", "is a file"),
        ("index.txt/mine.txt", "index.txt", "is a folder"),
    ):
        folder = tmp_path / said.replace(" ", "")
        _write(folder, {name, "text/b.txt"})
        before = _contents(folder)
        with pytest.raises(CheckpointError, match=said), replacing_files(folder, {"text/b.txt"}) as new:
            _write(new, {arriving, "text/b.txt"}, "new")
        assert _contents(folder) == before


def test_a_link_that_leaves_the_folder_is_said_before_anything_is_written(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    _write(tmp_path / "model", {"vae/a.txt"})
    (tmp_path / "model" / "data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeFileError, match="data is a link"), replacing_files(tmp_path / "model", set()):
        pytest.fail("began")
    assert _contents(tmp_path / "model") == {"vae/a.txt": "old"}


def test_files_that_cannot_be_put_back_are_kept_and_named(tmp_path, monkeypatch):
    folder, replace = tmp_path / "model", os.replace
    _write(folder, {"manifest.json", "vae/a.txt"})

    def failing_replace(path: Path, target: Path) -> None:
        if Path(target) == folder / "vae" / "a.txt":
            raise OSError("Input/output error")
        replace(path, target)

    monkeypatch.setattr(saved_files.os, "replace", failing_replace)
    said = r"Input/output.*they are in .*\.cache/xwam.*vae/a\.txt"
    with pytest.raises(CheckpointError, match=said), replacing_files(folder, set()) as new:
        _write(new, {"vae/a.txt"}, "new")
    (kept,) = (folder / ".cache" / "xwam").glob("*/old/vae/a.txt")
    assert kept.read_text() == "old"


KILLED = """
import os, sys
from pathlib import Path
from xwam.checkpoints import saved_files
folder, last = Path(sys.argv[1]), int(sys.argv[2])
replace, calls = os.replace, []
def dying_replace(path, target):
    calls.append(path)
    if len(calls) == last:
        os._exit(9)
    replace(path, target)
saved_files.os.replace = dying_replace
with saved_files.replacing_files(folder, {"vae/a.txt"}) as new:
    (new / "vae").mkdir()
    for name in ("a.txt", "b.txt"):
        (new / "vae" / name).write_text("new")
"""


@pytest.mark.parametrize("last", range(1, 8))
def test_a_killed_save_is_the_earlier_one_or_refused_and_the_next_one_clears_up(last, tmp_path):
    folder = tmp_path / "model"
    _write(folder, {"vae/a.txt"})
    write_manifest(folder)
    done = subprocess.run([sys.executable, "-c", KILLED, folder, str(last)], check=False)
    if last == 7:  # there are six moves, counted with that of the new manifest in its folder
        assert done.returncode == 0
    else:
        assert done.returncode == 9
        if _contents_without_staging(folder).get("vae/a.txt") != "old":
            with pytest.raises(CorruptFileError):
                verify_manifest(folder)
    left = _contents(folder)
    with pytest.raises(OSError, match="nothing"), replacing_files(folder, {"vae/a.txt"}) as new:
        os.stat(new / "nothing")
    assert _contents(folder) == left, "a save that fails takes nothing away that the killed one left"
    with replacing_files(folder, {"vae/a.txt", "vae/b.txt"}) as new:
        _write(new, {"vae/c.txt"}, "newest")
    assert verify_manifest(folder)
    assert set(_contents(folder)) == {"manifest.json", "vae/c.txt"}
    assert not (folder / ".cache").exists()


def _contents_without_staging(folder: Path) -> dict[str, str]:
    return {name: text for name, text in _contents(folder).items() if not name.startswith(".cache/")}


def test_a_folder_that_failed_to_be_made_is_not_there(tmp_path):
    with pytest.raises(OSError, match="nothing"), replacing_files(tmp_path / "model", set()) as new:
        os.stat(new / "nothing")
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_neighbours_cannot_be_written_can_be(tmp_path, monkeypatch):
    """As where the folder is mounted: nothing is written beside it."""
    folder = tmp_path / "model"
    folder.mkdir()
    make = tempfile.mkdtemp
    monkeypatch.setattr(
        saved_files.tempfile, "mkdtemp", lambda dir: make(dir=dir) if folder in dir.parents else pytest.fail(str(dir))
    )
    with replacing_files(folder, set()) as new:
        _write(new, {"a.txt"})
    assert _contents(folder).keys() == {"a.txt", "manifest.json"}


def test_the_working_directory_and_a_link_can_be_saved_into(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "link").symlink_to("model")
    monkeypatch.chdir(tmp_path / "model")
    for number, folder in enumerate((Path("."), tmp_path / "link")):
        with replacing_files(folder, set()) as new:
            _write(new, {f"{number}.txt"})
    assert {path.name for path in Path(".").iterdir()} == {"0.txt", "1.txt", "manifest.json"}
    assert (tmp_path / "link").is_symlink()
