"""Sample the futures of encoded clips, as at inference."""

from dataclasses import dataclass

import torch

from xwam.models.input_checks import DENOISED_BRANCHES
from xwam.models.video_codec import decode_latents
from xwam.pipelines.denoising import Prompt, denoise
from xwam.pipelines.pipeline_xwam import XWAMPipeline
from xwam.training.noise import noise_for
from xwam.training.step import EncodedBatch
from xwam.utils.seeding import seed_from


@dataclass(frozen=True)
class Futures:
    """Sampled futures of a batch.

    Args:
        frames (`torch.Tensor` of shape `(B, V, F, 3, H, W)`): RGB in [-1, 1].
        depth_images (`torch.Tensor` of shape `(B, V, F, 3, H, W)` or `None`): In [-1, 1].
        actions (`torch.Tensor` of shape `(B, K, A)`): Normalised.
        states (`torch.Tensor` of shape `(B, S, R)`): Normalised.
    """

    frames: torch.Tensor
    depth_images: torch.Tensor | None
    actions: torch.Tensor
    states: torch.Tensor


@torch.no_grad()
def sample_futures(
    pipeline: XWAMPipeline,
    encoded: EncodedBatch,
    indices: list[int],
    seed: int,
    num_inference_steps: int | None = None,
    num_action_steps: int | None = None,
) -> Futures:
    """Sample from the first frame, first state and text of each clip, as at inference; each clip has its own noise.

    Args:
        pipeline (`XWAMPipeline`): What samples.
        encoded (`EncodedBatch`): Clips; their future is not looked at.
        indices (`list[int]`): Number of each clip, which names its noise.
        seed (`int`): Of the noise.
        num_inference_steps (`int`, *optional*): Steps T_O; the scheduler's where not given.
        num_action_steps (`int`, *optional*): Steps T_a; the scheduler's where not given.
    """
    assert pipeline.vae is not None
    branch = pipeline.transformer.config.depth_branch
    scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(num_inference_steps, num_action_steps, encoded.clean.video.device)
    _, noise = noise_for(
        indices, seed_from("futures", seed), scheduler, encoded.clean, with_depth=branch in DENOISED_BRANCHES
    )
    prompt = Prompt(encoded.prompt_embeds, pipeline.transformer.new_text_cache())
    *_, last = denoise(
        pipeline.transformer, scheduler, noise, encoded.clean, prompt, predict_depth=branch == "interleaved"
    )
    depth = None if last.depth is None else decode_latents(pipeline.vae, last.depth)
    frames = decode_latents(pipeline.vae, last.latents.video)
    return Futures(frames, depth, last.latents.actions, last.latents.states)
