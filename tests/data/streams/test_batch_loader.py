"""Ranks share the numbers of samples without a gap, wherever they begin."""

from collections.abc import Sequence
from itertools import islice

import pytest
from stream_samples import SERVER

from xwam.data.streams.batch_loader import make_loader


class Numbers(list):
    def share_memory(self) -> "Numbers":
        return self


def read(indices: Sequence[int]) -> Numbers:
    return Numbers(indices)


def test_ranks_take_turns():
    settings = {"seed": 0, "batch_size": 3, "world_size": 2}
    first, second = (list(islice(make_loader(read, rank=rank, **settings), 3)) for rank in (0, 1))
    assert first == [[0, 1, 2], [6, 7, 8], [12, 13, 14]]
    assert second == [[3, 4, 5], [9, 10, 11], [15, 16, 17]]
    assert list(islice(make_loader(read, rank=1, start_batch=2, **settings), 2)) == [[15, 16, 17], [21, 22, 23]]


def test_workers_take_turns_wherever_they_begin():
    loader = make_loader(read, seed=0, batch_size=2, num_workers=2, start_batch=3, num_batches=8)
    loader.multiprocessing_context = SERVER
    assert list(loader) == [[6, 7], [8, 9], [10, 11], [12, 13], [14, 15]]


def test_every_iteration_begins_where_the_loader_does():
    loader = make_loader(read, seed=0, batch_size=1, start_batch=4, num_batches=6)
    assert list(loader) == list(loader) == [[4], [5]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1, but is 0"),
        ({"seed": -1}, "`seed` must be at least 0, but is -1"),
        ({"start_batch": -1}, "`start_batch` must be at least 0"),
        ({"num_workers": -1}, "`num_workers` must be at least 0"),
        ({"prefetch_factor": 0}, "`prefetch_factor` must be at least 1"),
        ({"world_size": 0}, "`world_size` must be at least 1"),
        ({"rank": 2, "world_size": 2}, "`rank` must be from 0 to 1, but is 2"),
    ],
)
def test_arguments_out_of_their_range_are_named(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        make_loader(read, **{"seed": 0, "batch_size": 1, **changes})
