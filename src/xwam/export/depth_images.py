"""Depth as 16-bit PNG: whole steps of a declared unit, zero where nothing is known."""

from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from xwam.export.files import replacing
from xwam.utils.shapes import expect_shapes

MILLIMETRE = 0.001  # metres; the unit of most RGB-D data sets and sensors
LARGEST_LEVEL = np.iinfo(np.uint16).max
UNIT_KEY = "metres_per_level"  # of the PNG's text


def write_depth_png(
    path: str | Path, depth: np.ndarray, *, metres_per_level: float = MILLIMETRE, name: str = "depth"
) -> None:
    """Write depth as a 16-bit grey PNG, millimetres where nothing else is asked for. The file says its unit in a text chunk.

    Args:
        path (`str` or `Path`): File to make, ending in `.png`; its folders are made too.
        depth (`np.ndarray` of shape `(H, W)`): Metres; zero where nothing is known.
        metres_per_level (`float`, *optional*, defaults to `MILLIMETRE`): Step of one level.
        name (`str`, *optional*, defaults to `"depth"`): What messages call it, such as the camera.

    Raises:
        ValueError: If a depth is negative, not finite, or outside what 16 bits of the unit hold, or the path has another ending.
    """
    if Path(path).suffix != ".png":
        raise ValueError(f"`path` must end in .png but is {str(path)!r}.")
    levels = depth_levels(depth, metres_per_level=metres_per_level, name=name)
    text = PngInfo()
    text.add_text(UNIT_KEY, repr(float(metres_per_level)))
    with replacing(path) as temporary:
        Image.fromarray(levels).save(temporary, pnginfo=text)


def read_depth_png(path: str | Path) -> np.ndarray:
    """Read what `write_depth_png` wrote.

    Args:
        path (`str` or `Path`): The file.

    Returns:
        `np.ndarray` of shape `(H, W)`: Metres, float32; zero where nothing is known.

    Raises:
        ValueError: If the file does not say its unit.
    """
    with Image.open(path) as image:
        if UNIT_KEY not in image.info:
            raise ValueError(f"{str(path)!r} must say its unit in the text {UNIT_KEY!r}, but says none.")
        return (np.array(image) * float(image.info[UNIT_KEY])).astype(np.float32)


def depth_levels(depth: np.ndarray, *, metres_per_level: float = MILLIMETRE, name: str = "depth") -> np.ndarray:
    """Depth in whole steps, rounded to the nearest.

    Args:
        depth (`np.ndarray` of shape `(H, W)`): Metres; zero where nothing is known.
        metres_per_level (`float`, *optional*, defaults to `MILLIMETRE`): Step of one level.
        name (`str`, *optional*, defaults to `"depth"`): What messages call it, such as the camera.

    Returns:
        `np.ndarray` of shape `(H, W)`: `uint16`, zero where nothing is known.

    Raises:
        ValueError: If a depth is negative, not finite, or outside what 16 bits of the unit hold.
    """
    expect_shapes(**{name: (depth, "H W")})
    if not 0 < metres_per_level < float("inf"):
        raise ValueError(f"`metres_per_level` must be positive, but is {metres_per_level}.")
    if not np.isfinite(depth).all() or (depth < 0).any():
        raise ValueError(
            f"`{name}` must be metres, and 0 where nothing is known, but holds negative, NaN or infinite values."
        )
    levels = np.round(depth.astype(np.float64) / metres_per_level)
    if levels.size and levels.max() > LARGEST_LEVEL:
        raise ValueError(
            f"`{name}` must be at most {LARGEST_LEVEL * metres_per_level:g} m to fit 16 bits in steps of {metres_per_level:g} m, "
            f"but reaches {depth.max():g} m; give a greater `metres_per_level`."
        )
    if ((levels == 0) & (depth > 0)).any():
        raise ValueError(
            f"`{name}` must be at least half a step of {metres_per_level:g} m, but holds {depth[depth > 0].min():g} m, which would "
            "read as unknown; give a smaller `metres_per_level`."
        )
    return levels.astype(np.uint16)
