"""One rule for names: `embedded` is the package's, a folder is a folder, everything else is the Hub's."""

from pathlib import Path

import pytest

from xwam.checkpoints import sources
from xwam.checkpoints.sources import EMBEDDED_FOLDER, local_folder
from xwam.errors import CheckpointError


def test_the_bare_word_is_the_package_and_everything_else_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("./embedded", "embedded/", Path("embedded"), str(tmp_path / "embedded")):
        assert local_folder(path) is None
    (tmp_path / "embedded").mkdir()
    assert local_folder("embedded") == EMBEDDED_FOLDER
    for path in ("./embedded", "embedded/", Path("embedded"), str(tmp_path / "embedded")):
        assert local_folder(path).resolve() == tmp_path / "embedded"


def test_what_is_no_folder_is_left_to_the_hub(tmp_path):
    assert local_folder(tmp_path) == tmp_path
    assert local_folder("user/model") is None
    (tmp_path / "file").touch()
    assert local_folder(tmp_path / "file") is None


def test_an_installation_without_the_weights_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "EMBEDDED_FOLDER", tmp_path)
    with pytest.raises(
        CheckpointError, match=r"lacks the trained weights that 'embedded' stands for: .*'\./embedded'"
    ):
        local_folder("embedded")
