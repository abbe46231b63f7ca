"""Rate and average are those of transformers and diffusers; the optimizer is the release's."""

from dataclasses import replace

import pytest
import torch
from diffusers.training_utils import EMAModel
from transformers import get_cosine_schedule_with_warmup

from xwam.training.config import TrainConfig
from xwam.training.optimization import MovingAverage, learning_rate_factor, make_optimizer, set_learning_rate

CONFIG = TrainConfig(steps=30, warmup_steps=5, learning_rate=2e-3)


def layers(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2))


@pytest.mark.parametrize("warmup", [0, 5, 30])
def test_the_rate_of_every_step_is_that_of_the_releases_scheduler(warmup):
    config = replace(CONFIG, warmup_steps=warmup)
    optimizer = make_optimizer(layers().parameters(), config)
    expected = torch.optim.AdamW(layers().parameters(), lr=config.learning_rate)
    scheduler = get_cosine_schedule_with_warmup(expected, warmup, config.steps)
    for step in range(config.steps):
        assert set_learning_rate(optimizer, step, config) == pytest.approx(expected.param_groups[0]["lr"], abs=1e-18)
        expected.step()
        scheduler.step()


def test_the_cosine_ends_at_the_ratio_that_was_asked_for():
    config = replace(CONFIG, final_learning_rate_ratio=0.1)
    assert learning_rate_factor(5, config) == 1
    assert learning_rate_factor(30, config) == pytest.approx(0.1)
    assert learning_rate_factor(1000, config) == pytest.approx(0.1)


def test_a_group_may_have_a_rate_of_its_own():
    optimizer = torch.optim.AdamW(
        [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "initial_lr": 1.0}], lr=9.0
    )
    set_learning_rate(optimizer, 5, CONFIG)
    assert [group["lr"] for group in optimizer.param_groups] == [2e-3, 1.0]


def test_all_parameters_decay_as_in_the_release():
    optimizer = make_optimizer(layers().parameters(), CONFIG)
    (group,) = optimizer.param_groups
    assert len(group["params"]) == 6
    assert (group["weight_decay"], group["betas"], group["eps"]) == (0.01, (0.9, 0.999), 1e-8)


def test_frozen_parameters_are_left_out_and_all_frozen_is_an_error():
    model = layers()
    model[0].requires_grad_(False)
    assert len(make_optimizer(model.parameters(), CONFIG).param_groups[0]["params"]) == 4
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        make_optimizer(model.parameters(), CONFIG)


def test_the_average_is_that_of_diffusers_bit_for_bit():
    model = layers()
    ours, theirs = MovingAverage(model.parameters(), 0.5), EMAModel(model.parameters(), decay=0.5)
    for seed in range(12):
        with torch.no_grad():
            for parameter, other in zip(model.parameters(), layers(seed).parameters(), strict=True):
                parameter.copy_(other)
        ours.update()
        theirs.step(model.parameters())
    own = [parameter.clone() for parameter in model.parameters()]
    with ours.applied():
        assert all(torch.equal(p, shadow) for p, shadow in zip(model.parameters(), theirs.shadow_params, strict=True))
        assert not torch.equal(next(model.parameters()), own[0])
    assert all(torch.equal(p, before) for p, before in zip(model.parameters(), own, strict=True))


def test_the_weights_come_back_when_something_fails_under_the_average():
    model = layers()
    average = MovingAverage(model.parameters(), 0.5)
    before = model[0].weight.clone()
    with torch.no_grad():
        model[0].weight.add_(1)
    seen = []

    def fail():
        with average.applied():
            seen.append(model[0].weight.clone())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(seen[0], before)
    assert torch.equal(model[0].weight, before + 1)


def test_muon_takes_matrices_at_a_rate_of_their_own():
    config = replace(CONFIG, optimizer="muon", matrix_learning_rate=0.04)
    optimizer = make_optimizer(layers().parameters(), config)
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 4]
    assert set_learning_rate(optimizer, 5, config) == 2e-3
    assert [group["lr"] for group in optimizer.param_groups] == [0.04, 2e-3]
    set_learning_rate(optimizer, 30, config)
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.0]
