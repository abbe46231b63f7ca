"""Processes that read ahead change nothing, and their end is an error. Most come from one server: they start in no time."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from stream_samples import SERVER, SETTINGS, digest, digests
from synthetic_episodes import ROBOT as RECORDED
from synthetic_episodes import contents
from torch.utils.data import DataLoader
from window_reader import PROCESSOR, WindowReader

from xwam.data.readers.lerobot import LeRobotReader
from xwam.data.streams.collate import TrainBatch
from xwam.data.streams.stream import MAX_ATTEMPTS, make_stream
from xwam.errors import DataError
from xwam.robots.processor import RobotProcessor

# The second part: a batch that it had announced was asked of a process that is no more.
WORKER_IS_GONE = r"exited unexpectedly|killed by signal|Connection (reset|refused)|No such file|^$"
OPENING, ROUNDS = 8, 3  # processes that open a data set at once, and how often
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on a machine of two cores


def make_served(*args: Any, **settings: Any) -> DataLoader:
    """`make_stream` with workers that need not import anything."""
    loader = make_stream(*args, **settings)
    if loader.num_workers:
        loader.multiprocessing_context = SERVER
    return loader


def consume(batches: Iterator[TrainBatch], most: int) -> None:
    for _ in islice(batches, most):
        pass


def test_workers_and_ranks_change_nothing():
    alone = digests(16)
    assert len(set(alone)) == 16
    for num_workers in (0, 1, 2, 4):
        assert digests(16, make_served, num_workers=num_workers) == alone
    for workers in ((0, 4), (2, 1)):
        ranks = [digests(8, make_served, rank=rank, world_size=2, num_workers=workers[rank]) for rank in (0, 1)]
        assert [batch for both in zip(*ranks, strict=True) for batch in both] == alone
    assert digests(5, make_served, num_workers=2, start_batch=11) == alone[11:]


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_two_hundred_batches_are_the_same_for_any_number_of_workers(num_workers: int):
    assert digests(200, num_workers=num_workers) == digests(200)


def test_a_worker_that_finds_nothing_to_read_says_so():
    reader = WindowReader(damaged={0, 2})
    stream = make_served(reader, PROCESSOR, seed=0, batch_size=2, num_workers=1)
    with pytest.raises(DataError, match=rf"{MAX_ATTEMPTS} windows in a row could not be read; .*Frame 3 is damaged"):
        next(iter(stream))


def test_a_worker_that_is_killed_ends_the_stream():
    iterator = iter(make_stream(WindowReader(), PROCESSOR, num_workers=1, **SETTINGS))  # as in training: spawned
    next(iterator)
    os.kill(iterator._workers[0].pid, signal.SIGKILL)
    start = time.monotonic()
    with pytest.raises((RuntimeError, OSError, EOFError), match=WORKER_IS_GONE):
        consume(iterator, most=1000)
    assert time.monotonic() - start < 30  # at once, but for a machine that has more to do; 300 until the timeout


def test_a_worker_that_hangs_ends_the_stream():
    settings = {"seed": 0, "batch_size": 1, "shuffle": "none", "num_workers": 1}
    iterator = iter(make_served(WindowReader((60,), hanging={20}), PROCESSOR, timeout=300, **settings))
    next(iterator)  # windows of rows 0 to 16
    iterator._timeout = 2  # the time that a worker needs to start is not what is tested
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="timed out after 2"):
        consume(iterator, most=4)
    assert time.monotonic() - start < 30  # it hangs for 600


def test_many_processes_open_a_fresh_data_set_at_once(own_recording: Path, tmp_path: Path):
    before, found = contents(own_recording), []
    with SERVER.Pool(OPENING, _meet, (SERVER.Barrier(OPENING),)) as pool:
        for number in range(ROUNDS):
            fresh = shutil.copytree(own_recording, tmp_path / str(number) / "own")
            found += pool.map(_first_batch, [fresh] * OPENING, chunksize=1)
            assert contents(fresh) == before
    assert found == [_first_batch(own_recording)] * (OPENING * ROUNDS)


def _meet(barrier: Barrier) -> None:
    global _BARRIER
    _BARRIER = barrier


_BARRIER: Barrier | None = None


def _first_batch(folder: Path) -> str:
    robot = replace(RECORDED, num_frames=5, actions_per_frame=1, image_size=(32, 48))
    if _BARRIER is not None:
        _BARRIER.wait(timeout=120)
    with LeRobotReader(folder, robot) as reader:
        return digest(next(iter(make_stream(reader, RobotProcessor(robot), **SETTINGS))))
