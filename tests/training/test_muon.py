"""Muon steps along the orthogonal factor of the momentum."""

import pytest
import torch
from torch import nn

from xwam.training.muon import Muon, MuonWithAdamW, is_matrix, orthogonal_factor


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (9, 9)])
def test_the_factor_has_the_directions_of_the_matrix_and_singular_values_around_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ orthogonal_factor(matrix) @ vt.T  # diagonal, if the directions are the same
    values = inner.diagonal()
    torch.testing.assert_close(inner, torch.diag(values), atol=1e-9, rtol=0)
    assert 0.6 < values.min() <= values.max() < 1.3


def test_a_kernel_is_a_matrix_of_outputs_by_all_inputs():
    kernel = nn.Parameter(torch.zeros(8, 2, 1, 3))
    gradient = torch.randn(8, 2, 1, 3, generator=torch.Generator().manual_seed(0))
    kernel.grad = gradient.clone()
    Muon([kernel], lr=0.1, momentum=0.5).step()
    scale = (8 / 6) ** 0.5
    expected = -0.1 * scale * orthogonal_factor(gradient.flatten(1)).view_as(kernel)
    torch.testing.assert_close(kernel.detach(), expected)


def test_parameters_without_a_gradient_stay():
    weight = nn.Parameter(torch.ones(3, 3))
    Muon([weight]).step()
    assert weight.detach().eq(1).all()


def test_biases_and_gains_are_no_matrices():
    assert is_matrix(torch.zeros(3, 4))
    assert is_matrix(torch.zeros(3, 4, 1, 1))
    assert not is_matrix(torch.zeros(5))
    assert not is_matrix(torch.zeros(5, 1, 1, 1))
    assert not is_matrix(torch.zeros(1, 5))


def test_single_precision_keeps_the_directions():
    matrix = torch.randn(12, 40, generator=torch.Generator().manual_seed(0))
    exact = orthogonal_factor(matrix.double())
    assert orthogonal_factor(matrix).dtype == torch.float32
    assert (
        torch.nn.functional.cosine_similarity(orthogonal_factor(matrix).flatten(), exact.float().flatten(), dim=0)
        > 0.999
    )


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3)).double()


def trained(module: nn.Module, *optimizers: torch.optim.Optimizer, steps: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        loss = (module(torch.randn(4, 5, generator=generator, dtype=torch.float64)) - 1).square().mean()
        module.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    return [parameter.detach() for parameter in module.parameters()]


def test_one_optimizer_does_what_muon_and_adamw_do_side_by_side():
    one, two = net(), net()
    matrices = [p for p in two.parameters() if is_matrix(p)]
    rest = [p for p in two.parameters() if not is_matrix(p)]
    options = {"betas": (0.8, 0.95), "eps": 1e-6}
    got = trained(one, MuonWithAdamW(one.parameters(), matrix_lr=0.03, lr=0.01, momentum=0.9, **options))
    muon = Muon(matrices, lr=0.03, momentum=0.9)
    expected = trained(two, muon, torch.optim.AdamW(rest, lr=0.01, weight_decay=0.0, **options))
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_what_is_not_pulled_on_decays_in_both_groups():
    module = net()
    before = [parameter.detach().clone() for parameter in module.parameters()]
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    MuonWithAdamW(module.parameters(), matrix_lr=0.1, lr=0.2, weight_decay=0.5).step()
    for old, new in zip(before, module.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old * (1 - (0.1 if is_matrix(old) else 0.2) * 0.5))


def test_a_saved_optimizer_goes_on_as_if_it_had_not_stopped():
    straight, stopped = net(), net()
    whole = MuonWithAdamW(straight.parameters())
    trained(straight, whole, steps=5)
    trained(straight, whole, steps=5)
    first = MuonWithAdamW(stopped.parameters())
    trained(stopped, first, steps=5)
    second = MuonWithAdamW(stopped.parameters(), lr=9.0)
    second.load_state_dict(first.state_dict())
    trained(stopped, second, steps=5)
    for one, other in zip(straight.parameters(), stopped.parameters(), strict=True):
        assert torch.equal(one, other)
