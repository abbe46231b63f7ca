"""The conversion scripts work as their usage says, and a failure is one message and exit status 1."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from xwam.envs.opengl import RenderingUnavailableError, import_mujoco
from xwam.robots.registry import get_robot

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "loaders"))

from checkpoint_twin import TINY, random_module, write_official  # noqa: E402 - lives beside the tests of the loaders


@pytest.fixture
def run(monkeypatch, capsys):
    def run(script: str, *arguments: object) -> tuple[int, str, str]:
        """Exit status, output and error output of a script."""
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "scripts" / script), run_name="__main__")
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def mujoco():
    try:
        return import_mujoco("the tests")
    except (ImportError, RenderingUnavailableError) as error:
        pytest.skip(f"the embedded world does not run here: {error}")


@pytest.fixture
def official(tmp_path) -> Path:
    write_official(tmp_path / "official", random_module())
    return tmp_path / "official"


@pytest.fixture
def sizes(tmp_path) -> Path:
    (tmp_path / "sizes.json").write_text(json.dumps(vars(TINY)))
    return tmp_path / "sizes.json"


def test_there_and_back_again(run, official, sizes, tmp_path):
    script, ours = "convert_official_checkpoint.py", tmp_path / "ours"
    status, output, _ = run(script, official, ours, "--robot", "robocasa", "--sizes", sizes, "--every-tensor")
    assert status == 0
    assert "tensors mapped, 0 created" in output
    assert "mapped: vae.model.conv1.bias -> vae/quant_conv.bias" in output
    assert run(script, ours, tmp_path / "back", "--back")[0] == 0
    file = Path("checkpoints/last.ckpt/checkpoint/mp_rank_00_model_states.pt")
    before, after = (torch.load(tmp_path / name / file, weights_only=True)["module"] for name in ("official", "back"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_does_not_fit_is_listed_and_fails(run, official, tmp_path):
    status, output, _ = run("convert_official_checkpoint.py", official, "--robot", "robocasa", "--inspect")
    assert status == 1
    assert "misshapen: model.patch_embedding.weight (24, 4, 1, 2, 2) instead of (3072, 48, 1, 2, 2)" in output
    status, output, errors = run("convert_official_checkpoint.py", official, tmp_path / "x", "--robot", "robocasa")
    assert (status, output) == (1, "")
    assert "do not fit the model" in errors


@pytest.mark.parametrize(
    "arguments",
    [
        ["--robot", "robocasa"],
        ["ours"],
        ["ours", "--back", "--inspect"],
        ["ours", "--back", "--tokenizer", "x"],
        ["ours", "--robot", "robocasa", "--inspect"],
    ],
)
def test_what_is_needed_is_asked_for(arguments, run, official):
    status, _, errors = run("convert_official_checkpoint.py", official, *arguments)
    assert status == 2
    assert "error:" in errors


def test_a_robot_of_a_file_is_converted_for(run, official, sizes, tmp_path):
    robot = tmp_path / "robot.json"
    robot.write_text(json.dumps(get_robot("robocasa").to_dict() | {"name": "my_robot"}))
    arguments = ("--robot", robot, "--sizes", sizes)
    assert run("convert_official_checkpoint.py", official, tmp_path / "ours", *arguments)[0] == 0
    config = json.loads((tmp_path / "ours/robot_processor/robot_processor_config.json").read_text())
    assert config["spec"]["name"] == "my_robot"


@pytest.mark.parametrize(
    ("option", "content", "text"),
    [
        ("--robot", None, "no robot 'nobody'"),
        ("--robot", "{}", "missing fields"),
        ("--robot", "{", "not strict JSON"),
        ("--sizes", "{", "not strict JSON"),
        ("--sizes", '{"colour": {}}', "colour"),
        ("--sizes", None, "nobody"),
    ],
)
def test_a_broken_argument_is_one_message(option, content, text, run, official, tmp_path):
    value: object = "nobody"
    if content is not None:
        value = tmp_path / "file.json"
        value.write_text(content)
    arguments = {"--robot": "robocasa", option: value}
    flat = [part for pair in arguments.items() for part in pair]
    status, output, errors = run("convert_official_checkpoint.py", official, tmp_path / "ours", *flat)
    assert (status, output) == (1, "")
    assert text in errors
    assert len(errors.splitlines()) == 1


def test_an_unknown_robot_is_named_before_anything_is_read(run, tmp_path):
    status, _, errors = run("convert_wan_checkpoint.py", tmp_path / "x", tmp_path / "y", "--robot", "nobody")
    assert status == 1
    assert "no robot 'nobody'" in errors


def test_a_folder_that_cannot_be_written_is_one_message(run, tmp_path, mujoco):
    (tmp_path / "file").write_text("")
    status, _, errors = run("record_observation.py", "--output", tmp_path / "file" / "folder")
    assert status == 1
    assert "file" in errors


def test_a_folder_that_is_not_there_is_named(run, tmp_path):
    status, _, errors = run(
        "convert_wan_checkpoint.py", tmp_path / "nowhere", tmp_path / "ours", "--robot", "robotwin"
    )
    assert status == 1
    assert "nowhere" in errors
