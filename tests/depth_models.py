"""Tiny depth models of the real classes with random weights, and folders of them as they lie on the hub."""

from pathlib import Path

import torch
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessorPil,
    PreTrainedModel,
)

STAGES = ["stage1", "stage2", "stage3", "stage4"]
NECK = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}
BODY = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
SEEDS = {"relative": 0, "metric": 6, "dpt": 2}  # with which all answers depend on the picture


def save_depth_anything(folder: Path, kind: str = "relative", max_depth: int = 1) -> Path:
    """Depth Anything, relative or with metres from 0 to `max_depth`."""
    backbone = Dinov2Config(
        **BODY, mlp_ratio=2, image_size=56, patch_size=14, out_features=STAGES, reshape_hidden_states=False
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=16,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=max_depth,
        **NECK,
    )
    _awake(DepthAnythingForDepthEstimation(config), SEEDS[kind]).save_pretrained(folder)
    DPTImageProcessorPil(size={"height": 56, "width": 70}, ensure_multiple_of=14).save_pretrained(folder)
    return folder


def save_dpt(folder: Path) -> Path:
    """DPT, whose config does not say what it answers."""
    config = DPTConfig(
        **BODY, image_size=32, patch_size=16, backbone_out_indices=[0, 1, 2, 3], is_hybrid=False, **NECK
    )
    _awake(DPTForDepthEstimation(config), SEEDS["dpt"]).save_pretrained(folder)
    DPTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def _awake(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Weights so large that the answer depends on the picture; those of transformers are made for training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.ndim > 1:
                tensor.copy_((2 / tensor[0].numel()) ** 0.5 * torch.randn(tensor.shape, generator=generator))
            elif name.endswith("bias"):
                tensor.zero_()
    return model.eval()
