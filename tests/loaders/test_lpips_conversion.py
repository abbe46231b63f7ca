"""The published files of LPIPS become one safetensors file, and nothing in them is executed."""

import hashlib
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from xwam.errors import CheckpointError, CheckpointMismatchError, CorruptFileError, UnsafeFileError
from xwam.loaders.lpips_conversion import convert_lpips
from xwam.loaders.tensor_files import read_state_dict
from xwam.metrics.perceptual import CONVOLUTIONS, LPIPSNetwork

PLACES = (0, 3, 6, 8, 10)  # of the convolutions in torchvision's `AlexNet.features`


def alexnet() -> dict[str, torch.Tensor]:
    """Names and shapes of torchvision's AlexNet; of its classifier one tensor stands for all."""
    generator = torch.Generator().manual_seed(0)
    tensors = {"classifier.6.bias": torch.zeros(1000)}
    for place, (inputs, outputs, size, *_) in zip(PLACES, CONVOLUTIONS, strict=True):
        tensors[f"features.{place}.weight"] = torch.randn(outputs, inputs, size, size, generator=generator)
        tensors[f"features.{place}.bias"] = torch.randn(outputs, generator=generator)
    return tensors


def heads() -> dict[str, torch.Tensor]:
    return {f"lin{i}.model.1.weight": torch.rand(1, outputs, 1, 1) for i, (_, outputs, *_) in enumerate(CONVOLUTIONS)}


def saved(path: Path, content: object, *, archive: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    return path


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "before torch 1.6"])
def test_every_tensor_finds_its_place(archive: bool, tmp_path: Path):
    trunk, learned = alexnet(), heads()
    files = [saved(tmp_path / "a.pth", trunk, archive=archive), saved(tmp_path / "h.pth", learned, archive=archive)]
    path = convert_lpips(*files, tmp_path / "new" / "lpips_alex.safetensors")
    found = load_file(path)
    for index, place in enumerate(PLACES):
        for kind in ("weight", "bias"):
            assert torch.equal(found[f"convolutions.{index}.{kind}"], trunk[f"features.{place}.{kind}"])
        assert torch.equal(found[f"heads.{index}"], learned[f"lin{index}.model.1.weight"].flatten())
    assert len(found) == 15
    network = LPIPSNetwork.from_pretrained(path)
    assert torch.equal(network.heads[4], learned["lin4.model.1.weight"].flatten())


def test_a_missing_or_misshapen_tensor_is_named(tmp_path: Path):
    good = saved(tmp_path / "a.pth", alexnet()), saved(tmp_path / "h.pth", heads())
    without = saved(tmp_path / "b.pth", {name: own for name, own in alexnet().items() if name != "features.6.bias"})
    with pytest.raises(CheckpointMismatchError, match=r"missing: features\.6\.bias"):
        convert_lpips(without, good[1], tmp_path / "out.safetensors")
    with pytest.raises(CheckpointMismatchError, match=r"missing: features\.0\.weight"):
        convert_lpips(good[1], good[0], tmp_path / "out.safetensors")
    wide = saved(tmp_path / "c.pth", alexnet() | {"features.0.weight": torch.zeros(64, 3, 7, 7)})
    with pytest.raises(CheckpointMismatchError, match=r"convolutions\.0\.weight: \(64, 3, 7, 7\)"):
        convert_lpips(wide, good[1], tmp_path / "out.safetensors")
    flat = saved(tmp_path / "f.pth", heads() | {"lin2.model.1.weight": torch.zeros(384)})
    with pytest.raises(CheckpointMismatchError, match=r"lin2\.model\.1\.weight: \(384,\)"):
        convert_lpips(good[0], flat, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_name_with_a_hash_is_held_to_it(tmp_path: Path):
    learned, file = saved(tmp_path / "h.pth", heads()), saved(tmp_path / "a.pth", alexnet())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    right, wrong = tmp_path / f"alexnet-owt-{digest[:8]}.pth", tmp_path / "alexnet-owt-7be5be79.pth"
    wrong.write_bytes(file.read_bytes())
    with pytest.raises(CorruptFileError, match=rf"should have the SHA-256 7be5be79… but has {digest}"):
        convert_lpips(wrong, learned, tmp_path / "out.safetensors")
    file.rename(right)
    assert convert_lpips(right, learned, tmp_path / "out.safetensors").is_file()


class Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


@pytest.mark.parametrize("archive", [True, False])
def test_nothing_in_a_file_is_executed(archive: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    file = saved(tmp_path / "a.pth", alexnet() | {"attack": Attack()}, archive=archive)
    with pytest.raises(UnsafeFileError, match="loading it could run code"):
        read_state_dict(file)
    assert not (tmp_path / "attacked").exists()


def test_files_that_hold_no_tensors_are_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="does not exist"):
        read_state_dict(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match="must be a dictionary of dense tensors"):
        read_state_dict(saved(tmp_path / "l.pth", [torch.zeros(1)]))
    with pytest.raises(CheckpointError, match="must be a dictionary of dense tensors"):
        read_state_dict(saved(tmp_path / "n.pth", {"epoch": 3}))
    pointer = tmp_path / "p.pth"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises((CorruptFileError, UnsafeFileError)):
        read_state_dict(pointer)
    cut = tmp_path / "cut.pth"
    cut.write_bytes(saved(tmp_path / "a.pth", alexnet()).read_bytes()[:5000])
    with pytest.raises(CorruptFileError, match="is not a file of PyTorch tensors"):
        read_state_dict(cut)


def test_weights_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def cut_off(tensors: object, path: str | Path) -> None:
        Path(path).write_bytes(b"half of it")
        raise OSError("the disk is full")

    monkeypatch.setattr("xwam.loaders.lpips_conversion.save_file", cut_off)
    files = saved(tmp_path / "a.pth", alexnet()), saved(tmp_path / "h.pth", heads())
    with pytest.raises(OSError, match="the disk is full"):
        convert_lpips(*files, tmp_path / "new" / "out.safetensors")
    assert list((tmp_path / "new").iterdir()) == []
