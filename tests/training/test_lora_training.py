"""A robot is trained on a frozen base by the trainer: only what belongs to it changes, and what is saved is what was trained."""

import json
import shutil

import pytest
import torch
from ecosystem_samples import act, make_pipeline
from lora_run import new_pipeline, run
from robot_adapter_samples import JOINT_ARM, drive

from xwam.checkpoints.manifest import write_manifest
from xwam.pipelines.model_card import ModelCard
from xwam.robots.registry import get_robot
from xwam.training.lora import (
    LoraSettings,
    lora_config,
    prepare_lora,
    robot_export,
    train_robot,
    trained_parameters,
)


class TestWhatIsTrained:
    def test_lora_and_the_robots_networks_in_float32_and_nothing_else(self):
        pipe = make_pipeline()
        pipe.transformer.bfloat16()
        trained = prepare_lora(pipe, JOINT_ARM)
        parameters = dict(pipe.transformer.named_parameters())
        own = {
            n
            for n in parameters
            if ".lora_" in n
            or n.split(".")[0]
            in ("view_embedding", "action_embedder", "action_proj_out", "state_embedder", "state_proj_out")
        }
        assert {name for name, p in parameters.items() if p.requires_grad} == own == set(trained.names)
        assert {parameters[name].dtype for name in own} == {torch.float32}
        assert {p.dtype for name, p in parameters.items() if name not in own} == {torch.bfloat16}

    def test_counts(self):
        pipe, trained = new_pipeline()
        width, ffn, layers = 128, 512, 4
        attention, feed_forward = 8 * 4 * 2 * width, 2 * 4 * (width + ffn)
        assert trained.lora == layers * (attention + feed_forward)
        assert trained.robot == sum(p.numel() for p in pipe._robots().current.embodiment.parameters())
        base = sum(
            p.numel()
            for n, p in make_pipeline().transformer.named_parameters()
            if not n.startswith(("action_", "state_", "view_"))
        )
        assert trained.base == base
        assert trained.share == (trained.lora + trained.robot) / (trained.lora + trained.robot + base)
        assert f"{trained.trained:,} of" in str(trained)
        assert trained.megabytes() == 4 * trained.trained / 1e6

    def test_the_file_is_as_large_as_was_said(self, tmp_path):
        pipe, trained = new_pipeline()
        pipe.save_robot(tmp_path)
        size = (tmp_path / "pytorch_lora_weights.safetensors").stat().st_size / 1e6
        assert size == pytest.approx(trained.megabytes(), abs=0.03)  # the header holds names and metadata

    @pytest.mark.parametrize(
        ("robot", "settings", "num_layers"),
        [
            (JOINT_ARM, LoraSettings(), 4 * 10),
            (JOINT_ARM, LoraSettings(adapts_depth=True), 6 * 10),
            (JOINT_ARM, LoraSettings(adapts_feed_forward=False), 4 * 8),
            (get_robot("mujoco_panda"), LoraSettings(), 6 * 10),
            (get_robot("mujoco_panda"), LoraSettings(adapts_depth=False), 4 * 10),
        ],
    )
    def test_which_layers_are_adapted(self, robot, settings, num_layers):
        """Depth blocks only where the robot has depth: an unused parameter would stop DDP."""
        pipe = make_pipeline()
        trained = prepare_lora(pipe, robot, settings)
        assert sum(name.endswith("lora_A." + pipe.active_robot + ".weight") for name in trained.names) == num_layers

    def test_a_second_robot_leaves_the_first_alone(self):
        pipe, _ = new_pipeline()
        trained = prepare_lora(pipe, JOINT_ARM, adapter_name="other")
        assert not any(".joint_arm." in name for name in trained.names)
        again = train_robot(pipe, "joint_arm")
        assert not any(".other." in name for name in again.names)
        assert again.trained == trained_parameters(pipe.transformer).trained

    def test_settings(self):
        config = lora_config(JOINT_ARM, LoraSettings(rank=8, dropout=0.1))
        assert (config.r, config.lora_alpha, config.lora_dropout, config.use_rslora) == (8, 8, 0.1, False)

    @pytest.mark.parametrize("fields", [{"rank": 0}, {"rank": 1.5}, {"alpha": 0.0}, {"dropout": 1.0}])
    def test_settings_that_cannot_be(self, fields):
        with pytest.raises(ValueError, match=next(iter(fields))):
            LoraSettings(**fields)

    def test_without_quantiles_nothing_is_trained(self):
        from dataclasses import replace

        pipe = make_pipeline()
        with pytest.raises(ValueError, match="quantiles"):
            prepare_lora(pipe, replace(JOINT_ARM, quantiles=None))
        assert pipe.robots == []


class TestTraining:
    @pytest.fixture(scope="class")
    def trained(self, tmp_path_factory):
        pipe, _ = new_pipeline()
        base = {n: t.clone() for n, t in make_pipeline().transformer.state_dict().items()}
        result, reports = run(tmp_path_factory.mktemp("run"), pipe, steps=12, save_interval=6)
        return pipe, base, result, reports

    def test_the_loss_falls_and_every_tensor_learns(self, trained):
        pipe, _, _, reports = trained
        losses = [report.losses["loss"] for report in reports]
        assert sum(losses[-4:]) < 0.95 * sum(losses[:4])
        start = dict(new_pipeline()[0].transformer.named_parameters())
        for name, parameter in pipe.transformer.named_parameters():
            if parameter.requires_grad:
                assert not torch.equal(parameter, start[name]), name

    def test_the_base_has_not_changed_by_a_bit(self, trained):
        pipe, base, _, _ = trained
        pipe.transformer.eval()
        pipe.set_robot(None)
        after = {
            n.replace(".base_layer", ""): t for n, t in pipe.transformer.state_dict().items() if ".lora_" not in n
        }
        assert after.keys() == base.keys()
        assert all(torch.equal(after[name], base[name]) for name in base)
        assert torch.equal(act(pipe), act(make_pipeline()))
        pipe.set_robot("joint_arm")

    def test_what_is_exported_is_what_was_trained(self, trained):
        pipe, _, result, _ = trained
        pipe.transformer.eval()
        loaded = make_pipeline()
        loaded.load_robot(result.pipeline)
        assert torch.equal(drive(loaded), drive(pipe))

    def test_checkpoints_hold_only_what_is_trained(self, trained):
        from safetensors.torch import load_file

        pipe, _, result, _ = trained
        names = set(load_file(result.checkpoint / "transformer.safetensors"))
        assert names == {name for name, p in pipe.transformer.named_parameters() if p.requires_grad}

    def test_a_run_that_goes_on_ends_as_the_whole_one(self, trained, tmp_path):
        pipe, _, _, _ = trained
        first, _ = new_pipeline()
        run(tmp_path, first, steps=12, save_interval=6, on_step=_stop_after(6))
        again, _ = new_pipeline(seed=9)  # another start, which the checkpoint replaces
        result, _ = run(tmp_path, again, steps=12, save_interval=6)
        assert result.step == 12
        expected = dict(pipe.transformer.named_parameters())
        for name, parameter in again.transformer.named_parameters():
            assert torch.equal(parameter, expected[name]), name

    def test_a_checkpoint_that_does_not_tell_its_lora_goes_on(self, trained, tmp_path):
        _, _, result, _ = trained
        facts = json.loads((result.checkpoint / "run.json").read_text())
        assert facts["lora"] == {
            "rank": 4, "alpha": 8.0, "rslora": True, "lora_dropout": 0.0, "attention_only": False,
        }  # fmt: skip
        older = tmp_path / "checkpoints" / result.checkpoint.name
        shutil.copytree(result.checkpoint, older)
        del facts["lora"]
        (older / "run.json").write_text(json.dumps(facts))
        write_manifest(older)
        other = make_pipeline()
        prepare_lora(other, JOINT_ARM, LoraSettings(rank=4, alpha=2))
        again, reports = run(tmp_path, other, steps=12)
        assert (again.step, reports) == (12, [])

    def test_a_loaded_robot_can_be_trained_further(self, trained, tmp_path):
        _, _, result, _ = trained
        pipe = make_pipeline()
        counts = train_robot(pipe, pipe.load_robot(result.pipeline))
        assert counts.trained == trained_parameters(pipe.transformer).trained > 0
        before = {name: p.detach().clone() for name, p in pipe.transformer.named_parameters()}
        run(tmp_path, pipe, steps=2)
        for name, parameter in pipe.transformer.named_parameters():
            assert torch.equal(parameter, before[name]) != parameter.requires_grad, name

    def test_gradient_checkpointing_gives_the_same_gradients(self, tmp_path):
        found = []
        for number, checkpointing in enumerate((False, True)):
            pipe, _ = new_pipeline()
            run(tmp_path / str(number), pipe, steps=2, gradient_checkpointing=checkpointing)
            found.append({n: p for n, p in pipe.transformer.named_parameters() if p.requires_grad})
        for name in found[0]:
            torch.testing.assert_close(found[0][name], found[1][name], rtol=0, atol=1e-6)

    def test_a_bfloat16_base(self, tmp_path):
        pipe = make_pipeline()
        pipe.transformer.bfloat16()
        prepare_lora(pipe, JOINT_ARM)
        result, reports = run(
            tmp_path, pipe, steps=2, precision="bf16", ema_decay=0.9, export=robot_export(ModelCard(license="mit"))
        )
        assert not any(report.is_skipped for report in reports)
        assert "mit" in (result.pipeline / "README.md").read_text()


def _stop_after(step: int):
    import os
    import signal

    def on_step(report):
        if report.step == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    return on_step
