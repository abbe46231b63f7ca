"""The pictures of the README: a sheet of a dream beside what came, and a film that stays small."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from future_samples import make_future
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "pictures.py"


@pytest.fixture(scope="module")
def pictures():
    spec = importlib.util.spec_from_file_location("docs_pictures", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def future(pictures, colour: int, depth: float):
    cameras, frames, size = tuple(pictures.SHOWN_CAMERAS), max(pictures.SHOWN_FRAMES) + 1, (24, 32)
    return make_future(
        frames={name: np.full((frames, *size, 3), colour, np.uint8) for name in cameras},
        depths={name: np.linspace(depth, 2 * depth, frames * 24 * 32, dtype=np.float32).reshape(frames, *size) for name in cameras},
        intrinsics={name: np.eye(3) for name in cameras},
        base_from_camera={name: np.tile(np.eye(4), (frames, 1, 1)) for name in cameras},
        states=make_future().states[:1] * frames,
    )  # fmt: skip


def test_the_sheet_shows_what_came_above_what_was_dreamt(pictures):
    sheet = pictures.sheet(dream=future(pictures, 30, 1.0), real=future(pictures, 200, 1.0))
    grey = [int(np.flatnonzero((sheet == level).all(-1).sum(1) > 5 * pictures.CELL[1] // 2)[0]) for level in (200, 30)]
    assert grey[0] < grey[1]
    assert sheet.shape[0] > 8 * pictures.CELL[0]
    assert sheet.shape[1] > len(pictures.SHOWN_FRAMES) * pictures.CELL[1]


def test_the_film_plays_every_picture_and_is_refused_where_it_is_large(pictures, tmp_path, monkeypatch):
    plain = [Image.new("RGB", (40, 30), (level, 0, 255 - level)) for level in (0, 80, 160, 240)]
    path = tmp_path / "film.gif"
    pictures.write_gif(path, plain, 0.2)
    with Image.open(path) as film:
        assert (film.n_frames, film.info["duration"], film.info["loop"]) == (4, 200, 0)
        film.seek(3)
        shown = np.asarray(film.convert("RGB")).astype(int)
    assert np.abs(shown - (240, 0, 15)).max() < 48
    before = path.read_bytes()
    monkeypatch.setattr(pictures, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="must have at most 100 bytes, but would have"):
        pictures.write_gif(path, plain[:2], 0.2)
    assert path.read_bytes() == before
    assert [own.name for own in tmp_path.iterdir()] == ["film.gif"]
