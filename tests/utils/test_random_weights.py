"""Weights follow from a seed, and nobody else's draws change."""

import torch

from xwam.utils.random_weights import seeded_weights


def test_weights_follow_from_the_seed_and_the_callers_draws_go_on():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    made = []
    for seed in (0, 0, 2):
        with seeded_weights(seed):
            made.append(torch.nn.Linear(3, 3).weight)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert torch.equal(torch.rand(2), expected)


def test_no_other_device_is_seeded(monkeypatch):
    seeded = []
    for device in ("cuda", "xpu", "mps"):
        for name in ("manual_seed", "manual_seed_all"):
            if hasattr(getattr(torch, device), name):
                monkeypatch.setattr(getattr(torch, device), name, lambda seed: seeded.append(seed))
    with seeded_weights(3):
        torch.rand(1)
    assert not seeded
    torch.manual_seed(3)
    assert seeded, "this test can fail"
