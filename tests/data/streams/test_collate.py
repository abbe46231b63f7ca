"""Clips become one batch, whatever each of them lacks."""

from dataclasses import replace

import pytest
import torch
from window_reader import PROCESSOR, ROBOT, WindowReader

from xwam.data.streams.clip_dataset import ClipDataset
from xwam.data.streams.collate import collate
from xwam.robots.processor import RobotProcessor

DEEP = ClipDataset(WindowReader(has_depth=True), PROCESSOR)
FLAT = ClipDataset(WindowReader(name="flat"), PROCESSOR)


def test_a_batch_holds_what_its_clips_hold():
    clips = [DEEP[0], DEEP[5]]
    batch = collate(clips, indices=[7, 8], skipped=["one"])
    assert len(batch) == 2
    assert batch.frames.shape == batch.depth_images.shape == (2, 3, 5, 3, 32, 48)
    assert batch.states.shape == (2, 5, 16)
    assert batch.actions.shape == (2, 16, 14)
    for number, clip in enumerate(clips):
        for name in ("frames", "depth_images", "depth_mask", "states", "actions", "view_mask"):
            assert torch.equal(getattr(batch, name)[number], getattr(clip, name))
        assert torch.equal(batch.state_mask[number], clip.state_mask.float())
    assert batch.instructions == ["lift it", "lift it"]
    assert batch.sources == ["noise/000@0", "noise/000@5"]
    assert batch.indices.tolist() == [7, 8]
    assert batch.skipped == ["one"]
    assert collate(clips).indices.tolist() == [-1, -1]


def test_clips_without_depth_are_masked_among_others():
    batch = collate([DEEP[0], FLAT[0]])
    assert batch.depth_mask[0].any()
    assert not batch.depth_mask[1].any()
    assert (batch.depth_images[1] == -1).all()
    nothing = collate([FLAT[0]])
    assert nothing.depth_images.shape == (1, 3, 5, 3, 32, 48)
    assert (nothing.depth_images == -1).all()
    assert not nothing.depth_mask.any()


def test_a_batch_goes_to_a_device_as_it_is():
    batch = collate([DEEP[0], FLAT[0]], skipped=["one"])
    for moved in (batch.to("cpu"), batch.to("meta").to("meta"), batch.share_memory()):
        for name in ("frames", "depth_images", "depth_mask", "states", "state_mask", "view_mask", "indices"):
            assert getattr(moved, name).shape == getattr(batch, name).shape
            assert getattr(moved, name).dtype == getattr(batch, name).dtype
        assert moved.skipped == ["one"]
    assert batch.to("meta").depth_images.device.type == "meta"
    assert batch.to("cpu").depth_images.stride(3) == 0  # three channels, one memory
    assert batch.share_memory().depth_images.is_shared()


def test_clips_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="at least one clip, but is empty"):
        collate([])
    wide = RobotProcessor(replace(ROBOT, image_size=(32, 64)))
    with pytest.raises(ValueError, match=r"`clips\[1\].frames` must have W = 48"):
        collate([FLAT[0], ClipDataset(WindowReader(robot=wide.spec), wide)[0]])
