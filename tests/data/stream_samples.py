"""Streams of noise, some of it damaged, and what tells two batches apart."""

import hashlib
import multiprocessing
from collections.abc import Callable
from dataclasses import fields
from itertools import islice

import torch
from torch.utils.data import DataLoader
from window_reader import PROCESSOR, WindowReader

from xwam.data.streams.augmentation import Augmentation
from xwam.data.streams.collate import TrainBatch
from xwam.data.streams.stream import make_stream

SERVER = multiprocessing.get_context("forkserver")  # its processes need not import anything
SERVER.set_forkserver_preload(["xwam.data.streams.stream"])
LENGTHS = (40, 10, 50, 30)  # 24 + 34 + 14 windows
SETTINGS = {"seed": 3, "batch_size": 2, "augmentation": Augmentation()}


def digest(batch: TrainBatch) -> str:
    """SHA-256 of everything in a batch."""
    found = hashlib.sha256()
    for entry in fields(batch):
        value = getattr(batch, entry.name)
        found.update(value.contiguous().numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode())
    return found.hexdigest()


def digests(count: int, make: Callable[..., DataLoader] = make_stream, **changes: object) -> list[str]:
    """Of the first batches."""
    reader = WindowReader(LENGTHS, has_depth=True, damaged={3})
    return [digest(batch) for batch in islice(make(reader, PROCESSOR, **{**SETTINGS, **changes}), count)]
