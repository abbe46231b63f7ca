"""The film of the README plays, and stays small."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "pictures.py"


@pytest.fixture(scope="module")
def pictures():
    spec = importlib.util.spec_from_file_location("docs_pictures", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
