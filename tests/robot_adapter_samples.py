"""A second robot for the embedded base: joints, other cameras, sizes, window and dimensions; and adapters of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ecosystem_samples import make_pipeline, randomize_
from peft import LoraConfig

from xwam.pipelines.pipeline_xwam import XWAMPipeline
from xwam.robots.spec import ArmSpec, CameraSpec, GripperSpec, RobotSpec
from xwam.structures import JointState, Observation

LAYERS = r"blocks\.\d+\.((attn1|attn2)\.(to_q|to_k|to_v|to_out\.0)|ffn\.net\.(0\.proj|2))"
WITH_DEPTH = rf"(depth_)?{LAYERS}"
STEPS = {"num_action_steps": 2, "num_inference_steps": 2}
WEIGHTS = "pytorch_lora_weights.safetensors"

JOINT_ARM = RobotSpec(
    name="joint_arm",
    arms=(ArmSpec("left", GripperSpec(command_open=1.0, command_closed=0.0), num_joints=6),),
    cameras=(CameraSpec("front", (96, 128)), CameraSpec("hand", (96, 128), arm="left")),
    command_kind="joint_position",
    control_period=0.1,
    state_slots=tuple(range(7)),
    action_slots=(0, 1, 2, 3, 4, 5, 8),
    image_size=(96, 128),
    num_frames=5,
    actions_per_frame=2,
    state_dim=7,
    action_dim=9,
).with_quantiles((-2.0,) * 6 + (0.0,), (2.0,) * 6 + (1.0,), (-1.5,) * 7, (1.5,) * 7)

FOUR_CAMERAS = replace(
    JOINT_ARM,
    name="four_eyes",
    cameras=(*JOINT_ARM.cameras, CameraSpec("left", (96, 128)), CameraSpec("right", (96, 128))),
)


def lora(rank: int = 4, targets: str = WITH_DEPTH, **fields) -> LoraConfig:
    return LoraConfig(**{"r": rank, "lora_alpha": 6, "use_rslora": True, "target_modules": targets, **fields})


def observe(robot: RobotSpec = JOINT_ARM, seed: int = 0) -> Observation:
    rng = np.random.default_rng(seed)
    return Observation(
        images={camera.name: rng.integers(0, 256, (*camera.size, 3), dtype=np.uint8) for camera in robot.cameras},
        instruction="lift the red cube",
        joints={"left": JointState(rng.uniform(-1, 1, 6), rng.uniform())},
        robot=robot.name,
    )


def drive(pipe: XWAMPipeline, robot: RobotSpec = JOINT_ARM, **arguments) -> torch.Tensor:
    """Normalized actions of the active robot."""
    generator = torch.Generator().manual_seed(0)
    return pipe(observe(robot), generator=generator, output_type="pt", **{**STEPS, **arguments}).actions


def train_(pipe: XWAMPipeline, seed: int = 5) -> None:
    """Give every tensor of the active robot another value, as training would."""
    randomize_(pipe.transformer, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in ("action_embedder", "action_proj_out", "state_embedder", "state_proj_out", "view_embedding"):
            for parameter in getattr(pipe.transformer, name).parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def write_robot(folder: Path, robot: RobotSpec = JOINT_ARM, *, seed: int = 5, **fields) -> tuple[Path, torch.Tensor]:
    """The folder of a trained robot, and what the pipeline that it was trained in answers."""
    pipe = make_pipeline()
    pipe.add_robot(robot, lora(**fields), seed=seed)
    train_(pipe, seed)
    pipe.save_robot(folder)
    return folder, drive(pipe, robot)
