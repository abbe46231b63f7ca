"""A tiny X-WAM of the embedded world with random weights: for tests, benchmarks and training from nothing."""

from typing import TypeVar

from diffusers import AutoencoderKLWan
from transformers import T5TokenizerFast, UMT5Config, UMT5EncoderModel

from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.pipelines.pipeline_xwam import XWAMPipeline
from xwam.robots.processor import RobotProcessor
from xwam.robots.registry import get_robot
from xwam.schedulers.scheduling_xwam import XWAMScheduler
from xwam.utils.random_weights import seeded_weights

ROBOT = "mujoco_panda"
LATENT_CHANNELS = 8
TEXT_WIDTH = 32
TEXT_LENGTH = 64
# Letters and letter pairs: any instruction in ASCII becomes tokens, with a tokenizer that needs no download.
_SPECIAL_TOKENS = ("<pad>", "</s>", "<unk>")
_LETTERS = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'\"-_()/"

AnyPipeline = TypeVar("AnyPipeline", bound=XWAMPipeline)


def create_embedded_pipeline(
    pipeline_class: type[AnyPipeline], *, seed: int = 0, depth_branch: str = "interleaved"
) -> AnyPipeline:
    """Build a tiny pipeline for the embedded world with random weights: everything is real but the training.

    It answers with noise. The trained one that comes with this package is `from_pretrained("embedded")`.

    Args:
        pipeline_class (`type`): `XWAMPolicyPipeline` or `XWAM4DPipeline`.
        seed (`int`, *optional*, defaults to `0`): Seed of the weights; the caller's random state is left alone.
        depth_branch (`str`, *optional*, defaults to `"interleaved"`): See `XWAMTransformer3DModel`.
    """
    spec = get_robot(ROBOT)
    with seeded_weights(seed):
        transformer = XWAMTransformer3DModel(
            num_attention_heads=4, attention_head_dim=32, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS,
            text_dim=TEXT_WIDTH, ffn_dim=512, num_layers=4, num_depth_layers=2, num_views=len(spec.cameras),
            action_dim=spec.action_dim, state_dim=spec.state_dim, actions_per_frame=spec.actions_per_frame,
            depth_branch=depth_branch,
        )  # fmt: skip
        vae = _vae()
        text_encoder = UMT5EncoderModel(
            UMT5Config(
                vocab_size=len(_vocabulary()),
                d_model=TEXT_WIDTH,
                d_kv=8,
                d_ff=64,
                num_layers=2,
                num_heads=4,
                feed_forward_proj="gated-gelu",
            )
        )
    return pipeline_class(
        transformer=transformer.eval(),
        scheduler=XWAMScheduler(),
        vae=vae.eval(),
        robot_processor=RobotProcessor(spec),
        text_encoder=text_encoder.eval(),
        tokenizer=T5TokenizerFast(vocab=_vocabulary(), extra_ids=0),
        max_sequence_length=TEXT_LENGTH,
    )


def _vae() -> AutoencoderKLWan:
    """The Wan2.2 VAE's class at spatial stride 16 and temporal stride 4, as wide as a laptop likes."""
    return AutoencoderKLWan(
        base_dim=8, decoder_base_dim=8, z_dim=LATENT_CHANNELS, dim_mult=[1, 2, 4, 4], num_res_blocks=1,
        temperal_downsample=[False, True, True], is_residual=True, in_channels=12, out_channels=12, patch_size=2,
        latents_mean=[0.0] * LATENT_CHANNELS, latents_std=[1.0] * LATENT_CHANNELS, scale_factor_spatial=16,
        scale_factor_temporal=4,
    )  # fmt: skip


def _vocabulary() -> list[tuple[str, float]]:
    """Tokens and their scores for the unigram tokenizer."""
    pairs = [a + b for a in _LETTERS[:27] for b in _LETTERS[1:27]]
    return [(token, 0.0) for token in _SPECIAL_TOKENS] + [(t, -5.0) for t in _LETTERS] + [(t, -6.0) for t in pairs]
