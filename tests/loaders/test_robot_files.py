"""The folder of a robot: complete, checked before anything is used, refused with a reason; the pipeline stays as it was."""

import json
import pickle
import shutil

import pytest
import torch
from ecosystem_samples import make_pipeline
from robot_adapter_samples import FOUR_CAMERAS, JOINT_ARM, WEIGHTS, lora, write_robot
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from xwam.checkpoints.manifest import write_manifest
from xwam.errors import (
    CheckpointConfigError,
    CheckpointError,
    CheckpointMismatchError,
    CorruptFileError,
    UnsafeFileError,
)
from xwam.loaders.robot_files import METADATA_KEY, read_robot_adapter
from xwam.robots.processor import RobotProcessor

SPEC = RobotProcessor.config_name
LAYER = "transformer.blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write_robot(tmp_path_factory.mktemp("original"))[0]


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "robot")


@pytest.fixture(scope="module")
def pipe():
    return make_pipeline()


def metadata_of(folder) -> dict:
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        return json.loads(file.metadata()[METADATA_KEY])


def rewrite(folder, tensors=None, metadata=None) -> None:
    """Change the weight file and let the manifest agree with it."""
    tensors = {n: t.clone() for n, t in (load_file(folder / WEIGHTS) if tensors is None else tensors).items()}
    text = json.dumps(metadata_of(folder) if metadata is None else metadata)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt", METADATA_KEY: text})
    write_manifest(folder)


def refused(pipe, folder, error, message, **options):
    processor, config, keys = pipe.robot_processor, dict(pipe.transformer.config), set(pipe.transformer.state_dict())
    with pytest.raises(error, match=message):
        pipe.load_robot(folder, **options)
    assert pipe.robot_processor is processor
    assert dict(pipe.transformer.config) == config
    assert set(pipe.transformer.state_dict()) == keys
    assert pipe.robots == []


def test_what_was_written_comes_back(original):
    pipe = make_pipeline()
    pipe.load_robot(original)
    written, read = pipe.robot_adapter(), read_robot_adapter(original)
    assert written.processor.spec == read.processor.spec == JOINT_ARM
    assert written.base == read.base
    for one, other in ((written.lora, read.lora), (written.embodiment, read.embodiment)):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    fields = ("r", "lora_alpha", "use_rslora", "lora_dropout")
    assert {name: written.lora_config[name] for name in fields} == {name: read.lora_config[name] for name in fields}


def test_saved_again_it_is_the_same(original, tmp_path):
    pipe = make_pipeline()
    pipe.load_robot(original)
    pipe.save_robot(tmp_path)
    again, first = load_file(tmp_path / WEIGHTS), load_file(original / WEIGHTS)
    assert again.keys() == first.keys()
    assert all(torch.equal(again[name], first[name]) for name in first)
    targets = "transformer.target_modules"  # a pattern at first, the layers that have it from then on
    metadata = {name: value for name, value in metadata_of(tmp_path).items() if name != targets}
    assert metadata == {name: value for name, value in metadata_of(original).items() if name != targets}


def test_the_robot_has_one_home(original):
    assert JOINT_ARM.name not in json.dumps(metadata_of(original))
    assert RobotProcessor.from_pretrained(original).spec == JOINT_ARM
    assert {path.name for path in original.iterdir()} == {WEIGHTS, SPEC, "README.md", "manifest.json"}


class TestTensors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t: {**t, "vae.decoder.weight": torch.ones(1)}, "vae"),
            (lambda t: {**t, "embodiment.proj_out.weight": torch.ones(1)}, "embodiment.proj_out"),
            (lambda t: {**t, "transformer.proj_out.weight": torch.ones(1)}, "transformer.proj_out"),
            (lambda t: {**t, f"{LAYER}.lora_magnitude_vector": torch.ones(128)}, "magnitude"),
            (lambda t: {**t, "embodiment.action_embedder.linear_1.extra": torch.ones(1)}, "linear_1.extra"),
            (lambda t: {n: v for n, v in t.items() if n != "embodiment.view_embedding.weight"}, "1 missing: view_embedding"),
            (lambda t: {n: v for n, v in t.items() if n != f"{LAYER}.lora_B.weight"}, "1 missing: blocks.0.attn1.to_q"),
            (lambda t: {n.replace("blocks.3.", "blocks.30."): v for n, v in t.items()}, r"blocks\.30"),
            (lambda t: {n.replace("attn1.to_q", "norm1"): v for n, v in t.items()}, "norm1"),
            (lambda t: {n: v[:, :-1] if "lora_A" in n else v for n, v in t.items()}, "misshapen"),
            (lambda t: {n: v[:2] if f"{LAYER}.lora_A" in n else v for n, v in t.items()}, "rank 2 instead of 4"),
            (lambda t: {n: v[..., None] if f"{LAYER}.lora_A" in n else v for n, v in t.items()}, "instead of a matrix"),
            (lambda t: {n: v.long() if "linear_1.bias" in n else v for n, v in t.items()}, "I64"),
            (lambda t: {n: v[:-1] if "action_proj_out.linear_2" in n else v for n, v in t.items()}, r"\(8,\) instead of \(9,\)"),
        ],
    )  # fmt: skip
    def test_that_do_not_belong_or_fit(self, pipe, folder, change, message):
        changed = {name: tensor.contiguous() for name, tensor in change(load_file(folder / WEIGHTS)).items()}
        rewrite(folder, tensors=changed)
        refused(pipe, folder, CheckpointMismatchError, message)

    def test_of_another_robot(self, pipe, folder):
        """The file of one robot beside the spec of another one."""
        RobotProcessor(FOUR_CAMERAS).save_pretrained(folder)
        write_manifest(folder)
        refused(pipe, folder, CheckpointMismatchError, r"view_embedding.weight \(2, 128\) instead of \(4, 128\)")


class TestMetadata:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"transformer.r": None}, "`r`"),
            ({"transformer.lora_alpha": "6"}, "lora_alpha"),
            ({"transformer.r": 8}, "rank 4 instead of 8"),
            ({"transformer.use_dora": True}, "use_dora"),
            ({"transformer.megatron_config": {"a": 1}, "transformer.megatron_core": "os"}, "megatron"),
            ({"transformer.init_lora_weights": "pissa"}, "pissa"),
            ({"transformer.a_field_of_tomorrow": True}, "a_field_of_tomorrow"),
            ({"text_encoder.r": 4}, "foreign fields"),
            ({"embodiment.format": 2}, "format 1, but are of 2"),
            ({"embodiment.base": None}, "which base"),
            ({"embodiment.base": {"config": {}, "vectors": "", "matrices": None}}, "which base"),
        ],
    )
    def test_that_are_wrong(self, pipe, folder, changes, message):
        metadata = {name: value for name, value in {**metadata_of(folder), **changes}.items() if value is not None}
        rewrite(folder, metadata=metadata)
        refused(pipe, folder, CheckpointError, message)

    def test_that_are_lost(self, pipe, folder):
        """Without them alpha and the kind of scaling would be those of a default."""
        save_file({name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS)
        write_manifest(folder)
        refused(pipe, folder, CheckpointConfigError, "alpha and the base would be lost")

    @pytest.mark.parametrize("targets", [".*", "(a+)+$", ["proj_out"]])
    def test_the_layers_are_those_of_the_tensors_whatever_the_file_says(self, folder, targets):
        """A pattern of a stranger is not even tried."""
        rewrite(folder, metadata={**metadata_of(folder), "transformer.target_modules": targets})
        pipe = make_pipeline()
        pipe.load_robot(folder)
        adapted = {name.rpartition(".lora_A")[0] for name in pipe.transformer.state_dict() if ".lora_A" in name}
        stored = [name for name in load_file(folder / WEIGHTS) if name.endswith(".lora_A.weight")]
        assert adapted == {name.removeprefix("transformer.").removesuffix(".lora_A.weight") for name in stored}
        assert pipe.transformer.peft_config["joint_arm"].target_modules != targets

    def test_alpha_counts(self, folder):
        """The same tensors with another alpha act differently: what a file without metadata would do."""
        layers = []
        for alpha in (6, 12):
            rewrite(folder, metadata={**metadata_of(folder), "transformer.lora_alpha": alpha})
            pipe = make_pipeline()
            pipe.load_robot(folder)
            layers.append(pipe.transformer.blocks[0].attn1.to_q.scaling["joint_arm"])
        assert layers[1] == 2 * layers[0]


class TestBases:
    @pytest.mark.parametrize(
        ("field", "value"), [("num_layers", 5), ("depth_branch", "sequence"), ("ffn_dim", 511), ("in_channels", 9)]
    )
    def test_of_another_size(self, pipe, folder, field, value):
        metadata = metadata_of(folder)
        metadata["embodiment.base"]["config"][field] = value
        rewrite(folder, metadata=metadata)
        refused(pipe, folder, CheckpointError, f"`{field}` = {value!r}", allow_other_base=True)

    @pytest.mark.parametrize("branch", ["sequence", "channel"])
    def test_of_another_depth_branch(self, original, branch):
        refused(make_pipeline(depth_branch=branch), original, CheckpointError, "`depth_branch` = 'interleaved'")

    def test_with_other_weights(self, original):
        other = make_pipeline(seed=1)
        refused(other, original, CheckpointError, "allow_other_base=True")
        other.load_robot(original, allow_other_base=True)

    def test_a_new_robot_may_be_trained_without_depth_and_run_with_it(self, tmp_path):
        pipe = make_pipeline()
        lean = type(pipe).from_pipe(pipe, transformer=pipe.transformer.without_depth())
        lean.add_robot(JOINT_ARM, lora(targets=r"blocks\.\d+\.attn1\.to_q"))
        lean.save_robot(tmp_path)
        pipe.load_robot(tmp_path)
        assert pipe.active_robot == "joint_arm"


class TestFiles:
    @pytest.mark.parametrize("name", [WEIGHTS, SPEC])
    def test_that_are_missing(self, pipe, folder, name):
        (folder / name).unlink()
        refused(pipe, folder, CorruptFileError, name)
        (folder / "manifest.json").unlink()
        refused(pipe, folder, CheckpointError, f"holds no {name}")

    def test_a_pipelines_folder_is_none(self, pipe, tmp_path):
        make_pipeline().save_pretrained(tmp_path)
        refused(pipe, tmp_path, CheckpointError, "not the folder of a robot")

    def test_a_flipped_byte(self, pipe, folder):
        content = bytearray((folder / WEIGHTS).read_bytes())
        content[-5] ^= 1
        (folder / WEIGHTS).write_bytes(content)
        refused(pipe, folder, CorruptFileError, "SHA-256")

    @pytest.mark.parametrize("name", ["pytorch_lora_weights.bin", "robot.py", "statistics.npz"])
    def test_anything_that_could_run_code(self, pipe, folder, name):
        (folder / name).write_bytes(pickle.dumps({"a": 1}))
        refused(pipe, folder, UnsafeFileError, name)

    def test_a_pickle_under_a_false_name(self, pipe, folder):
        torch.save({"a": torch.ones(3)}, folder / WEIGHTS)
        write_manifest(folder)
        refused(pipe, folder, UnsafeFileError, "pickle")

    @pytest.mark.parametrize(
        "change", [{"state_dim": 3}, {"unknown_field": 1}, {"image_size": [96, 120]}, {"action_slots": [0] * 7}]
    )
    def test_a_robot_that_cannot_be(self, pipe, folder, change):
        config = json.loads((folder / SPEC).read_text())
        config["spec"] |= change
        (folder / SPEC).write_text(json.dumps(config))
        write_manifest(folder)
        refused(pipe, folder, ValueError, next(iter(change)).split("_")[0])
