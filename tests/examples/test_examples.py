"""Every example runs on the embedded default, from any folder, and leaves the files it promises."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
VIEWS = ("robot0_agentview_left", "robot0_agentview_right", "robot0_eye_in_hand")
OBSERVATION = {"observation.json"} | {f"{view}{kind}.png" for view in VIEWS for kind in ("", "_depth")}
FILES_OF_EXAMPLE = {
    "02_generate_4d": {"contact_sheet.png", "actions.png", "actions.json"}
    | {f"{view}_{kind}.mp4" for view in VIEWS for kind in ("rgb", "depth")}
    | {f"observation/{name}" for name in OBSERVATION}
}

WEIGHTS = "pytorch_lora_weights.safetensors"
ROBOT_FOLDER = {WEIGHTS, "robot_processor_config.json", "README.md", "manifest.json"}


def run(name: str, folder: Path, *options: str, **environment: str) -> str:
    """What an example prints, run in a folder that is not its own."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), "--tiny", *options],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_first_actions_are_printed(tmp_path: Path):
    said = run("01_first_actions", tmp_path)
    assert "32 commands, one every 0.05 s" in said
    assert files_in(tmp_path) == set()


def test_depth_branches_differ_and_a_policy_needs_none(tmp_path: Path):
    said = run("10_depth_branches", tmp_path)
    for branch in ("none", "interleaved", "sequence", "channel"):
        assert f"\n{branch} " in said
    assert "gives the same actions" in said


@pytest.mark.parametrize("rendering", ["as it is", "disabled"])
def test_a_4d_future_is_written_with_and_without_opengl(rendering: str, tmp_path: Path):
    environment = {} if rendering == "as it is" else {"MUJOCO_GL": "disabled"}
    said = run("02_generate_4d", tmp_path, "--output", "future", **environment)
    assert ("using a recorded observation instead" in said) == (rendering == "disabled")
    assert ("still picture at" in said) == (rendering != "disabled"), (
        "without a world there is nothing to hold it against"
    )
    assert files_in(tmp_path / "future") == FILES_OF_EXAMPLE["02_generate_4d"]
    assert all((tmp_path / "future" / name).stat().st_size > 0 for name in files_in(tmp_path / "future"))
    chunk = json.loads((tmp_path / "future" / "actions.json").read_text(encoding="utf-8"))
    assert len(chunk["commands"]) == 32
    assert len(chunk["commands"][0]) == len(chunk["columns"]) == len(chunk["units"]) == 7
    with Image.open(tmp_path / "future" / "contact_sheet.png") as sheet:
        assert min(sheet.size) > 6 * 128, "what is imagined is shown as large as what was observed"


def test_clouds_are_fused_drawn_and_taken_away(tmp_path: Path):
    said = run("03_point_cloud", tmp_path, "--output", "out")
    assert "depth: Metric: decoded with the depth range that the robot declares." in said
    made = files_in(tmp_path / "out")
    for name in ("dreamt", "came"):
        clouds = {f"{name}/clouds/frame_{frame:04d}.ply" for frame in range(9)}
        assert clouds | {f"{name}/{file}" for file in ("future.json", "future.npz", "views.mp4", "clouds.glb")} <= made
    with Image.open(tmp_path / "out" / "clouds.png") as picture:
        colours = picture.convert("RGB").getcolors(1 << 20)
    assert len(colours) > 1000, "the clouds that came are coloured"


def test_the_closed_loop_is_filmed_and_counted(tmp_path: Path):
    said = run("04_closed_loop_mujoco", tmp_path, "--output", "loop")
    assert "scripted: " in said
    assert "\n  success after" in said
    expert, policy = said.split("scripted, wrote")[1].split("pipeline, wrote")
    assert "| 1/1" in expert
    assert re.search(r"\| [01]/1", policy), "whether it succeeds is the model card's affair"
    films = {name for name in files_in(tmp_path / "loop") if name.endswith(".mp4")}
    assert films == {"scripted.mp4", "pipeline.mp4"}
    for name in ("scripted", "pipeline"):
        assert {"report.json", "report.md", "timings.json"} <= files_in(tmp_path / "loop" / name)


def test_without_opengl_no_policy_acts_and_that_is_said(tmp_path: Path):
    said = run("04_closed_loop_mujoco", tmp_path, "--output", "loop", MUJOCO_GL="disabled")
    assert said.startswith("cannot render here, so no policy can act (")
    assert files_in(tmp_path) == set()


def test_a_robot_is_put_on_a_base_and_taken_off(tmp_path: Path):
    said = run("08_lora", tmp_path, "--output", "out", LP_NUM_THREADS="1")
    assert "parameters are trained" in said
    assert "switched off, the base gives the same commands" in said
    assert "['second_panda', 'its_twin'], active 'its_twin', cameras ['front', 'hand']" in said
    assert "merged: 'second_panda'" in said
    assert {f"second_panda/{name}" for name in ROBOT_FOLDER} <= files_in(tmp_path / "out")


def test_your_robot_is_checked_counted_and_trained_by_both_scripts(tmp_path: Path):
    said = run("09_your_robot", tmp_path, "--output", "out", LP_NUM_THREADS="1")
    assert "No defects were found." in said
    assert "Degenerate: none" in said
    made = files_in(tmp_path / "out")
    assert {"robot.json", "check/check.json", "check/check.png"} <= made
    assert {f"run/pipeline/{name}" for name in ROBOT_FOLDER} <= made
    robot = json.loads((tmp_path / "out" / "robot.json").read_text(encoding="utf-8"))
    assert robot["command_kind"] == "joint_position"
    options = [
        "--dataset",
        "out/recording",
        "--robot",
        "out/robot.json",
        "--base",
        "embedded",
        "--output",
        "lora",
        "--rank",
        "4",
    ]
    said = run("train/train_xwam_lora", tmp_path, *options, ACCELERATE_USE_CPU="true")
    assert {f"pipeline/{name}" for name in ROBOT_FOLDER} <= files_in(tmp_path / "lora")
    assert (tmp_path / "lora" / "pipeline" / WEIGHTS).stat().st_size < (
        tmp_path / "out" / "run" / "pipeline" / WEIGHTS
    ).stat().st_size


def test_every_example_is_run_here():
    source = Path(__file__).read_text(encoding="utf-8")
    assert [path.stem for path in EXAMPLES.glob("*.py") if f'run("{path.stem}"' not in source] == []
