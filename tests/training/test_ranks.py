"""Two processes are one: the same curve, the same stop, the same end; and never each for itself."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import make_trainer

from xwam.errors import TrainingError
from xwam.pipelines.pipeline_xwam_policy import XWAMPolicyPipeline
from xwam.training.checkpoint_store import CheckpointStore, check_checkpoint

SCRIPT = Path(__file__).with_name("run_on_ranks.py")
TOLERANCE = 1e-4


def nothing(pipeline, folder: Path) -> None:
    (folder / "x.json").write_text("{}")


FULL = {"ema_decay": 0.9, "accumulation": 2, "export": nothing}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """All scenarios, run once; `goes_on_with_two` finds what one process began."""
    root = tmp_path_factory.mktemp("ranks")
    make_trainer(root / "goes_on_with_two" / "run", steps=4, **FULL)[0].run()
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(root)], capture_output=True, text=True, check=False, timeout=300,
        env={**environment, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def answers(root):
    """What both processes said, and how they ended."""

    def read(scenario):
        folder = root / scenario
        said = [
            json.loads((folder / f"{rank}.json").read_text()) if (folder / f"{rank}.json").exists() else None
            for rank in (0, 1)
        ]
        return said, json.loads((root / "results.json").read_text())[scenario]

    return read


def numbers(curve) -> torch.Tensor:
    return torch.tensor([[*step["losses"].values(), step["norm"]] for step in curve], dtype=torch.float64)


def single(folder: Path, **changes):
    trainer, reports = make_trainer(folder, **{**FULL, **changes})
    result = trainer.run()
    return (
        torch.tensor([[*own.losses.values(), own.gradient_norm] for own in reports], dtype=torch.float64),
        reports,
        result,
    )


def tensors_of(checkpoint: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / f"{name}.safetensors")


def test_two_processes_give_the_curve_of_one_with_twice_the_batch(root, answers, tmp_path):
    (first, second), ended = answers("ddp")
    assert ended["codes"] == [0, 0]
    assert first["kind"] == "MULTI_CPU"
    expected, reports, result = single(tmp_path, batch_size=4)
    found = numbers(first["curve"])
    assert torch.equal(found, numbers(second["curve"]))
    assert (found - expected).abs().max() < TOLERANCE
    assert [sorted(a["indices"] + b["indices"]) for a, b in zip(first["curve"], second["curve"], strict=True)] == [
        sorted(own.indices) for own in reports
    ]
    two = tensors_of(root / "ddp" / "run" / "checkpoints" / "step-00000020", "average")
    one = tensors_of(result.checkpoint, "average")
    assert max((two[name] - one[name]).abs().max() for name in one) < TOLERANCE
    other, *_ = single(tmp_path / "other", batch_size=2)
    assert (found - other).abs().max() > TOLERANCE, "this test can fail"


def test_a_signal_to_one_process_stops_both_and_they_end_bit_for_bit_as_if_not(root, answers):
    (first, second), ended = answers("cut")
    assert ended["codes"] == [0, 0]
    assert [len(own["first"]["curve"]) for own in (first, second)] == [7, 7]
    assert all(own["first"]["stopped_by"] == 15 for own in (first, second))
    whole, _ = answers("ddp")
    for own, expected in zip((first, second), whole, strict=True):
        assert own["first"]["curve"] + own["second"]["curve"] == expected["curve"]
    checkpoints = [root / name / "run" / "checkpoints" / "step-00000020" for name in ("cut", "ddp")]
    for name in ("transformer", "average", "optimizer", "random"):
        a, b = ((folder / f"{name}.safetensors").read_bytes() for folder in checkpoints)
        assert a == b, name


def test_one_process_goes_on_where_two_were(root, tmp_path, caplog):
    shutil.copytree(root / "begun_by_two" / "run", tmp_path / "run")
    trainer, reports = make_trainer(tmp_path / "run", steps=8, **FULL)
    trainer.run()
    seen = [index for own in reports for index in own.indices]
    assert seen == list(range(6 * 8, 6 * 8 + 2 * 4)), "six steps of eight windows, then steps of four"
    assert "goes on with 1 processes; until here it had 2" in caplog.text


def test_two_processes_go_on_where_one_was(root, answers):
    said, ended = answers("goes_on_with_two")
    assert ended["codes"] == [0, 0]
    seen = sorted(index for own in said for step in own["curve"] for index in step["indices"])
    assert seen == list(range(4 * 4, 4 * 4 + 4 * 8)), "each window once"


def test_windows_that_are_seen_again_are_named(tmp_path, caplog):
    make_trainer(tmp_path, steps=1, batch_size=3, export=nothing)[0].run()
    trainer, reports = make_trainer(tmp_path, steps=2, batch_size=2, export=nothing)
    trainer.run()
    assert "1 windows are seen a second time" in caplog.text
    assert reports[0].indices == [2, 3]


def test_when_one_process_dies_the_other_ends_and_the_checkpoint_is_sound(root, answers):
    (first, second), ended = answers("dies")
    assert ended["codes"][1] == -9
    assert second is None
    assert ended["codes"][0] == 1
    assert "error" in first
    assert ended["seconds"] < 60
    newest = CheckpointStore(root / "dies" / "run" / "checkpoints").newest()
    assert newest.name == "step-00000004"
    check_checkpoint(newest)


def test_a_full_disk_stops_both_processes_where_it_shall(answers):
    (first, second), ended = answers("full_disk")
    assert ended["codes"] == [1, 1]
    assert "could not be written" in first["error"]
    assert "Another process failed while saving a checkpoint" in second["error"]


def test_a_full_disk_does_not_stop_the_training_where_it_shall_not(root, answers):
    said, ended = answers("full_disk_does_not_stop")
    assert ended["codes"] == [0, 0]
    assert all(len(own["curve"]) == 3 for own in said)
    assert CheckpointStore(root / "full_disk_does_not_stop" / "run" / "checkpoints").steps() == []


def test_processes_that_would_train_each_for_itself_are_refused(answers):
    said, ended = answers("each_for_itself")
    assert ended["codes"] == [1, 1]
    assert any(
        "each would train for itself" in own["error"] for own in said
    )  # the other may hear only that it is gone


def test_fsdp_on_a_cpu_is_refused_and_not_silently_something_else(answers):
    """accelerate shards on accelerators only; on a CPU it would train with DDP."""
    said, ended = answers("fsdp_on_cpu")
    assert ended["codes"] == [1, 1]
    assert all("FSDP was asked for, but accelerate would train with MULTI_CPU" in own["error"] for own in said)


def test_fsdp2_shards_trains_and_resumes_as_one_process(root, answers, tmp_path):
    """accelerate is told that CPUs are devices that it shards on: what is tested is all that comes after that."""
    (first, _), ended = answers("fsdp_persuaded")
    assert ended["codes"] == [0, 0]
    assert first["first"]["kind"] == "FSDP"
    assert first["sharded"] == first["parameters"] > 50
    found = numbers(first["first"]["curve"] + first["second"]["curve"])
    expected, _, result = single(tmp_path, batch_size=4, steps=6)
    assert [len(first[name]["curve"]) for name in ("first", "second")] == [4, 2]
    assert (found - expected).abs().max() < TOLERANCE
    for name in ("transformer", "average", "optimizer"):
        sharded = tensors_of(root / "fsdp_persuaded" / "run" / "checkpoints" / "step-00000006", name)
        one = tensors_of(result.checkpoint, name)
        assert sharded.keys() == one.keys()
        for key, tensor in one.items():
            assert sharded[key].shape == tensor.shape
            assert (sharded[key] - tensor).abs().max() < TOLERANCE, (name, key)


def test_a_checkpoint_of_fsdp2_is_gone_on_with_by_one_process(root, tmp_path):
    shutil.copytree(root / "fsdp_persuaded" / "run", tmp_path / "run")
    trainer, reports = make_trainer(tmp_path / "run", steps=7, **FULL)
    trainer.run()
    assert [own.step for own in reports] == [7]


@pytest.mark.parametrize("stage", ["zero2", "zero3"])
def test_zero_trains_as_one_process_and_exports_its_weights(root, answers, tmp_path, stage):
    """Where DeepSpeed is installed; it builds its communication for CPUs with the machine's compiler."""
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed: ZeRO was not run")
    (first, _), ended = answers(stage)
    assert ended["codes"] == [0, 0]
    assert first["kind"] == "DEEPSPEED"
    expected, _, result = single(tmp_path, batch_size=4, steps=6, ema_decay=None)
    assert (numbers(first["curve"]) - expected).abs().max() < TOLERANCE
    exported = XWAMPolicyPipeline.from_pretrained(root / stage / "run" / "pipeline").transformer.state_dict()
    one = tensors_of(result.checkpoint, "transformer")
    assert max((exported[name] - one[name]).abs().max() for name in one) < TOLERANCE
    assert [path.name for path in (root / stage / "run" / "checkpoints").iterdir()] == ["weights-00000006"]


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is not None, reason="DeepSpeed is installed")
def test_zero_without_deepspeed_is_one_clear_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ImportError, match="`deepspeed` is needed for this accelerate configuration"):
        make_trainer(tmp_path)


def test_processes_that_measured_different_validations_keep_the_same_pipeline(root, answers):
    """The first process decides: each alone would save, or wait for the other to save, at another step."""
    said, ended = answers("validations_differ")
    assert ended["codes"] == [0, 0]
    assert [own["best"] for own in said] == [1.0, 1.0]
    assert json.loads((root / "validations_differ" / "run" / "best" / "x.json").read_text()) == {}


def test_fsdp_with_one_process_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    with pytest.raises(TrainingError, match="FSDP was asked for"):
        make_trainer(tmp_path)
