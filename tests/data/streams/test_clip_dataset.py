"""Windows for evaluation: the same ones in the same form every time."""

import pytest
import torch
from window_reader import PROCESSOR, WindowReader

from xwam.data.streams.clip_dataset import ClipDataset
from xwam.data.streams.windows import WindowShape, read_clip
from xwam.robots.clips import EncodedClip
from xwam.structures import Clip


def test_windows_begin_at_every_row_or_every_few():
    reader = WindowReader((40, 10, 50))  # 24, 0 and 34 windows
    every, some = ClipDataset(reader), ClipDataset(reader, stride=10)
    assert len(every) == 58
    assert [some.place(number) for number in range(len(some))] == [
        (0, 0), (0, 10), (0, 20), (2, 0), (2, 10), (2, 20), (2, 30),
    ]  # fmt: skip
    assert some.place(-1) == (2, 30)
    assert [clip.source for clip in some] == [some[number].source for number in range(len(some))]
    assert some[4].source == "noise/002@10"
    with pytest.raises(IndexError, match="There are 7 windows, but number 7"):
        some[7]


def test_items_are_clips_or_what_the_model_sees_at_inference():
    reader = WindowReader()
    plain, encoded = ClipDataset(reader)[3], ClipDataset(reader, PROCESSOR)[3]
    assert isinstance(plain, Clip)
    assert isinstance(encoded, EncodedClip)
    expected = PROCESSOR.encode_clip(read_clip(reader, 0, 3, WindowShape.of(PROCESSOR.spec)))
    assert torch.equal(encoded.frames, expected.frames)


def test_a_stride_is_positive():
    with pytest.raises(ValueError, match="`stride` must be at least 1, but is 0"):
        ClipDataset(WindowReader(), stride=0)
    assert len(ClipDataset(WindowReader((3,)))) == 0
