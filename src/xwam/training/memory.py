"""Out of memory, with the knobs to turn."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from xwam.errors import TrainingError

_OF_THE_CPU = re.compile(r"can't allocate memory|not enough memory|Cannot allocate memory", re.IGNORECASE)


@contextmanager
def memory_explained() -> Iterator[None]:
    """Within the block, running out of memory is a `TrainingError` that says what can be done.

    Raises:
        TrainingError: Instead of PyTorch's and Python's errors of this kind.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"Memory ran out ({str(error).splitlines()[0] if str(error) else type(error).__name__}). Checkpoints are untouched. In "
            "this order: smaller `batch_size` with more `accumulation`, which is the same training; `gradient_checkpointing`; "
            '`precision` "bf16"; data encoded ahead, which needs no VAE and text encoder; FSDP2 over several GPUs; LoRA; '
            "fewer `num_workers` if it is the machine's own memory."
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on a device or in the machine."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or bool(_OF_THE_CPU.search(str(error)))
