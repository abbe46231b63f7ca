"""What is saved comes back the same, from a folder and from a hub; what is wrong is refused before it is loaded."""

import dataclasses
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, UniPCMultistepScheduler
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from safetensors.torch import load_file, save_file
from tiny import make_observation, make_pipeline, seeded

from xwam.checkpoints import publishing
from xwam.checkpoints.manifest import write_manifest
from xwam.checkpoints.retrying import http
from xwam.checkpoints.verification import verify_folder
from xwam.errors import (
    CheckpointConfigError,
    CheckpointError,
    CheckpointMismatchError,
    CorruptFileError,
    UnsafeFileError,
)
from xwam.evaluation.policy_choice import PolicyChoice
from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.pipelines.model_card import ModelCard
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.pipelines.pipeline_xwam_policy import XWAMPolicyPipeline

FEW = {"num_inference_steps": 3, "num_action_steps": 2}


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoint")


def answer(pipeline) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(make_observation(), generator=seeded(), **FEW).actions[0].commands


def test_the_folder_names_this_package_and_nothing_deeper(saved):
    index = json.loads((saved / "model_index.json").read_text())
    assert index["_class_name"] == "XWAMPolicyPipeline"
    assert index["transformer"] == ["xwam", "XWAMTransformer3DModel"]
    assert index["scheduler"] == ["xwam", "XWAMScheduler"]
    assert index["robot_processor"] == ["xwam", "RobotProcessor"]


@pytest.mark.parametrize("loader", [XWAMPolicyPipeline, XWAM4DPipeline, DiffusionPipeline])
def test_a_folder_comes_back_with_the_same_answer(pipe, saved, loader):
    loaded = loader.from_pretrained(saved)
    policy = XWAMPolicyPipeline.from_pipe(loaded)
    assert policy.robot_processor.spec == pipe.robot_processor.spec
    np.testing.assert_array_equal(answer(policy), answer(pipe))


def test_a_folder_does_not_tell_whose_disk_it_came_from(saved, tmp_path):
    XWAM4DPipeline.from_pretrained(saved).save_pretrained(tmp_path / "again")
    said = [path for path in (tmp_path / "again").rglob("*.json") if str(saved.parent) in path.read_text()]
    assert not said
    XWAM4DPipeline.from_pretrained(tmp_path / "again")  # whose manifest fits


def test_a_published_pipeline_comes_back_the_same(pipe, loopback_hub, tmp_path):
    address = pipe.push_to_hub("robots/tiny-xwam", card=ModelCard(license="apache-2.0"))
    assert "robots/tiny-xwam" in address
    for loader in (XWAMPolicyPipeline, DiffusionPipeline):
        loaded = loader.from_pretrained("robots/tiny-xwam", cache_dir=tmp_path / loader.__name__)
        np.testing.assert_array_equal(answer(loaded), answer(pipe))
        for name, tensor in pipe.transformer.state_dict().items():
            assert torch.equal(loaded.transformer.state_dict()[name], tensor), name
    future = XWAM4DPipeline.from_pretrained("robots/tiny-xwam", cache_dir=tmp_path / "XWAMPolicyPipeline")
    assert isinstance(future, XWAM4DPipeline)


def test_publishing_again_replaces_what_was_published(pipe, loopback_hub, tmp_path):
    repo_id = "robots/again"
    pipe.push_to_hub(repo_id, max_shard_size="1MB")
    pipe.push_to_hub(repo_id)
    pipe.push_to_hub(repo_id, variant="bf16", max_shard_size="1MB")
    for number, variant in enumerate((None, "bf16")):
        loaded = XWAMPolicyPipeline.from_pretrained(repo_id, variant=variant, cache_dir=tmp_path / str(number))
        np.testing.assert_array_equal(answer(loaded), answer(pipe))
    bare = XWAMPolicyPipeline.from_pipe(pipe, text_encoder=None, tokenizer=None)
    bare.push_to_hub(repo_id)
    files = HfApi().list_repo_files(repo_id)
    assert "text_encoder/model.safetensors" in files  # perhaps nobody has it anywhere else
    assert not [name for name in files if "-of-" in name and "bf16" not in name]
    assert XWAMPolicyPipeline.from_pretrained(repo_id, cache_dir=tmp_path / "bare").text_encoder is None


@pytest.mark.parametrize("stays", ["variant", "notes", "damaged manifest"])
def test_what_stays_in_a_repository_is_in_its_new_manifest(stays, pipe, loopback_hub, tmp_path):
    """Whoever put it there: by hand, or with a manifest that is none."""
    pipe.save_pretrained(tmp_path / "own", variant="bf16")
    files = {path: path.read_bytes() for path in (tmp_path / "own").rglob("*") if path.is_file()}
    files = {path.relative_to(tmp_path / "own").as_posix(): content for path, content in files.items()}
    files["manifest.json"] = b"[]"
    if stays != "damaged manifest":
        del files["manifest.json"]
    if stays == "notes":
        files["eval_results.json"] = b"{}"
    loopback_hub.commit("robots/mixed", files)
    pipe.push_to_hub("robots/mixed")
    for variant in (None, "bf16"):
        loaded = XWAMPolicyPipeline.from_pretrained("robots/mixed", variant=variant, cache_dir=tmp_path / str(variant))
        np.testing.assert_array_equal(answer(loaded), answer(pipe))
    assert stays != "notes" or "eval_results.json" in HfApi().list_repo_files("robots/mixed")


def test_a_published_card_is_kept_until_another_is_given(pipe, loopback_hub, tmp_path):
    def published() -> str:
        return Path(hf_hub_download("robots/told", "README.md", force_download=True, cache_dir=tmp_path)).read_text()

    pipe.push_to_hub("robots/told", card=ModelCard(training_data="Five red cubes."))
    pipe.push_to_hub("robots/told")
    pipe.save_pretrained(tmp_path / "untold", push_to_hub=True, repo_id="robots/told")
    assert "Five red cubes." in published()
    pipe.save_pretrained(tmp_path / "told", card=ModelCard(training_data="Six blue balls."))
    pipe.save_pretrained(tmp_path / "told", push_to_hub=True, repo_id="robots/told")
    assert "Six blue balls." in published()
    pipe.push_to_hub("robots/told", card=ModelCard(training_data="Seven."))
    assert "Seven." in published()


def test_a_published_card_says_how_to_load_what_was_published(pipe, loopback_hub, tmp_path):
    for number, card in enumerate((None, ModelCard(title="Mine"))):
        pipe.push_to_hub(f"robots/loadable-{number}", card=card)
        text = loopback_hub.files(f"robots/loadable-{number}")["README.md"].decode()
        assert f'from_pretrained("robots/loadable-{number}")' in text


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"measurements": "x"}, TypeError, "`measurements` must be a mapping of name to figure, but is 'x'"),
        (
            {"measurements": {"lift": 3}},
            TypeError,
            r"`measurements\['lift'\]` of a `ModelCard` must be a string, but is 3",
        ),
        (
            {"license": "mit\nfoo: bar"},
            ValueError,
            r"`license` of a `ModelCard` must be one line, but is 'mit\\nfoo: bar'",
        ),
        ({"base_model": ["a", "b"]}, TypeError, "`base_model` of a `ModelCard` must be a string"),
        ({"training_data": 3}, TypeError, "`training_data` of a `ModelCard` must be a string, but is 3"),
        ({"tags": "robot"}, TypeError, "`tags` must be a tuple of words, but is 'robot'"),
    ],
)
def test_a_card_is_of_text(fields, error, message):
    with pytest.raises(error, match=message):
        ModelCard(**fields)


def test_a_publication_beside_another_is_refused_and_not_mixed(pipe, loopback_hub, monkeypatch):
    pipe.push_to_hub("robots/shared")

    def another_publishes(*arguments, **options):
        loopback_hub.commit("robots/shared", {"other.json": b"{}"})
        return write_manifest(*arguments, **options)

    monkeypatch.setattr(publishing, "write_manifest", another_publishes)
    with pytest.raises(HfHubHTTPError):
        pipe.push_to_hub("robots/shared", max_shard_size="1MB")
    assert not [name for name in HfApi().list_repo_files("robots/shared") if "-of-" in name]


def test_a_repository_without_a_name_is_called_like_the_folder(pipe, loopback_hub, tmp_path):
    pipe.save_pretrained(tmp_path / "red-cubes", push_to_hub=True)
    loaded = XWAMPolicyPipeline.from_pretrained("tester/red-cubes", cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(answer(loaded), answer(pipe))


def test_published_shards_of_a_variant_come_back_the_same(pipe, loopback_hub, tmp_path):
    half = make_pipeline(XWAMPolicyPipeline)
    half.transformer = XWAMTransformer3DModel.from_pretrained(
        _save(pipe, tmp_path / "full"), subfolder="transformer", dtype=torch.bfloat16
    )
    half.save_pretrained(
        tmp_path / "half", variant="bf16", max_shard_size="1MB", push_to_hub=True, repo_id="robots/half-xwam"
    )
    shards = list((tmp_path / "half" / "transformer").glob("diffusion_pytorch_model.bf16-*.safetensors"))
    assert len(shards) > 1
    loaded = XWAMPolicyPipeline.from_pretrained(
        "robots/half-xwam", variant="bf16", dtype=torch.bfloat16, cache_dir=tmp_path
    )
    for name, tensor in half.transformer.state_dict().items():
        assert torch.equal(loaded.transformer.state_dict()[name], tensor), name
    assert loaded.transformer.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    assert loaded.transformer.action_embedder.linear_1.weight.dtype == torch.float32
    assert loaded.vae.dtype == torch.float32


def _save(pipeline, folder):
    pipeline.save_pretrained(folder)
    return folder


def test_the_card_tells_robot_commands_normaliser_and_use(pipe, tmp_path):
    card = ModelCard(
        title="Red cubes", license="apache-2.0", training_data="ten episodes", measurements={"success": "3 of 4"}
    )
    pipe.save_pretrained(tmp_path, card=card)
    text = (tmp_path / "README.md").read_text()
    for piece in (
        "library_name: xwam", "pipeline_tag: robotics", "# Red cubes", "mujoco_panda", "left_gripper", "robot0_eye_in_hand",
        "ten episodes", "success: 3 of 4", "pip install xwam", '"state_low"',
    ):  # fmt: skip
        assert piece in text, piece
    pipe.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == text, "an author's card is kept"


def test_from_pipe_shares_every_component_without_casting(pipe):
    other = XWAM4DPipeline.from_pipe(pipe)
    for name, component in pipe.components.items():
        assert other.components[name] is component
    assert other.config.max_sequence_length == pipe.config.max_sequence_length


def test_from_pipe_keeps_the_hooks_that_free_offloaded_models(pipe):
    """As `enable_model_cpu_offload` leaves them, which itself asks for an accelerator."""
    source = XWAMPolicyPipeline.from_pipe(pipe)
    assert not getattr(source, "_all_hooks", [])
    source._all_hooks, source._offload_device, source._offload_gpu_id = ["hook"], "cuda", 1
    other = XWAM4DPipeline.from_pipe(source)
    assert (other._all_hooks, other._offload_device, other._offload_gpu_id) == (["hook"], "cuda", 1)


def test_the_depth_branch_can_be_left_out_on_loading(pipe, saved):
    lean = XWAMPolicyPipeline.from_pretrained(saved, load_depth=False)
    assert lean.transformer.config.depth_branch == "none"
    assert not [name for name, _ in lean.transformer.named_parameters() if name.startswith("depth_")]
    np.testing.assert_array_equal(answer(lean), answer(pipe))


@pytest.mark.parametrize("branch", ["sequence", "channel"])
def test_depth_that_is_denoised_with_the_rest_cannot_be_left_out(branch, tmp_path):
    pipe = make_pipeline(XWAMPolicyPipeline, depth_branch=branch)
    pipe.save_pretrained(tmp_path)
    loaded = XWAMPolicyPipeline.from_pretrained(tmp_path, load_depth=False)
    assert loaded.transformer.config.depth_branch == branch
    np.testing.assert_array_equal(answer(loaded), answer(pipe))


def test_without_text_encoder_the_folder_has_none(pipe, tmp_path):
    deaf = XWAMPolicyPipeline.from_pipe(pipe, text_encoder=None, tokenizer=None)
    deaf.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "model_index.json").read_text())["text_encoder"] == [None, None]
    loaded = XWAMPolicyPipeline.from_pretrained(tmp_path)
    assert loaded.text_encoder is None


# ---------------------------------------------------------------- broken checkpoint folders


def _rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _change_tensors(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
SPEC = "robot_processor/robot_processor_config.json"
FOLDER_FAULTS = {
    "no model index": (lambda f: (f / "model_index.json").unlink(), CheckpointError, "model_index.json"),
    "a model index that is no JSON": (lambda f: (f / "model_index.json").write_text("{"), CheckpointError, "model_index.json"),
    "a foreign component": (
        lambda f: _rewrite(f / "model_index.json", lambda c: c.update(scheduler=["os", "system"])), UnsafeFileError, "os",
    ),
    "a foreign pipeline class": (
        lambda f: _rewrite(f / "model_index.json", lambda c: c.update(_class_name="EvilPipeline")), UnsafeFileError, "Evil",
    ),
    "no transformer folder": (lambda f: shutil.rmtree(f / "transformer"), CheckpointError, "transformer"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), CorruptFileError, "transformer lacks its diffusion_pytorch_model.safetensors"),
    "weights of a variant alone": (
        lambda f: (f / WEIGHTS).rename((f / WEIGHTS).with_suffix(".bf16.safetensors")), CorruptFileError, "loaded with `variant`",
    ),
    "no weights of the text encoder": (
        lambda f: (f / "text_encoder/model.safetensors").unlink(), CorruptFileError, r"text_encoder lacks its model\.safetensors",
    ),
    "no configuration": (lambda f: (f / "vae/config.json").unlink(), CorruptFileError, r"vae lacks its config\.json"),
    "no schedule": (
        lambda f: (f / "scheduler/scheduler_config.json").unlink(), CorruptFileError, r"lacks its scheduler_config\.json",
    ),
    "no robot": (lambda f: (f / SPEC).unlink(), CorruptFileError, r"lacks its robot_processor_config\.json"),
    "no vocabulary": (lambda f: (f / "tokenizer/tokenizer.json").unlink(), CorruptFileError, r"lacks its tokenizer\.json"),
    "a pickle beside the weights": (lambda f: (f / "transformer/pytorch_model.bin").write_bytes(b"\x80\x04."), UnsafeFileError, ".bin"),
    "code beside the weights": (lambda f: (f / "transformer/model.py").write_text("x = 1"), UnsafeFileError, "model.py"),
    "cut weights": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-7]), CorruptFileError, "diffusion_pytorch_model"),
    "a config with NaN": (
        lambda f: (f / "transformer/config.json").write_text((f / "transformer/config.json").read_text().replace("1e-06", "NaN")),
        CheckpointConfigError, "config.json",
    ),
    "a negative width": (
        lambda f: _rewrite(f / "transformer/config.json", lambda c: c.update(ffn_dim=-4)), CheckpointConfigError, "ffn_dim",
    ),
    "words for a number": (
        lambda f: _rewrite(f / "transformer/config.json", lambda c: c.update(num_layers="four")), CheckpointConfigError, "num_layers",
    ),
    "an unknown depth branch": (
        lambda f: _rewrite(f / "transformer/config.json", lambda c: c.update(depth_branch="sideways")), ValueError, "depth_branch",
    ),
    "an unknown field": (
        lambda f: _rewrite(f / "transformer/config.json", lambda c: c.update(num_layer=4)), CheckpointConfigError, "num_layer",
    ),
    "a schedule without shift": (
        lambda f: _rewrite(f / "scheduler/scheduler_config.json", lambda c: c.update(shift=0)), ValueError, "shift",
    ),
    "a robot without cameras": (lambda f: _rewrite(f / SPEC, lambda c: c["spec"].update(cameras=[])), ValueError, "cameras"),
    "a robot with an unknown field": (lambda f: _rewrite(f / SPEC, lambda c: c["spec"].update(wheels=4)), ValueError, "wheels"),
    "a robot with crossed quantiles": (
        lambda f: _rewrite(f / SPEC, lambda c: c["spec"]["quantiles"].update(state_low=[9.0] * 8)), ValueError, "quantiles",
    ),
    "a robot of another width": (
        lambda f: _rewrite(f / SPEC, lambda c: c["spec"].update(action_dim=20)), ValueError, "action_dim",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FOLDER_FAULTS)
@pytest.mark.parametrize("entry", ["pipeline"])
def test_a_broken_folder_is_refused(folder, fault, entry):
    break_it, error, message = FOLDER_FAULTS[fault]
    (folder / "manifest.json").unlink()  # the manifest would find every change; here the other checks are tried
    break_it(folder)
    with pytest.raises(error, match=message):
        XWAMPolicyPipeline.from_pretrained(folder)


TENSOR_FAULTS = {
    "missing": (lambda t: t.pop("action_embedder.linear_1.weight"), "1 missing: action_embedder.linear_1.weight"),
    "unexpected": (lambda t: t.update(surprise=torch.zeros(2)), "1 unexpected: surprise"),
    "misshapen": (
        lambda t: t.update({"proj_out.bias": torch.zeros(3)}),
        r"1 misshapen: proj_out.bias \(3,\) instead of",
    ),
    "of integers": (
        lambda t: t.update({"proj_out.bias": torch.zeros_like(t["proj_out.bias"], dtype=torch.int64)}),
        "1 misshapen: proj_out.bias I64 instead of F32",
    ),
    "many missing": (
        lambda t: [t.pop(name) for name in list(t) if name.startswith("blocks.0.")],
        r"\d\d missing: .*, …",
    ),
}


@pytest.mark.parametrize("fault", TENSOR_FAULTS)
@pytest.mark.parametrize("loader", [XWAMPolicyPipeline, DiffusionPipeline])
def test_tensors_that_do_not_fit_are_counted_and_named(folder, fault, loader):
    change, message = TENSOR_FAULTS[fault]
    _change_tensors(folder / WEIGHTS, change)
    write_manifest(folder)
    with pytest.raises(CheckpointMismatchError, match=message):
        loader.from_pretrained(folder)


def test_a_flipped_bit_is_found(folder):
    path = folder / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="diffusion_pytorch_model"):
        XWAMPolicyPipeline.from_pretrained(folder)
    with pytest.raises(CorruptFileError, match="diffusion_pytorch_model"):
        XWAMTransformer3DModel.from_pretrained(folder, subfolder="transformer")


def test_code_in_a_checkpoint_is_never_asked_for(saved):
    for name in ("trust_remote_code", "custom_pipeline"):
        with pytest.raises(ValueError, match=f"`{name}` is not supported"):
            XWAMPolicyPipeline.from_pretrained(saved, **{name: True})


def test_components_that_do_not_fit_each_other_are_named(pipe):
    spec = dataclasses.replace(pipe.robot_processor.spec, actions_per_frame=2)
    processor = type(pipe.robot_processor)(spec)
    with pytest.raises(
        ValueError, match="actions_per_frame of the transformer is 4, but that of the robot processor is 2"
    ):
        XWAMPolicyPipeline.from_pipe(pipe, robot_processor=processor)
    processor = type(pipe.robot_processor)(dataclasses.replace(pipe.robot_processor.spec, image_size=(120, 160)))
    with pytest.raises(ValueError, match="image height of the robot processor is 120"):
        XWAMPolicyPipeline.from_pipe(pipe, robot_processor=processor)


def test_pickles_are_not_written(pipe, tmp_path):
    with pytest.raises(ValueError, match="`safe_serialization` must be True"):
        pipe.save_pretrained(tmp_path, safe_serialization=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"card": {"title": "x"}}, TypeError, "`card` must be a `ModelCard`, but is a dict"),
        ({"card": "hello"}, TypeError, "`card` must be a `ModelCard`, but is a str"),
        ({"max_shard_size": "abc"}, ValueError, "`max_shard_size` must be .* but is 'abc'"),
        ({"max_shard_size": 0}, ValueError, "`max_shard_size` must be .* but is 0"),
        ({"max_shard_size": "0GB"}, ValueError, "`max_shard_size` must be .* but is '0GB'"),
        ({"max_shard_sise": "1MB"}, TypeError, "There is no argument 'max_shard_sise'; known are .*'max_shard_size'"),
        ({"safe_serialization": False}, ValueError, "`safe_serialization` must be True"),
        ({"variant": "../bf16"}, ValueError, r"`variant` must be .* but is '\.\./bf16'"),
        ({"push_to_hub": True, "repo_id": "a/b/c"}, ValueError, "a/b/c"),
    ],
)
def test_what_cannot_be_saved_leaves_no_trace(pipe, tmp_path, wrong, error, message):
    with pytest.raises(error, match=message):
        pipe.save_pretrained(tmp_path / "new", **wrong)
    assert not list(tmp_path.iterdir())


def test_the_hub_is_not_asked_for_what_cannot_be_saved(pipe, loopback_hub):
    wrongs = [
        ({"card": "hello"}, TypeError),
        ({"max_shard_size": "abc"}, ValueError),
        ({"safe_serialization": False}, ValueError),
        ({"max_shard_sise": "1MB"}, TypeError),
    ]
    for wrong, error in wrongs:
        with pytest.raises(error):
            pipe.push_to_hub("robots/tiny-xwam", **wrong)
    assert not loopback_hub.requests


def test_a_file_is_no_place_for_a_pipeline(pipe, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"`save_directory` must be a folder or not be there, but .* is a file"):
        pipe.save_pretrained(tmp_path / "file")


def test_without_a_network_the_folder_is_written_before_publishing_fails(pipe, loopback_hub, tmp_path):
    with loopback_hub.offline(), pytest.raises(http.ConnectError):
        pipe.save_pretrained(tmp_path / "local", push_to_hub=True, repo_id="robots/tiny-xwam")
    np.testing.assert_array_equal(answer(XWAMPolicyPipeline.from_pretrained(tmp_path / "local")), answer(pipe))


# ---------------------------------------------------------------- saving over an earlier save


def _names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize(("first", "second"), [("1MB", None), (None, "1MB"), ("1MB", "2MB")])
def test_a_second_save_replaces_the_first(pipe, tmp_path, first, second):
    sizes = [{} if size is None else {"max_shard_size": size} for size in (first, second)]
    pipe.save_pretrained(tmp_path / "twice", **sizes[0])
    pipe.save_pretrained(tmp_path / "twice", **sizes[1])
    pipe.save_pretrained(tmp_path / "once", **sizes[1])
    assert _names(tmp_path / "twice") == _names(tmp_path / "once")
    np.testing.assert_array_equal(answer(XWAMPolicyPipeline.from_pretrained(tmp_path / "twice")), answer(pipe))


def test_a_component_that_was_not_loaded_is_not_taken_away(pipe, folder):
    before = {path: path.read_bytes() for path in folder.glob("t*er/*") if path.parent.name != "transformer"}
    assert before
    XWAMPolicyPipeline.from_pipe(pipe, text_encoder=None, tokenizer=None).save_pretrained(folder)
    assert {path: path.read_bytes() for path in before} == before
    assert XWAMPolicyPipeline.from_pretrained(folder).text_encoder is None
    pipe.save_pretrained(folder)
    np.testing.assert_array_equal(answer(XWAMPolicyPipeline.from_pretrained(folder)), answer(pipe))


def test_files_of_others_and_of_other_variants_stay(pipe, folder):
    kept = (
        "notes.json",
        "pytorch_lora_weights.safetensors",
        "vae/notes.txt",
        "text_encoder/notes.txt",
        "assets/list.json",
    )
    for name in kept:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "scheduler/scheduler_config.json", folder / name)
    shutil.copy(folder / WEIGHTS, folder / "pytorch_lora_weights.safetensors")
    before = {name: (folder / name).read_bytes() for name in (*kept, WEIGHTS, "README.md")}
    deaf = XWAMPolicyPipeline.from_pipe(pipe, text_encoder=None, tokenizer=None)
    deaf.save_pretrained(folder, variant="bf16", max_shard_size="1MB")
    assert {name: (folder / name).read_bytes() for name in before} == before
    for variant in (None, "bf16"):
        loaded = XWAMPolicyPipeline.from_pretrained(
            folder, variant=variant, text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer
        )
        np.testing.assert_array_equal(answer(loaded), answer(pipe))


@pytest.mark.parametrize(
    "step", ["xwam.pipelines.storage.render_model_card", "xwam.checkpoints.saved_files.write_manifest"]
)
def test_a_save_that_fails_leaves_the_folder_as_it_was(pipe, folder, monkeypatch, step):
    def fail(*_, **__):
        raise OSError("No space left on device")

    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(step, fail)
    for target in (folder, folder.parent / "new"):
        with pytest.raises(OSError, match="No space"):
            pipe.save_pretrained(target, card=ModelCard(title="Another"), max_shard_size="1MB")
    assert {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()} == before
    assert list(folder.parent.iterdir()) == [folder]


PART_FAULTS = {
    "another scheduler": (
        lambda p: {"scheduler": UniPCMultistepScheduler()},
        TypeError,
        "`scheduler` must be of type",
    ),
    "no tokenizer": (lambda p: {"tokenizer": None}, ValueError, "`text_encoder` and `tokenizer` belong together"),
    "no text length": (lambda p: {"max_sequence_length": 0}, ValueError, "`max_sequence_length` must be a positive"),
}


@pytest.mark.parametrize("fault", PART_FAULTS)
def test_a_wrong_part_is_named_when_the_pipeline_is_put_together(pipe, fault):
    change, error, message = PART_FAULTS[fault]
    with pytest.raises(error, match=message):
        XWAMPolicyPipeline.from_pipe(pipe, **change(pipe))


def test_a_vocabulary_of_sentencepiece_is_one(folder):
    (folder / "tokenizer/tokenizer.json").rename(folder / "tokenizer/spiece.model")
    (folder / "manifest.json").unlink()
    verify_folder(folder)


def test_the_adapter_of_a_robot_says_that_it_is_one(folder, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    shutil.copy(folder / WEIGHTS, adapter / "pytorch_lora_weights.safetensors")
    loads = (XWAMPolicyPipeline.from_pretrained, lambda name: PolicyChoice(str(name)).check(("mujoco/lift_cube",)))
    for load in loads:
        with pytest.raises(
            CheckpointError, match=r"a robot's adapter.*`load_robot`.*`merge_robot` and `save_pretrained`"
        ):
            load(adapter)


def test_the_adapter_of_a_robot_on_the_hub_says_that_it_is_one(folder, loopback_hub, tmp_path):
    loopback_hub.commit("robots/adapter", {"pytorch_lora_weights.safetensors": (folder / WEIGHTS).read_bytes()})
    with pytest.raises(CheckpointError, match="a robot's adapter"):
        XWAMPolicyPipeline.from_pretrained("robots/adapter", cache_dir=tmp_path)


@pytest.mark.parametrize("name", ["./nope", "/nope/x"])
def test_a_folder_that_is_not_there_is_named(pipe, name):
    for load in (XWAMPolicyPipeline.from_pretrained, XWAMTransformer3DModel.from_pretrained, pipe.load_robot):
        with pytest.raises(CheckpointError, match=f"^There is no folder {name}\\.$"):
            load(name)


@pytest.mark.parametrize("dtype", ["bfloat16", {"transformer": "bfloat16"}])
def test_a_dtype_is_one(saved, dtype):
    with pytest.raises(TypeError, match=r"`dtype` must be a dtype such as torch\.bfloat16, but is 'bfloat16'"):
        XWAMPolicyPipeline.from_pretrained(saved, dtype=dtype)


def test_one_component_of_a_repository_is_loaded_beside_the_others_that_were_brought(pipe, loopback_hub, tmp_path):
    pipe.push_to_hub("robots/tiny-xwam", variant="bf16")
    source = {"pretrained_model_name_or_path": "robots/tiny-xwam", "cache_dir": tmp_path, "variant": "bf16"}
    XWAMPolicyPipeline.from_pretrained(**source, vae=pipe.vae)
    XWAMTransformer3DModel.from_pretrained(**source, subfolder="transformer")


def test_a_missing_repository_is_named(loopback_hub, tmp_path):
    with pytest.raises(RepositoryNotFoundError, match="robots/nowhere"):
        XWAMPolicyPipeline.from_pretrained("robots/nowhere", cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": [2, 2, 2]}, r"`patch_size` must be \(1, height, width\)"),
        ({"out_channels": 4}, "`out_channels` must equal `in_channels`"),
        ({"attention_head_dim": 4}, "attention_head_dim"),
    ],
)
def test_sizes_that_make_no_transformer_are_a_fault_of_the_checkpoint(folder, change, message):
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    write_manifest(folder)
    for load in (
        XWAMPolicyPipeline.from_pretrained,
        partial(XWAMTransformer3DModel.from_pretrained, subfolder="transformer"),
    ):
        with pytest.raises(CheckpointConfigError, match=message):
            load(folder)
