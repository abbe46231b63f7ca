"""Random crops and colours of training windows, as the release makes them: a function of the seed and the sample's number."""

import random
from dataclasses import dataclass, replace
from typing import Any

from xwam.data.streams.colour_jitter import ColourJitter, jitter_colours
from xwam.robots.clips import EncodedClip
from xwam.robots.images import CropBox
from xwam.utils.seeding import seed_from


@dataclass(frozen=True)
class AugmentationDraw:
    """What happens to one window.

    Args:
        boxes (`tuple[tuple[int, int, int, int], ...]`): Crop of each view, for all its frames; see `RobotProcessor.encode_clip`.
        jitter (`ColourJitter`): Change of colours, of all views and frames.
        view_order (`tuple[int, ...]`): View that comes to each place.
    """

    boxes: tuple[CropBox, ...]
    jitter: ColourJitter
    view_order: tuple[int, ...]


@dataclass(frozen=True)
class Augmentation:
    """How windows are changed.

    Source: `VideoAugmentation` in the official `data/augmentation.py`, whose values are the defaults.

    Of the switches of the official `RobotDataset`, `shuffle_view_order` is `shuffle_views`; `inverse_gripper` is the sign in the
    robot's `GripperSpec`; `normalize_depths_per_view` has no counterpart, since it takes the unit from measured depth.

    Args:
        crop_ratio (`float`, *optional*, defaults to `0.95`): Share of each side that a crop keeps.
        brightness (`float`, *optional*, defaults to `0.2`): Factors are drawn from 1 − this to 1 + this.
        contrast (`float`, *optional*, defaults to `0.2`): As `brightness`.
        saturation (`float`, *optional*, defaults to `0.2`): As `brightness`.
        hue (`float`, *optional*, defaults to `0.05`): Hues turn by up to this part of the circle, either way.
        shuffle_views (`bool`, *optional*, defaults to `False`): Whether views change places, with their depth and calibration.
            Positions of the model's views then tell nothing about cameras; states and actions do not change.

    Raises:
        ValueError: If a number lies outside of its range.
    """

    crop_ratio: float = 0.95
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.05
    shuffle_views: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.crop_ratio <= 1:
            raise ValueError(f"`crop_ratio` must be above 0 and at most 1, but is {self.crop_ratio}.")
        for field, most in (("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0.5)):
            if not 0 <= getattr(self, field) <= most:
                raise ValueError(f"`{field}` must be from 0 to {most:g}, but is {getattr(self, field)}.")

    def draw(self, seed: int, index: int, *, num_views: int, image_size: tuple[int, int]) -> AugmentationDraw:
        """What happens to the sample of this number.

        Args:
            seed (`int`): Of the run.
            index (`int`): Number of the sample in the stream, which counts on through all epochs.
            num_views (`int`): Camera views V.
            image_size (`tuple[int, int]`): Size (H, W) of the model's images.
        """
        rng = random.Random(seed_from("augmentation", seed, index))
        height, width = (max(1, int(side * self.crop_ratio)) for side in image_size)
        boxes = tuple(
            (rng.randrange(image_size[0] - height + 1), rng.randrange(image_size[1] - width + 1), height, width)
            for _ in range(num_views)
        )
        brightness, contrast, saturation = (
            rng.uniform(1 - most, 1 + most) for most in (self.brightness, self.contrast, self.saturation)
        )
        hue, steps = rng.uniform(-self.hue, self.hue), tuple(rng.sample(range(4), 4))
        jitter = ColourJitter(brightness, contrast, saturation, hue, steps)
        order = rng.sample(range(num_views), num_views) if self.shuffle_views else range(num_views)
        return AugmentationDraw(boxes, jitter, tuple(order))


def augment(clip: EncodedClip, drawn: AugmentationDraw) -> EncodedClip:
    """Colours and places of the views of a clip that was encoded with `drawn.boxes`; its frames are changed in place.

    Args:
        clip (`EncodedClip`): The clip.
        drawn (`AugmentationDraw`): What happens to it.
    """
    for view, frames in enumerate(clip.frames):
        if clip.view_mask[view]:
            jitter_colours(frames, drawn.jitter)
    order = list(drawn.view_order)
    if order == sorted(order):
        return clip
    moved: dict[str, Any] = {
        field: value[order]
        for field in ("frames", "view_mask", "depth_images", "depth_mask", "intrinsics", "base_from_camera")
        if (value := getattr(clip, field)) is not None
    }
    if clip.depth_images is not None:
        moved["depth_images"] = clip.depth_images[order, :, :1].expand_as(clip.depth_images)
    return replace(clip, cameras=tuple(clip.cameras[view] for view in order), **moved)
