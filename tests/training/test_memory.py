"""Running out of memory is told from other errors, and says what can be done."""

import pytest
import torch

from xwam.errors import TrainingError
from xwam.training.memory import memory_explained


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"
        ),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_every_kind_names_the_knobs(error):
    with (
        pytest.raises(TrainingError, match=r"batch_size.*gradient_checkpointing.*bf16.*FSDP2.*LoRA") as caught,
        memory_explained(),
    ):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), OSError(2, "No such file"), ValueError("no")])
def test_other_errors_are_left_alone(error):
    with pytest.raises(type(error)) as caught, memory_explained():
        raise error
    assert caught.value is error
