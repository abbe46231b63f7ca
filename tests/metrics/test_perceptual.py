"""LPIPS is that of a plain twin, its weights come from where the user says, and their absence is said in words."""

from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub.constants import HF_ASSETS_CACHE
from loopback_hub import LoopbackHub
from real_frames import DROID, droid_frames
from recorded_folder import needs_recorded
from reference.plain_lpips import plain_lpips
from safetensors.torch import save_file

from xwam.errors import CheckpointError, CheckpointMismatchError, CorruptFileError
from xwam.metrics.images import lpips
from xwam.metrics.perceptual import WEIGHTS_NAME, LPIPSNetwork, default_weights_path


@pytest.fixture(scope="module")
def network() -> LPIPSNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        own = LPIPSNetwork()
        for head in own.heads:
            torch.nn.init.uniform_(head)
    return own.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def folder(network: LPIPSNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lpips")
    save_file(network.state_dict(), made / WEIGHTS_NAME)
    return made


def images(seed: int, shape: tuple[int, ...] = (2, 3, 63, 71, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def compare_with_twin(network: LPIPSNetwork, prediction: np.ndarray, truth: np.ndarray) -> None:
    weights = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    found = lpips(prediction, truth, network=network, batch_size=4)
    assert found.shape == prediction.shape[:-3]
    for index in np.ndindex(found.shape):
        expected = plain_lpips(prediction[index], truth[index], weights)
        assert expected > 0.01
        assert found[index] == pytest.approx(expected, abs=1e-5)


def test_it_is_that_of_the_plain_twin_on_noise(network: LPIPSNetwork):
    compare_with_twin(network, images(0), images(1))
    compare_with_twin(network, images(0, (31, 40, 3)), images(1, (31, 40, 3)))


@needs_recorded(*DROID)
def test_it_is_that_of_the_plain_twin_on_real_frames(network: LPIPSNetwork):
    compare_with_twin(network, droid_frames([200])[:2], droid_frames([0])[:2])


def test_equal_images_are_at_no_distance_and_order_does_not_matter(network: LPIPSNetwork):
    assert (lpips(images(0), images(0), network=network) == 0).all()
    forth, back = (lpips(*pair, network=network) for pair in ((images(0), images(1)), (images(1), images(0))))
    np.testing.assert_allclose(forth, back, rtol=1e-6)
    assert float(lpips(images(0), images(1), network=network, reduce="mean")) == pytest.approx(forth.mean())


def test_dark_images_without_any_feature_give_a_number(network: LPIPSNetwork):
    dead = LPIPSNetwork()
    for parameter in dead.parameters():
        torch.nn.init.zeros_(parameter)
    assert (lpips(images(0), images(1), network=dead) == 0).all()


def test_weights_come_from_a_file_a_folder_or_the_hub(network: LPIPSNetwork, folder: Path, loopback_hub: LoopbackHub):
    loopback_hub.commit_folder("tests/lpips", folder)
    expected = lpips(images(0), images(1), network=network)
    for source in (folder / WEIGHTS_NAME, str(folder), "tests/lpips"):
        np.testing.assert_array_equal(lpips(images(0), images(1), network=source), expected)


def test_weights_are_looked_for_in_the_cache_of_the_hub(network: LPIPSNetwork):
    path = default_weights_path()
    assert path.is_relative_to(HF_ASSETS_CACHE)
    with pytest.raises(CheckpointError, match="LPIPS needs its weights") as absent:
        lpips(images(0), images(1))
    for words in (
        str(path),
        "alexnet-owt-7be5be79.pth",
        "alex.pth",
        "convert_lpips(",
        "PSNR and SSIM need no weights",
    ):
        assert words in str(absent.value)
    save_file(network.state_dict(), path)
    try:
        np.testing.assert_array_equal(lpips(images(0), images(1)), lpips(images(0), images(1), network=network))
    finally:
        path.unlink()


@pytest.mark.parametrize("source", ["no/such/folder", Path("no/such"), "lpips.safetensors"])
def test_a_place_without_weights_is_named(source):
    with pytest.raises(CheckpointError, match=r"LPIPS needs its weights, and .* does not exist"):
        LPIPSNetwork.from_pretrained(source)


def test_a_damaged_file_and_the_weights_of_another_network_are_refused(folder: Path, tmp_path: Path):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((folder / WEIGHTS_NAME).read_bytes()[:-100])
    with pytest.raises(CorruptFileError):
        LPIPSNetwork.from_pretrained(cut)
    other = tmp_path / "other.safetensors"
    save_file({"heads.0": torch.zeros(3), "stranger": torch.zeros(1)}, other)
    with pytest.raises(CheckpointMismatchError, match="stranger") as mismatch:
        LPIPSNetwork.from_pretrained(other)
    assert "heads.0" in mismatch.value.misshapen
    assert "convolutions.0.weight" in mismatch.value.missing


def test_images_too_small_for_the_network_or_of_another_form_are_refused(network: LPIPSNetwork):
    with pytest.raises(ValueError, match="at least 31 × 31 pixels"):
        lpips(images(0, (30, 40, 3)), images(1, (30, 40, 3)), network=network)
    with pytest.raises(TypeError, match="must be uint8"):
        lpips(images(0) / 255, images(1), network=network)
