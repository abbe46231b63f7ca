"""One rule for names: `embedded` is the package's, a folder is a folder, everything else is the Hub's."""

from pathlib import Path

import pytest

from xwam.checkpoints import sources
from xwam.checkpoints.sources import ADAPTER_WEIGHTS_NAME, EMBEDDED_FOLDER, check_hub_id, local_folder
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


@pytest.mark.parametrize(
    "name", ["./nope", "../nope", "~/nope", "/nope", "/nope/x", "a/b/c", r"models\nope", ".", "nope/x/"]
)
def test_what_looks_like_a_path_is_a_folder_that_is_not_there(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as error:
        check_hub_id(name)
    assert str(error.value) == f"There is no folder {name}."


@pytest.mark.parametrize("name", ["two words", "user/", "user/--model", "x" * 97, "x" * 300, "user/model.git", ""])
def test_what_is_neither_is_said_in_one_sentence(name):
    with pytest.raises(CheckpointError, match="is neither a folder here nor a valid id on the Hub"):
        check_hub_id(name)


def test_an_address_is_no_name():
    with pytest.raises(CheckpointError, match="is an address; what lies on the Hub is named 'user/model'"):
        check_hub_id("https://huggingface.co/user/model")


def test_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models" / "x").mkdir(parents=True)
    assert local_folder("~/models/x") == tmp_path / "models" / "x"
    assert local_folder("~/models/y") is None


def test_a_file_is_not_looked_up_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model").touch()
    for name in ("model", "./model", str(tmp_path / "model")):
        with pytest.raises(CheckpointError, match="model is a file, but a pipeline is a folder"):
            check_hub_id(name)


def test_what_may_be_on_the_hub_is_asked_for_there():
    for name in ("model", "user/model", "User-1/model_2.5"):
        check_hub_id(name)


def test_an_adapter_is_no_pipeline_unless_it_lies_beside_one(tmp_path):
    (tmp_path / ADAPTER_WEIGHTS_NAME).touch()
    with pytest.raises(CheckpointError, match="a robot's adapter"):
        local_folder(tmp_path)
    (tmp_path / "model_index.json").touch()
    assert local_folder(tmp_path) == tmp_path
