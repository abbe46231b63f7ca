"""What happens to a window follows from the seed and its number, and happens to all that belongs together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from window_reader import PROCESSOR, ROBOT, WindowReader

from xwam.data.streams.augmentation import Augmentation, augment
from xwam.data.streams.windows import WindowShape, read_clip

SIZES = {"num_views": 3, "image_size": (256, 320)}


def test_a_draw_is_a_function_of_seed_and_number():
    draws = [Augmentation().draw(7, index, **SIZES) for index in range(50)]
    assert draws == [Augmentation().draw(7, index, **SIZES) for index in range(50)]
    assert len({draw.jitter for draw in draws}) == 50
    assert Augmentation().draw(8, 0, **SIZES) != draws[0]


def test_draws_fill_the_ranges_of_the_release():
    draws = [Augmentation().draw(0, index, **SIZES) for index in range(2000)]
    boxes = np.array([draw.boxes for draw in draws])
    assert (boxes[..., 2] == 243).all()  # int(256 · 0.95)
    assert (boxes[..., 3] == 304).all()
    assert set(boxes[..., 0].flat) == set(range(14))
    assert set(boxes[..., 1].flat) == set(range(17))
    assert abs(np.corrcoef(boxes[:, 0, 0], boxes[:, 1, 0])[0, 1]) < 0.1  # every view has a box of its own
    for name, low, high in (
        ("brightness", 0.8, 1.2),
        ("contrast", 0.8, 1.2),
        ("saturation", 0.8, 1.2),
        ("hue", -0.05, 0.05),
    ):
        values = np.array([getattr(draw.jitter, name) for draw in draws])
        margin = (high - low) / 50
        assert low <= values.min() < low + margin
        assert high - margin < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < margin
    assert len({draw.jitter.order for draw in draws}) == 24
    assert {draw.view_order for draw in draws} == {(0, 1, 2)}


def test_nothing_can_be_asked_for():
    draw = Augmentation(1.0, 0.0, 0.0, 0.0, 0.0).draw(0, 3, **SIZES)
    assert draw.boxes == ((0, 0, 256, 320),) * 3
    assert (draw.jitter.brightness, draw.jitter.contrast, draw.jitter.saturation, draw.jitter.hue) == (1, 1, 1, 0)


@pytest.mark.parametrize("field", ["crop_ratio", "brightness", "contrast", "saturation", "hue"])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_number_out_of_its_range_is_named(field: str, value: float):
    with pytest.raises(ValueError, match=f"`{field}` must be .* but is {value}"):
        Augmentation(**{field: value})


def _clip():
    reader = WindowReader((40,), has_depth=True)
    clip = read_clip(reader, 0, 2, WindowShape.of(ROBOT))
    poses = {name: np.tile(np.eye(4) * number, (5, 1, 1)) for number, name in enumerate(reader.cameras)}
    matrices = {name: np.diag([10.0 + number, 10.0, 1.0]) for number, name in enumerate(reader.cameras)}
    return replace(clip, base_from_camera=poses, intrinsics=matrices)


def test_colours_change_pictures_alone():
    draw = Augmentation().draw(0, 1, num_views=3, image_size=ROBOT.image_size)
    plain, clip = (PROCESSOR.encode_clip(_clip(), boxes=draw.boxes) for _ in range(2))
    changed = augment(clip, draw)
    assert (changed.frames - plain.frames).abs().max() > 0.01
    assert changed.frames.min() >= -1
    assert changed.frames.max() <= 1
    for name in ("depth_images", "states", "actions", "intrinsics"):
        assert torch.equal(getattr(changed, name), getattr(plain, name))


def test_shuffled_views_take_along_what_is_theirs():
    augmentation = Augmentation(shuffle_views=True, brightness=0, contrast=0, saturation=0, hue=0)
    draws = [augmentation.draw(0, index, num_views=3, image_size=ROBOT.image_size) for index in range(40)]
    assert len({draw.view_order for draw in draws}) == 6
    draw = next(draw for draw in draws if draw.view_order == (2, 0, 1))
    plain, clip = (PROCESSOR.encode_clip(_clip(), boxes=draw.boxes) for _ in range(2))
    moved = augment(clip, draw)
    for name in ("frames", "depth_images", "depth_mask", "view_mask", "intrinsics", "base_from_camera"):
        assert torch.equal(getattr(moved, name), getattr(plain, name)[[2, 0, 1]])
    assert moved.cameras == tuple(plain.cameras[view] for view in (2, 0, 1))
    assert moved.depth_images.stride(2) == 0
    assert torch.equal(moved.states, plain.states)
