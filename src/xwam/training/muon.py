"""Muon: momentum whose matrices are made orthogonal, for the inner layers of a network that must learn in few steps."""

from collections.abc import Callable, Iterable
from typing import Any

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
                if parameter.grad is not None:
                    update = _muon_update(parameter.grad, self.state[parameter], group)
                    parameter.add_(update, alpha=-group["lr"])


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon for the matrices, AdamW for biases, gains and everything else: one optimizer with two groups.

    Both shrink what they change by `lr * weight_decay`, as AdamW does. Each group has its rate as `initial_lr` too, so that a
    schedule can scale both.

    Args:
        params (`Iterable[nn.Parameter]`): All that is trained.
        matrix_lr (`float`, *optional*, defaults to `0.02`): Rate of the matrices.
        lr (`float`, *optional*, defaults to `1e-3`): Rate of the rest.
        momentum (`float`, *optional*, defaults to `0.95`): Of Muon.
        betas (`tuple[float, float]`, *optional*, defaults to `(0.9, 0.999)`): Of AdamW.
        eps (`float`, *optional*, defaults to `1e-8`): Of AdamW.
        weight_decay (`float`, *optional*, defaults to `0.0`): Of both.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        matrix_lr: float = 0.02,
        lr: float = 1e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        parameters = list(params)
        matrices = [parameter for parameter in parameters if is_matrix(parameter)]
        rest = [parameter for parameter in parameters if not is_matrix(parameter)]
        groups = [
            {"params": own, "lr": rate, "initial_lr": rate, "is_matrices": own is matrices}
            for own, rate in ((matrices, matrix_lr), (rest, lr))
            if own
        ]
        defaults = {"momentum": momentum, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(groups, {"lr": lr, **defaults})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Change all parameters that have a gradient."""
        for group in self.param_groups:
            change = _muon_update if group["is_matrices"] else _adam_update
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(change(parameter.grad, self.state[parameter], group), alpha=-group["lr"])


def _muon_update(gradient: torch.Tensor, state: dict[str, torch.Tensor], group: dict[str, Any]) -> torch.Tensor:
    if not state:
        state["momentum"] = torch.zeros_like(gradient)
    state["momentum"].lerp_(gradient, 1 - group["momentum"])
    update = gradient.lerp(state["momentum"], group["momentum"]).flatten(1)
    rows, columns = update.shape
    return orthogonal_factor(update).view_as(gradient) * max(1.0, rows / columns) ** 0.5


def _adam_update(gradient: torch.Tensor, state: dict[str, torch.Tensor], group: dict[str, Any]) -> torch.Tensor:
    if not state:
        state["step"] = torch.zeros(())
        state["exp_avg"] = torch.zeros_like(gradient)
        state["exp_avg_sq"] = torch.zeros_like(gradient)
    first, second = group["betas"]
    state["step"] += 1
    state["exp_avg"].lerp_(gradient, 1 - first)
    state["exp_avg_sq"].lerp_(gradient.square(), 1 - second)
    mean = state["exp_avg"] / (1 - first ** float(state["step"]))
    square = state["exp_avg_sq"] / (1 - second ** float(state["step"]))
    return mean / (square.sqrt() + group["eps"])


def orthogonal_factor(matrix: torch.Tensor) -> torch.Tensor:
    r"""Nearly the orthogonal factor \(U V^T\) of a matrix \(U S V^T\): its singular values come to lie around 1.

    Single precision is computed in bfloat16, as usual for Muon: the iteration corrects itself.

    Args:
        matrix (`torch.Tensor` of shape `(rows, columns)`): Any matrix.
    """
    a, b, c = _COEFFICIENTS
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    factor = wide / (wide.norm() + 1e-7)
    if matrix.dtype == torch.float32:
        factor = factor.bfloat16()
    for _ in range(_ITERATIONS):
        square = factor @ factor.T
        factor = a * factor + (b * square + c * square @ square) @ factor
    factor = factor.to(matrix.dtype)
    return factor.T if matrix.shape[0] > matrix.shape[1] else factor


def is_matrix(parameter: nn.Parameter) -> bool:
    """Whether a parameter is for Muon: a weight, not a bias or a gain.

    Args:
        parameter (`nn.Parameter`): Any parameter.
    """
    return parameter.ndim >= 2 and min(parameter.flatten(1).shape) > 1
