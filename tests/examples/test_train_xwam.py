"""The training scripts from a recording to what can be loaded: launched by accelerate, gone on with, published."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "train" / "train_xwam.py"
LORA_SCRIPT = SCRIPT.with_name("train_xwam_lora.py")
DRIVE = ROOT / "docs" / "how_to" / "drive_your_robot.md"
CONFIGS = SCRIPT.parent / "accelerate"
sys.path[:0] = [str(ROOT / "tests" / "data"), str(ROOT / "tests" / "training")]

from synthetic_episodes import ROBOT, command, description, key, observation  # noqa: E402
from tiny_run import new_process_state  # noqa: E402

from xwam.commands.imagine import main as imagine  # noqa: E402
from xwam.data.writers.lerobot_writer import LeRobotWriter  # noqa: E402
from xwam.data.writers.recording_format import RecordingFormat  # noqa: E402
from xwam.errors import TrainingError  # noqa: E402
from xwam.pipelines.embedded import create_embedded_pipeline  # noqa: E402
from xwam.pipelines.pipeline_xwam_policy import XWAMPolicyPipeline  # noqa: E402

ROWS = 37  # five windows


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """Five episodes, of which one is held out."""
    folder = tmp_path_factory.mktemp("train") / "recording"
    with LeRobotWriter(folder) as writer:
        for seed in range(5):
            form = RecordingFormat.of(ROBOT, observation(0, seed))
            with writer.episode(key(seed), description(seed), form) as episode:
                for frame in range(ROWS):
                    episode.add(observation(frame, seed), command(frame, seed))
                episode.publish(is_success=True)
        writer.finish()
    return folder


@pytest.fixture(scope="module")
def robot_file(tmp_path_factory) -> Path:
    """The robot before anybody has computed its quantiles."""
    file = tmp_path_factory.mktemp("robot") / "robot.json"
    file.write_text(json.dumps(replace(ROBOT, quantiles=None).to_dict()))
    return file


@pytest.fixture(scope="module")
def launched(tmp_path_factory, recording, robot_file) -> tuple[Path, str]:
    """Folder and words of a run that accelerate launched with two processes."""
    output = tmp_path_factory.mktemp("launched") / "run"
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / "ddp.yaml")]
    done = subprocess.run(
        [*launch, "--num_processes", "2", "--main_process_port", "0", str(SCRIPT), *arguments(recording, robot_file, output)],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return output, done.stdout + done.stderr


@pytest.fixture(scope="module")
def robot_run(tmp_path_factory, recording, robot_file) -> tuple[Path, list[str]]:
    """Folder and options of a run that trained a robot with LoRA."""
    output = tmp_path_factory.mktemp("lora") / "run"
    words = [
        "--dataset", str(recording), "--robot", str(robot_file), "--base", "embedded", "--output", str(output), "--tiny",
        "--validation_episodes", "0", "--rank", "4",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        assert run_here(patch, words, LORA_SCRIPT) == 0
    return output, words


def arguments(recording: Path, robot: Path, output: Path, *more: str) -> list[str]:
    return [
        "--dataset", str(recording), "--robot", str(robot), "--base", "untrained", "--output", str(output), "--tiny",
        "--validation_interval", "100", "--ema_decay", "0.9", *more,
    ]  # fmt: skip


def load_script(path: Path = SCRIPT):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def run_here(monkeypatch, words: list[str], path: Path = SCRIPT) -> int:
    """The script in this process, which has imported everything already."""
    script = load_script(path)
    monkeypatch.setattr(sys, "argv", [str(path), *words])
    new_process_state()
    return script.main()


def test_a_launched_run_ends_with_a_pipeline_that_holds_robot_and_quantiles(launched):
    output, said = launched
    assert "2 steps; the trained pipeline" in said
    assert "has no quantiles: reading the numbers of all episodes once" in said
    pipeline = XWAMPolicyPipeline.from_pretrained(output / "pipeline")
    spec = pipeline.robot_processor.spec
    assert spec.quantiles is not None
    assert spec.quantiles != ROBOT.quantiles
    assert spec.to_dict() == json.loads((output / "robot.json").read_text())
    facts = json.loads((output / "checkpoints" / "step-00000002" / "run.json").read_text())
    assert (facts["num_processes"], facts["samples"], facts["step"]) == (2, 4, 2)
    assert facts["data"]["0: recording"]["episodes"] == 4
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 2]
    assert lines[-1]["validation/loss"] > 0
    assert {path.suffix for path in (output / "samples" / "step-00000002").iterdir()} == {".mp4", ".png"}


def test_the_run_goes_on_and_is_published(launched, recording, robot_file, monkeypatch, loopback_hub, capsys):
    output, _ = launched
    words = arguments(
        recording, robot_file, output, "--steps", "3", "--push_to_hub", "user/trained", "--validation_clips", "1"
    )
    assert run_here(monkeypatch, words) == 0
    assert "3 steps; the trained pipeline" in capsys.readouterr().out
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train/loss" in line] == [1, 2, 3]
    again = XWAMPolicyPipeline.from_pretrained("user/trained")
    assert again.robot_processor.spec.to_dict() == json.loads((output / "robot.json").read_text())


def test_embedded_is_the_trained_base_and_untrained_the_random_one():
    script, trained = load_script(), XWAMPolicyPipeline.from_pretrained("embedded")
    for base, expected in (("embedded", trained), ("untrained", create_embedded_pipeline(XWAMPolicyPipeline))):
        weights = script.load_base(base).transformer.state_dict()
        assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
        assert all(torch.equal(weights[name], own) for name, own in expected.transformer.state_dict().items())


def test_what_cannot_be_is_one_sentence(recording, robot_file, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run_here(monkeypatch, ["--base", "untrained", "--output", str(tmp_path)])
    assert "say either --dataset, once or more, or --encoded" in capsys.readouterr().err
    words = ["--encoded", str(tmp_path), "--base", "untrained", "--output", str(tmp_path), "--rows_per_command", "2"]
    with pytest.raises(SystemExit):
        run_here(monkeypatch, words)
    assert "--rows_per_command would do nothing with --encoded" in capsys.readouterr().err
    with pytest.raises(ValueError, match="`steps` must be at least 1"):
        run_here(monkeypatch, arguments(recording, robot_file, tmp_path, "--steps", "0"))


@pytest.mark.parametrize("script", [SCRIPT, LORA_SCRIPT], ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--output", "run", "--push_to_hub", "a b"], "error: --push_to_hub: Repo id must use alphanumeric chars"),
        (["--output", "run", "--push_to_hub", ""], "error: --push_to_hub: Repo id must use alphanumeric chars"),
        (["--output", "taken.py"], "error: --output taken.py cannot be written: taken.py is no folder"),
        (["--output", "taken.py/run"], "error: --output taken.py/run cannot be written: .*taken.py is no folder"),
    ],
)
def test_where_nothing_could_be_written_or_published_is_said_at_once(
    script, options, expected, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("taken.py").touch()
    with pytest.raises(SystemExit):
        run_here(monkeypatch, ["--dataset", "none", "--base", "untrained", *options], script)
    assert re.search(expected, capsys.readouterr().err)


def test_a_hub_that_cannot_be_reached_takes_nothing_away(
    launched, robot_run, recording, robot_file, tmp_path, monkeypatch, loopback_hub
):
    output = shutil.copytree(launched[0], tmp_path / "run")
    words = arguments(
        recording, robot_file, output, "--validation_clips", "1", "--steps", "3", "--push_to_hub", "user/late"
    )
    for path, own, folder in ((SCRIPT, words, output), (LORA_SCRIPT, [*robot_run[1], *words[-2:]], robot_run[0])):
        expected = rf"saved in {folder}/pipeline, but could not be published as 'user/late': .*offline mode"
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(TrainingError, match=expected):
            run_here(monkeypatch, own, path)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        assert run_here(monkeypatch, own, path) == 0, "the same command again"


# ---------------------------------------------------------------- LoRA


def test_another_robot_is_not_given_to_one_that_is_trained_further(robot_run, robot_file, tmp_path, monkeypatch):
    output, words = robot_run
    spec = {**json.loads(Path(robot_file).read_text()), "crop_ratio": 0.5}
    (tmp_path / "other.json").write_text(json.dumps(spec))
    own = [word for word in words if word not in ("--rank", "4")]
    own[own.index("--robot") + 1], own[own.index("--output") + 1] = str(tmp_path / "other.json"), str(tmp_path / "run")
    with pytest.raises(
        ValueError, match="--robot differs from the robot of --continue_from in crop_ratio; leave it out"
    ):
        run_here(monkeypatch, [*own, "--continue_from", str(output / "pipeline")], LORA_SCRIPT)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--alpha", "16"], "alpha: 4.0 then, 16.0 now"),
        (["--rank", "2"], "alpha: 4.0 then, 2.0 now; rank: 4 then, 2 now"),
        (["--rslora"], "rslora: False then, True now"),
        (["--attention_only"], "attention_only: False then, True now"),
    ],
)
def test_a_robot_is_not_trained_on_as_another_lora(robot_run, options, expected, monkeypatch):
    output, words = robot_run
    before = (output / "pipeline" / "manifest.json").read_bytes()
    with pytest.raises(
        TrainingError,
        match=re.escape(
            f"The LoRA is not that of the checkpoint, whose weights would act otherwise than they were trained ({expected})"
        ),
    ):
        run_here(monkeypatch, [*words, *options], LORA_SCRIPT)
    assert (output / "pipeline" / "manifest.json").read_bytes() == before


def test_other_dropout_is_a_warning_and_the_alpha_that_was_meant_anyway_is_none(
    robot_run, tmp_path, monkeypatch, caplog
):
    output = shutil.copytree(robot_run[0], tmp_path / "run")
    words = [*robot_run[1], "--output", str(output)]
    assert run_here(monkeypatch, [*words, "--alpha", "4"], LORA_SCRIPT) == 0
    assert "until here it was" not in caplog.text
    assert run_here(monkeypatch, [*words, "--lora_dropout", "0.5", "--steps", "3"], LORA_SCRIPT) == 0
    assert "The run goes on with `lora_dropout` = 0.5; until here it was 0.0." in caplog.text


def test_the_page_on_driving_makes_a_model_of_the_robot_that_imagines(robot_run, recording, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(
        r"^```\n(.*merge_robot.*?)^```", DRIVE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    for told, own in (("user/x-wam", "embedded"), ("out/best", str(robot_run[0] / "pipeline"))):
        assert told in code
        code = code.replace(told, own)
    exec(compile(code, "page", "exec"), {"__name__": "page"})
    options = ["--model", "my-model", "--output", "dreams", "--windows", "1", "--steps", "2", "--action-steps", "1"]
    assert imagine([str(recording), *options]) == 0


# ---------------------------------------------------------------- accelerate's own files


def launch_arguments(name: str):
    """What accelerate makes of a configuration."""
    parser = launch_command_parser()
    parsed, *_ = _validate_launch_command(parser.parse_args(["--config_file", str(CONFIGS / name), str(SCRIPT)]))
    return parsed


def test_the_configurations_are_those_that_are_told_of():
    assert sorted(path.name for path in CONFIGS.iterdir()) == ["ddp.yaml", "fsdp2.yaml", "zero2.yaml", "zero3.yaml"]


@pytest.mark.parametrize(
    ("name", "kind", "wanted"),
    [
        ("ddp.yaml", "MULTI_GPU", {"multi_gpu": True}),
        ("fsdp2.yaml", "FSDP", {"use_fsdp": True, "fsdp_version": 2, "fsdp_transformer_layer_cls_to_wrap": "XWAMTransformerBlock"}),
        ("zero2.yaml", "DEEPSPEED", {"use_deepspeed": True, "zero_stage": 2}),
        ("zero3.yaml", "DEEPSPEED", {"use_deepspeed": True, "zero_stage": 3}),
    ],
)  # fmt: skip
def test_accelerate_reads_each_configuration_as_it_is_meant(name, kind, wanted):
    assert load_config_from_file(str(CONFIGS / name)).distributed_type.value == kind
    parsed = launch_arguments(name)
    assert {field: getattr(parsed, field) for field in wanted} == wanted
    assert parsed.num_processes == 8


def test_the_block_that_fsdp_wraps_exists():
    from xwam.models.transformer_xwam import XWAMTransformer3DModel

    named = yaml.safe_load((CONFIGS / "fsdp2.yaml").read_text())["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"]
    assert XWAMTransformer3DModel._no_split_modules == [named]


def test_an_unknown_field_of_a_configuration_would_be_found(tmp_path):
    broken = tmp_path / "ddp.yaml"
    broken.write_text((CONFIGS / "ddp.yaml").read_text() + "num_procesess: 8\n")
    with pytest.raises(ValueError, match="unknown keys"):
        load_config_from_file(str(broken))
