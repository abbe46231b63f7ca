"""The sheet shows what was seen, and where it is wrong."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xwam.data.checks.episode_check import EpisodeResult
from xwam.data.checks.findings import Finding
from xwam.data.checks.picture_sheet import MARKS, MAX_BROKEN, MAX_SOUND, Gallery, colour_depth, draw_sheet


def result(key: str, *findings: Finding) -> EpisodeResult:
    image = np.full((72, 96, 3), (0, 160, 0), dtype=np.uint8)
    depth = np.full((72, 96), 0.5, dtype=np.float32)
    return EpisodeResult(key, findings, pictures={"front": {0: image, 9: image}, "front depth": {0: depth, 9: depth}})


def pixels(path: Path, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(Image.open(path)) == colour).all(axis=-1).sum())


@pytest.mark.parametrize(("kind", "severity"), [("dead_camera", "error"), ("image_size", "warning")])
def test_defects_are_framed_in_their_colour_from_their_row_on(kind, severity, tmp_path):
    draw_sheet([result("1")], tmp_path / "clean.png")
    draw_sheet([result("1", Finding(kind, "", "", "front", 5))], tmp_path / "late.png")
    draw_sheet([result("1", Finding(kind, "", "", "front", 0))], tmp_path / "whole.png")
    frame = 2 * 3 * (96 + 72 - 6)  # three pixels wide
    assert pixels(tmp_path / "clean.png", MARKS[severity]) == 0
    counts = [pixels(tmp_path / name, MARKS[severity]) for name in ("late.png", "whole.png")]
    assert frame <= counts[0] < 2 * frame <= counts[1]
    assert pixels(tmp_path / "clean.png", (0, 160, 0)) == 2 * 72 * 96


def test_a_gallery_keeps_few_of_many_and_those_with_defects_first(tmp_path):
    gallery, broken = Gallery(), Finding("dead_camera", "", "", "front", 0)
    for number in range(60):
        gallery.add(result(f"sound {number}"))
        gallery.add(result(f"broken {number}", broken))
    gallery.draw(tmp_path / "sheet.png")
    height = Image.open(tmp_path / "sheet.png").height
    assert height < (MAX_BROKEN + MAX_SOUND + 1) * 120
    draw_sheet([result("1")], tmp_path / "one.png")
    assert height > MAX_BROKEN * 72


def test_nothing_to_draw_gives_an_empty_sheet(tmp_path):
    Gallery().draw(tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").height < 40


def test_near_is_bright_and_what_was_not_measured_is_black():
    depth = np.array([[0.0, 0.5, 5.0], [np.nan, 0.6, 4.0]], dtype=np.float32)
    colours = colour_depth(depth).astype(int).sum(axis=-1)
    assert colours[0, 0] == colours[1, 0] == 0
    assert colours[0, 1] > colours[0, 2] > 0
    levels = colour_depth(np.array([[255, 0]], dtype=np.uint8)).astype(int).sum(axis=-1)
    assert levels[0, 0] > levels[0, 1]
