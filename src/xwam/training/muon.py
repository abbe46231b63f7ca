"""Muon: momentum whose matrices are made orthogonal, for the inner layers of a network that must learn in few steps."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic that pulls singular values towards 1
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    r"""Steps along the orthogonal factor of the momentum: \(W \leftarrow W - \eta \sqrt{\max(1, m/n)}\,U V^T\).

    `torch.optim.Muon` takes matrices only; here a kernel of a convolution counts as a matrix of its outputs by all its inputs.

    Source: Jordan, Muon: an optimizer for hidden layers, 2024.

    Args:
        params (`Iterable[nn.Parameter]`): With two axes or more.
        lr (`float`, *optional*, defaults to `0.02`): Rate η.
        momentum (`float`, *optional*, defaults to `0.95`): Of the Nesterov kind.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Change all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(state["momentum"], group["momentum"]).flatten(1)
                rows, columns = update.shape
                scale = max(1.0, rows / columns) ** 0.5
                parameter.add_(orthogonal_factor(update).view_as(parameter), alpha=-group["lr"] * scale)


def orthogonal_factor(matrix: torch.Tensor) -> torch.Tensor:
    r"""Nearly the orthogonal factor \(U V^T\) of a matrix \(U S V^T\): its singular values come to lie around 1.

    Args:
        matrix (`torch.Tensor` of shape `(rows, columns)`): Any matrix.
    """
    a, b, c = _COEFFICIENTS
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    factor = wide / (wide.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        square = factor @ factor.T
        factor = a * factor + (b * square + c * square @ square) @ factor
    return factor.T if matrix.shape[0] > matrix.shape[1] else factor


def is_matrix(parameter: nn.Parameter) -> bool:
    """Whether a parameter is for Muon: a weight, not a bias or a gain.

    Args:
        parameter (`nn.Parameter`): Any parameter.
    """
    return parameter.ndim >= 2 and min(parameter.flatten(1).shape) > 1
