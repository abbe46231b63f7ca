"""Single images in PNG or JPEG, as rows of tables and of TFRecord files hold them."""

import io

import numpy as np
from PIL import Image

from xwam.errors import DataError

MAX_PIXELS = 64_000_000  # of one image; a file that declares more is refused before it is decoded
FORMATS = ("PNG", "JPEG")


def decode_image(content: bytes) -> np.ndarray:
    """RGB `uint8` of shape `(H, W, 3)`.

    Args:
        content (`bytes`): A PNG or JPEG file.

    Raises:
        DataError: If it is none.
    """
    with _open(content) as image:
        if image.mode[0] in "IF":  # would be cut off at 255
            raise DataError(f"An RGB image must have 8 bits per channel, but is {image.mode!r}; is it depth?")
        return np.asarray(image.convert("RGB"))


def decode_depth(content: bytes) -> np.ndarray:
    """Depth as it is stored: `uint8` or `uint16` of shape `(H, W)`.

    Args:
        content (`bytes`): A PNG file with one channel.

    Raises:
        DataError: If it is none.
    """
    with _open(content) as image:
        levels = np.asarray(image)
    if (
        image.mode[0] not in "IL"
        or levels.ndim != 2
        or levels.min(initial=0) < 0
        or levels.max(initial=0) > np.iinfo(np.uint16).max
    ):
        raise DataError(f"A depth image must have one channel of at most 16 bits, but is {image.mode!r}.")
    return levels if levels.dtype == np.uint8 else levels.astype(np.uint16)


def _open(content: bytes) -> Image.Image:
    if not content:
        raise DataError("An image has no bytes.")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise DataError(
                f"An image declares {image.width}×{image.height} pixels; at most {MAX_PIXELS} are decoded."
            )
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"An image cannot be decoded: {error}.") from error
    return image
