"""The sizes that are measured, as pipelines with random weights, and one observation to feed them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import nn
from transformers import T5TokenizerFast, UMT5Config, UMT5EncoderModel

from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.pipelines.embedded import create_embedded_pipeline
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.robots.processor import RobotProcessor
from xwam.robots.registry import get_robot
from xwam.schedulers.scheduling_xwam import XWAMScheduler
from xwam.structures import ArmState, Observation

ROBOT = "mujoco_panda"
INITIAL_STD = 0.02


@dataclass(frozen=True)
class Size:
    """What one size is made of; fields that are not given keep the released values.

    Args:
        image_size (`tuple[int, int]`): Size (H, W) of the model's images.
        text_length (`int`): Text tokens N.
        transformer (`Mapping[str, Any]`): Config of `XWAMTransformer3DModel`.
        vae (`Mapping[str, Any]`): Config of `AutoencoderKLWan`, without the latent statistics.
        text_encoder (`Mapping[str, Any]`): Config of `UMT5EncoderModel`.
    """

    image_size: tuple[int, int]
    text_length: int
    transformer: Mapping[str, Any] = field(default_factory=dict)
    vae: Mapping[str, Any] = field(default_factory=dict)
    text_encoder: Mapping[str, Any] = field(default_factory=dict)


_WAN_VAE = {"is_residual": True, "in_channels": 12, "out_channels": 12, "patch_size": 2, "scale_factor_temporal": 4}
SIZES = {
    # 3 views of 128x160 through a stride-8 VAE: the latent grid of the released size, 16x20, at a sixth of its width.
    "small": Size(
        image_size=(128, 160),
        text_length=64,
        transformer={
            "num_attention_heads": 8, "attention_head_dim": 64, "in_channels": 16, "out_channels": 16, "text_dim": 512,
            "ffn_dim": 2048, "num_layers": 12, "num_depth_layers": 4,
        },
        vae={
            **_WAN_VAE, "base_dim": 32, "decoder_base_dim": 32, "z_dim": 16, "dim_mult": [2, 4, 4], "num_res_blocks": 2,
            "temperal_downsample": [True, True], "scale_factor_spatial": 8,
        },
        text_encoder={"d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 2, "num_heads": 8},
    ),
    "5b": Size(
        image_size=(256, 320),
        text_length=512,
        vae={
            **_WAN_VAE, "base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "dim_mult": [1, 2, 4, 4],
            "num_res_blocks": 2, "temperal_downsample": [False, True, True], "scale_factor_spatial": 16,
        },
        text_encoder={
            "vocab_size": 256384, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64,
        },
    ),
}  # fmt: skip
SIZE_NAMES = ("tiny", *SIZES)


def build_pipeline(name: str, device: torch.device | str, dtype: torch.dtype, seed: int = 0) -> XWAM4DPipeline:
    """A pipeline of one size with random weights, deployed as `from_pretrained(..., dtype=dtype)` deploys trained ones.

    Args:
        name (`str`): One of `SIZE_NAMES`; `"tiny"` is the tiny untrained pipeline.
        device (`torch.device` or `str`): Where the weights shall live; on `"meta"` they need no memory.
        dtype (`torch.dtype`): Of transformer and text encoder; the VAE and what must stay in float32 do.
        seed (`int`, *optional*, defaults to `0`): Seed of the weights.
    """
    embedded = create_embedded_pipeline(XWAM4DPipeline, seed=seed)
    if name == "tiny":
        components = dict(embedded.components)
        text_length = embedded.config.max_sequence_length
    else:
        components = _empty_components(SIZES[name], embedded.tokenizer)
        text_length = SIZES[name].text_length
    generator = None if str(device) == "meta" else torch.Generator(device).manual_seed(seed)
    for part in ("transformer", "vae", "text_encoder"):
        kept = XWAMTransformer3DModel._keep_in_fp32_modules if part == "transformer" else ()
        stored = torch.float32 if part == "vae" else dtype
        _deploy(components[part], torch.device(device), stored, dtype, kept, generator)
    pipeline = XWAM4DPipeline(**components, max_sequence_length=text_length)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make_observation(pipeline: XWAM4DPipeline, instruction: str = "lift the red cube", seed: int = 0) -> Observation:
    """Noise for the cameras and a pose over the table."""
    random = np.random.default_rng(seed)
    spec = pipeline.robot_processor.spec
    images = {camera.name: random.integers(0, 256, (*camera.size, 3), dtype=np.uint8) for camera in spec.cameras}
    arm = ArmState(position=np.array([0.5, 0.0, 0.2]), quaternion=np.array([1.0, 0.0, 0.0, 0.0]), gripper=1.0)
    return Observation(images=images, instruction=instruction, arms={"left": arm}, robot=spec.name)


def parameter_counts(pipeline: XWAM4DPipeline) -> dict[str, int]:
    """Parameters of every network; those of the depth branch are counted apart too."""
    counts = {
        part: sum(weight.numel() for weight in pipeline.components[part].parameters())
        for part in ("transformer", "vae", "text_encoder")
    }
    depth = (weight for name, weight in pipeline.transformer.named_parameters() if name.startswith("depth_"))
    return {**counts, "of the transformer, depth": sum(weight.numel() for weight in depth)}


def _empty_components(size: Size, tokenizer: T5TokenizerFast) -> dict[str, Any]:
    spec = replace(get_robot(ROBOT), image_size=size.image_size)
    channels = size.vae["z_dim"]
    statistics = {"latents_mean": [0.0] * channels, "latents_std": [1.0] * channels}
    text_config = {"vocab_size": len(tokenizer), "feed_forward_proj": "gated-gelu", **size.text_encoder}
    with torch.device("meta"):
        return {
            "transformer": XWAMTransformer3DModel(**size.transformer),
            "vae": AutoencoderKLWan(**size.vae, **statistics),
            "text_encoder": UMT5EncoderModel(UMT5Config(**text_config)),
            "scheduler": XWAMScheduler(),
            "robot_processor": RobotProcessor(spec),
            "tokenizer": tokenizer,
        }


def _deploy(
    model: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    rounding: torch.dtype,
    kept: Sequence[str],
    generator: torch.Generator | None,
) -> None:
    """Give every weight of a model memory, a value and the dtype that it has after `from_pretrained`.

    All values are rounded to `rounding` first: the reference release keeps every weight in one dtype, and float32 weights
    shall equal those.
    """
    drawn: dict[int, nn.Parameter] = {}
    for owner_name, owner in model.named_modules():
        for name, old in list(owner.named_parameters(recurse=False)):
            if id(old) not in drawn:
                stays = any(part in kept for part in (*owner_name.split("."), name))
                value = _value(name, old, device, generator).to(rounding).to(torch.float32 if stays else dtype)
                drawn[id(old)] = nn.Parameter(value, requires_grad=False)
            setattr(owner, name, drawn[id(old)])
    model.to(device).eval()


def _value(name: str, old: nn.Parameter, device: torch.device, generator: torch.Generator | None) -> torch.Tensor:
    if not old.is_meta:
        return old.detach().to(device)
    if device.type == "meta":
        return torch.empty(old.shape, device=device)
    if name == "scale_shift_table" or name.endswith("_scale_shift_table"):
        return torch.randn(old.shape, device=device, generator=generator) / old.shape[-1] ** 0.5
    if name in ("weight", "gamma") and max(old.shape) == old.numel():
        return torch.ones(old.shape, device=device)
    if name == "bias":
        return torch.zeros(old.shape, device=device)
    return torch.randn(old.shape, device=device, generator=generator) * INITIAL_STD
