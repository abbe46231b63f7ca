"""AdamW as the release uses it or Muon, the learning rate of every step, and a moving average of the weights."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from xwam.training.config import TrainConfig
from xwam.training.muon import MuonWithAdamW


def make_optimizer(parameters: Iterable[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of a configuration.

    AdamW has all parameters in one group: norms, biases and modulations decay like the rest.

    Source: `XWAMRunner.configure_optimizers` of the release.

    Args:
        parameters (`Iterable[nn.Parameter]`): Those that require a gradient are taken.
        config (`TrainConfig`): Which optimizer; rates, decay, betas, epsilon.

    Raises:
        ValueError: If none requires a gradient, or Muon is to train weights that are spread over processes: it needs whole
            matrices.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        raise ValueError("No parameter of the transformer requires a gradient: there is nothing to train.")
    if config.optimizer == "muon":
        if any(isinstance(parameter, DTensor) for parameter in trained):
            raise ValueError(
                '`optimizer` must be "adamw" where FSDP spreads the weights over processes, but is "muon".'
            )
        return MuonWithAdamW(
            trained, matrix_lr=config.matrix_learning_rate, lr=config.learning_rate, betas=config.betas,
            eps=config.epsilon, weight_decay=config.weight_decay,
        )  # fmt: skip
    return torch.optim.AdamW(
        trained, lr=config.learning_rate, betas=config.betas, eps=config.epsilon, weight_decay=config.weight_decay
    )


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    r"""Share of the highest rate that a step has.

    \(s / W\) while \(s < W\), then \(r + (1 - r)\,(1 + \cos(\pi (s - W) / (N - W))) / 2\): a function of the step
    alone, so that there is no scheduler to save. The first step of a warm-up has rate 0.

    Source: `get_cosine_schedule_with_warmup` of transformers, which the release uses.

    Args:
        step (`int`): Number of the step, from 0.
        config (`TrainConfig`): Steps N, warm-up W and final ratio r.
    """
    if step < config.warmup_steps:
        return step / max(1, config.warmup_steps)
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    cosine = max(0.0, 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress))))
    return config.final_learning_rate_ratio + (1 - config.final_learning_rate_ratio) * cosine


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, config: TrainConfig) -> float:
    """Give all groups the rate of a step.

    A group may have a rate of its own as its `initial_lr`; the others have the configuration's.

    Args:
        optimizer (`torch.optim.Optimizer`): Also one that accelerate wrapped.
        step (`int`): Number of the step, from 0.
        config (`TrainConfig`): See `learning_rate_factor`.

    Returns:
        `float`: Rate of the last group: Muon's matrices come first.
    """
    factor = learning_rate_factor(step, config)
    for group in optimizer.param_groups:
        group["lr"] = group.get("initial_lr", config.learning_rate) * factor
    return float(optimizer.param_groups[-1]["lr"])


class MovingAverage:
    r"""Moving average of the trained weights.

    \(\bar\theta \leftarrow \bar\theta - (1 - d)(\bar\theta - \theta)\) with \(d = \min(d_{max}, (1 + n) / (10 + n))\) after n
    updates, and the weights themselves at the first: early weights are soon forgotten. Sharded weights are averaged shard by shard. The same numbers as `diffusers.training_utils.EMAModel`.

    Args:
        parameters (`Iterable[nn.Parameter]`): Those that require a gradient are taken.
        decay (`float`): Highest decay.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._average = [_local(parameter).clone() for parameter in self._parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights into the average."""
        self.num_updates += 1
        before = self.num_updates - 1
        decay = 0.0 if before == 0 else min(self.decay, (1 + before) / (10 + before))
        for average, parameter in zip(self._average, self._parameters, strict=True):
            average.sub_((1 - decay) * (average - _local(parameter)))

    @torch.no_grad()
    def reset(self) -> None:
        """Take the weights for the average, without counting it as an update."""
        for average, parameter in zip(self._average, self._parameters, strict=True):
            average.copy_(_local(parameter))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block, the model has the averaged weights; afterwards its own, bit for bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for average, parameter in zip(self._average, self._parameters, strict=True):
            weights = _local(parameter)
            kept = weights.clone()
            weights.copy_(average)
            average.copy_(kept)


def _local(parameter: torch.Tensor) -> torch.Tensor:
    """This process's share of a parameter."""
    return parameter.to_local().detach() if isinstance(parameter, DTensor) else parameter.detach()
