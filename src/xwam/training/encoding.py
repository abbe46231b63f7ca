"""Batches of pixels and words to batches of latents, through the frozen VAE and text encoder."""

from collections.abc import Callable
from dataclasses import replace

import torch
from diffusers import AutoencoderKLWan
from torch.nn.functional import avg_pool3d
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xwam.data.streams.collate import TrainBatch
from xwam.models.input_checks import DENOISED_BRANCHES
from xwam.models.joint_latents import JointLatents
from xwam.models.text_codec import check_prompt_lengths, encode_prompt
from xwam.models.video_codec import encode_frames
from xwam.training.noise import dropped_prompts
from xwam.training.step import EncodedBatch

UNMEASURED = -1.0  # what the VAE sees of a depth image where nothing was measured: the far plane
LEAST_MEASURED = 0.5  # share of a latent cell's pixels that must be measured for its depth to count

EncodeText = Callable[[list[str]], torch.Tensor]


class TextEncoding:
    """Text embeddings `(B, N, E)` of instructions; each distinct one is encoded once.

    Args:
        text_encoder (`PreTrainedModel`): UMT5 encoder, frozen.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        max_length (`int`): Tokens N of every prompt.
        max_prompts (`int`, *optional*, defaults to `1024`): Embeddings kept on the CPU, 4 MB each at the released size; when
            there are more, all are forgotten.
    """

    def __init__(
        self,
        text_encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        max_prompts: int = 1024,
    ) -> None:
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.max_length, self.max_prompts = max_length, max_prompts
        self._known: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def __call__(self, prompts: list[str]) -> torch.Tensor:
        """Embeddings on the encoder's device.

        Raises:
            ValueError: If a prompt has more tokens than the model reads.
        """
        if len(self._known) > self.max_prompts:
            self._known.clear()
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._known:
                check_prompt_lengths(self.tokenizer, [prompt], self.max_length)
                embeds = encode_prompt(self.text_encoder, self.tokenizer, [prompt], self.max_length)
                self._known[prompt] = embeds[0].cpu()
        return torch.stack([self._known[prompt] for prompt in prompts]).to(self.text_encoder.device)


def needs_depth(depth_branch: str, is_of_use: bool) -> bool:
    """Whether depth is encoded: always where it is denoised, never without a branch, else where it is of use.

    Args:
        depth_branch (`str`): The transformer's.
        is_of_use (`bool`): Whether depth was measured, or carries a loss.
    """
    return depth_branch in DENOISED_BRANCHES or (depth_branch != "none" and is_of_use)


@torch.no_grad()
def encode_batch(
    batch: TrainBatch,
    vae: AutoencoderKLWan,
    encode_text: EncodeText,
    *,
    with_depth: bool = True,
    dtype: torch.dtype = torch.float32,
) -> EncodedBatch:
    """Latents and text embeddings of a batch, on the VAE's device.

    Args:
        batch (`TrainBatch`): From the stream.
        vae (`AutoencoderKLWan`): Frozen; float32 for exact results.
        encode_text (`Callable[[list[str]], torch.Tensor]`): Text embeddings `(B, N, E)` of instructions, such as a
            `TextEncoding`.
        with_depth (`bool`, *optional*, defaults to `True`): Whether depth is trained. Depth that was not measured has a mask
            of zeros.
        dtype (`torch.dtype`, *optional*, defaults to `torch.float32`): Of the text embeddings; all else is float32.

    Returns:
        `EncodedBatch`: Its masks of cells, views and indices included.
    """
    device = vae.device
    depth = mask = None
    if with_depth:
        mask = cell_mask(batch.depth_mask.to(device), vae)
        depth = encode_depth(batch.depth_images.to(device), batch.depth_mask.to(device), vae)
    clean = JointLatents(
        video=encode_frames(vae, batch.frames.to(device)),
        actions=batch.actions.to(device),
        states=batch.states.to(device),
        depth=depth,
    )
    return EncodedBatch(
        clean=clean,
        prompt_embeds=encode_text(batch.instructions).to(device, dtype),
        action_mask=batch.action_mask.to(device),
        state_mask=batch.state_mask.to(device),
        depth_mask=mask,
        view_mask=batch.view_mask.to(device, torch.float32),
        indices=batch.indices.to(device),
    )


def encode_depth(depth_images: torch.Tensor, depth_mask: torch.Tensor, vae: AutoencoderKLWan) -> torch.Tensor:
    """Latents of depth images; what was not measured is drawn as the far plane, whatever stands there.

    Args:
        depth_images (`torch.Tensor` of shape `(B, V, F, 3, H, W)`): In [-1, 1], 1 near.
        depth_mask (`torch.BoolTensor` of shape `(B, V, F, H, W)`): True where depth was measured.
        vae (`AutoencoderKLWan`): Frozen.

    Returns:
        `torch.Tensor` of shape `(B, C, T, V, h, w)`: Normalized latents; zero for views without any measurement.
    """
    filled = torch.where(depth_mask[:, :, :, None], depth_images, UNMEASURED)
    has_depth = depth_mask.flatten(2).any(dim=2)  # (B, V)
    batch_size, num_views = has_depth.shape
    if has_depth.any():
        measured = encode_frames(vae, filled.flatten(0, 1)[has_depth.flatten()][:, None])[
            :, :, :, 0
        ]  # (n, C, T, h, w)
    else:
        measured = encode_frames(vae, filled[:1, :1])[:, :, :, 0][:0]
    latents = measured.new_zeros(batch_size * num_views, *measured.shape[1:])
    latents[has_depth.flatten()] = measured
    return latents.unflatten(0, (batch_size, num_views)).permute(0, 2, 3, 1, 4, 5).contiguous()


def cell_mask(depth_mask: torch.Tensor, vae: AutoencoderKLWan) -> torch.Tensor:
    """Latent cells whose depth counts: at least half of their pixels, over all their frames, were measured.

    Args:
        depth_mask (`torch.BoolTensor` of shape `(B, V, F, H, W)`): True where depth was measured.
        vae (`AutoencoderKLWan`): Its strides are read; the first latent frame is the first frame alone.

    Returns:
        `torch.Tensor` of shape `(B, T, V, h, w)`: 1 or 0, float32.
    """
    temporal, spatial = vae.config.scale_factor_temporal, vae.config.scale_factor_spatial
    pixels = depth_mask.float()
    first = avg_pool3d(pixels[:, :, :1], (1, spatial, spatial))
    shares = first
    if pixels.shape[2] > 1:
        shares = torch.cat([first, avg_pool3d(pixels[:, :, 1:], (temporal, spatial, spatial))], dim=2)
    return (shares >= LEAST_MEASURED).float().transpose(1, 2).contiguous()


def drop_prompts(
    batch: EncodedBatch, empty_prompt_embeds: torch.Tensor, seed: int, probability: float
) -> EncodedBatch:
    """Replace the text of some examples by that of the empty prompt, for guidance at inference.

    Args:
        batch (`EncodedBatch`): With `indices`.
        empty_prompt_embeds (`torch.Tensor` of shape `(1, N, E)`): Embeddings of `""`.
        seed (`int`): Seed of the training.
        probability (`float`): Share of the examples; 0.1 in the paper.

    Raises:
        ValueError: If the batch has no indices.
    """
    if batch.indices is None:
        raise ValueError("Dropping text needs `indices` in the batch.")
    dropped = dropped_prompts(batch.indices.tolist(), seed, probability).to(batch.prompt_embeds.device)
    empty = empty_prompt_embeds.to(batch.prompt_embeds)
    return replace(batch, prompt_embeds=torch.where(dropped[:, None, None], empty, batch.prompt_embeds))
