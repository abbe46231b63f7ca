"""Encoded clips as one batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import torch

from xwam.robots.clips import EncodedClip
from xwam.utils.shapes import expect_shapes


@dataclass(frozen=True, eq=False)
class TrainBatch:
    """A batch of windows in the model's units.

    Args:
        frames (`torch.Tensor` of shape `(B, V, F, 3, H, W)`): RGB in [-1, 1], float32; -1 in views that were not recorded.
        depth_images (`torch.Tensor` of shape `(B, V, F, 3, H, W)`): Inverse depth in [-1, 1], float32, 1 near; -1 where there is
            none. The three channels are equal and share their memory.
        depth_mask (`torch.BoolTensor` of shape `(B, V, F, H, W)`): True where depth was measured.
        states (`torch.Tensor` of shape `(B, S, R)`): Normalised states, float32; 0 where masked.
        actions (`torch.Tensor` of shape `(B, K, A)`): Normalised actions, float32; 0 where masked.
        state_mask (`torch.Tensor` of shape `(B, S, R)`): float32, 1 where the state was measured.
        action_mask (`torch.Tensor` of shape `(B, K, A)`): float32, 1 where the action is known.
        view_mask (`torch.BoolTensor` of shape `(B, V)`): True where the view was recorded.
        instructions (`list[str]`): The task in words, of each window.
        sources (`list[str]`): Data set, episode and row of each window.
        indices (`torch.LongTensor` of shape `(B,)`): Number of each sample in the stream; -1 outside of one.
        skipped (`list[str]`): Windows that could not be read and were replaced, each with the reason.
    """

    frames: torch.Tensor
    depth_images: torch.Tensor
    depth_mask: torch.Tensor
    states: torch.Tensor
    actions: torch.Tensor
    state_mask: torch.Tensor
    action_mask: torch.Tensor
    view_mask: torch.Tensor
    instructions: list[str]
    sources: list[str]
    indices: torch.Tensor
    skipped: list[str] = field(default_factory=list)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """The batch on a device.

        Args:
            device (`torch.device` or `str`): Where to.
            non_blocking (`bool`, *optional*, defaults to `False`): Whether to copy from pinned memory without waiting.
        """
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The batch in page-locked memory; called by the loader."""
        return self._map(torch.Tensor.pin_memory)

    def share_memory(self) -> Self:
        """The batch in memory that another process can have, for a worker to hand over."""
        return self._map(torch.Tensor.share_memory_)

    def __len__(self) -> int:
        return len(self.instructions)

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        changed: dict[str, Any] = {
            entry.name: change(value)
            for entry in fields(self)
            if isinstance(value := getattr(self, entry.name), torch.Tensor) and entry.name != "depth_images"
        }
        depth = change(self.depth_images[:, :, :, :1])  # one of three equal channels
        return replace(self, depth_images=depth.expand_as(self.depth_images), **changed)


def collate(
    clips: Sequence[EncodedClip], *, indices: Sequence[int] | None = None, skipped: Sequence[str] = ()
) -> TrainBatch:
    """One batch of clips.

    Args:
        clips (`Sequence[EncodedClip]`): Windows of one or several robots with the same sizes.
        indices (`Sequence[int]`, *optional*): Number of each in the stream; -1 by default.
        skipped (`Sequence[str]`, *optional*): Windows that these replace, each with the reason.

    Raises:
        ValueError: If there are no clips, or their shapes differ.
    """
    if len(clips) == 0:
        raise ValueError("`clips` must hold at least one clip, but is empty.")
    expect_shapes(
        **{
            f"clips[{number}].{name}": (getattr(clip, name), pattern)
            for name, pattern in _SHAPES.items()
            for number, clip in enumerate(clips)
        }
    )
    depth_images, depth_mask = _depths(clips)
    return TrainBatch(
        frames=torch.stack([clip.frames for clip in clips]),
        depth_images=depth_images,
        depth_mask=depth_mask,
        states=torch.stack([clip.states for clip in clips]),
        actions=torch.stack([clip.actions for clip in clips]),
        state_mask=torch.stack([clip.state_mask for clip in clips]).float(),
        action_mask=torch.stack([clip.action_mask for clip in clips]).float(),
        view_mask=torch.stack([clip.view_mask for clip in clips]),
        instructions=[clip.instruction for clip in clips],
        sources=[clip.source for clip in clips],
        indices=torch.tensor([-1] * len(clips) if indices is None else list(indices), dtype=torch.int64),
        skipped=list(skipped),
    )


def _depths(clips: Sequence[EncodedClip]) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth images and mask of the batch; nothing is stored for a batch without depth but its shape."""
    views, frames, _, height, width = clips[0].frames.shape
    size = (len(clips), views, frames, 3, height, width)
    if all(clip.depth_images is None for clip in clips):
        no_mask = torch.zeros((), dtype=torch.bool).expand(len(clips), views, frames, height, width)
        return torch.tensor(-1.0).expand(size), no_mask.clone()
    images = torch.full((*size[:3], 1, height, width), -1.0)
    mask = torch.zeros((*size[:3], height, width), dtype=torch.bool)
    for number, clip in enumerate(clips):
        if clip.depth_images is not None and clip.depth_mask is not None:
            images[number], mask[number] = clip.depth_images[:, :, :1], clip.depth_mask
    return images.expand(size), mask


_SHAPES = {"frames": "V F 3 H W", "states": "S R", "actions": "K A"}
