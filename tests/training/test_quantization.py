"""A base in int8 carries a robot that is trained beside it and fits the full base; what needs a GPU says so."""

import importlib.metadata

import pytest
import torch
from ecosystem_samples import act, make_pipeline
from lora_run import run
from robot_adapter_samples import JOINT_ARM, drive

from xwam.errors import CheckpointError
from xwam.pipelines.pipeline_xwam_policy import XWAMPolicyPipeline
from xwam.training import quantization as module
from xwam.training.lora import prepare_lora
from xwam.training.quantization import quantization


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    make_pipeline().save_pretrained(folder)
    return folder


class TestInt8:
    @pytest.fixture
    def pipe(self, saved):
        pytest.importorskip("torchao", reason="int8 needs torchao")
        pipe = XWAMPolicyPipeline.from_pretrained(
            saved, quantization_config=quantization("int8"), dtype=torch.bfloat16
        )
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def test_the_blocks_are_quantized_and_nothing_else(self, pipe):
        kinds = {name: type(p).__name__ for name, p in pipe.transformer.named_parameters() if p.ndim == 2}
        quantized = {name for name, kind in kinds.items() if kind == "Int8Tensor"}
        assert len(quantized) == 6 * 10
        assert all(name.startswith(("blocks.", "depth_blocks.")) for name in quantized)
        for part in ("action_embedder.linear_1", "condition_embedder.text_embedder.linear_1", "proj_out"):
            assert pipe.transformer.get_parameter(f"{part}.weight").dtype in (torch.float32, torch.bfloat16)
        difference = (act(pipe) - act(make_pipeline())).abs().max()
        assert 0 < float(difference) < 0.05

    def test_a_robot_is_trained_beside_it_and_fits_the_full_base(self, pipe, tmp_path):
        prepare_lora(pipe, JOINT_ARM)
        result, reports = run(tmp_path, pipe, steps=8)
        assert sum(report.losses["loss"] for report in reports[-2:]) < sum(
            report.losses["loss"] for report in reports[:2]
        )
        pipe.transformer.eval()
        full = make_pipeline()
        full.load_robot(result.pipeline)
        torch.testing.assert_close(drive(full), drive(pipe), rtol=0, atol=0.1)
        with pytest.raises(ValueError, match="quantized base"):
            pipe.merge_robot()
        other = make_pipeline(seed=1)
        with pytest.raises(CheckpointError, match="other weights"):
            other.load_robot(result.pipeline)

    def test_without_depth_it_would_be_passed_over(self, saved):
        pytest.importorskip("torchao", reason="int8 needs torchao")
        with pytest.raises(ValueError, match="load_depth=False"):
            XWAMPolicyPipeline.from_pretrained(saved, quantization_config=quantization("int8"), load_depth=False)


def test_an_unknown_kind():
    with pytest.raises(ValueError, match=r"'int8', '8bit', '4bit'.*'2bit'"):
        quantization("2bit")


@pytest.mark.parametrize(
    ("kind", "package"), [("int8", "torchao"), ("8bit", "bitsandbytes"), ("4bit", "bitsandbytes")]
)
def test_a_missing_package_is_named(kind, package, monkeypatch):
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module.importlib.metadata, "version", missing)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        quantization(kind)


@pytest.mark.parametrize("kind", ["8bit", "4bit"])
def test_without_a_gpu_it_says_so(kind, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(module.importlib.metadata, "version", lambda name: "1.0")
    with pytest.raises(RuntimeError, match=r"needs a CUDA device.*'int8'"):
        quantization(kind)
