"""Tiny things of the real classes, shared by the tests."""

import numpy as np
import torch

from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.pipelines.embedded import create_embedded_pipeline
from xwam.pipelines.pipeline_xwam import XWAMPipeline
from xwam.robots.registry import get_robot
from xwam.structures import ArmState, Observation

ROBOT = "mujoco_panda"


def make_observation(seed: int = 0, **changes) -> Observation:
    """An observation of the embedded robot with noise for images."""
    spec, rng = get_robot(ROBOT), np.random.default_rng(seed)
    quaternion = np.abs(rng.normal(size=4)) + 0.1
    fields = {
        "images": {camera.name: rng.integers(0, 256, (*camera.size, 3), dtype=np.uint8) for camera in spec.cameras},
        "instruction": f"lift the red cube number {seed}",
        "arms": {"left": ArmState(rng.uniform(-0.1, 0.5, 3), quaternion / np.linalg.norm(quaternion), rng.uniform())},
        "robot": ROBOT,
        "time": 1.5,
    }
    return Observation(**{**fields, **changes})


def make_pipeline(pipeline_class: type[XWAMPipeline], **options) -> XWAMPipeline:
    """The tiny untrained pipeline without a progress bar."""
    pipeline = create_embedded_pipeline(pipeline_class, **options)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make_transformer(seed: int = 0, **changes) -> XWAMTransformer3DModel:
    """A transformer of two blocks and width 48."""
    config = {
        "num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 6, "out_channels": 6, "text_dim": 20, "ffn_dim": 80,
        "num_layers": 2, "num_depth_layers": 1, "action_dim": 7, "state_dim": 5, "actions_per_frame": 2,
    }  # fmt: skip
    torch.manual_seed(seed)
    return XWAMTransformer3DModel(**{**config, **changes}).eval()


def seeded(seed: int = 0) -> torch.Generator:
    """A CPU generator."""
    return torch.Generator().manual_seed(seed)
