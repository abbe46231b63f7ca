"""A base is known again whatever its dtype, its robot and its adapters; another one is not taken for it."""

import pytest
import torch
from ecosystem_samples import ATTENTION, make_transformer, randomize_
from peft import LoraConfig

from xwam.errors import CheckpointError
from xwam.loaders.base_identity import BaseIdentity
from xwam.models.embodiment import new_embodiment, set_embodiment


@pytest.fixture
def transformer():
    return make_transformer()


@pytest.fixture
def identity(transformer):
    return BaseIdentity.of(transformer)


def test_it_survives_json(identity):
    assert BaseIdentity.from_dict(identity.to_dict(), "here") == identity


def test_the_dtype_does_not_count(identity, transformer):
    identity.check(transformer.bfloat16(), "it")


def test_robot_and_live_adapters_do_not_count(identity, transformer):
    set_embodiment(
        transformer, new_embodiment(transformer, action_dim=3, state_dim=4, num_views=2, actions_per_frame=1)
    )
    transformer.add_adapter(LoraConfig(r=2, target_modules=ATTENTION))
    randomize_(transformer)
    assert BaseIdentity.of(transformer) == identity


def test_fused_adapters_count(identity, transformer):
    transformer.add_adapter(LoraConfig(r=2, target_modules=ATTENTION))
    randomize_(transformer)
    transformer.fuse_lora()
    with pytest.raises(CheckpointError, match="unfuse LoRA"):
        identity.check(transformer, "it")


@pytest.mark.parametrize(
    "name", ["blocks.1.attn1.to_q.weight", "blocks.2.scale_shift_table", "blocks.0.ffn.net.2.bias"]
)
def test_one_changed_tensor_is_noticed(identity, transformer, name):
    with torch.no_grad():
        transformer.get_parameter(name).mul_(1.5).add_(0.1)
    with pytest.raises(CheckpointError, match="other weights"):
        identity.check(transformer, "it")
    identity.check(transformer, "it", weights=False)


def test_without_its_depth_branch_it_is_the_same_base(identity, transformer):
    lean = transformer.without_depth()
    identity.check(lean, "it")
    BaseIdentity.of(lean).check(transformer, "it")


def test_fewer_depth_layers_are_another_base(identity):
    with pytest.raises(CheckpointError, match="`num_depth_layers` = 2"):
        identity.check(make_transformer(num_depth_layers=1), "it")


def test_quantized_matrices_are_not_compared(identity, transformer):
    """As a quantized base has them: matrices of other kinds, vectors as they were."""
    for name, parameter in transformer.named_parameters():
        if parameter.ndim == 2 and name.startswith("blocks.") and name.endswith("weight"):
            parameter.data = parameter.data.half()
    came = BaseIdentity.of(transformer)
    assert came.matrices is None
    identity.check(transformer, "it")
    came.check(make_transformer(), "it")
    with pytest.raises(CheckpointError, match="other weights"):
        came.check(make_transformer(seed=1), "it")
