"""Fixtures for all tests. The first lines run before anything of the Hugging Face stack is imported."""

import os
import shutil
from collections.abc import Iterator

import pytest
from loopback_hub import LoopbackHub, reserve

RESERVED, HOME = reserve()


@pytest.fixture(scope="session")
def _running_hub() -> Iterator[LoopbackHub]:
    hub = LoopbackHub(RESERVED, HOME / "server")
    hub.start()
    yield hub
    hub.stop()


@pytest.fixture
def loopback_hub(_running_hub: LoopbackHub) -> Iterator[LoopbackHub]:
    """An empty Hub that every library of this process talks to; see tests/loopback_hub.py.

    The cache (`HF_HOME`) is shared by the session, so tests that look at it pass a `cache_dir` of their own or use
    repository names of their own.
    """
    _running_hub.reset()
    yield _running_hub
    _running_hub.reset()


@pytest.fixture(scope="module")
def one_thread():
    """Sums over threads have no fixed order everywhere, and on a busy machine threads mostly wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def _ordinary_schedule():
    """The AV1 encoder makes a process of root real-time; the tests that follow would inherit that."""
    yield
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
