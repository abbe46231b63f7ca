"""A checkpoint of the release becomes a pipeline folder and comes back to the bit, or nothing is written at all."""

import json
import os
from pathlib import Path

import pytest
import torch
from checkpoint_twin import CONFIG_YAML, random_module
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file, save_file
from transformers import UMT5EncoderModel

from xwam.checkpoints.manifest import verify_manifest
from xwam.errors import CheckpointConfigError, CheckpointError, CheckpointMismatchError, UnsafeFileError
from xwam.loaders import conversion, sharding
from xwam.loaders.conversion import (
    convert_official_checkpoint,
    export_official_checkpoint,
    inspect_official_checkpoint,
)
from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.robots.processor import RobotProcessor
from xwam.schedulers.scheduling_xwam import XWAMScheduler

STATES = Path("checkpoint") / "mp_rank_00_model_states.pt"


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "ours"


@pytest.fixture
def convert(output, tiny_sizes):
    def run(source, **options):
        options = {"robot": "robocasa", "sizes": tiny_sizes, **options}
        return convert_official_checkpoint(source, output, **options)

    return run


def module_of(folder: Path, step: str = "last") -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / f"{step}.ckpt" / STATES, weights_only=True)["module"]


def assert_same_bits(first, second):
    assert set(first) == set(second)
    for name, tensor in first.items():
        assert second[name].dtype == tensor.dtype, name
        assert torch.equal(second[name].view(torch.uint8), tensor.contiguous().view(torch.uint8)), name


def assert_nothing_left(folder: Path, *kept: str):
    assert {path.name for path in folder.iterdir()} == set(kept)


def test_official_to_ours_to_official_is_equal_to_the_bit(official, output, convert, module, tmp_path):
    convert(official)
    report = export_official_checkpoint(output, tmp_path / "back")
    assert_same_bits(module, module_of(tmp_path / "back"))
    assert (tmp_path / "back/config.yaml").read_text() == (official / "config.yaml").read_text()
    assert len(report.mapped) == len(module) - 2


@pytest.mark.parametrize("step", ["/etc/evil", "../evil", "a/b", ".hidden"])
def test_the_way_back_writes_nowhere_else(official, output, convert, tmp_path, step):
    convert(official)
    record = json.loads((output / "conversion.json").read_text())
    (output / "conversion.json").write_text(json.dumps({**record, "step": step}))
    with pytest.raises(CheckpointError, match="`step` must be a plain name"):
        export_official_checkpoint(output, tmp_path / "back")
    with pytest.raises(CheckpointError, match="`step` must be a plain name"):
        export_official_checkpoint(output, tmp_path / "back", step=step)
    assert not (tmp_path / "back").exists()


def test_the_way_back_does_not_depend_on_the_shards(official, output, convert, module, tmp_path):
    convert(official, max_shard_size=20_000)
    assert len(list((output / "transformer").glob("*.safetensors"))) > 3
    export_official_checkpoint(output, tmp_path / "back", step="5000")
    assert_same_bits(module, module_of(tmp_path / "back", "5000"))


def test_the_real_classes_load_the_folder_without_a_missing_or_unexpected_tensor(official, output, convert, module):
    convert(official, max_shard_size=20_000)
    for cls, folder, ours, theirs in (
        (XWAMTransformer3DModel, "transformer", "depth_blocks.1.ffn.net.2.bias", "model.extra_blocks.0.1.ffn.2.bias"),
        (AutoencoderKLWan, "vae", "post_quant_conv.weight", "vae.model.conv2.weight"),
    ):
        model, info = cls.from_pretrained(output / folder, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        assert torch.equal(model.state_dict()[ours].bfloat16(), module[theirs])
    text_encoder, info = UMT5EncoderModel.from_pretrained(output / "text_encoder", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert text_encoder.dtype == torch.bfloat16
    assert torch.equal(text_encoder.encoder.embed_tokens.weight, module["text_encoder.model.token_embedding.weight"])


def test_the_folder_says_what_it_is(official, output, convert, tmp_path):
    (tmp_path / "umt5").mkdir()
    (tmp_path / "umt5" / "tokenizer.json").write_text("{}")
    (tmp_path / "umt5" / "evil.py").write_text("raise SystemExit")
    convert(official, tokenizer=tmp_path / "umt5")
    index = json.loads((output / "model_index.json").read_text())
    assert index["transformer"] == ["xwam", "XWAMTransformer3DModel"]
    assert index["tokenizer"][0] == "transformers"
    assert [path.name for path in (output / "tokenizer").iterdir()] == ["tokenizer.json"]
    assert index["max_sequence_length"] == 64
    assert verify_manifest(output)

    scheduler = XWAMScheduler.from_pretrained(output / "scheduler")
    assert (scheduler.config.shift, scheduler.config.num_inference_steps, scheduler.config.num_action_steps) == (
        5,
        50,
        10,
    )
    spec = RobotProcessor.from_pretrained(output / "robot_processor").spec
    assert (spec.name, spec.image_size, spec.crop_ratio, spec.actions_per_frame) == ("robocasa", (64, 96), 0.9, 4)
    assert spec.quantiles.state_high[:3] == (0.73, 0.6, 0.97)


def test_a_file_outside_any_experiment_needs_its_config_and_has_no_step(official, output, convert, module, tmp_path):
    (tmp_path / "bare").mkdir()
    file = (official / "checkpoints/last.ckpt" / STATES).rename(tmp_path / "bare" / "weights.pt")
    with pytest.raises(
        CheckpointError, match=r"weights\.pt does not lie in an experiment folder; give its config\.yaml"
    ):
        convert(file)
    convert(file, config=official / "config.yaml")
    assert "step" not in json.loads((output / "conversion.json").read_text())
    export_official_checkpoint(output, tmp_path / "back")
    assert_same_bits(module, module_of(tmp_path / "back", "last"))


def test_a_file_near_the_root_is_no_experiment():
    assert conversion._experiment_of(Path("/weights.pt")) == (None, None)
    assert conversion._experiment_of(Path("/checkpoint/weights.pt")) == (None, None)
    inside = Path("/run/checkpoints/step=5.5.ckpt") / STATES
    assert conversion._experiment_of(inside) == (Path("/run"), "step=5.5")


def test_the_step_of_a_file_is_that_of_its_folder_or_the_given_one(make_official, output, convert, module, tmp_path):
    file = make_official(module, step="7000") / "checkpoints/7000.ckpt" / STATES
    with pytest.raises(CheckpointError, match="is step '7000', but `step` is '8000'"):
        convert(file, step="8000")
    convert(file)
    assert json.loads((output / "conversion.json").read_text())["step"] == "7000"


def test_a_link_to_a_file_belongs_where_the_link_is(official, output, convert, tmp_path):
    file = official / "checkpoints/last.ckpt" / STATES
    file.symlink_to(file.rename(tmp_path / "blob"))
    convert(file)
    assert json.loads((output / "conversion.json").read_text())["step"] == "last"


def test_a_schedule_that_cannot_be_is_refused_before_anything_is_written(make_official, convert, module, monkeypatch):
    monkeypatch.setattr(conversion, "write_shards", lambda *_, **__: pytest.fail("a shard was written"))
    config = CONFIG_YAML.replace("action_denoise_steps: 10", "action_denoise_steps: 99")
    with pytest.raises(CheckpointConfigError, match="describes no schedule"):
        convert(make_official(module, config=config))


def test_without_a_tokenizer_the_index_says_so(official, output, convert):
    convert(official)
    assert json.loads((output / "model_index.json").read_text())["tokenizer"] == [None, None]


def test_a_checkpoint_without_depth_becomes_the_branch_none(make_official, output, convert, tmp_path):
    module = random_module(has_depth=False)
    convert(make_official(module, config=CONFIG_YAML.replace("use_depth: true", "use_depth: false")))
    assert json.loads((output / "transformer/config.json").read_text())["depth_branch"] == "none"
    export_official_checkpoint(output, tmp_path / "back")
    assert_same_bits(module, module_of(tmp_path / "back"))


def test_float32_weights_keep_their_bytes_except_the_vaes(make_official, output, convert, module, tmp_path):
    wide = {name: tensor.float() + 1e-4 for name, tensor in module.items()}
    convert(make_official(wide))
    export_official_checkpoint(output, tmp_path / "back")
    back = module_of(tmp_path / "back")
    rounded = {name: t.bfloat16() if name.startswith("vae.model.") else t for name, t in wide.items()}
    assert_same_bits(rounded, back)


def test_the_vae_is_scaled_as_the_release_scales_it(official, output, convert, module):
    convert(official)
    config = json.loads((output / "vae/config.json").read_text())
    assert config["latents_mean"] == module["vae.mean"].double().tolist()
    used_by_the_release = (1.0 / module["vae.std"]).double()  # a bfloat16 division
    assert (1.0 / torch.tensor(config["latents_std"], dtype=torch.float64)).tolist() == used_by_the_release.tolist()
    weights = load_file(output / "vae/diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}


def test_statistics_come_back_equivalent_when_the_record_is_lost(official, output, convert, module, tmp_path):
    convert(official)
    (output / "conversion.json").unlink()
    with pytest.raises(CheckpointError, match=r"give its config.yaml as `config`"):
        export_official_checkpoint(output, tmp_path / "back")
    export_official_checkpoint(output, tmp_path / "back", config=official / "config.yaml")
    back = module_of(tmp_path / "back")
    assert {back[name].dtype for name in ("vae.mean", "vae.std")} == {torch.bfloat16}
    assert torch.equal(back["vae.mean"], module["vae.mean"])
    assert torch.equal(1.0 / back["vae.std"], 1.0 / module["vae.std"])


def test_the_record_yields_to_a_vae_that_was_changed_since(official, output, convert, tmp_path):
    convert(official)
    path = output / "vae/config.json"
    config = json.loads(path.read_text())
    config["latents_std"] = [0.3, 0.7, 1.1, 1.3]
    path.write_text(json.dumps(config))
    export_official_checkpoint(output, tmp_path / "back")
    assert torch.equal(module_of(tmp_path / "back")["vae.std"], torch.tensor([0.3, 0.7, 1.1, 1.3]))


def test_the_report_names_every_tensor_once(official, module, tiny_sizes):
    report = inspect_official_checkpoint(official, robot="robocasa", sizes=tiny_sizes)
    assert set(report.mapped) == set(module)
    assert len(set(report.mapped.values())) >= len(module) - 1
    assert report.mapped["model.head.modulation"] == "transformer/scale_shift_table"
    text = report.to_text(every_tensor=True)
    assert all(name in text for name in module)


FAULTS = {
    "a missing trunk tensor": lambda m: m.pop("model.blocks.1.self_attn.q.weight"),
    "a missing block": lambda m: [m.pop(name) for name in list(m) if name.startswith("model.blocks.2.")],
    "a missing depth head": lambda m: m.pop("model.extra_heads.0.modulation"),
    "a missing embedding of words": lambda m: m.pop("text_encoder.model.token_embedding.weight"),
    "a missing VAE": lambda m: [m.pop(name) for name in list(m) if name.startswith("vae.model.")],
    "a missing mean": lambda m: m.pop("vae.mean"),
    "one block too many": lambda m: m.update({"model.blocks.3.modulation": torch.zeros(1, 6, 24)}),
    "a second depth branch": lambda m: m.update({"model.extra_heads.1.modulation": torch.zeros(1, 2, 24)}),
    "a stranger": lambda m: m.update({"discriminator.weight": torch.zeros(2)}),
    "a stranger in the VAE": lambda m: m.update({"vae.scale": torch.zeros(2)}),
    "a stranger in the text encoder": lambda m: m.update({"text_encoder.model.lm_head.weight": torch.zeros(2)}),
    "a wrong shape": lambda m: m.update({"model.head.head.weight": torch.zeros(16, 25)}),
    "a scalar": lambda m: m.update({"vae.std": torch.tensor(1.0)}),
    "another robot's actions": lambda m: m.update({"model.action_encoder.0.weight": torch.zeros(24, 7)}),
    "whole numbers": lambda m: m.update({"vae.model.conv1.bias": torch.zeros(8, dtype=torch.int64)}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_checkpoint_that_does_not_fit_leaves_nothing_behind(fault, module, make_official, output, convert, tmp_path):
    FAULTS[fault](module)
    with pytest.raises(CheckpointMismatchError) as caught:
        convert(make_official(module))
    error = caught.value
    assert error.missing or error.unexpected or error.misshapen
    assert_nothing_left(tmp_path, "official")


def test_the_error_names_tensor_and_both_shapes(module, make_official, convert):
    module["model.head.head.weight"] = torch.zeros(16, 25)
    with pytest.raises(CheckpointMismatchError, match=r"model.head.head.weight \(16, 25\) instead of \(16, 24\)"):
        convert(make_official(module))


def test_a_disk_that_fills_up_leaves_nothing_behind(official, output, convert, tmp_path, monkeypatch):
    written = []

    def fail_on_the_third(tensors, path, **options):
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        return save_file(tensors, path, **options)

    monkeypatch.setattr(sharding, "save_file", fail_on_the_third)
    with pytest.raises(OSError, match="No space left"):
        convert(official, max_shard_size=20_000)
    assert len(written) == 3
    assert_nothing_left(tmp_path, "official")


def test_an_output_that_exists_is_left_alone(official, output, convert):
    output.mkdir()
    (output / "precious.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists already"):
        convert(official)
    assert_nothing_left(output, "precious.txt")


def test_code_in_the_file_is_refused_and_not_run(official, convert, tmp_path, output):
    canary = tmp_path / "canary"

    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {canary}",)

    file = official / "checkpoints" / "last.ckpt" / STATES
    torch.save({"module": {"model.x": Payload()}}, file)
    with pytest.raises(UnsafeFileError, match=r"could run code; it was not loaded. It asks for .*system"):
        convert(official)
    assert not canary.exists()
    assert not output.exists()


def test_the_file_itself_may_be_given(official, output, convert):
    convert(official / "checkpoints" / "last.ckpt" / STATES)
    assert (output / "transformer/config.json").exists()


def test_among_several_steps_one_must_be_named(official, convert, tiny_sizes):
    (official / "checkpoints" / "last.ckpt").rename(official / "checkpoints" / "5000.ckpt")
    other = official / "checkpoints" / "10000.ckpt" / STATES
    other.parent.mkdir(parents=True)
    other.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"\['10000', '5000'\]"):
        convert(official)
    with pytest.raises(CheckpointError, match=r"'last'; it has"):
        convert(official, step="last")
    report = inspect_official_checkpoint(official, robot="robocasa", step="5000", sizes=tiny_sizes)
    assert report.is_full_match


def test_without_its_config_a_checkpoint_is_refused(official, convert):
    (official / "config.yaml").unlink()
    with pytest.raises(CheckpointConfigError, match=r"config.yaml cannot be read"):
        convert(official)


@pytest.mark.parametrize("branch", ["sequence", "channel", "nonsense"])
def test_a_branch_that_the_release_has_not_cannot_go_back(branch, official, output, convert, tmp_path):
    convert(official)
    path = output / "transformer/config.json"
    path.write_text(path.read_text().replace('"interleaved"', f'"{branch}"'))
    with pytest.raises(CheckpointError, match=f"no depth branch '{branch}'"):
        export_official_checkpoint(output, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_folder_that_lost_a_tensor_cannot_go_back(official, output, convert, tmp_path):
    convert(official)
    path = output / "transformer/diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    del tensors["proj_out.bias"]
    save_file(tensors, path)
    with pytest.raises(CheckpointMismatchError, match=r"transformer/proj_out.bias"):
        export_official_checkpoint(output, tmp_path / "back")
    assert_nothing_left(tmp_path, "official", "ours")
