"""Muon steps along the orthogonal factor of the momentum."""

import pytest
import torch
from torch import nn

from xwam.training.muon import Muon, is_matrix, orthogonal_factor


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
