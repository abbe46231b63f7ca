"""A loader whose batches are functions of their number, read ahead by processes and dealt out to ranks.

Micro-batch n of rank r holds samples (n · `world_size` + r) · `batch_size` onwards, and the workers of a rank take its batches
in turn. So the number of workers changes nothing, all ranks together see the stream of one, and to go on after n batches
is to begin at batch n: nothing else has to be saved.
"""

from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from typing import Any, Protocol, cast

import torch
from datasets import IterableDataset
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader, get_worker_info


class SharedBatch(Protocol):
    """A batch that can be handed over between processes."""

    def share_memory(self) -> Any:
        """The batch in memory that another process can have."""


def make_loader(
    read: Callable[[Sequence[int]], SharedBatch],
    *,
    seed: int,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    start_batch: int = 0,
    num_batches: int | None = None,
    num_workers: int = 0,
    prefetch_factor: int = 2,
    timeout: float = 300.0,
    pin_memory: bool = False,
) -> DataLoader:
    """A loader over a `datasets.IterableDataset` of the numbers of batches; they are read after being dealt out.

    Args:
        read (`Callable`): Makes a batch of the numbers of its samples; must be picklable where there are workers.
        seed (`int`): Of the run.
        batch_size (`int`): Samples B of a batch.
        rank (`int`, *optional*, defaults to `0`): This process among those that train together.
        world_size (`int`, *optional*, defaults to `1`): Processes that train together.
        start_batch (`int`, *optional*, defaults to `0`): Batches of this rank to begin after, without reading them.
        num_batches (`int`, *optional*): Batches of this rank after which the stream ends, counted from its very beginning.
        num_workers (`int`, *optional*, defaults to `0`): Processes that read ahead; 0 reads in this one. They are
            spawned and import the script again, which must stand below `if __name__ == "__main__":`.
        prefetch_factor (`int`, *optional*, defaults to `2`): Batches that each worker reads ahead.
        timeout (`float`, *optional*, defaults to `300.0`): Seconds to wait for a worker's batch before the stream fails.
        pin_memory (`bool`, *optional*, defaults to `False`): Whether batches lie in page-locked memory.

    Raises:
        ValueError: If an argument is out of its range.
    """
    for name, value, least in (
        ("seed", seed, 0),
        ("batch_size", batch_size, 1),
        ("world_size", world_size, 1),
        ("start_batch", start_batch, 0),
        ("num_workers", num_workers, 0),
        ("prefetch_factor", prefetch_factor, 1),
    ):
        if not isinstance(value, Integral):
            raise ValueError(f"`{name}` must be a whole number, but is {value!r}.")
        if value < least:
            raise ValueError(f"`{name}` must be at least {least}, but is {value}.")
    if not 0 <= rank < world_size:
        raise ValueError(f"`rank` must be from 0 to {world_size - 1}, but is {rank}.")
    numbers = IterableDataset.from_generator(
        _batch_numbers,
        gen_kwargs={
            "lanes": list(range(world_size * max(num_workers, 1))),
            "world_size": world_size,
            "num_workers": max(num_workers, 1),
            "start_batch": start_batch,
            "num_batches": num_batches,
        },
    )
    workers: dict[str, Any] = {}
    if num_workers:
        workers = {
            "multiprocessing_context": "spawn",  # forked threads of a decoder or of torch do not work
            "persistent_workers": True,
            "prefetch_factor": prefetch_factor,
            "timeout": timeout,
        }
    return DataLoader(
        split_dataset_by_node(numbers, rank, world_size).map(_BatchReader(read, batch_size)),
        batch_size=None,
        collate_fn=cast("Any", _batch_of),  # without a batch size, this is what each example goes through
        num_workers=num_workers,
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(seed),  # else the loader draws from the generator that training uses
        **workers,
    )


def _batch_numbers(
    lanes: list[int], world_size: int, num_workers: int, start_batch: int, num_batches: int | None
) -> Iterator[dict[str, int]]:
    """Number among the batches of all ranks of each batch of one lane, which is what one worker of one rank reads.

    `datasets` deals lanes out to the ranks one by one, and each rank's to its workers one by one.
    """
    (lane,) = lanes
    worker, rank = divmod(lane, world_size)
    number = start_batch + worker
    while num_batches is None or number < num_batches:
        yield {"number": number * world_size + rank}
        number += num_workers


class _BatchReader:
    """Reads the batch of a number: what comes after everything that has been shuffled."""

    def __init__(self, read: Callable[[Sequence[int]], SharedBatch], batch_size: int) -> None:
        self._read, self._batch_size = read, batch_size

    def __call__(self, example: dict[str, int]) -> dict[str, Any]:
        first = example["number"] * self._batch_size
        batch = self._read(range(first, first + self._batch_size))
        # A worker that is told to stop while its queue copies a batch into shared memory would abort: copy here.
        return {"batch": batch if get_worker_info() is None else batch.share_memory()}


def _batch_of(example: dict[str, Any]) -> Any:
    return example["batch"]
