"""Pictures in rows: PNG and JPEG, and nothing else."""

import io

import numpy as np
import pytest
from foreign_datasets import png
from PIL import Image

from xwam.data.readers import still_images
from xwam.data.readers.still_images import decode_depth, decode_image
from xwam.errors import DataError

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_pictures_come_back():
    assert (decode_image(png(RGB)) == RGB).all()
    assert (decode_image(png(RGB[..., 0])) == RGB[..., :1]).all()
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 20)).save(buffer, "JPEG")
    assert np.abs(decode_image(buffer.getvalue()).astype(int) - (200, 30, 20)).max() < 4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_depth_keeps_its_bits(dtype: type):
    levels = np.arange(35).reshape(5, 7).astype(dtype) * (7 if dtype is np.uint8 else 1800)
    found = decode_depth(png(levels))
    assert found.dtype == dtype
    assert (found == levels).all()


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG", png(RGB)[:60], b"GIF89a" + bytes(40), b"version https://git-lfs"]
)
def test_what_is_no_picture_is_refused(content: bytes):
    with pytest.raises(DataError, match="An image"):
        decode_image(content)


def test_a_depth_image_has_one_channel():
    with pytest.raises(DataError, match="one channel of at most 16 bits, but is 'RGB'"):
        decode_depth(png(RGB))


def test_depth_is_no_palette_and_rgb_no_depth():
    """Entries of a palette are no distances, and 16 bits would be cut off at 255."""
    buffer = io.BytesIO()
    Image.fromarray(RGB).convert("P").save(buffer, "PNG")
    with pytest.raises(DataError, match="one channel of at most 16 bits, but is 'P'"):
        decode_depth(buffer.getvalue())
    with pytest.raises(DataError, match=r"must have 8 bits per channel, but is 'I(;16)?'; is it depth\?"):
        decode_image(png(np.full((4, 4), 5000, np.uint16)))


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(still_images, "MAX_PIXELS", 30)
    with pytest.raises(DataError, match="declares 7×5 pixels"):
        decode_image(png(RGB))
