"""New files take the place of those of an earlier save, and of no others; what fails changes nothing."""

import os
from pathlib import Path

import pytest

from xwam.checkpoints import saved_files
from xwam.checkpoints.manifest import verify_manifest
from xwam.checkpoints.saved_files import files_of_saves, replacing_files

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
    def owned(is_there: bool, variant: str | None) -> set[str]:
        files = [f"{folder}/{name}" for folder in ("vae", "my_vae") for name in PLAIN | OWN | HALF | OTHERS]
        files += ["README.md", "vae/below/config.json"]
        found = files_of_saves(files, {"vae": is_there}, variant)
        assert all(name.startswith("vae/") for name in found)
        return {name.removeprefix("vae/") for name in found}

    assert owned(True, None) == PLAIN | OWN
    assert owned(True, "bf16") == PLAIN | HALF
    assert owned(False, None) == PLAIN | OWN | HALF


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


@pytest.mark.parametrize("failing", range(7))
def test_whatever_fails_the_folder_is_as_it_was(failing, tmp_path, monkeypatch):
    """Each move fails once: three files are laid aside, four arrive."""
    folder, move, calls = tmp_path / "model", saved_files._move, []
    _write(folder, {"manifest.json", "index.txt", "vae/a.txt", "notes.txt"})
    before = _contents(folder)

    def failing_move(path: Path, target: Path) -> None:
        calls.append(path)
        if len(calls) == failing + 1:
            raise OSError("No space left on device")
        move(path, target)

    monkeypatch.setattr(saved_files, "_move", failing_move)
    with pytest.raises(OSError, match="No space"), replacing_files(folder, {"vae/a.txt"}) as new:
        _write(new, {"index.txt", "vae/a.txt", "vae/b.txt", "text/c.txt"}, "new")
    assert _contents(folder) == before
    assert not (folder / "text").exists()
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_failed_to_be_made_is_not_there(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="nothing"), replacing_files(tmp_path / "model", set()) as new:
        os.stat(new / "nothing")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(saved_files, "write_manifest", lambda _: os.stat(tmp_path / "nothing"))
    with pytest.raises(OSError, match="nothing"), replacing_files(tmp_path / "model", set()) as new:
        _write(new, {"vae/a.txt"})
    assert not list(tmp_path.iterdir())


def test_the_working_directory_and_a_link_can_be_saved_into(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "link").symlink_to("model")
    monkeypatch.chdir(tmp_path / "model")
    for number, folder in enumerate((Path("."), tmp_path / "link")):
        with replacing_files(folder, set()) as new:
            _write(new, {f"{number}.txt"})
    assert {path.name for path in Path(".").iterdir()} == {"0.txt", "1.txt", "manifest.json"}
    assert (tmp_path / "link").is_symlink()
