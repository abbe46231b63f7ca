"""One picture of what was seen: per episode some frames of every camera, framed red for errors and orange for warnings."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from xwam.data.checks.episode_check import EpisodeResult
from xwam.data.checks.findings import ERROR, WARNING, Finding

MAX_BROKEN, MAX_SOUND = 16, 6
TILE_HEIGHT, GAP, TEXT_HEIGHT = 72, 2, 13
PAPER, INK = (255, 255, 255), (40, 40, 40)
MARKS = {ERROR: (214, 30, 30), WARNING: (240, 150, 20)}
# From far, dark blue, over magenta to near, pale yellow.
_DEPTH_COLOURS = np.array(
    [(13, 8, 135), (126, 3, 168), (204, 71, 120), (248, 149, 64), (240, 249, 33)], dtype=np.float64
)


class Gallery:
    """Episodes for the sheet: some with defects, some without, however many come."""

    def __init__(self) -> None:
        self._broken: list[EpisodeResult] = []
        self._sound: list[EpisodeResult] = []

    def add(self, result: EpisodeResult) -> None:
        """Keep an episode's pictures, if there is room.

        Args:
            result (`EpisodeResult`): What was found in it.
        """
        kept, room = (self._broken, MAX_BROKEN) if result.findings else (self._sound, MAX_SOUND)
        if result.pictures and len(kept) < room:
            kept.append(result)

    def draw(self, path: Path) -> None:
        """Draw and save the sheet.

        Args:
            path (`Path`): PNG file to make.
        """
        draw_sheet(sorted([*self._broken, *self._sound], key=_natural), path)


def draw_sheet(results: Sequence[EpisodeResult], path: Path) -> None:
    """Draw and save the sheet.

    Args:
        results (`Sequence[EpisodeResult]`): Episodes, one below the other.
        path (`Path`): PNG file to make.
    """
    names = list(dict.fromkeys(name for result in results for name in result.pictures))
    strips = [[_strip(result, name) for name in names] for result in results]
    widths = [max(strip.width for strip in column) for column in zip(*strips, strict=True)] if strips else []
    texts = [_text_lines(result) for result in results]
    heights = [TILE_HEIGHT + TEXT_HEIGHT * len(lines) + 3 * GAP for lines in texts]
    sheet = Image.new("RGB", (sum(widths) + 8 * GAP * (len(widths) + 1), sum(heights) + TEXT_HEIGHT + 4 * GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    lefts = [8 * GAP + sum(widths[:column]) + 8 * GAP * column for column in range(len(widths))]
    for left, name in zip(lefts, names, strict=True):
        pen.text((left, GAP), name, fill=INK, font=font)
    top = TEXT_HEIGHT + 3 * GAP
    for row, lines, height in zip(strips, texts, heights, strict=True):
        for number, line in enumerate(lines):
            pen.text((8 * GAP, top + TEXT_HEIGHT * number), line[0], fill=line[1], font=font)
        for left, strip in zip(lefts, row, strict=True):
            sheet.paste(strip, (left, top + TEXT_HEIGHT * len(lines) + GAP))
        top += height
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


def colour_depth(depth: np.ndarray) -> np.ndarray:
    """Depth or levels as colours, near bright; black where nothing was measured.

    Args:
        depth (`np.ndarray` of shape `(H, W)`): Metres as floats, zero where there are none, or levels `uint8`, 255 near.
    """
    if depth.dtype == np.uint8:
        share, is_measured = depth / 255, np.ones(depth.shape, dtype=bool)
    else:
        is_measured = np.isfinite(depth) & (depth > 0)
        inverse = np.where(is_measured, 1 / np.where(is_measured, depth, 1), 0)
        low, high = np.quantile(inverse[is_measured], [0.02, 0.98]) if is_measured.any() else (0, 1)
        share = np.clip((inverse - low) / max(high - low, 1e-9), 0, 1)
    places = share * (len(_DEPTH_COLOURS) - 1)
    stops = np.arange(len(_DEPTH_COLOURS))
    colours = np.stack([np.interp(places, stops, channel) for channel in _DEPTH_COLOURS.T], axis=-1)
    return (colours * is_measured[..., None]).astype(np.uint8)


def _strip(result: EpisodeResult, name: str) -> Image.Image:
    tiles = []
    for row, picture in sorted(result.pictures.get(name, {}).items()):
        tile = Image.fromarray(colour_depth(picture) if picture.ndim == 2 else picture)
        tile = tile.resize((round(tile.width * TILE_HEIGHT / tile.height), TILE_HEIGHT))
        marks = {finding.severity for finding in result.findings if _covers(finding, name, row)}
        if marks:
            colour = MARKS[ERROR if ERROR in marks else WARNING]
            ImageDraw.Draw(tile).rectangle((0, 0, tile.width - 1, tile.height - 1), outline=colour, width=3)
        tiles.append(tile)
    strip = Image.new("RGB", (sum(tile.width + GAP for tile in tiles) or 1, TILE_HEIGHT), PAPER)
    left = 0
    for tile in tiles:
        strip.paste(tile, (left, 0))
        left += tile.width + GAP
    return strip


def _covers(finding: Finding, name: str, row: int) -> bool:
    return finding.feature == name and (finding.row is None or finding.row <= row)


def _text_lines(result: EpisodeResult) -> list[tuple[str, tuple[int, int, int]]]:
    """What is written above an episode, each line with its colour."""
    lines = [(f"episode {result.key}", INK)]
    for finding in result.findings[:3]:
        where = f" at row {finding.row}" if finding.row is not None else ""
        lines.append((f"{finding.kind} {finding.feature or ''}{where}: {finding.came}"[:150], MARKS[finding.severity]))
    more = len(result.findings) - 3
    return [*lines, (f"… and {more} more", INK)] if more > 0 else lines


def _natural(result: EpisodeResult) -> list[tuple[int, str]]:
    """Key of an order in which 2 comes before 10."""
    return [(int(part or 0), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", result.key)]
