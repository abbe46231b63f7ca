"""`xwam imagine` and `xwam score`: from a data set and a model to a table, and one line for what cannot be."""

import json
import os
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from future_samples import make_future
from PIL import Image
from tiny import make_pipeline

from xwam.commands import imagine, record, score
from xwam.envs.opengl import RenderingUnavailableError
from xwam.envs.registry import make_env
from xwam.evaluation import video
from xwam.export.future_folder import save_future
from xwam.metrics.images import psnr
from xwam.metrics.perceptual import LPIPSNetwork
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.robots.registry import get_robot

PRESS = "mujoco/press_button"


def _save_pair(folder: Path, name: str, seed: int) -> None:
    truth = make_future(seed)
    noise = np.random.default_rng(seed).integers(-8, 9, truth.frames["left"].shape)
    frames = {camera: (own.astype(int) + noise).clip(0, 255).astype(np.uint8) for camera, own in truth.frames.items()}
    save_future(folder / "truth" / name, truth, formats=("npz",))
    save_future(folder / "predictions" / name, replace(truth, frames=frames), formats=("npz",))


@pytest.fixture(scope="module")
def futures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("futures")
    for seed, name in enumerate(("a@000000", "a@000032", "b@000000", "c@000000")):
        _save_pair(folder, name, seed)
    return folder


def _words(folder: Path, output: Path, *more: str) -> list[str]:
    return [str(folder / "predictions"), str(folder / "truth"), "--output", str(output), *more]


@pytest.mark.filterwarnings("ignore:.*xwam.evaluation.video.*:RuntimeWarning")
def test_the_module_and_the_command_write_the_same_report(futures, tmp_path, monkeypatch, capsys):
    few = ("--metrics", "images", "states")
    monkeypatch.setattr(sys, "argv", ["video", *_words(futures, tmp_path / "module", *few)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("xwam.evaluation.video", run_name="__main__")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert score.main(_words(futures, tmp_path / "command", *few)) == 0
    own, other = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("module", "command"))
    assert own == other
    for words in ("| PSNR ↑ (dB)", "| position ↓ (m)", "no LPIPS, since --lpips names no weights"):
        assert words in said
    assert {path.name for path in (tmp_path / "module").iterdir()} == {"report.json", "report.md", "report.png"}
    assert min(Image.open(tmp_path / "module" / "report.png").size) > 300


def test_the_report_holds_the_plain_metrics(futures, tmp_path):
    assert score.main(_words(futures, tmp_path, "--metrics", "images")) == 0
    facts = json.loads((tmp_path / "report.json").read_text())
    assert (facts["num_windows"], facts["num_episodes"]) == (4, 3)
    assert set(facts["metrics"]) == {"psnr", "ssim"}
    noisy = make_future(0)
    noise = np.random.default_rng(0).integers(-8, 9, noisy.frames["left"].shape)
    values = [
        psnr((own.astype(int) + noise).clip(0, 255).astype(np.uint8), own)[1:].mean() for own in noisy.frames.values()
    ]
    assert facts["windows"]["a@000000"]["psnr"] == pytest.approx(np.mean(values))
    assert facts["metrics"]["psnr"]["low"] < facts["metrics"]["psnr"]["mean"] < facts["metrics"]["psnr"]["high"]


def test_the_truth_is_a_perfect_prediction(futures, tmp_path, capsys):
    assert video.main([str(futures / "truth"), str(futures / "truth"), "--output", str(tmp_path / "scores")]) == 0
    metrics = json.loads((tmp_path / "scores" / "report.json").read_text())["metrics"]
    assert metrics["psnr"]["mean"] == "Infinity"
    for name in ("abs_rel", "rmse", "chamfer", "position", "rotation", "gripper", "command_position"):
        assert metrics[name]["mean"] == pytest.approx(0, abs=1e-12)
    assert metrics["abs_rel"]["frame_0_repeated"]["mean"] > 0.01
    assert "∞" in capsys.readouterr().out


def test_lpips_with_weights(futures, tmp_path, monkeypatch):
    asked: list[str] = []

    def network(source: str) -> LPIPSNetwork:
        asked.append(source)
        return LPIPSNetwork()

    def distance(prediction: np.ndarray, truth: np.ndarray, *, network: LPIPSNetwork) -> np.ndarray:
        return np.full(len(truth), 0.25)

    monkeypatch.setattr(LPIPSNetwork, "from_pretrained", network)
    monkeypatch.setattr(video, "lpips", distance)
    assert score.main(_words(futures, tmp_path, "--lpips", "weights.safetensors", "--metrics", "images")) == 0
    assert asked == ["weights.safetensors"]
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts["metrics"]["lpips"]["mean"] == pytest.approx(0.25)
    assert facts["settings"]["lpips"] == "weights.safetensors"


def test_what_cannot_be_scored_is_one_line_before_any_work(futures, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(video, "score_folders", lambda *_, **__: pytest.fail("the work began"))
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").touch()
    (tmp_path / "file").touch()
    cases = (
        (_words(tmp_path, tmp_path / "scores"), f"There is no folder of predictions at {tmp_path / 'predictions'}."),
        (
            _words(futures, taken),
            f"--output {taken} must be a new folder, an empty one, or one of an earlier report, but holds thesis.txt.",
        ),
        (
            _words(futures, tmp_path / "file" / "scores"),
            f"--output {tmp_path / 'file' / 'scores'} cannot be written: {tmp_path / 'file'} is no folder that you may write to.",
        ),
        (
            _words(futures, futures),
            f"--output must be a folder of its own, but {futures / 'predictions'} lies in it.",
        ),
        (
            _words(futures, tmp_path / "scores", "--voxel-size", "0"),
            "--voxel-size must be positive metres, but is 0.0.",
        ),
        (
            _words(futures, tmp_path / "scores", "--voxel-size", "nan"),
            "--voxel-size must be positive metres, but is nan.",
        ),
    )
    for words, message in cases:
        assert score.main(words) == 2
        assert capsys.readouterr().err == f"xwam score: {message}\n"
    assert score.main(_words(futures, tmp_path / "scores", "--lpips", str(tmp_path / "none.safetensors"))) == 2
    assert "LPIPS needs its weights" in capsys.readouterr().err
    assert not (tmp_path / "scores").exists()


def test_a_window_that_turns_out_to_be_damaged_leaves_no_report(futures, tmp_path, capsys):
    for name, seed in (("a@000000", 0), ("b@000000", 1)):
        _save_pair(tmp_path, name, seed)
    path = tmp_path / "predictions" / "b@000000" / "future.npz"
    path.write_bytes(path.read_bytes()[:400])
    assert score.main(_words(tmp_path, tmp_path / "scores")) == 1
    assert "b@000000" in capsys.readouterr().err
    assert not (tmp_path / "scores").exists()


def test_commands_of_a_robot_that_is_not_known_need_its_file(tmp_path, capsys):
    truth = make_future(0)
    foreign = replace(truth, robot="so100", actions=replace(truth.actions, robot="so100"))
    for side in ("predictions", "truth"):
        save_future(tmp_path / side / "a@000000", foreign, formats=("npz",))
    words = _words(tmp_path, tmp_path / "scores", "--metrics")
    told = "Commands are not scored: no robot 'so100' is known; give --robot."
    assert score.main([*words, "commands"]) == 2
    assert capsys.readouterr().err == f"xwam score: {told}\n"
    assert score.main([*words, "commands", "states"]) == 0
    assert told in capsys.readouterr().out
    file = tmp_path / "so100.json"
    file.write_text(json.dumps(replace(get_robot("mujoco_panda"), name="so100").to_dict()))
    assert score.main([*words, "commands", "--robot", str(file)]) == 0
    assert "command_" in (tmp_path / "scores" / "report.json").read_text()


def test_nothing_is_imagined_into_a_folder_of_others_nor_of_data_that_are_not_there(tmp_path, capsys):
    (tmp_path / "notes.txt").touch()
    words = ["--model", "nowhere/at-all", "--output"]
    assert imagine.main([str(tmp_path), *words, str(tmp_path)]) == 2
    assert (
        "must be a new folder, an empty one, or one that this command made, but holds notes.txt"
        in capsys.readouterr().err
    )
    assert imagine.main([str(tmp_path / "none"), *words, str(tmp_path / "new")]) == 1
    assert "is neither a folder nor a dataset on the hub" in capsys.readouterr().err, "before the model is asked for"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    """An episode of an expert, and the tiny untrained pipeline as a folder."""
    try:
        make_env(PRESS).close()
    except (ImportError, RenderingUnavailableError) as error:
        pytest.skip(f"the embedded world does not run here: {error}")
    folder = tmp_path_factory.mktemp("recorded")
    words = ["--tasks", "press_button", "--episodes", "1", "--output", str(folder / "data"), "--processes", "1"]
    assert record.main(words) == 0
    make_pipeline(XWAM4DPipeline).save_pretrained(folder / "model")
    return folder


@pytest.mark.parametrize("model", ["in a folder", "embedded"])
def test_from_a_data_set_and_a_model_to_a_table(model, recorded, tmp_path, capsys):
    model = str(recorded / "model") if model == "in a folder" else model
    words = [str(recorded / "data"), "--model", model, "--output", str(tmp_path), "--windows", "2"]
    words += ["--stride", "1", "--steps", "2", "--action-steps", "1", "--given-actions"]
    assert imagine.main(words) == 0
    said = capsys.readouterr().out
    assert "2 windows imagined, 2 there" in said
    following = said.splitlines()[-1].removeprefix("score them: xwam score ").split()
    assert following[2:4] == ["--robot", str(tmp_path / "robot.json")]
    assert score.main([*following, "--metrics", "images", "depth", "states", "commands"]) == 0
    facts = json.loads((tmp_path / "scores" / "report.json").read_text())
    assert facts["num_windows"] == 2
    assert facts["metrics"]["position"]["mean"] < facts["metrics"]["position"]["frame_0_repeated"]["mean"]
    assert imagine.main(words) == 0
    assert "0 windows imagined, 2 there" in capsys.readouterr().out
    assert imagine.main([*words, "--seed", "1"]) == 1
    assert "was begun with seed 0, but now it is 1" in capsys.readouterr().err


def test_what_cannot_be_imagined_is_one_line(recorded, tmp_path, capsys):
    words = [str(recorded / "data"), "--model", str(recorded / "model"), "--output", str(tmp_path / "out")]
    for more, message in (
        (["--windows", "0"], "--windows must be at least 1, but is 0."),
        (["--device", "gpu"], "`--device` must be such as 'cpu', 'cuda' or 'cuda:1', but is 'gpu'."),
    ):
        assert imagine.main([*words, *more]) == 2
        assert capsys.readouterr().err == f"xwam imagine: {message}\n"
    assert imagine.main([str(tmp_path), *words[1:]]) == 1
    assert "No layout of a data set was found" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert os.listdir(tmp_path) == []
