"""New weights that follow from a seed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Make what is drawn on the CPU within follow from a seed; the caller's generators, of all devices, are left alone.

    Args:
        seed (`int`): Of the CPU's generator, which modules draw their weights from.
    """
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed every GPU's, too
        yield
