"""A run that was interrupted is the run that was not; what is not finite changes nothing; the loss is a mean over the windows."""

import errno
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from moving_squares import MovingSquares, mixture_of, squares_pipeline
from safetensors.torch import load_file
from tiny_run import CONFIG, example, joined, make_batches, make_trainer, new_process_state, tiny_pipeline

from xwam.data.streams.stream import make_stream
from xwam.errors import TrainingError
from xwam.training import checkpoint_store
from xwam.training.state_files import read_facts
from xwam.training.step import training_losses
from xwam.training.trainer import Trainer

FILES = ("transformer", "average", "optimizer", "random")
FULL = {"ema_decay": 0.9, "accumulation": 2}


def contents(checkpoint: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(checkpoint.iterdir())}


def signal_at(step: int, accumulation: int, number: int = signal.SIGTERM):
    """An `encode` during which, in the given step, a signal arrives."""
    calls = iter(range(1, 10_000))

    def encode(batch):
        if next(calls) == accumulation * (step - 1) + 1:
            os.kill(os.getpid(), number)
        return batch

    return encode


def nothing(pipeline, folder: Path) -> None:
    (folder / "exported.json").write_text("{}")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, one_thread):
    """Checkpoint and reports of a run that nobody interrupts."""
    trainer, reports = make_trainer(tmp_path_factory.mktemp("whole"), export=nothing, **FULL)
    return trainer.run().checkpoint, reports


@pytest.mark.parametrize(("cut", "workers"), [(1, 0), (7, 2), (10, 0), (13, 2), (19, 0)])
def test_an_interrupted_run_ends_as_the_whole_one_bit_for_bit(tmp_path, whole, cut, workers):
    options = {**FULL, "export": nothing, "num_workers": workers}
    trainer, before = make_trainer(tmp_path, encode=signal_at(cut, 2), **options)
    result = trainer.run()
    assert (result.step, result.stopped_by, result.pipeline) == (cut, signal.SIGTERM, None)
    torch.manual_seed(99)  # another process has another random state
    trainer, after = make_trainer(tmp_path, pipeline=tiny_pipeline(seed=5), **options)
    result = trainer.run()
    assert result.stopped_by is None
    expected, found = contents(whole[0]), contents(result.checkpoint)
    assert set(found) == {f"{name}.safetensors" for name in FILES} | {"run.json", "manifest.json"}
    for name in (f"{name}.safetensors" for name in FILES):
        assert found[name] == expected[name], name
    assert [vars(report) for report in before + after] == [vars(report) for report in whole[1]]


def test_a_run_with_muon_goes_on_bit_for_bit(tmp_path):
    options = {**FULL, "export": nothing, "optimizer": "muon", "steps": 8}
    trainer, expected = make_trainer(tmp_path / "whole", **options)
    whole = trainer.run().checkpoint
    trainer, before = make_trainer(tmp_path / "cut", encode=signal_at(3, 2), **options)
    assert trainer.run().step == 3
    trainer, after = make_trainer(tmp_path / "cut", pipeline=tiny_pipeline(seed=5), **options)
    found = contents(trainer.run().checkpoint)
    for name in (f"{name}.safetensors" for name in FILES):
        assert found[name] == contents(whole)[name], name
    assert [vars(report) for report in before + after] == [vars(report) for report in expected]


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="compiling needs a C++ compiler")
def test_a_compiled_run_goes_on_bit_for_bit_learns_what_a_plain_one_does_and_is_exported_plain(tmp_path):
    options = {"ema_decay": 0.9, "steps": 4, "compile_blocks": True}
    trainer, expected = make_trainer(tmp_path / "whole", **options)
    whole = trainer.run()
    trainer, before = make_trainer(tmp_path / "cut", encode=signal_at(2, 1), **options)
    assert trainer.run().step == 2
    trainer, after = make_trainer(tmp_path / "cut", pipeline=tiny_pipeline(seed=5), **options)
    cut = trainer.run()
    for name in (f"{name}.safetensors" for name in FILES):
        assert contents(cut.checkpoint)[name] == contents(whole.checkpoint)[name], name
    trainer, plain = make_trainer(tmp_path / "plain", **{**options, "compile_blocks": False})
    trainer.run()
    for compiled, eager in zip([*before, *after], plain, strict=True):
        assert compiled.losses == pytest.approx(eager.losses, rel=1e-4)
    assert [own.losses for own in before + after] == [own.losses for own in expected]
    weights = load_file(whole.pipeline / "transformer" / "diffusion_pytorch_model.safetensors")
    assert weights.keys() == tiny_pipeline().transformer.state_dict().keys()


def test_bit_equality_can_fail(tmp_path, whole):
    trainer, reports = make_trainer(tmp_path, export=nothing, encode=signal_at(2, 2), seed=8, **FULL)
    trainer.run()
    assert reports[1].losses != whole[1][1].losses


def test_a_crash_costs_the_steps_since_the_last_checkpoint(tmp_path, whole):
    def crash(report):
        if report.step == 9:
            raise KeyError("power cut")

    trainer, _ = make_trainer(tmp_path, export=nothing, on_step=crash, save_interval=6, **FULL)
    with pytest.raises(KeyError):
        trainer.run()
    trainer, reports = make_trainer(tmp_path, export=nothing, save_interval=6, **FULL)
    result = trainer.run()
    assert reports[0].step == 7
    assert contents(result.checkpoint)["average.safetensors"] == contents(whole[0])["average.safetensors"]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 21))  # those of steps 7 to 9 once
    assert [line["train/loss"] for line in lines] == [report.losses["loss"] for report in whole[1]]


def test_a_damaged_checkpoint_is_passed_over_but_not_where_it_was_named(tmp_path, caplog):
    options = {"export": nothing, "steps": 4, "save_interval": 2}
    trainer, _ = make_trainer(tmp_path, **options)
    newest = trainer.run().checkpoint
    damaged = newest / "optimizer.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    trainer, reports = make_trainer(tmp_path, **options)
    with pytest.raises(ValueError, match="damaged"):
        trainer.run(resume=newest)
    trainer.run()
    assert reports[0].step == 3
    assert "is damaged and passed over" in caplog.text


def test_a_run_is_not_begun_anew_over_an_old_one(tmp_path):
    make_trainer(tmp_path, export=nothing, steps=1)[0].run()
    with pytest.raises(TrainingError, match="holds checkpoints of a run already"):
        make_trainer(tmp_path, export=nothing, steps=1)[0].run(resume="never")
    with pytest.raises(TrainingError, match=r"there are those after steps \[1\]"):
        make_trainer(tmp_path, export=nothing, steps=1)[0].run(resume=tmp_path / "checkpoints" / "step-00000002")


def test_other_data_and_another_base_are_refused(tmp_path):
    make_trainer(tmp_path, export=nothing, steps=1, data={"kitchen": {"episodes": 3}})[0].run()
    with pytest.raises(TrainingError, match=r"data are not those .*\(kitchen\.episodes: 3 then, 4 now"):
        make_trainer(tmp_path, export=nothing, steps=2, data={"kitchen": {"episodes": 4}})[0].run()
    pipeline = tiny_pipeline()
    pipeline.transformer.blocks.requires_grad_(False)
    with pytest.raises(TrainingError, match="another base"):
        make_trainer(tmp_path, export=nothing, steps=2, data={"kitchen": {"episodes": 3}}, pipeline=pipeline)[0].run()


def test_a_changed_configuration_is_named(tmp_path, caplog):
    make_trainer(tmp_path, export=nothing, steps=1)[0].run()
    make_trainer(tmp_path, export=nothing, steps=2, noise_mode="sync", log_interval=5)[0].run()
    assert "`noise_mode` = 'sync'; until here it was 'ans'" in caplog.text
    assert "log_interval" not in caplog.text


def test_only_what_is_trained_is_in_the_checkpoint(tmp_path):
    from safetensors import safe_open

    def frozen_pipeline():
        pipeline = tiny_pipeline()
        pipeline.transformer.requires_grad_(False)
        pipeline.transformer.depth_blocks.requires_grad_(True)
        return pipeline

    trainer, _ = make_trainer(tmp_path, export=nothing, steps=3, pipeline=frozen_pipeline(), ema_decay=0.9)
    before = trainer.pipeline.transformer.blocks[0].attn1.to_q.weight.clone()
    checkpoint = trainer.run().checkpoint
    for name in ("transformer", "average", "optimizer"):
        with safe_open(checkpoint / f"{name}.safetensors", "pt") as file:
            assert all(key.startswith("depth_blocks.") for key in file.keys()), name  # noqa: SIM118
    assert torch.equal(trainer.pipeline.transformer.blocks[0].attn1.to_q.weight, before)
    trainer, reports = make_trainer(tmp_path, export=nothing, steps=5, pipeline=frozen_pipeline(), ema_decay=0.9)
    trainer.run()
    assert [report.step for report in reports] == [4, 5]


# ---------------------------------------------------------------- not finite


def poisoned(steps):
    """An `encode` that makes the loss NaN in some steps."""
    calls = iter(range(1, 10_000))

    def encode(batch):
        if next(calls) in steps:
            batch.clean.video[0, 0, 1] = torch.nan
        return batch

    return encode


def test_a_step_that_is_not_finite_changes_nothing(tmp_path, caplog):
    states = {}

    def keep(report):
        states[report.step] = trainer.folder._state(trainer.progress)

    trainer, reports = make_trainer(
        tmp_path, export=nothing, steps=4, ema_decay=0.9, encode=poisoned({3}), on_step=keep
    )
    trainer.run()
    assert [report.is_skipped for report in reports] == [False, False, True, False]
    for before, after in ((states[2].weights, states[3].weights), (states[2].average, states[3].average)):
        assert all(torch.equal(before[name], after[name]) for name in before)
    for name, own in states[2].optimizer.items():
        assert all(torch.equal(own[key], states[3].optimizer[name][key]) for key in own)
    assert not torch.equal(states[4].weights["proj_out.weight"], states[2].weights["proj_out.weight"])
    assert "step 3, process 0: sample 4, sample 5" in caplog.text
    assert read_facts(trainer.folder.store.path_of(4)).counters["skipped_steps"] == 1


def test_three_in_a_row_stop_the_run_and_name_samples_and_checkpoint(tmp_path):
    trainer, reports = make_trainer(tmp_path, export=nothing, encode=poisoned({3, 5, 6, 7}), save_interval=2)
    with pytest.raises(
        TrainingError, match=r"3 steps in a row, the last one step 7.*sample 12, sample 13.*step-00000006"
    ):
        trainer.run()
    assert reports[-1].step == 6


def test_an_infinite_gradient_is_found_behind_a_finite_loss(tmp_path):
    pipeline = tiny_pipeline()
    trainer, reports = make_trainer(tmp_path, export=nothing, steps=2, pipeline=pipeline)
    pipeline.transformer.action_embedder.linear_1.bias.register_hook(lambda gradient: gradient * torch.inf)
    trainer.run()
    assert [report.is_skipped for report in reports] == [True, True]
    assert all(torch.isfinite(torch.tensor(list(report.losses.values()))).all() for report in reports)


# ---------------------------------------------------------------- the loss


@pytest.mark.parametrize("branch", ["none", "interleaved", "sequence", "channel"])
def test_a_step_is_a_mean_over_its_windows_however_they_are_split(tmp_path, branch):
    curves = []
    for name, batch_size, accumulation in (("one", 4, 1), ("two", 2, 2), ("four", 1, 4)):
        options = {"batch_size": batch_size, "accumulation": accumulation, "spectral_weight": 0.1}
        trainer, reports = make_trainer(
            tmp_path / name, branch=branch, export=nothing, steps=4, encode=depth_for(branch), **options
        )
        trainer.run()
        curves.append([list(report.losses.values()) for report in reports])
    for curve in curves[1:]:
        torch.testing.assert_close(torch.tensor(curve), torch.tensor(curves[0]), rtol=2e-5, atol=1e-6)


def depth_for(branch):
    def encode(batch):
        return batch if branch != "none" else replace(batch, clean=replace(batch.clean, depth=None), depth_mask=None)

    return encode


def test_depth_that_was_encoded_ahead_does_not_trouble_a_branch_without(tmp_path):
    trainer, reports = make_trainer(tmp_path, branch="none", export=nothing, steps=1)
    trainer.run()
    assert set(reports[0].losses) == {"loss", "video", "actions", "states"}


@pytest.mark.parametrize("branch", ["interleaved", "sequence"])
def test_a_run_without_weight_on_depth(tmp_path, branch):
    """Clips, not latents: what the trainer itself encodes."""
    pipeline = squares_pipeline(branch=branch)

    def batches(rank, num_ranks, first):
        return make_stream(mixture_of(MovingSquares()), seed=1, batch_size=1, start_batch=first)

    config = replace(CONFIG, steps=1, batch_size=1, depth_weight=0.0)
    new_process_state()
    reports = []
    Trainer(config, pipeline, batches, tmp_path, export=nothing, on_step=reports.append).run()
    assert ("depth" in reports[0].losses) == (branch == "sequence")
    rest = [reports[0].losses[name] for name in ("video", "actions", "states")]
    assert reports[0].losses["loss"] == pytest.approx(sum(rest), rel=1e-5)


def test_the_first_loss_is_that_of_training_losses(tmp_path):
    trainer, reports = make_trainer(tmp_path, export=nothing, steps=1)
    noisy = trainer._examples(joined([example(0), example(1)]))
    model = tiny_pipeline().transformer.train()
    expected = training_losses(model, trainer.pipeline.scheduler, noisy.batch, noisy.pairs, noisy.noise)
    trainer.run()
    for name, loss in expected.items():
        assert reports[0].losses[name] == pytest.approx(loss.item(), rel=1e-5), name
    assert reports[0].indices == [0, 1]


@pytest.mark.parametrize("mode", ["ans", "decoupled", "sync"])
def test_it_learns_in_every_noise_mode(tmp_path, mode):
    def fixed(batch):
        return replace(batch, indices=batch.indices % 4)

    options = {"batch_size": 4, "steps": 15, "warmup_steps": 3, "learning_rate": 2e-2}
    trainer, reports = make_trainer(tmp_path, export=nothing, noise_mode=mode, encode=fixed, **options)
    trainer.run()
    assert reports[-1].losses["loss"] < 0.7 * reports[0].losses["loss"]


# ---------------------------------------------------------------- options


def test_bfloat16_is_near_float32_and_leaves_the_weights_float32(tmp_path):
    curves = {}
    for precision in ("no", "bf16"):
        trainer, reports = make_trainer(tmp_path / precision, export=nothing, steps=5, precision=precision)
        trainer.run()
        curves[precision] = torch.tensor([report.losses["loss"] for report in reports])
        assert {parameter.dtype for parameter in trainer.pipeline.transformer.parameters()} == {torch.float32}
    assert not torch.equal(curves["no"], curves["bf16"])
    torch.testing.assert_close(curves["bf16"], curves["no"], rtol=0.02, atol=0)


def test_gradient_checkpointing_changes_no_bit(tmp_path, whole):
    """Every loss is that of weights which all gradients before it made."""
    trainer, reports = make_trainer(
        tmp_path, export=nothing, encode=signal_at(6, 2), gradient_checkpointing=True, **FULL
    )
    trainer.run()
    assert trainer.pipeline.transformer.is_gradient_checkpointing
    assert [vars(report) for report in reports] == [vars(report) for report in whole[1][:6]]


def test_the_best_pipeline_is_kept_with_the_averaged_weights(tmp_path):
    losses, seen = {2: 3.0, 4: 1.0, 6: 2.0}, []

    def validate(pipeline, step, with_samples):
        seen.append((step, with_samples, pipeline.transformer.training, pipeline.transformer.proj_out.weight.clone()))
        return {"loss": losses[step], "psnr": 20.0}

    def export(pipeline, folder):
        (folder / "weight.json").write_text(json.dumps(pipeline.transformer.proj_out.weight.sum().item()))

    trainer, _ = make_trainer(
        tmp_path, steps=6, validate=validate, export=export, validation_interval=2, sample_interval=4, ema_decay=0.9,
    )  # fmt: skip
    result = trainer.run()
    assert [(step, samples, training) for step, samples, training, _ in seen] == [
        (2, False, False),
        (4, True, False),
        (6, True, False),
    ]
    assert json.loads((tmp_path / "best" / "weight.json").read_text()) == seen[1][3].sum().item()
    assert json.loads((result.pipeline / "weight.json").read_text()) == seen[2][3].sum().item()
    assert trainer.pipeline.transformer.proj_out.weight.sum().item() != seen[2][3].sum().item()
    assert result.validation == {"loss": 2.0, "psnr": 20.0}
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["validation/loss"] for line in lines if "validation/loss" in line] == [3.0, 1.0, 2.0]
    assert read_facts(result.checkpoint).best == 1.0


def test_the_exported_pipeline_can_be_loaded(tmp_path):
    from xwam.pipelines.pipeline_xwam_policy import XWAMPolicyPipeline

    trainer, _ = make_trainer(tmp_path, steps=2, ema_decay=0.5)
    again = XWAMPolicyPipeline.from_pretrained(trainer.run().pipeline)
    with trainer.folder.averaged():
        trained = {name: tensor.clone() for name, tensor in trainer.pipeline.transformer.state_dict().items()}
    assert all(torch.equal(tensor, trained[name]) for name, tensor in again.transformer.state_dict().items())


def test_what_is_trained_must_be_float32(tmp_path):
    pipeline = tiny_pipeline()
    pipeline.transformer.to(torch.bfloat16)
    with pytest.raises(ValueError, match="must be float32, but"):
        make_trainer(tmp_path, pipeline=pipeline)
    pipeline.transformer.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        make_trainer(tmp_path, pipeline=pipeline)


def test_data_that_end_are_an_error(tmp_path):
    trainer, _ = make_trainer(tmp_path, make_batches=lambda *_: [joined([example(0), example(1)])])
    with pytest.raises(TrainingError, match="ended after 1 of 20 steps"):
        trainer.run()


def test_skipped_windows_are_counted_and_told(tmp_path, caplog):
    class Read:
        def __init__(self, batch):
            self.batch, self.skipped, self.sources = batch, ["kitchen, episode 3: damaged"], ["kitchen 1", "kitchen 2"]

    def batches(rank, num_ranks, first):
        return (Read(batch) for batch in make_batches(2)(rank, num_ranks, first))

    trainer, _ = make_trainer(tmp_path, export=nothing, make_batches=batches, encode=lambda read: read.batch, steps=3)
    trainer.run()
    assert trainer.progress.skipped_samples == 3
    assert "kitchen, episode 3: damaged" in caplog.text
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["count/skipped_samples"] == 3


def test_running_out_of_memory_names_the_knobs(tmp_path):
    def encode(batch):
        torch.empty(1 << 50)

    trainer, _ = make_trainer(tmp_path, encode=encode)
    with pytest.raises(TrainingError, match="smaller `batch_size` with more `accumulation`"):
        trainer.run()


def test_a_line_that_cannot_be_written_does_not_stop_the_training(tmp_path, caplog):
    def block(report):
        if report.step == 1:
            (tmp_path / "metrics.jsonl").unlink()
            (tmp_path / "metrics.jsonl").mkdir()

    trainer, _ = make_trainer(tmp_path, export=nothing, steps=2, on_step=block)
    assert trainer.run().step == 2
    assert "The numbers of step 2 could not be written" in caplog.text


def test_a_pipeline_that_cannot_be_written_in_the_end_is_an_error_whatever_a_checkpoint_would_be(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoint_store, "SAVE_WAITS", ())

    def full(pipeline, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    options = {"steps": 2, "validation_interval": 1, "on_save_error": "continue"}
    losses = iter((2.0, 1.0))
    trainer, reports = make_trainer(tmp_path, export=full, validate=lambda *_: {"loss": next(losses)}, **options)
    with pytest.raises(TrainingError, match=r"pipeline could not be written .*No space left"):
        trainer.run()
    assert len(reports) == 2, "the best pipeline is not worth a run"


def test_an_accelerator_of_another_configuration_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    with pytest.raises(ValueError, match="`accumulation` is 2 in the training configuration but 4 in the accelerator"):
        make_trainer(tmp_path, accumulation=2)


def test_data_that_json_cannot_hold_are_an_error_before_the_first_step_and_tuples_are_lists(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        make_trainer(tmp_path, data={"kitchen": object()})
    for steps in (1, 2):
        trainer, reports = make_trainer(tmp_path, export=nothing, steps=steps, data={"kitchen": (1, 2)})
        trainer.run()
    assert [report.step for report in reports] == [2]


def test_going_on_from_an_older_checkpoint_names_the_newer_ones(tmp_path, caplog):
    make_trainer(tmp_path, export=nothing, steps=3, save_interval=1)[0].run()
    trainer, reports = make_trainer(tmp_path, export=nothing, steps=3)
    trainer.run(resume=tmp_path / "checkpoints" / "step-00000001")
    assert [report.step for report in reports] == [2, 3]
    assert "The checkpoints after steps [2, 3] stay" in caplog.text


def test_curves_go_to_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer, reports = make_trainer(tmp_path, export=nothing, steps=3, tracker="tensorboard")
    trainer.run()
    (file,) = (tmp_path / "logs" / "curves").glob("events*")
    events = EventAccumulator(str(file))
    events.Reload()
    assert [event.value for event in events.Scalars("train/video")] == pytest.approx(
        [report.losses["video"] for report in reports], rel=1e-6
    )
