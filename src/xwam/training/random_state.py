"""States of the random generators of a process, as tensors."""

import random
from typing import Any

import numpy as np
import torch

from xwam.utils.seeding import seed_from

Tensors = dict[str, torch.Tensor]

_SEED_LIMIT = 2**32  # NumPy's old generator takes no larger seed


def seed_generators(seed: int, rank: int) -> None:
    """Start the generators of Python, NumPy and PyTorch anew, differently in every process.

    Training draws nothing from them: whatever is random there has a seed of its own. What other code draws can be repeated.

    Args:
        seed (`int`): Seed of the training.
        rank (`int`): Number of the process.
    """
    own = seed_from(seed, "process", rank)
    random.seed(own)
    np.random.seed(own % _SEED_LIMIT)
    torch.manual_seed(own)


def random_state() -> Tensors:
    """States of the generators of Python, NumPy and PyTorch, on the CPU and on the current CUDA device.

    Returns:
        `dict[str, torch.Tensor]`: Tensors of the same shapes in every process.
    """
    _, words, gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=True)
    _, keys, position, has_gauss, cached = numpy_state
    state = {
        "python": torch.tensor(words, dtype=torch.int64),
        "python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy": torch.tensor([*keys.tolist(), position, has_gauss], dtype=torch.int64),
        "numpy_gauss": torch.tensor([cached], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    state["python_gauss"] = torch.nn.functional.pad(
        state["python_gauss"], (0, 1 - len(state["python_gauss"])), value=torch.nan
    )
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Tensors) -> None:
    """Put the generators where `random_state` found them.

    Args:
        state (`dict[str, torch.Tensor]`): From `random_state`; a CUDA state is left out where there is no CUDA.
    """
    gauss = float(state["python_gauss"][0])
    random.setstate((3, tuple(state["python"].tolist()), None if gauss != gauss else gauss))
    *keys, position, has_gauss = state["numpy"].tolist()
    np.random.set_state(
        ("MT19937", np.array(keys, dtype=np.uint32), position, has_gauss, float(state["numpy_gauss"][0]))
    )
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
