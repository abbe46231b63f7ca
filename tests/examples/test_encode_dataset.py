"""Encoding ahead and training a VAE, from a recording to what comes next."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "train"
sys.path[:0] = [str(EXAMPLES.parents[1] / "tests" / "data"), str(EXAMPLES.parents[1] / "tests" / "training")]

from synthetic_episodes import ROBOT, command, description, key, observation  # noqa: E402
from tiny_run import new_process_state  # noqa: E402

from xwam.data.writers.lerobot_writer import LeRobotWriter  # noqa: E402
from xwam.data.writers.recording_format import RecordingFormat  # noqa: E402
from xwam.training.encoded_dataset import EncodedDataset  # noqa: E402

ROWS = 37  # five windows


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("encode") / "recording"
    with LeRobotWriter(folder) as writer:
        for seed in range(2):
            form = RecordingFormat.of(ROBOT, observation(0, seed))
            with writer.episode(key(seed), description(seed), form) as episode:
                for frame in range(ROWS):
                    episode.add(observation(frame, seed), command(frame, seed))
                episode.publish(is_success=True)
        writer.finish()
    return folder


def run(monkeypatch, name: str, *words: str | Path) -> None:
    """A script of this folder in this process, which has imported everything already."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(sys, "argv", [name, *(str(word) for word in words)])
    new_process_state()
    script.main()


def test_what_was_encoded_ahead_is_trained_on(recording, tmp_path, monkeypatch, capsys):
    encoded, output = tmp_path / "encoded", tmp_path / "run"
    words = ("--dataset", recording, "--robot", ROBOT.name, "--base", "untrained", "--output", encoded, "--tiny")
    run(monkeypatch, "encode_dataset", *words)
    assert "1 windows × 1 in 1 shards, 1 to go" in capsys.readouterr().out
    data = EncodedDataset(encoded)
    assert data.robot == ROBOT
    assert data.read(0)["depth_mask"].sum() > 0
    run(monkeypatch, "encode_dataset", *words)
    assert "0 to go" in capsys.readouterr().out
    run(monkeypatch, "train_xwam", "--encoded", encoded, "--base", "untrained", "--output", output, "--tiny")
    assert "2 steps; the trained pipeline" in capsys.readouterr().out
    assert (output / "pipeline" / "model_index.json").exists()


def test_a_robot_is_trained_on_what_was_encoded_with_the_file_beside_it(recording, tmp_path, monkeypatch):
    encoded = tmp_path / "encoded"
    words = ("--dataset", recording, "--robot", ROBOT.name, "--base", "untrained", "--output", encoded, "--tiny")
    run(monkeypatch, "encode_dataset", *words)
    own = (
        "--encoded",
        encoded,
        "--robot",
        encoded / "robot.json",
        "--base",
        "untrained",
        "--output",
        tmp_path / "run",
    )
    run(monkeypatch, "train_xwam_lora", *own, "--tiny")
    assert (tmp_path / "run" / "pipeline" / "robot_processor_config.json").exists()


def test_rows_at_another_rate_are_said_in_time(recording, tmp_path, monkeypatch):
    for script, more in (("encode_dataset", ["--base", "untrained"]), ("train_vae", [])):
        own = ["--dataset", recording, "--output", tmp_path / script, "--rows_per_command", "2", *more]
        with pytest.raises(ValueError, match="cannot be skipped without losing motion"):
            run(monkeypatch, script, *own)


def test_a_vae_is_trained_and_knows_its_latents(recording, tmp_path, monkeypatch):
    run(
        monkeypatch,
        "train_vae",
        "--dataset",
        recording,
        "--robot",
        ROBOT.name,
        "--output",
        tmp_path,
        "--tiny",
        "--width",
        "4",
    )
    vae = AutoencoderKLWan.from_pretrained(tmp_path / "vae")
    assert any(mean != 0 for mean in vae.config.latents_mean)
    assert vae.config.z_dim == 16
    with torch.no_grad():
        assert vae.encode(torch.zeros(1, 3, 9, 32, 48)).latent_dist.mode().shape == (1, 16, 3, 4, 6)


@pytest.mark.parametrize("script", ["train_vae", "encode_dataset"])
def test_a_file_in_the_way_is_said_before_the_data_are_opened(script, tmp_path, monkeypatch, capsys):
    (tmp_path / "taken").touch()
    words = ["--dataset", "none", "--output", tmp_path / "taken"]
    with pytest.raises(SystemExit):
        run(monkeypatch, script, *words, *(["--base", "untrained"] if script == "encode_dataset" else []))
    assert f"error: --output {tmp_path / 'taken'} cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--steps", "--clips", "--channels", "--width"])
def test_a_vae_of_nothing_is_refused(option, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "train_vae", "--dataset", "none", "--output", tmp_path / "run", option, "0")
    assert f"error: {option} must be at least 1, but is 0." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
