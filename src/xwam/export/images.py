"""Pictures to look at: single images, coloured depth, contact sheets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from xwam.export.colour_maps import colour_table, look_up
from xwam.export.files import replacing
from xwam.utils.shapes import expect_shapes

UNKNOWN_COLOUR = (70, 70, 70)
PAPER, INK = (255, 255, 255), (30, 30, 30)
GAP = 4  # pixels between the cells of a sheet
FONT_SIZE = 13  # pixels


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write a PNG.

    Args:
        path (`str` or `Path`): File to make, ending in `.png`; its folders are made too.
        image (`np.ndarray` of shape `(H, W, 3)`): RGB `uint8`.

    Raises:
        ValueError: If the image has another shape or type, or the path another ending.
    """
    expect_shapes(image=(image, "H W 3"))
    if image.dtype != np.uint8:
        raise ValueError(f"`image` must be uint8 but is {image.dtype}.")
    if Path(path).suffix != ".png":
        raise ValueError(f"`path` must end in .png but is {str(path)!r}.")
    with replacing(path) as temporary:
        Image.fromarray(image).save(temporary)


def resize_frames(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames at another size, so that those of a model can stand beside those of a camera.

    Args:
        frames (`np.ndarray` of shape `(..., h, w, 3)`): RGB `uint8`.
        size (`tuple[int, int]`): Rows and columns (H, W).

    Returns:
        `np.ndarray` of shape `(..., H, W, 3)`: RGB `uint8`; `frames` itself where it has that size.
    """
    if frames.shape[-3:-1] == tuple(size):
        return frames
    flat = frames.reshape(-1, *frames.shape[-3:])
    pictures = [np.asarray(Image.fromarray(own).resize(size[::-1], Image.Resampling.BILINEAR)) for own in flat]
    return np.stack(pictures).reshape(*frames.shape[:-3], *size, 3)


def colour_depth(
    depth: np.ndarray, *, near: float | None = None, far: float | None = None, colour_map: str = "viridis_r"
) -> np.ndarray:
    r"""Colour metric depth by \(\log(d / near) / \log(far / near)\): near bright, far dark, grey where unknown.

    Equal steps of colour are equal ratios of depth. One call uses one scale, so give all frames of a view together.

    Args:
        depth (`np.ndarray` of shape `(..., H, W)`): Metres; zero, negative or not finite where unknown.
        near (`float`, *optional*): Depth of the brightest colour, in metres. Without it, the 5 % quantile of what is known.
        far (`float`, *optional*): Depth of the darkest colour, in metres. Without it, the 95 % quantile.
        colour_map (`str`, *optional*, defaults to `"viridis_r"`): `"viridis"`, `"viridis_r"`, or with Matplotlib any other of
            its colour maps.

    Returns:
        `np.ndarray` of shape `(..., H, W, 3)`: RGB `uint8`.

    Raises:
        ValueError: If a given range is not 0 < near < far.
        ImportError: If the colour map is Matplotlib's and that is not installed.
    """
    is_known = _is_known(depth)
    ends = depth_ends(depth) if near is None or far is None else (near, far)
    nearest = ends[0] if near is None else near
    farthest = max(ends[1], nearest * 1.001) if far is None else far
    if not 0 < nearest < farthest < np.inf:
        raise ValueError(f"`near` and `far` must satisfy 0 < near < far but are {nearest} and {farthest}.")
    level = np.log(np.where(is_known, depth, nearest) / nearest) / np.log(farthest / nearest)
    colours = look_up(colour_table(colour_map), np.clip(level, 0.0, 1.0))
    return np.where(is_known[..., None], colours, np.array(UNKNOWN_COLOUR, np.uint8))


def depth_ends(*depths: np.ndarray) -> tuple[float, float]:
    """Where the colours of depth begin and end: the 5 % and the 95 % quantile of all that is known.

    Args:
        depths (`np.ndarray`): Metres, of any shapes; zero, negative or not finite where unknown.

    Returns:
        `tuple[float, float]`: Near and far, in metres, far beyond near by 0.1 % at least; 1 and 1.001 where nothing is known.
    """
    known = np.concatenate([depth[_is_known(depth)] for depth in depths])
    near, far = np.quantile(known, (0.05, 0.95)) if known.size else (1.0, 1.0)
    return float(near), max(float(far), float(near) * 1.001)


def _is_known(depth: np.ndarray) -> np.ndarray:
    return np.isfinite(depth) & (np.nan_to_num(depth) > 0)


def contact_sheet(rows: Mapping[str, np.ndarray], *, column_labels: Sequence[str] = (), title: str = "") -> np.ndarray:
    """Lay out frames as a labelled table: one row per view, time to the right.

    Args:
        rows (`Mapping[str, np.ndarray]`): RGB `uint8` of shape `(F, H, W, 3)` by row label, all of the same shape.
        column_labels (`Sequence[str]`, *optional*): One label per frame, such as `"0.4 s"`; none by default.
        title (`str`, *optional*, defaults to `""`): Line above the table.

    Returns:
        `np.ndarray` of shape `(H', W', 3)`: The sheet, RGB `uint8`.

    Raises:
        ValueError: If there is no row, the rows differ in shape, a type is not `uint8`, or the labels do not fit.
    """
    if not rows:
        raise ValueError("`rows` must have at least one row but is empty.")
    sizes = expect_shapes(**{f"rows[{name!r}]": (frames, "F H W 3") for name, frames in rows.items()})
    for name, frames in rows.items():
        if frames.dtype != np.uint8:
            raise ValueError(f"`rows[{name!r}]` must be uint8 but is {frames.dtype}.")
    if column_labels and len(column_labels) != sizes["F"]:
        raise ValueError(f"`column_labels` must have {sizes['F']} labels but has {len(column_labels)}.")

    font = ImageFont.load_default(FONT_SIZE)
    line = FONT_SIZE + 2 * GAP
    left = max(int(np.ceil(font.getlength(name))) for name in rows) + 2 * GAP
    top = line * bool(title) + line * bool(column_labels) + GAP
    step_x, step_y = sizes["W"] + GAP, sizes["H"] + GAP
    sheet = Image.new("RGB", (left + sizes["F"] * step_x, top + len(rows) * step_y), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), title, INK, font=font)
    for column, label in enumerate(column_labels):
        draw.text((left + column * step_x + sizes["W"] / 2, top - GAP), label, INK, font=font, anchor="md")
    for row, (name, frames) in enumerate(rows.items()):
        draw.text((GAP, top + row * step_y + sizes["H"] / 2), name, INK, font=font, anchor="lm")
        for column, frame in enumerate(frames):
            sheet.paste(Image.fromarray(frame), (left + column * step_x, top + row * step_y))
    return np.array(sheet)
