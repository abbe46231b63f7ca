"""A8 and the race of A2: what a download ends in is the right bytes or a clear error, at one commit."""

import logging
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from checkpoint_folders import make_pipeline_folder, payloads, write_json
from loopback_hub import LoopbackHub
from safetensors.numpy import save_file

from xwam.checkpoints import hub, retrying
from xwam.checkpoints.hub import fetch_snapshot
from xwam.checkpoints.manifest import write_manifest
from xwam.checkpoints.verification import verify_component, verify_folder
from xwam.errors import CheckpointError, CorruptFileError, UnsafeFileError

REPOSITORY = "org/tiny"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = make_pipeline_folder(tmp_path / "source")
    write_manifest(folder)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "RETRY_WAITS", (0.01, 0.01, 0.01, 0.01))


def _make_shards(folder: Path, count: int) -> list[str]:
    """A component of many small shards, without a manifest."""
    rng, weight_map = np.random.default_rng(3), {}
    folder.mkdir(parents=True)
    for number in range(count):
        name = f"model-{number:05d}.safetensors"
        save_file({f"t{number}": rng.normal(size=(500,)).astype(np.float32)}, folder / name)
        weight_map[f"t{number}"] = name
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})
    return sorted(weight_map.values())


def _wrong_files(folder: Path, source: Path) -> list[str]:
    """Downloaded files that differ from those that were published."""
    names = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]
    return [name for name in names if (folder / name).read_bytes() != (source / name).read_bytes()]


def test_what_is_downloaded_is_what_was_published(loopback_hub: LoopbackHub, source, cache):
    commit = loopback_hub.commit_folder(REPOSITORY, source)
    folder = fetch_snapshot(REPOSITORY, cache_dir=cache)
    assert folder.name == commit
    assert _wrong_files(folder, source) == []
    verify_folder(folder)
    verify_component(folder / "transformer")


def test_fifty_cut_connections_end_in_the_right_bytes(loopback_hub: LoopbackHub, tmp_path, cache):
    names, rng = _make_shards(tmp_path / "shards", 50), random.Random(1)
    loopback_hub.commit_folder(REPOSITORY, tmp_path / "shards")
    for name in names:
        loopback_hub.cut(name, rng.randrange((tmp_path / "shards" / name).stat().st_size))
    folder = fetch_snapshot(REPOSITORY, cache_dir=cache)
    assert _wrong_files(folder, tmp_path / "shards") == []
    assert not any(fault.times for faults in loopback_hub.faults.values() for fault in faults)


def _wrong_after_corruption(loopback_hub: LoopbackHub, tmp_path: Path, cache: Path, *, times: int) -> list[str]:
    """Publish ten shards and a text of which each is sent wrong so often; list what ends wrong without an error."""
    names = [*_make_shards(tmp_path / "shards", 9), "notes.txt"]
    (tmp_path / "shards/notes.txt").write_text("Some small text that git keeps itself.\n")
    loopback_hub.commit_folder(REPOSITORY, tmp_path / "shards")
    for name in names:
        loopback_hub.corrupt(name, times=times)
    return _wrong_files(fetch_snapshot(REPOSITORY, cache_dir=cache), tmp_path / "shards")


def test_ten_files_sent_wrong_once_end_in_the_right_bytes(loopback_hub: LoopbackHub, tmp_path, cache):
    assert _wrong_after_corruption(loopback_hub, tmp_path, cache, times=1) == []


def test_ten_files_sent_wrong_for_ever_end_in_an_error_and_leave_nothing(loopback_hub: LoopbackHub, tmp_path, cache):
    with pytest.raises(CorruptFileError, match=r"10 files of 'org/tiny' .* differ from the hashes"):
        _wrong_after_corruption(loopback_hub, tmp_path, cache, times=100)
    left = [
        path.name for path in cache.rglob("*") if path.suffix in {".safetensors", ".txt"} and "snapshots" in path.parts
    ]
    assert left == []
    large = [path for path in cache.glob("models--*/blobs/*") if len(path.name) == 64]
    assert large == []
    loopback_hub.faults.clear()
    assert _wrong_files(fetch_snapshot(REPOSITORY, cache_dir=cache), tmp_path / "shards") == []


def test_the_family_fails_without_hashes(loopback_hub: LoopbackHub, tmp_path, cache, monkeypatch):
    monkeypatch.setattr(hub, "_discard_damaged", lambda folder, expected: [])
    assert len(_wrong_after_corruption(loopback_hub, tmp_path, cache, times=1)) >= 5


def test_a_busy_hub_is_asked_again(loopback_hub: LoopbackHub, source, cache, impatient):
    loopback_hub.commit_folder(REPOSITORY, source)
    loopback_hub.fail(3)
    loopback_hub.fail(1, name="vae/config.json")
    assert _wrong_files(fetch_snapshot(REPOSITORY, cache_dir=cache), source) == []


def test_a_hub_that_stays_busy_ends_in_an_error(loopback_hub: LoopbackHub, source, cache, impatient, caplog):
    loopback_hub.commit_folder(REPOSITORY, source)
    loopback_hub.fail(1000)
    with caplog.at_level(logging.WARNING), pytest.raises(CheckpointError, match=r"'org/tiny' cannot be loaded"):
        fetch_snapshot(REPOSITORY, cache_dir=cache)
    assert "Gave up listing 'org/tiny' after 5 attempts" in caplog.text


def test_offline_with_nothing_cached_is_said_within_two_seconds(loopback_hub: LoopbackHub, cache):
    with loopback_hub.offline():
        start = time.perf_counter()
        with pytest.raises(CheckpointError, match=r"'org/tiny' .*cannot be reached.* give the path of a local folder"):
            fetch_snapshot(REPOSITORY, cache_dir=cache)
        assert time.perf_counter() - start < 2.0


def test_the_advice_is_about_what_keeps_the_hub_away(loopback_hub: LoopbackHub, cache, monkeypatch):
    with pytest.raises(CheckpointError, match=r"`local_files_only` is True.* Pass `local_files_only=False`"):
        fetch_snapshot(REPOSITORY, cache_dir=cache, local_files_only=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"HF_HUB_OFFLINE is set.* Unset HF_HUB_OFFLINE") as error:
        fetch_snapshot(REPOSITORY, cache_dir=cache)
    assert "local_files_only" not in str(error.value)


def test_a_name_that_cannot_be_on_the_hub_is_not_asked_for(loopback_hub: LoopbackHub, cache):
    with pytest.raises(CheckpointError, match=r"There is no folder \./nope"):
        fetch_snapshot("./nope", cache_dir=cache)
    assert loopback_hub.requests == []


def test_offline_with_everything_cached_loads(loopback_hub: LoopbackHub, source, cache):
    loopback_hub.commit_folder(REPOSITORY, source)
    online = fetch_snapshot(REPOSITORY, cache_dir=cache)
    with loopback_hub.offline():
        assert fetch_snapshot(REPOSITORY, cache_dir=cache) == online
        assert fetch_snapshot(REPOSITORY, cache_dir=cache, revision=online.name) == online
    loopback_hub.requests.clear()
    assert fetch_snapshot(REPOSITORY, cache_dir=cache, local_files_only=True) == online
    assert loopback_hub.requests == []


def test_offline_with_a_part_cached_is_an_error(loopback_hub: LoopbackHub, source, cache):
    loopback_hub.commit_folder(REPOSITORY, source)
    folder = fetch_snapshot(REPOSITORY, cache_dir=cache)
    (folder / "vae/config.json").unlink()
    with pytest.raises(CheckpointError, match=r"'org/tiny' .*only a part"):
        fetch_snapshot(REPOSITORY, cache_dir=cache, local_files_only=True)
    assert _wrong_files(fetch_snapshot(REPOSITORY, cache_dir=cache), source) == []


@pytest.mark.parametrize("name", ["vae/diffusion_pytorch_model.safetensors", "vae/config.json"])
def test_damage_in_the_cache_is_found_offline_and_mended_online(name, loopback_hub: LoopbackHub, source, cache):
    loopback_hub.commit_folder(REPOSITORY, source)
    blob = (fetch_snapshot(REPOSITORY, cache_dir=cache) / name).resolve()
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with loopback_hub.offline(), pytest.raises(CorruptFileError, match=name):
        fetch_snapshot(REPOSITORY, cache_dir=cache)
    assert _wrong_files(fetch_snapshot(REPOSITORY, cache_dir=cache), source) == []


def test_the_commit_that_was_checked_is_the_commit_that_is_loaded(loopback_hub: LoopbackHub, source, cache):
    first = loopback_hub.commit_folder(REPOSITORY, source)
    evil = {"pipeline.py": b"raise SystemExit", "model_index.json": b'{"_class_name": ["pipeline", "Evil"]}'}
    loopback_hub.after_listing = lambda: loopback_hub.commit(REPOSITORY, evil)
    folder = fetch_snapshot(REPOSITORY, cache_dir=cache)
    assert folder.name == first != loopback_hub.repositories[f"models/{REPOSITORY}"].head
    assert _wrong_files(folder, source) == []
    assert not any("pipeline.py" in path for _, path in loopback_hub.requests)
    with pytest.raises(UnsafeFileError, match="holds code"):
        fetch_snapshot(REPOSITORY, cache_dir=cache)


def _downloads(loopback_hub: LoopbackHub) -> list[str]:
    return [path for _, path in loopback_hub.requests if "/resolve/" in path]


@pytest.mark.parametrize("name", sorted(name for name in payloads(Path("canary")) if not name.endswith(("txt", "md"))))
def test_a_repository_of_pickles_is_refused_before_or_after_the_download(
    name, loopback_hub: LoopbackHub, tmp_path, cache
):
    canary = tmp_path / "canary"
    loopback_hub.commit(REPOSITORY, {"config.json": b"{}", name: payloads(canary)[name]})
    with pytest.raises(UnsafeFileError, match=r"convert_official_checkpoint\.py"):
        fetch_snapshot(REPOSITORY, cache_dir=cache)
    assert not canary.exists()
    if not name.endswith(".safetensors"):
        assert _downloads(loopback_hub) == []


@pytest.mark.parametrize("name", ["pipeline.py", "transformer/modeling.py", "handler.pyc", "setup.sh"])
def test_a_repository_with_code_is_refused_before_the_download(name, loopback_hub: LoopbackHub, source, cache):
    loopback_hub.commit_folder(REPOSITORY, source)
    loopback_hub.commit(REPOSITORY, {name: b"open('canary', 'w')"})
    with pytest.raises(UnsafeFileError, match="holds code"):
        fetch_snapshot(REPOSITORY, cache_dir=cache)
    assert _downloads(loopback_hub) == []


def test_a_pickle_beside_safetensors_is_not_downloaded(loopback_hub: LoopbackHub, source, cache):
    loopback_hub.commit_folder(REPOSITORY, source)
    loopback_hub.commit(REPOSITORY, {"vae/diffusion_pytorch_model.bin": b"PK\x03\x04", "picture.png": b"\x89PNG"})
    folder = fetch_snapshot(REPOSITORY, cache_dir=cache)
    assert not (folder / "vae/diffusion_pytorch_model.bin").exists()
    assert not any(path.endswith((".bin", ".png")) for path in _downloads(loopback_hub))


def test_components_that_the_caller_brings_are_not_downloaded(loopback_hub: LoopbackHub, source, cache):
    loopback_hub.commit_folder(REPOSITORY, source)
    folder = fetch_snapshot(REPOSITORY, cache_dir=cache, passed=["vae"])
    assert not (folder / "vae").exists()
    assert _wrong_files(fetch_snapshot(REPOSITORY, cache_dir=cache), source) == []


def test_patterns_choose_the_files(loopback_hub: LoopbackHub, source, cache):
    loopback_hub.commit_folder(REPOSITORY, source)
    folder = fetch_snapshot(REPOSITORY, cache_dir=cache, allow_patterns=["transformer/*"])
    assert {path.name for path in folder.iterdir()} == {"transformer"}
    with pytest.raises(CheckpointError, match="holds no file"):
        fetch_snapshot(REPOSITORY, cache_dir=cache, allow_patterns=["nothing/*"])


def test_files_that_the_publisher_forgot_are_named(loopback_hub: LoopbackHub, source, cache):
    (source / "tokenizer/spiece.model").unlink()
    loopback_hub.commit_folder(REPOSITORY, source)
    with pytest.raises(CorruptFileError, match=r"lacks files of its manifest; 1: tokenizer/spiece\.model"):
        fetch_snapshot(REPOSITORY, cache_dir=cache)


def test_files_that_a_component_needs_are_missed_without_a_manifest_too(loopback_hub: LoopbackHub, source, cache):
    for name in ("manifest.json", "tokenizer/spiece.model", "tokenizer/tokenizer.json"):
        (source / name).unlink()
    loopback_hub.commit_folder(REPOSITORY, source)
    with pytest.raises(CorruptFileError, match=r"tokenizer lacks its tokenizer\.json or spiece\.model"):
        fetch_snapshot(REPOSITORY, cache_dir=cache)
    fetch_snapshot(REPOSITORY, cache_dir=cache, passed=["tokenizer"])


def test_a_file_that_differs_from_the_manifest_of_its_publisher_is_named(loopback_hub: LoopbackHub, source, cache):
    save_file({"x": np.zeros(64, np.float32)}, source / "vae/diffusion_pytorch_model.safetensors")
    loopback_hub.commit_folder(REPOSITORY, source)
    with pytest.raises(CorruptFileError, match="vae/diffusion_pytorch_model"):
        fetch_snapshot(REPOSITORY, cache_dir=cache)


def test_a_name_that_leads_out_of_the_cache_is_refused(loopback_hub: LoopbackHub, source, cache):
    loopback_hub.commit_folder(REPOSITORY, source)
    loopback_hub.commit(REPOSITORY, {"../../../escaped.json": b"{}"})
    with pytest.raises(UnsafeFileError, match="leads out"):
        fetch_snapshot(REPOSITORY, cache_dir=cache)
    assert _downloads(loopback_hub) == []


def test_a_cache_without_links_is_verified_too(loopback_hub: LoopbackHub, source, cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_SYMLINKS", True)
    loopback_hub.commit_folder(REPOSITORY, source)
    loopback_hub.corrupt("vae/diffusion_pytorch_model.safetensors")
    loopback_hub.corrupt("vae/config.json")
    folder = fetch_snapshot(REPOSITORY, cache_dir=cache)
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert _wrong_files(folder, source) == []


def test_an_unknown_repository_keeps_the_error_of_the_hub(loopback_hub: LoopbackHub, cache):
    from huggingface_hub.errors import RepositoryNotFoundError

    with pytest.raises(RepositoryNotFoundError):
        fetch_snapshot("org/nothing", cache_dir=cache)


def test_a_cache_without_listing_is_verified_by_its_links(loopback_hub: LoopbackHub, source, cache):
    loopback_hub.commit_folder(REPOSITORY, source)
    folder = fetch_snapshot(REPOSITORY, cache_dir=cache)
    shutil.rmtree(folder.parents[1] / "trees")
    _forget_listings()
    assert fetch_snapshot(REPOSITORY, cache_dir=cache, local_files_only=True) == folder
    (folder / "vae/config.json").resolve().write_text("{ }")
    with pytest.raises(CorruptFileError, match=r"vae/config\.json"):
        fetch_snapshot(REPOSITORY, cache_dir=cache, local_files_only=True)


def _forget_listings() -> None:
    """huggingface_hub keeps listings in memory as well."""
    from huggingface_hub import _tree_cache

    _tree_cache._IN_MEMORY_TREE_CACHE.clear()


def test_without_hashes_only_sizes_are_compared(loopback_hub: LoopbackHub, source, cache):
    loopback_hub.commit_folder(REPOSITORY, source)
    blob = (fetch_snapshot(REPOSITORY, cache_dir=cache) / "vae/diffusion_pytorch_model.safetensors").resolve()
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    fetch_snapshot(REPOSITORY, cache_dir=cache, hashes=False)
    (source / "vae/config.json").write_text("{ }")
    loopback_hub.commit_folder(REPOSITORY, source)
    with pytest.raises(CorruptFileError, match="another size"):
        fetch_snapshot(REPOSITORY, cache_dir=cache, hashes=False)


def test_a_branch_is_remembered_only_when_it_was_verified(loopback_hub: LoopbackHub, source, cache):
    first = loopback_hub.commit_folder(REPOSITORY, source)
    fetch_snapshot(REPOSITORY, cache_dir=cache)
    loopback_hub.commit(REPOSITORY, {"vae/config.json": b'{"auto_map": {"AutoModel": "evil.Evil"}}'})
    with pytest.raises(UnsafeFileError):
        fetch_snapshot(REPOSITORY, cache_dir=cache)
    with loopback_hub.offline():
        assert fetch_snapshot(REPOSITORY, cache_dir=cache).name == first
