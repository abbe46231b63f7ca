"""The transformer computes what the plain twin computes, in every depth branch and at many sizes."""

import pytest
import torch
from peft import LoraConfig
from reference.plain_xwam import EXACT, SINGLE, PlainXWAM
from reference.random_xwam import (
    DEPTH_BRANCHES,
    MANY_SIZES,
    SMALL,
    as_twin_arguments,
    random_inputs,
    random_transformer,
    relative_error,
)

TOLERANCE = 5e-6
GRADIENT_TOLERANCE = 2e-5

each_branch = pytest.mark.parametrize("branch", DEPTH_BRANCHES)


def run(model, inputs, **options):
    with torch.no_grad():
        return model(**inputs, **options)


@each_branch
@pytest.mark.parametrize("sizes", MANY_SIZES.values(), ids=MANY_SIZES.keys())
def test_the_output_is_the_plain_twins(sizes, branch):
    model, inputs = random_transformer(sizes, branch), random_inputs(sizes, branch)
    found = run(model, inputs)
    for precision in (EXACT, SINGLE):
        with torch.no_grad():
            expected = PlainXWAM(model.state_dict(), model.config, precision)(**as_twin_arguments(inputs))
        assert {name for name, value in found.items() if value is not None} == set(expected)
        for name, value in expected.items():
            assert found[name].dtype == torch.float32
            assert relative_error(found[name], value) <= TOLERANCE, (name, precision)


@pytest.mark.parametrize("seed", range(4))
@each_branch
def test_the_output_is_the_plain_twins_for_other_weights(branch, seed):
    model, inputs = random_transformer(SMALL, branch, seed=10 + seed), random_inputs(SMALL, branch, seed=20 + seed)
    found = run(model, inputs)
    with torch.no_grad():
        expected = PlainXWAM(model.state_dict(), model.config)(**as_twin_arguments(inputs))
    assert max(relative_error(found[name], value) for name, value in expected.items()) <= TOLERANCE


def test_depth_takes_the_timesteps_of_the_video_where_it_has_none():
    model, inputs = random_transformer(SMALL, "sequence"), random_inputs(SMALL, "sequence")
    shared = {**inputs, "depth_timestep": inputs["timestep"]}
    del inputs["depth_timestep"]
    assert torch.equal(run(model, inputs).depth, run(model, shared).depth)


def backward(output, seed=7):
    """Backward pass of a random weighted sum of everything that is put out."""
    generator = torch.Generator().manual_seed(seed)
    total = 0.0
    for name in ("video", "actions", "states", "depth"):
        value = output.get(name)
        if value is not None:
            total = total + (value * torch.randn(value.shape, generator=generator)).sum()
    total.backward()


@each_branch
def test_every_parameter_gets_the_plain_twins_gradient(branch):
    model, inputs = random_transformer(SMALL, branch), random_inputs(SMALL, branch)
    weights = {name: value.double().requires_grad_() for name, value in model.state_dict().items()}
    backward(PlainXWAM(weights, model.config)(**as_twin_arguments(inputs)))
    backward(model(**inputs))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} gets no gradient"
        assert relative_error(parameter.grad, weights[name].grad) <= GRADIENT_TOLERANCE, name


@each_branch
def test_gradient_checkpointing_gives_identical_gradients(branch):
    inputs = random_inputs(SMALL, branch)
    gradients = []
    for checkpointing in (False, True):
        model = random_transformer(SMALL, branch).train()
        if checkpointing:
            model.enable_gradient_checkpointing()
            calls = count_calls(model.blocks[0].ffn)
        backward(model(**inputs))
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert calls() == 2, "a checkpointed block runs again in the backward pass"
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def count_calls(module):
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return lambda: len(calls)


def test_without_depth_no_bit_of_the_rest_changes():
    model, inputs = random_transformer(SMALL, "interleaved"), random_inputs(SMALL, "interleaved")
    with_depth, without = run(model, inputs), run(model, inputs, predict_depth=False)
    assert with_depth.depth is not None
    assert without.depth is None
    for name in ("video", "actions", "states"):
        assert torch.equal(with_depth[name], without[name])


def test_a_model_without_its_depth_branch_gives_identical_actions():
    model, inputs = random_transformer(SMALL, "interleaved"), random_inputs(SMALL, "interleaved")
    lean = model.without_depth()
    assert lean.config.depth_branch == "none"
    assert not any("depth" in name for name in lean.state_dict())
    full, out = run(model, inputs), run(lean, inputs)
    assert out.depth is None
    assert all(torch.equal(out[name], full[name]) for name in ("video", "actions", "states"))


def test_adapters_must_be_fused_before_depth_is_left_out():
    model = random_transformer(SMALL, "interleaved")
    model.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    with pytest.raises(ValueError, match=r"LoRA adapters .* `fuse_lora\(\)`"):
        model.without_depth()


def test_no_depth_weight_reaches_an_action():
    model, inputs = random_transformer(SMALL, "interleaved"), random_inputs(SMALL, "interleaved")
    reference = run(model, inputs)
    depth_parameters = {name: value for name, value in model.named_parameters() if name.startswith("depth_")}
    assert len(depth_parameters) == 27 * SMALL.depth_layers + 3
    for name, parameter in depth_parameters.items():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
        changed = run(model, inputs)
        with torch.no_grad():
            parameter.copy_(kept)
        assert not torch.equal(changed.depth, reference.depth), f"{name} does nothing"
        for part in ("video", "actions", "states"):
            assert torch.equal(changed[part], reference[part]), f"{name} reaches the {part}"


@each_branch
def test_a_filled_text_cache_gives_identical_bits(branch):
    model, inputs = random_transformer(SMALL, branch), random_inputs(SMALL, branch)
    cache = model.new_text_cache()
    plain, first, second = (
        run(model, inputs),
        run(model, inputs, text_cache=cache),
        run(model, inputs, text_cache=cache),
    )
    for name, value in plain.items():
        if value is not None:
            assert torch.equal(first[name], value)
            assert torch.equal(second[name], value)


@each_branch
def test_a_filled_text_cache_is_what_is_read(branch):
    model, inputs = random_transformer(SMALL, branch), random_inputs(SMALL, branch)
    cache, projected = model.new_text_cache(), []
    for block in [*model.blocks, *getattr(model, "depth_blocks", [])]:
        projected += [count_calls(block.attn2.to_k), count_calls(block.attn2.to_v)]
    first = run(model, inputs, text_cache=cache)
    inputs["encoder_hidden_states"] = torch.zeros_like(inputs["encoder_hidden_states"])
    assert torch.equal(run(model, inputs, text_cache=cache).video, first.video)
    assert {calls() for calls in projected} == {1}


def test_a_cache_filled_without_depth_serves_a_step_with_depth():
    model, inputs = random_transformer(SMALL, "interleaved"), random_inputs(SMALL, "interleaved")
    cache = model.new_text_cache()
    run(model, inputs, text_cache=cache, predict_depth=False)
    assert torch.equal(run(model, inputs, text_cache=cache).depth, run(model, inputs).depth)


def test_the_tuple_has_the_order_of_the_output():
    model, inputs = random_transformer(SMALL, "interleaved"), random_inputs(SMALL, "interleaved")
    named, bare = run(model, inputs), run(model, inputs, return_dict=False)
    for value, name in zip(bare, ("video", "actions", "states", "depth"), strict=True):
        assert torch.equal(value, named[name])


@each_branch
def test_a_forward_pass_changes_neither_weights_nor_inputs(branch):
    model, inputs = random_transformer(SMALL, branch), random_inputs(SMALL, branch)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    kept = {name: value.clone() for name, value in inputs.items()}
    run(model, inputs, text_cache=model.new_text_cache())
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert all(torch.equal(kept[name], value) for name, value in inputs.items())


@each_branch
def test_saving_and_loading_keeps_the_branch_and_every_bit(branch, tmp_path):
    model, inputs = random_transformer(SMALL, branch), random_inputs(SMALL, branch)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()
    assert loaded.config.depth_branch == branch
    found, expected = run(loaded, inputs), run(model, inputs)
    assert all(torch.equal(found[name], value) for name, value in expected.items() if value is not None)
