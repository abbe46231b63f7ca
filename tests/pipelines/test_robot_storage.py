"""A robot is published and comes back the same; its card says what it is."""

import shutil

import pytest
import torch
from ecosystem_samples import act, make_pipeline
from robot_adapter_samples import JOINT_ARM, WEIGHTS, drive, write_robot

from xwam.errors import CorruptFileError, UnsafeFileError
from xwam.pipelines.model_card import ModelCard
from xwam.pipelines.robot_storage import publish_robot
from xwam.robots.processor import RobotProcessor


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    return write_robot(tmp_path_factory.mktemp("robot"))


def test_published_it_comes_back_the_same(robot, loopback_hub, tmp_path):
    folder, expected = robot
    pipe = make_pipeline()
    base = act(pipe)
    pipe.load_robot(folder)
    card = ModelCard(license="apache-2.0", base_model="user/x-wam", training_data="forty episodes")
    assert "user/joint-arm-xwam" in pipe.push_robot_to_hub("user/joint-arm-xwam", card=card, private=True)
    assert loopback_hub.files("user/joint-arm-xwam").keys() == {
        WEIGHTS, "robot_processor_config.json", "README.md", "manifest.json",
    }  # fmt: skip
    other = make_pipeline()
    assert other.load_robot("user/joint-arm-xwam", adapter_name="arm", cache_dir=tmp_path) == "arm"
    assert torch.equal(drive(other), expected)
    assert other.robot_processor.spec == JOINT_ARM
    other.set_robot(None)
    assert torch.equal(act(other), base)
    with loopback_hub.offline():
        again = make_pipeline()
        again.load_robot("user/joint-arm-xwam", cache_dir=tmp_path)
        assert torch.equal(drive(again), expected)


def test_a_pickle_on_the_hub_is_not_even_downloaded(robot, loopback_hub, tmp_path):
    from huggingface_hub import HfApi

    pipe = make_pipeline()
    pipe.load_robot(robot[0])
    pipe.push_robot_to_hub("user/with-pickle")
    HfApi().upload_file(repo_id="user/with-pickle", path_in_repo="setup.py", path_or_fileobj=b"import os")
    with pytest.raises(UnsafeFileError, match="nothing was downloaded"):
        make_pipeline().load_robot("user/with-pickle", cache_dir=tmp_path)
    assert not any(path.is_file() for path in tmp_path.rglob("*.safetensors"))


def test_a_folder_is_published_as_it_is_and_a_damaged_one_is_not(robot, loopback_hub, tmp_path):
    folder = shutil.copytree(robot[0], tmp_path / "robot")
    publish_robot(folder, "user/from-a-folder")
    pipe = make_pipeline()
    pipe.load_robot("user/from-a-folder", cache_dir=tmp_path / "cache")
    assert torch.equal(drive(pipe), robot[1])
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-5] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(CorruptFileError):
        publish_robot(folder, "user/damaged")
    assert not any("damaged" in path for _, path in loopback_hub.requests)


def test_the_card(robot, tmp_path):
    pipe = make_pipeline()
    pipe.load_robot(robot[0])
    pipe.save_robot(tmp_path, card=ModelCard(base_model="user/x-wam", license="mit", measurements={"lift": "3 of 4"}))
    text = (tmp_path / "README.md").read_text()
    for part in ('base_model: "user/x-wam"', '- "lora"', "pipe.load_robot(", "`left_joint_6`", "rank 4, alpha 6, rank-stabilised",
                 "- lift: 3 of 4", "## Training data\n\nNot stated by the author."):  # fmt: skip
        assert part in text
    with pytest.raises(TypeError, match="`card` must be a `ModelCard`, but is a str"):
        pipe.save_robot(tmp_path, card="lifts cubes")
    pipe.save_robot(tmp_path)
    assert (tmp_path / "README.md").read_text() == text
    pipe.save_robot(tmp_path, card=ModelCard(license="cc-by-4.0"))
    assert "cc-by-4.0" in (tmp_path / "README.md").read_text()
    make_pipeline().load_robot(tmp_path)


def test_published_again_it_keeps_what_others_added_and_wrote(robot, loopback_hub, tmp_path):
    pipe = make_pipeline()
    pipe.load_robot(robot[0])
    pipe.push_robot_to_hub("user/told", card=ModelCard(training_data="Five red cubes."))
    assert b'pipe.load_robot("user/told")' in loopback_hub.files("user/told")["README.md"]
    loopback_hub.commit("user/told", {"eval_results.json": b"{}", "notes.txt": b"mine"})
    pipe.push_robot_to_hub("user/told")
    files = loopback_hub.files("user/told")
    assert b"Five red cubes." in files["README.md"]
    assert files["notes.txt"] == b"mine"
    other = make_pipeline()
    other.load_robot("user/told", cache_dir=tmp_path)
    assert torch.equal(drive(other), robot[1])


def test_a_save_that_fails_leaves_the_folder_as_it_was(robot, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("No space left on device")

    folder = shutil.copytree(robot[0], tmp_path / "robot")
    before = {path: path.read_bytes() for path in folder.rglob("*")}
    pipe = make_pipeline()
    pipe.load_robot(folder)
    monkeypatch.setattr(RobotProcessor, "save_pretrained", fail)
    for target in (folder, tmp_path / "new"):
        with pytest.raises(OSError, match="No space"):
            pipe.save_robot(target, card=ModelCard(license="mit"))
    assert {path: path.read_bytes() for path in folder.rglob("*")} == before
    assert list(tmp_path.iterdir()) == [folder]


def test_which_robot_is_saved(robot, tmp_path):
    pipe = make_pipeline()
    with pytest.raises(ValueError, match="No robot is active"):
        pipe.save_robot(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    pipe.load_robot(robot[0], adapter_name="a")
    pipe.set_robot(None)
    pipe.save_robot(tmp_path / "a", "a")
    with pytest.raises(ValueError, match="'b'"):
        pipe.save_robot(tmp_path / "b", "b")
    again = make_pipeline()
    again.load_robot(tmp_path / "a")
    assert torch.equal(drive(again), robot[1])
