"""A2, and damage to the structure of a folder: refused before anything is imported or built."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_folders import make_pipeline_folder, write_json
from safetensors.numpy import save_file

from xwam.checkpoints import verification
from xwam.checkpoints.manifest import write_manifest
from xwam.checkpoints.verification import check_adapter_file, verify_component, verify_folder
from xwam.errors import CheckpointConfigError, CheckpointError, CorruptFileError, UnsafeFileError

INDEX = "transformer/diffusion_pytorch_model.safetensors.index.json"
SHARD = "transformer/diffusion_pytorch_model-00002-of-00002.safetensors"


def _change(folder: Path, file: str, **changes: Any) -> None:
    config = json.loads((folder / file).read_text())
    write_json(folder / file, {**config, **changes})


def _code(folder: Path, name: str) -> None:
    """A module that leaves a canary when it is imported."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(f"open({str(folder / 'canary')!r}, 'w')\nclass Evil: ...\n")


def _class_file_beside_the_index(folder: Path) -> None:
    _code(folder, "pipeline.py")
    _change(folder, "model_index.json", _class_name=["pipeline", "Evil"])


def _component_with_code(folder: Path) -> None:
    _code(folder, "vae/evil.py")
    _change(folder, "model_index.json", vae=["evil", "Evil"])


CODE_CASES: dict[str, Callable[[Path], None]] = {
    "class file beside the index": _class_file_beside_the_index,
    "code in a component folder": _component_with_code,
    "custom_pipeline in the index": lambda folder: _change(folder, "model_index.json", custom_pipeline="org/evil"),
    "pipeline class as a list": lambda folder: _change(folder, "model_index.json", _class_name=["x", "Evil"]),
    "name of a community pipeline": lambda folder: _change(folder, "model_index.json", _class_name="LPWPipeline"),
    "pipeline class missing": lambda folder: _change(folder, "model_index.json", _class_name=None),
    "module instead of a library": lambda folder: _change(folder, "model_index.json", vae=["os", "system"]),
    "path instead of a library": lambda folder: _change(folder, "model_index.json", vae=["../evil", "Evil"]),
    "class outside the list": lambda folder: _change(folder, "model_index.json", vae=["transformers", "pipeline"]),
    "class as a list": lambda folder: _change(folder, "model_index.json", vae=["diffusers", ["AutoencoderKLWan"]]),
    "entry of three": lambda folder: _change(folder, "model_index.json", vae=["diffusers", "AutoencoderKLWan", "x"]),
    "half an entry": lambda folder: _change(folder, "model_index.json", vae=[None, "AutoencoderKLWan"]),
    "auto_map in a component": lambda folder: _change(folder, "vae/config.json", auto_map={"AutoModel": "evil.Evil"}),
    "index of pickled shards": lambda folder: write_json(folder / "vae/pytorch_model.bin.index.json", {}),
    "index that names a pickle": lambda folder: write_json(
        folder / INDEX, {"weight_map": {"blocks.1.q": "diffusion_pytorch_model.bin"}}
    ),
}


def _executed(tmp_path: Path) -> list[str]:
    """Cases that the gate accepts or that run code."""
    wrong = []
    for number, (label, change) in enumerate(CODE_CASES.items()):
        folder = make_pipeline_folder(tmp_path / str(number))
        change(folder)
        loaded = set(sys.modules)
        try:
            verify_folder(folder)
            wrong.append(label)
        except UnsafeFileError:
            pass
        if (folder / "canary").exists() or {"evil", "pipeline"} & (set(sys.modules) - loaded):
            wrong.append(f"{label}: imported")
    return wrong


def test_no_way_to_bring_code_is_open(tmp_path):
    assert _executed(tmp_path) == []


def test_the_family_fails_without_the_list_of_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(verification, "_check_model_index", lambda folder: None)
    monkeypatch.setattr(verification, "check_components", lambda folder, **_: None)
    assert {"module instead of a library", "name of a community pipeline"} <= set(_executed(tmp_path))


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


STRUCTURE_CASES: dict[str, tuple[Callable[[Path], object], type[CheckpointError], str]] = {
    "cut shard": (lambda folder: _truncate(folder / SHARD), CorruptFileError, "00002-of-00002"),
    "missing shard": (lambda folder: (folder / SHARD).unlink(), CorruptFileError, "missing"),
    "empty shard": (lambda folder: (folder / SHARD).write_bytes(b""), CorruptFileError, "0 bytes"),
    "no weight map": (lambda folder: write_json(folder / INDEX, {}), CorruptFileError, "no `weight_map`"),
    "weight map of numbers": (
        lambda folder: write_json(folder / INDEX, {"weight_map": {"a": 1}}),
        CorruptFileError,
        "map tensors to file names",
    ),
    "tensor that no shard holds": (
        lambda folder: _change(folder, INDEX, weight_map={"blocks.9.q": Path(SHARD).name}),
        CorruptFileError,
        "tensors differ from the index",
    ),
    "tensor that the index lacks": (
        lambda folder: _change(folder, INDEX, weight_map={"blocks.2.q": Path(SHARD).name}),
        CorruptFileError,
        "'blocks.2.k'; 1 tensors",
    ),
    "broken configuration": (
        lambda folder: (folder / "vae/config.json").write_text("{"),
        CheckpointConfigError,
        "vae/config.json",
    ),
    "configuration of another size": (
        lambda folder: _change(folder, "transformer/config.json", num_layers=10**12),
        CheckpointConfigError,
        "num_layers",
    ),
    "vocabulary that is no object": (
        lambda folder: (folder / "tokenizer/tokenizer.json").write_text("[]"),
        CheckpointConfigError,
        "tokenizer.json",
    ),
    "component without a folder": (
        lambda folder: _change(folder, "model_index.json", text_encoder=["transformers", "UMT5EncoderModel"]),
        CheckpointError,
        "`text_encoder`",
    ),
}


NEEDED_FILES = [
    "transformer/config.json", "vae/config.json", "vae/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json",
    "robot_processor/robot_processor_config.json", INDEX,
]  # fmt: skip


@pytest.mark.parametrize("name", NEEDED_FILES)
def test_a_file_that_a_component_needs_is_missed_by_name(name, tmp_path):
    folder = make_pipeline_folder(tmp_path / "model")
    (folder / name).unlink()
    component, file = name.split("/")
    with pytest.raises(CorruptFileError, match=rf"{component} lacks its .*{re.escape(file)}"):
        verify_folder(folder)
    verify_folder(folder, passed=[component])
    _change(folder, "model_index.json", **{component: [None, None]})
    verify_folder(folder)


def test_a_tokenizer_needs_one_vocabulary_that_its_class_reads(tmp_path):
    folder = make_pipeline_folder(tmp_path / "model")
    (folder / "tokenizer/tokenizer.json").unlink()
    verify_folder(folder)  # there is spiece.model
    _change(folder, "model_index.json", tokenizer=["transformers", "PreTrainedTokenizerFast"])
    with pytest.raises(CorruptFileError, match=r"tokenizer lacks its tokenizer\.json\."):
        verify_folder(folder)
    (folder / "tokenizer/spiece.model").unlink()
    _change(folder, "model_index.json", tokenizer=["transformers", "T5Tokenizer"])
    with pytest.raises(CorruptFileError, match=r"tokenizer lacks its tokenizer\.json or spiece\.model\."):
        verify_folder(folder)


def test_weights_of_a_variant_need_the_variant(tmp_path):
    folder = make_pipeline_folder(tmp_path / "model")
    weights = folder / "vae/diffusion_pytorch_model.safetensors"
    weights.rename(folder / "vae/diffusion_pytorch_model.bf16.safetensors")
    verify_folder(folder, variant="bf16")  # the transformer has none of that variant, which diffusers allows
    for variant in (None, "fp16"):
        with pytest.raises(CorruptFileError, match=r"It holds diffusion_pytorch_model\.bf16\.safetensors.*`variant`"):
            verify_folder(folder, variant=variant)


def test_a_variant_that_nothing_has_is_named(tmp_path):
    folder = make_pipeline_folder(tmp_path / "model")
    with pytest.raises(CheckpointError, match="has weights of the variant 'fp61' for none of its components"):
        verify_folder(folder, variant="fp61")


@pytest.mark.parametrize("label", STRUCTURE_CASES)
def test_a_broken_folder_is_refused_with_the_reason(label, tmp_path):
    change, error, reason = STRUCTURE_CASES[label]
    folder = make_pipeline_folder(tmp_path / "model")
    change(folder)
    with pytest.raises(error, match=reason):
        verify_folder(folder)


def test_a_sound_folder_is_accepted_as_a_whole_and_in_parts(tmp_path):
    folder = make_pipeline_folder(tmp_path / "model")
    write_manifest(folder)
    verify_folder(folder)
    for component in ("transformer", "scheduler", "vae", "tokenizer", "robot_processor"):
        verify_component(folder / component)


def test_a_component_of_its_own_has_its_own_manifest(tmp_path):
    component = make_pipeline_folder(tmp_path / "model") / "vae"
    write_manifest(component)
    weights = component / "diffusion_pytorch_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CorruptFileError, match="SHA-256"):
        verify_component(component)


def test_an_adapter_is_accepted_as_a_file_and_as_a_folder(tmp_path):
    save_file({"lora_A": np.zeros((2, 2), np.float32)}, tmp_path / "pytorch_lora_weights.safetensors")
    write_json(tmp_path / "adapter_config.json", {"peft_type": "LORA", "r": 2, "lora_alpha": 4})
    check_adapter_file(tmp_path / "pytorch_lora_weights.safetensors")
    check_adapter_file(tmp_path)


def test_a_damaged_or_missing_adapter_is_refused(tmp_path):
    path = tmp_path / "adapter.safetensors"
    with pytest.raises(CorruptFileError, match=r"adapter\.safetensors"):
        check_adapter_file(path)
    save_file({"lora_A": np.zeros((2, 2), np.float32)}, path)
    _truncate(path)
    with pytest.raises(CorruptFileError, match=r"adapter\.safetensors"):
        check_adapter_file(path)


def test_the_gate_needs_no_torch():
    code = "import sys, xwam.checkpoints.verification, xwam.checkpoints.hub; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_folder_of_a_wan_model_is_accepted(tmp_path):
    wan = {
        "_class_name": "WanPipeline",
        "_diffusers_version": "0.35.0",
        "boundary_ratio": None,
        "expand_timesteps": True,
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "transformer_2": [None, None],
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "vae": ["diffusers", "AutoencoderKLWan"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
    }
    folder = make_pipeline_folder(tmp_path / "model")
    write_json(folder / "model_index.json", wan)
    write_json(
        folder / "transformer/config.json", {"_class_name": "WanTransformer3DModel", "image_dim": None, "dim": 3072}
    )
    unipc = {"_class_name": "UniPCMultistepScheduler", "solver_order": 2, "flow_shift": 5.0, "solver_type": "bh2"}
    write_json(folder / "scheduler/scheduler_config.json", unipc)
    verify_folder(folder)
