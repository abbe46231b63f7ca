"""The training losses are those of the plain loops, and so are their gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from reference.plain_training import plain_losses
from reference.plain_xwam import PlainXWAM
from reference.random_xwam import DEPTH_BRANCHES, Sizes, random_transformer, relative_error

from xwam.models.joint_latents import JointLatents
from xwam.schedulers.noise_pairs import NoisePairs
from xwam.schedulers.scheduling_xwam import XWAMScheduler
from xwam.training.step import EncodedBatch, _squared_error, loss_terms, training_losses

LOSS_TOLERANCE = 1e-6
GRADIENT_TOLERANCE = 2e-5
SIZES = Sizes(batch=4, frames=3, views=2, grid=(2, 4), actions=9, states=5)
DENOISED_DEPTH = ("sequence", "channel")
GIVEN = {"some": [True, False, False, True], "none": [False] * 4, "all": [True] * 4}

each_branch = pytest.mark.parametrize("branch", DEPTH_BRANCHES)
each_depth_branch = pytest.mark.parametrize("branch", [branch for branch in DEPTH_BRANCHES if branch != "none"])


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def joint(seed, *, depth):
    video = (SIZES.batch, SIZES.channels, SIZES.frames, SIZES.views, *SIZES.grid)
    return JointLatents(
        video=draw(seed, *video),
        actions=draw(seed + 1, SIZES.batch, SIZES.actions, 7),
        states=draw(seed + 2, SIZES.batch, SIZES.states, 5),
        depth=draw(seed + 3, *video) if depth else None,
    )


def make_batch(branch):
    return EncodedBatch(
        clean=joint(10, depth=branch != "none"),
        prompt_embeds=draw(30, SIZES.batch, SIZES.text, 10),
        action_mask=(draw(31, SIZES.batch, SIZES.actions, 7) > -0.5).float(),
        state_mask=(draw(32, SIZES.batch, SIZES.states, 5) > -0.5).float(),
    )


def make_pairs(given):
    is_given = torch.tensor(GIVEN[given])
    action = torch.where(is_given, 0.0, torch.tensor([0.3, 0.81, 0.42, 0.999]))
    return NoisePairs(torch.tensor([0.9, 0.95, 0.55, 0.12]), action, is_given)


def losses_of(model, branch, given="some", batch=None, **options):
    noise = joint(20, depth=branch in DENOISED_DEPTH)
    return training_losses(model, XWAMScheduler(), batch or make_batch(branch), make_pairs(given), noise, **options)


def plain_losses_of(weights, model, branch, given="some", **options):
    def doubled(parts):
        return {name: value.double() for name, value in vars(parts).items() if value is not None}

    batch, pairs = make_batch(branch), make_pairs(given)
    masks = {"actions": batch.action_mask.double(), "states": batch.state_mask.double()}
    return plain_losses(
        PlainXWAM(weights, model.config), branch, doubled(batch.clean), doubled(joint(20, depth=branch in DENOISED_DEPTH)), masks,
        batch.prompt_embeds, (pairs.video, pairs.action, pairs.action_is_given), **options,
    )  # fmt: skip


@pytest.mark.parametrize("given", GIVEN)
@each_branch
def test_every_loss_and_gradient_is_the_plain_loops(branch, given):
    model = random_transformer(SIZES, branch).train()
    weights = {name: value.double().requires_grad_() for name, value in model.state_dict().items()}
    losses, expected = losses_of(model, branch, given), plain_losses_of(weights, model, branch, given)
    assert set(losses) == set(expected)
    assert ("depth" in losses) == (branch != "none")
    for name, value in expected.items():
        assert losses[name].shape == ()
        assert losses[name].item() == pytest.approx(value.item(), rel=LOSS_TOLERANCE), name
    sum(losses.values()).backward()
    sum(expected.values()).backward()
    for name, parameter in model.named_parameters():
        found, twins = parameter.grad, weights[name].grad
        assert found is not None, f"{name} gets no gradient"
        if twins.abs().max() > 0:
            assert relative_error(found, twins) <= GRADIENT_TOLERANCE, name
        else:
            assert given == "all" or name == "view_embedding.weight"
            assert found.abs().max() == 0, name


def test_given_actions_carry_no_loss():
    model = random_transformer(SIZES, "none")
    losses = losses_of(model, "none", "all")
    assert losses["actions"].item() == 0.0
    assert losses["states"].item() == 0.0
    assert losses["video"].item() > 0


def test_what_is_masked_out_carries_no_loss():
    model, batch = random_transformer(SIZES, "none"), make_batch("none")
    silent = EncodedBatch(batch.clean, batch.prompt_embeds, torch.zeros_like(batch.action_mask), batch.state_mask)
    losses, reference = losses_of(model, "none", "none", silent), losses_of(model, "none", "none")
    assert losses["actions"].item() == 0.0
    assert losses["states"].item() == reference["states"].item()


def test_the_first_state_carries_no_loss():
    model, batch = random_transformer(SIZES, "none"), make_batch("none")
    mask = torch.zeros_like(batch.state_mask)
    mask[:, 0] = 1
    only_first = EncodedBatch(batch.clean, batch.prompt_embeds, batch.action_mask, mask)
    assert losses_of(model, "none", "none", only_first)["states"].item() == 0.0


def test_without_depth_latents_the_depth_branch_is_not_trained():
    model, batch = random_transformer(SIZES, "interleaved"), make_batch("none")
    losses = losses_of(model, "interleaved", batch=batch)
    assert set(losses) == {"video", "actions", "states"}
    reference = losses_of(model, "interleaved")
    assert all(losses[name].item() == reference[name].item() for name in losses)


@each_branch
def test_gradient_checkpointing_changes_no_bit(branch):
    gradients = []
    for checkpointing in (False, True):
        model = random_transformer(SIZES, branch).train()
        if checkpointing:
            model.enable_gradient_checkpointing()
        sum(losses_of(model, branch).values()).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(first, second) for first, second in zip(*gradients, strict=True))


def poisoned(batch, value):
    """The batch with `value` wherever the robot lacks the channel."""
    clean = replace(
        batch.clean,
        actions=torch.where(batch.action_mask > 0, batch.clean.actions, value),
        states=torch.where(batch.state_mask > 0, batch.clean.states, value),
    )
    return replace(batch, clean=clean)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@each_branch
def test_what_is_masked_out_may_be_anything(branch, value):
    """Absent channels that are not numbers act as zeros: on the losses and on every gradient."""
    results = []
    for filler in (value, 0.0):
        model, batch = random_transformer(SIZES, branch).train(), make_batch(branch)
        losses = losses_of(model, branch, "some", poisoned(batch, filler))
        sum(losses.values()).backward()
        results.append(([losses[name] for name in sorted(losses)], [p.grad for p in model.parameters()]))
    for found, expected in zip(results[0][0] + results[0][1], results[1][0] + results[1][1], strict=True):
        assert found.isfinite().all()
        assert torch.equal(found, expected)


def test_what_is_not_masked_out_is_not_repaired():
    model, batch = random_transformer(SIZES, "none"), make_batch("none")
    actions = batch.clean.actions.clone()
    actions[0, 0, 0] = float("nan")
    broken = replace(
        batch, clean=replace(batch.clean, actions=actions), action_mask=torch.ones_like(batch.action_mask)
    )
    assert losses_of(model, "none", "none", broken)["actions"].isnan()


def test_a_prediction_that_is_masked_out_may_be_anything():
    prediction = torch.tensor([[[1.0, float("nan"), 3.0]]], requires_grad=True)
    loss = _squared_error(
        prediction, torch.tensor([[[0.0, 0.0, float("nan")]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    ).mean
    loss.backward()
    assert loss.item() == 1.0
    assert prediction.grad.tolist() == [[[2.0, 0.0, 0.0]]]


@pytest.mark.parametrize("branch", DENOISED_DEPTH)
def test_given_depth_is_shown_clean_and_carries_no_loss(branch):
    model = random_transformer(SIZES, branch)
    losses = losses_of(model, branch, depth_is_given=True)
    expected = plain_losses_of(model.state_dict(), model, branch, depth_given=True)
    assert set(losses) == set(expected)
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=LOSS_TOLERANCE), name
    assert losses["depth"].item() != pytest.approx(losses_of(model, branch)["depth"].item(), rel=1e-3)


@pytest.mark.parametrize("branch", ["none", "interleaved"])
def test_depth_that_is_not_denoised_cannot_be_given(branch):
    with pytest.raises(ValueError, match="`depth_is_given` needs depth latents that are denoised"):
        losses_of(random_transformer(SIZES, branch), branch, depth_is_given=True)


def depth_masks(seed=40):
    """Cells that were measured: none of the first example, all of the last."""
    mask = (draw(seed, SIZES.batch, SIZES.frames, SIZES.views, *SIZES.grid) > 0).float()
    mask[0], mask[-1] = 0, 1
    return mask


@each_branch
def test_full_masks_change_no_bit(branch):
    model, batch = random_transformer(SIZES, branch), make_batch(branch)
    masked = replace(
        batch,
        depth_mask=torch.ones(SIZES.batch, SIZES.frames, SIZES.views, *SIZES.grid),
        view_mask=torch.ones(SIZES.batch, SIZES.views),
    )
    expected, found = losses_of(model, branch, batch=batch), losses_of(model, branch, batch=masked)
    assert {name: loss.item() for name, loss in found.items()} == {
        name: loss.item() for name, loss in expected.items()
    }


@each_depth_branch
@pytest.mark.parametrize("value", [1e6, float("nan")])
def test_depth_that_was_not_measured_may_be_anything(branch, value):
    """Losses and gradients do not change by a bit."""
    results = []
    for filler in (value, 0.0):
        model, batch = random_transformer(SIZES, branch).train(), make_batch(branch)
        mask = depth_masks()
        depth = torch.where(mask[:, None] > 0, batch.clean.depth, filler)
        batch = replace(batch, clean=replace(batch.clean, depth=depth), depth_mask=mask)
        losses = losses_of(model, branch, batch=batch)
        sum(losses.values()).backward()
        results.append([*(losses[name] for name in sorted(losses)), *(p.grad for p in model.parameters())])
    for found, expected in zip(*results, strict=True):
        assert found.isfinite().all()
        assert torch.equal(found, expected)


@each_depth_branch
def test_a_batch_without_any_depth_teaches_the_rest_and_leaves_no_parameter_unused(branch):
    model, batch = random_transformer(SIZES, branch).train(), make_batch(branch)
    losses = losses_of(model, branch, batch=replace(batch, depth_mask=torch.zeros_like(depth_masks())))
    assert losses["depth"].item() == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    depth_grads = [p.grad.abs().max() for name, p in model.named_parameters() if name.startswith("depth_proj_out")]
    assert all(grad == 0 for grad in depth_grads)
    assert losses["video"].item() > 0


def test_the_depth_loss_is_the_mean_over_what_was_measured():
    """Two batches of complementary cells together are the loss of all cells."""
    model, batch, mask = random_transformer(SIZES, "interleaved"), make_batch("interleaved"), depth_masks()
    noise, pairs, terms = joint(20, depth=False), make_pairs("some"), []
    for own in (mask, 1 - mask):
        found = loss_terms(model, XWAMScheduler(), replace(batch, depth_mask=own), pairs, noise)["depth"]
        assert found.count.item() == own.sum() * SIZES.channels
        terms.append(found)
    total = sum(term.total for term in terms) / sum(term.count for term in terms)
    assert total.item() == pytest.approx(losses_of(model, "interleaved")["depth"].item(), rel=LOSS_TOLERANCE)


@each_branch
def test_a_view_that_was_not_recorded_carries_no_loss(branch):
    model, batch = random_transformer(SIZES, branch), make_batch(branch)
    seen = torch.ones(SIZES.batch, SIZES.views)
    seen[:, 1] = 0
    seen[2] = 0
    noise, pairs = joint(20, depth=branch in DENOISED_DEPTH), make_pairs("some")
    terms = loss_terms(model, XWAMScheduler(), replace(batch, view_mask=seen), pairs, noise)
    cells = 3 * SIZES.grid[0] * SIZES.grid[1] * SIZES.channels  # examples 0, 1 and 3, one view each
    assert terms["video"].count.item() == cells * (SIZES.frames - 1)
    if branch != "none":
        assert terms["depth"].count.item() == cells * SIZES.frames
    blind = loss_terms(model, XWAMScheduler(), replace(batch, view_mask=torch.zeros_like(seen)), pairs, noise)
    assert blind["video"].mean.item() == 0


@pytest.mark.parametrize("branch", DENOISED_DEPTH)
def test_unmeasured_depth_is_shown_as_noise(branch):
    """The same outputs as if the clean depth there were the noise itself."""
    model, batch, mask = random_transformer(SIZES, branch), make_batch(branch), depth_masks()
    noise = joint(20, depth=True)
    hidden = replace(batch, depth_mask=mask)
    shown = torch.where(mask[:, None] > 0, batch.clean.depth, noise.depth)
    told = replace(batch, clean=replace(batch.clean, depth=shown), depth_mask=mask)
    assert losses_of(model, branch, batch=hidden)["video"].item() == pytest.approx(
        losses_of(model, branch, batch=told)["video"].item(), rel=1e-6
    )
    assert losses_of(model, branch, batch=hidden)["video"].item() != pytest.approx(
        losses_of(model, branch)["video"].item(), rel=1e-4
    )


def test_shares_of_a_batch_add_up():
    """Terms of two halves, put together, give the losses of the whole."""
    model, batch, noise, pairs = random_transformer(SIZES, "interleaved"), make_batch("interleaved"), joint(20, depth=False), make_pairs("some")  # fmt: skip

    def rows(structure, chosen):
        return type(structure)(**{k: None if v is None else v[chosen] for k, v in vars(structure).items()})

    def part(chosen):
        own = EncodedBatch(rows(batch.clean, chosen), batch.prompt_embeds[chosen], batch.action_mask[chosen], batch.state_mask[chosen])  # fmt: skip
        return loss_terms(model, XWAMScheduler(), own, rows(pairs, chosen), rows(noise, chosen), with_spectral=True)

    halves = [part(slice(0, 1)), part(slice(1, 4))]
    whole = losses_of(model, "interleaved", with_spectral=True)
    for name, loss in whole.items():
        mean = sum(half[name].total for half in halves) / (sum(half[name].count for half in halves) + 1e-8)
        assert mean.item() == pytest.approx(loss.item(), rel=1e-5), name


def test_the_spectral_loss_compares_the_whole_spectrum_of_examples_that_count():
    model, batch = random_transformer(SIZES, "none"), make_batch("none")
    mask = torch.ones_like(batch.action_mask)
    mask[2, 4] = 0  # one action of example 2 is not known; examples 0 and 3 are given
    batch = replace(batch, action_mask=mask)
    noise = joint(20, depth=False)
    outputs = []
    handle = model.action_proj_out.register_forward_hook(lambda *call: outputs.append(call[2]))
    loss = losses_of(model, "none", batch=batch, with_spectral=True)["spectral"]
    handle.remove()
    difference = (outputs[0] - (noise.actions - batch.clean.actions))[1].detach().numpy()
    assert loss.item() == pytest.approx(abs(np.fft.rfft(difference, axis=0)).mean(), rel=1e-5)


def test_without_an_example_that_counts_the_spectral_loss_is_zero():
    losses = losses_of(random_transformer(SIZES, "none"), "none", "all", with_spectral=True)
    assert losses["spectral"].item() == 0


def test_a_batch_is_copied_as_a_whole():
    batch = replace(make_batch("interleaved"), depth_mask=depth_masks(), indices=torch.arange(4))
    moved = batch.to("meta")
    assert moved.view_mask is None
    tensors = [*vars(moved.clean).values(), moved.prompt_embeds, moved.depth_mask, moved.indices, moved.action_mask]
    assert all(tensor.is_meta for tensor in tensors)


def test_eight_windows_at_fixed_noise_are_learned_by_heart():
    torch.manual_seed(0)
    sizes = Sizes(batch=8, frames=2, views=1, grid=(2, 2), actions=8, states=3)
    model = random_transformer(sizes, "interleaved").train()
    shape = (8, sizes.channels, 2, 1, 2, 2)
    clean = JointLatents(draw(1, *shape), draw(2, 8, 8, 7), draw(3, 8, 3, 5), draw(4, *shape))
    noise = JointLatents(draw(5, *shape), draw(6, 8, 8, 7), draw(7, 8, 3, 5))
    batch = EncodedBatch(clean, draw(8, 8, sizes.text, 10), torch.ones(8, 8, 7), torch.ones(8, 3, 5))
    given = torch.arange(8) % 2 == 0
    pairs = NoisePairs(torch.linspace(0.5, 0.95, 8), torch.where(given, 0.0, 0.6), given)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    history = []
    for step in range(400):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * (1 - step / 400)
        loss = sum(training_losses(model, XWAMScheduler(), batch, pairs, noise).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.01 * history[0], f"{history[0]:.3f} fell only to {history[-1]:.4f}"
