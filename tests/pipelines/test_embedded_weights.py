"""The trained pipeline in the package: loaded by its name alone, without a network, the same whichever way."""

import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from seen_world import make_world
from tiny import make_pipeline, seeded

from xwam.checkpoints import sources
from xwam.checkpoints.manifest import MANIFEST_NAME
from xwam.checkpoints.sources import EMBEDDED, EMBEDDED_FOLDER
from xwam.checkpoints.verification import verify_folder
from xwam.envs.recorded import load_recorded_observation
from xwam.errors import CheckpointError, CorruptFileError
from xwam.evaluation.policy_choice import PolicyChoice
from xwam.metrics.images import psnr
from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.pipelines.embedded import create_embedded_pipeline
from xwam.pipelines.model_card import UNTOLD
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.pipelines.pipeline_xwam_policy import XWAMPolicyPipeline
from xwam.policies.pipeline_policy import PipelinePolicy
from xwam.robots.images import frames_to_uint8, images_to_frames
from xwam.robots.processor import RobotProcessor
from xwam.robots.spec import RobotSpec
from xwam.schedulers.scheduling_xwam import XWAMScheduler

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = EMBEDDED_FOLDER / "transformer" / "diffusion_pytorch_model.safetensors"
MAX_BYTES = 40e6
FEW = {"num_inference_steps": 3, "num_action_steps": 2}
LOADERS = {
    "policy": XWAMPolicyPipeline.from_pretrained,
    "4d": XWAM4DPipeline.from_pretrained,
    "single file": lambda name: XWAMTransformer3DModel.from_single_file(WEIGHTS, config=name, subfolder="transformer"),
    "transformer": lambda name: XWAMTransformer3DModel.from_pretrained(name, subfolder="transformer"),
    "scheduler": lambda name: XWAMScheduler.from_pretrained(name, subfolder="scheduler"),
    "robot": lambda name: RobotProcessor.from_pretrained(name, subfolder="robot_processor"),
    "command": lambda name: PolicyChoice(name).check(("mujoco/lift_cube",)),
}


@pytest.fixture(scope="module")
def policy():
    return XWAMPolicyPipeline.from_pretrained(EMBEDDED, load_depth=False)


@pytest.fixture(scope="module")
def world_model():
    return XWAM4DPipeline.from_pretrained(EMBEDDED)


@pytest.fixture
def world():
    with make_world() as world:
        yield world


def answer(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(load_recorded_observation(), generator=seeded(), **FEW)


def dtypes(pipeline) -> dict[str, set[torch.dtype]]:
    modules = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    return {name: {parameter.dtype for parameter in part.parameters()} for name, part in modules.items()}


def files() -> list[str]:
    return sorted(
        path.relative_to(EMBEDDED_FOLDER).as_posix() for path in EMBEDDED_FOLDER.rglob("*") if path.is_file()
    )


# ---------------------------------------------------------------- what it answers


def test_policy_and_world_model_give_the_same_commands(policy, world_model):
    future = answer(world_model)
    np.testing.assert_array_equal(answer(policy).actions[0].commands, future.actions[0].commands)
    spec = world_model.robot_processor.spec
    assert spec.name == "mujoco_panda"
    assert future.frames.shape == (1, len(spec.cameras), spec.num_frames, *spec.image_size, 3)
    assert set(future.future().depths) == {camera.name for camera in spec.cameras}


def test_the_name_and_the_folder_give_the_same_commands(policy, tmp_path):
    folder = shutil.copytree(EMBEDDED_FOLDER, tmp_path / "copy")
    again = XWAMPolicyPipeline.from_pretrained(folder)
    assert dtypes(again) == dtypes(policy)
    np.testing.assert_array_equal(answer(again).actions[0].commands, answer(policy).actions[0].commands)


def test_parts_are_loaded_by_the_name_too(world_model):
    transformer = LOADERS["transformer"](EMBEDDED)
    for name, tensor in world_model.transformer.state_dict().items():
        assert torch.equal(transformer.state_dict()[name], tensor)
    assert LOADERS["robot"](EMBEDDED).spec == world_model.robot_processor.spec
    assert LOADERS["scheduler"](EMBEDDED).config == world_model.scheduler.config


def test_everything_is_float32_unless_asked(policy, world_model):
    for pipeline in (policy, world_model):
        assert set().union(*dtypes(pipeline).values()) == {torch.float32}
    for asked in ({"dtype": torch.bfloat16}, {"torch_dtype": torch.bfloat16}):
        halved = dtypes(XWAMPolicyPipeline.from_pretrained(EMBEDDED, **asked))
        assert torch.bfloat16 in halved["transformer"]
        assert halved["text_encoder"] == {torch.bfloat16}
        assert halved["vae"] == {torch.float32}
        lean = XWAMPolicyPipeline.from_pretrained(EMBEDDED, load_depth=False, **asked)
        assert dtypes(lean)["transformer"] == halved["transformer"]
    with pytest.raises(ValueError, match=r"`torch_dtype`, its older name, is torch\.float16: give `dtype` alone"):
        XWAMPolicyPipeline.from_pretrained(EMBEDDED, dtype=torch.bfloat16, torch_dtype=torch.float16)


def test_the_command_line_takes_it_as_a_policy(policy, world):
    choice = PolicyChoice(EMBEDDED)
    choice.check((world.name,))
    made = choice(world)
    commands = PipelinePolicy(policy).infer(world.reset(0), seed=0).commands
    np.testing.assert_array_equal(made.infer(world.reset(0), seed=0).commands, commands)


# ---------------------------------------------------------------- what it learnt


def seen_by(spec: RobotSpec) -> list[np.ndarray]:
    """The recorded look as a model of this robot sees it, a picture of every camera."""
    images = load_recorded_observation().images
    return [
        frames_to_uint8(images_to_frames([images[camera.name]], spec.image_size, spec.crop_ratio))[0]
        for camera in spec.cameras
    ]


def test_it_dreams_of_the_scene_that_it_sees(world_model):
    frames, spec = answer(world_model).frames[0], world_model.robot_processor.spec
    for view, (camera, seen) in enumerate(zip(spec.cameras, seen_by(spec), strict=True)):
        assert psnr(frames[view, 0], seen) > 24, "its VAE keeps the picture that it was given"
        if camera.arm is None:
            assert psnr(frames[view, -1], seen) > 15, "and what it imagines is still that scene"
    untrained = create_embedded_pipeline(XWAM4DPipeline)
    noise = answer(untrained).frames[0]
    assert psnr(noise[0, 0], seen_by(untrained.robot_processor.spec)[0]) < 12, "which no untrained one does"


def test_the_card_is_about_these_weights():
    card = (EMBEDDED_FOLDER / "README.md").read_text(encoding="utf-8")
    assert UNTOLD not in card
    digest = sha256()
    for name in files():
        if name not in ("README.md", "LICENSE", MANIFEST_NAME):
            digest.update(name.encode() + sha256((EMBEDDED_FOLDER / name).read_bytes()).digest())
    sources = re.findall(r"^`python .*; model (\w+)\.$", card.partition("## Measured")[2], flags=re.MULTILINE)
    assert sources == 4 * [digest.hexdigest()[:12]], "closed loop, dreams with actions, forward dynamics, latency"
    for part in ("Closed loop", "Dreams", "Actions", "Forward dynamics", "Latency"):
        assert f"\n### {part}\n" in card


# ---------------------------------------------------------------- what the name means


def test_a_folder_of_that_name_does_not_hide_it(policy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = make_pipeline(XWAMPolicyPipeline)
    own.save_pretrained("embedded")
    for name, meant in (("embedded", policy), ("./embedded", own), (Path("embedded"), own)):
        loaded = XWAMPolicyPipeline.from_pretrained(name)
        tables = [pipeline.text_encoder.state_dict() for pipeline in (loaded, meant)]
        assert {key: own.shape for key, own in tables[0].items()} == {key: own.shape for key, own in tables[1].items()}
        assert all(torch.equal(tables[0][key], tables[1][key]) for key in tables[0])


@pytest.mark.parametrize("loader", LOADERS)
def test_where_it_was_left_out_every_way_says_so(loader, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "EMBEDDED_FOLDER", tmp_path / "none")
    with pytest.raises(CheckpointError, match="This installation of xwam lacks the trained weights"):
        LOADERS[loader](EMBEDDED)


def test_damage_is_found(tmp_path, monkeypatch):
    folder = shutil.copytree(EMBEDDED_FOLDER, tmp_path / "copy")
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    monkeypatch.setattr(sources, "EMBEDDED_FOLDER", folder)
    with pytest.raises(CorruptFileError, match="diffusion_pytorch_model"):
        XWAMPolicyPipeline.from_pretrained(EMBEDDED)


# ---------------------------------------------------------------- what is in the package


def test_it_is_small_plain_and_verified(caplog):
    assert sum((EMBEDDED_FOLDER / name).stat().st_size for name in files()) <= MAX_BYTES
    assert {Path(name).suffix for name in files() if name != "LICENSE"} == {".safetensors", ".json", ".md"}
    assert {"README.md", MANIFEST_NAME} <= set(files())
    verify_folder(EMBEDDED_FOLDER)
    assert "Unverified load" not in caplog.text


def test_it_does_not_tell_where_it_was_made():
    for name in files():
        if not name.endswith(".safetensors"):
            text = (EMBEDDED_FOLDER / name).read_text(encoding="utf-8")
            assert not re.search(r"/(home|work|tmp|root|Users)/", text), name


def test_every_file_is_installed(tmp_path):
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = tmp_path / EMBEDDED_FOLDER.relative_to(ROOT / "src")
    assert sorted(path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()) == files()
