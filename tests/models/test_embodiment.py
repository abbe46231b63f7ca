"""A robot's parts are exchanged whole, start as those of a new model, and leave the rest of the network alone."""

import pytest
import torch
from tiny import make_transformer

from xwam.models.embodiment import MODULES, embodiment_of, empty_embodiment, new_embodiment, set_embodiment
from xwam.models.transformer_xwam import XWAMTransformer3DModel

SIZES = {"action_dim": 9, "state_dim": 4, "num_views": 2, "actions_per_frame": 3}


def public(config) -> dict:
    return {name: value for name, value in config.items() if not name.startswith("_")}


def test_the_parts_are_all_tensors_whose_shape_depends_on_the_robot():
    plain, other = make_transformer(), make_transformer(**SIZES)
    of_plain = {name: tensor.shape for name, tensor in plain.state_dict().items()}
    differing = {name for name, tensor in other.state_dict().items() if tensor.shape != of_plain[name]}
    parts = empty_embodiment(plain, **SIZES).state_dict()
    assert differing <= parts.keys()
    assert {name.split(".")[0] for name in parts} == set(MODULES)
    assert {name: tensor.shape for name, tensor in parts.items()} == {
        name: tensor.shape for name, tensor in other.state_dict().items() if name in parts
    }


def test_exchanged_there_and_back_the_network_is_the_same():
    transformer = make_transformer()
    config, before = public(transformer.config), {n: t.clone() for n, t in transformer.state_dict().items()}
    own = embodiment_of(transformer)
    set_embodiment(transformer, new_embodiment(transformer, **SIZES))
    assert {name: transformer.config[name] for name in SIZES} == SIZES
    shared = {name for name in before if name.split(".")[0] not in MODULES}
    assert all(torch.equal(transformer.state_dict()[name], before[name]) for name in shared)
    set_embodiment(transformer, own)
    assert public(transformer.config) == config
    after = transformer.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_exchanged_network_is_that_of_its_config():
    """Saved configuration and weights make the same network again: forward and tensors fit."""
    transformer = make_transformer()
    set_embodiment(transformer, new_embodiment(transformer, **SIZES))
    again = XWAMTransformer3DModel.from_config(transformer.config).eval()
    again.load_state_dict(transformer.state_dict())
    inputs = (torch.randn(1, 6, 1, 2, 4, 4), torch.randn(1, 6, 9), torch.randn(1, 3, 4))
    times = [torch.tensor([500.0])] * 3
    with torch.no_grad():
        first, second = (model(*inputs, *times, torch.randn(1, 3, 20) * 0) for model in (transformer, again))
    assert torch.equal(first.actions, second.actions)
    assert first.actions.shape == (1, 6, 9)


def test_start_values():
    transformer = make_transformer(num_attention_heads=8)
    parts = new_embodiment(transformer, **{**SIZES, "num_views": 5}, seed=3)
    known = transformer.view_embedding.weight
    views = parts.modules["view_embedding"].weight
    assert torch.equal(views[:3], known)
    assert 0.5 * 0.02 < float(views[3:].detach().std()) < 2 * 0.02
    for name in MODULES[:4]:
        for key, tensor in parts.modules[name].state_dict().items():
            if key.endswith("bias"):
                assert not tensor.any()
            else:
                assert float(tensor.std()) == pytest.approx(0.02, rel=0.1)
    again, other = (new_embodiment(transformer, **SIZES, seed=seed) for seed in (3, 4))
    first = parts.modules["action_embedder"].linear_2.weight
    assert torch.equal(first, again.modules["action_embedder"].linear_2.weight)
    assert not torch.equal(first, other.modules["action_embedder"].linear_2.weight)


def test_new_parts_are_float32_and_share_nothing_with_a_bfloat16_network():
    transformer = make_transformer().bfloat16()
    parts = new_embodiment(transformer, **SIZES)
    assert {parameter.dtype for parameter in parts.parameters()} == {torch.float32}
    with torch.no_grad():
        parts.modules["view_embedding"].weight.add_(1)
    assert not torch.equal(parts.modules["view_embedding"].weight, transformer.view_embedding.weight[:2].float())


def test_parts_take_the_mode_of_the_network():
    transformer = make_transformer().train()
    set_embodiment(transformer, new_embodiment(transformer, **SIZES))
    assert transformer.action_embedder.training
    set_embodiment(transformer.eval(), new_embodiment(transformer, **SIZES))
    assert not transformer.action_embedder.training


def test_a_state_dict_that_lacks_a_tensor_is_refused():
    parts = new_embodiment(make_transformer(), **SIZES)
    tensors = parts.state_dict()
    del tensors["state_proj_out.linear_2.bias"]
    with pytest.raises(RuntimeError, match=r"linear_2\.bias"):
        parts.load_state_dict(tensors)
