"""The registration with diffusers: both import orders, nothing imported by `import xwam`, what generic loaders then find."""

import json
import re
import subprocess
import sys
import textwrap

import pytest
import torch
from diffusers import DiffusionPipeline
from ecosystem_samples import act, make_pipeline

import xwam
from xwam import XWAM4DPipeline, XWAMPolicyPipeline

ORDERS = {
    "xwam first": """
        import sys
        import xwam
        import diffusers
        """,
    "diffusers first": """
        import sys
        import diffusers
        from diffusers import DiffusionPipeline
        try:
            DiffusionPipeline.from_pretrained(sys.argv[1])
        except Exception as error:
            print(f"without xwam: {type(error).__name__}: {error}", file=sys.stderr)
        import xwam
        """,
}
REPORT = """
    from diffusers import AutoModel, DiffusionPipeline
    from diffusers.hooks._helpers import TransformerBlockRegistry
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES
    from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES

    pipe = DiffusionPipeline.from_pretrained(sys.argv[1])
    model = AutoModel.from_pretrained(sys.argv[1], subfolder="transformer")
    from xwam.models.block_xwam import XWAMTransformerBlock

    print(type(pipe).__name__, type(model).__name__)
    print("xwam" in LOADABLE_CLASSES, type(model).__name__ in SINGLE_FILE_LOADABLE_CLASSES)
    print(TransformerBlockRegistry.get(XWAMTransformerBlock).return_hidden_states_index)
    print(diffusers.XWAM4DPipeline is xwam.XWAM4DPipeline, hasattr(diffusers, "NoSuchPipeline"))
    """


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    return printed, errors


class TestImport:
    def test_import_is_light(self):
        code = """
            import sys, time
            start = time.process_time()
            import xwam
            seconds = time.process_time() - start
            heavy = ("torch", "diffusers", "transformers", "peft", "accelerate", "datasets", "numpy")
            print(seconds, [name for name in heavy if name in sys.modules])
            """
        printed, _ = finish(start(textwrap.dedent(code)))
        seconds, heavy = printed.split(maxsplit=1)
        assert float(seconds) < 0.5
        assert heavy.strip() == "[]"

    def test_every_public_name_exists(self):
        for name in xwam.__all__:
            assert getattr(xwam, name).__name__ == name

    def test_an_unknown_name_is_an_attribute_error(self):
        with pytest.raises(AttributeError, match="XWAMTransformer"):
            _ = xwam.XWAMTransformer


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    make_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def started(saved):
    """Both orders at once: importing diffusers takes seconds."""
    return {
        order: start(textwrap.dedent(imports) + textwrap.dedent(REPORT), str(saved))
        for order, imports in ORDERS.items()
    }


@pytest.fixture(scope="module")
def finished(started):
    return {order: finish(process) for order, process in started.items()}


@pytest.mark.parametrize("order", ORDERS)
def test_both_import_orders_register_everything(finished, order):
    printed, _ = finished[order]
    assert printed.split() == ["XWAMPolicyPipeline", "XWAMTransformer3DModel", "True", "True", "0", "True", "False"]


def test_generic_loading_without_xwam_names_the_missing_class(finished):
    _, errors = finished["diffusers first"]
    assert re.search("without xwam: .*XWAMPolicyPipeline", errors)


class TestModelIndex:
    def test_components_are_named_by_library_and_class(self, saved):
        index = json.loads((saved / "model_index.json").read_text())
        assert index["transformer"] == ["xwam", "XWAMTransformer3DModel"]
        assert index["scheduler"] == ["xwam", "XWAMScheduler"]
        assert index["robot_processor"] == ["xwam", "RobotProcessor"]
        assert index["vae"] == ["diffusers", "AutoencoderKLWan"]
        assert index["text_encoder"] == ["transformers", "UMT5EncoderModel"]
        assert index["tokenizer"][0] == "transformers"
        assert index["_class_name"] == "XWAMPolicyPipeline"

    def test_the_generic_pipeline_loads_the_right_class(self, saved):
        pipe = DiffusionPipeline.from_pretrained(saved)
        assert type(pipe) is XWAMPolicyPipeline
        pipe.set_progress_bar_config(disable=True)
        torch.testing.assert_close(act(pipe), act(make_pipeline()), rtol=0, atol=0)

    def test_the_other_pipeline_loads_from_the_same_folder(self, saved):
        assert type(XWAM4DPipeline.from_pretrained(saved)) is XWAM4DPipeline

    def test_the_generic_pipeline_loads_from_the_hub(self, saved, loopback_hub):
        make_pipeline().push_to_hub("team/generic")
        pipe = DiffusionPipeline.from_pretrained("team/generic")
        assert type(pipe) is XWAMPolicyPipeline
        pipe.set_progress_bar_config(disable=True)
        torch.testing.assert_close(act(pipe), act(make_pipeline()), rtol=0, atol=0)


def test_other_single_file_classes_still_find_their_way():
    """diffusers looks up every registered name as an attribute of itself until one fits."""
    from diffusers import WanTransformer3DModel
    from diffusers.loaders.single_file_model import _get_single_file_loadable_mapping_class

    from xwam import XWAMTransformer3DModel

    assert _get_single_file_loadable_mapping_class(WanTransformer3DModel) == "WanTransformer3DModel"
    assert _get_single_file_loadable_mapping_class(XWAMTransformer3DModel) == "XWAMTransformer3DModel"
    assert _get_single_file_loadable_mapping_class(torch.nn.Linear) is None
