"""The X-WAM transformer: video, actions and robot states denoised together, depth beside or among them."""

from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import FromOriginalModelMixin, PeftAdapterMixin
from diffusers.models.attention import AttentionMixin
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.normalization import FP32LayerNorm
from diffusers.utils import apply_lora_scale
from diffusers.utils.torch_utils import maybe_adjust_dtype_for_device
from torch import nn

from xwam.models.block_xwam import KeyValue, XWAMTransformerBlock
from xwam.models.embeddings_xwam import (
    ConditionEmbedder,
    Float32Linear,
    TwoLayerNetwork,
    patch_volume,
    rotary_embedding,
)
from xwam.models.input_checks import check_config, check_inputs, check_timesteps
from xwam.models.model_features import XWAMModelFeaturesMixin, check_can_be_saved
from xwam.models.model_loading import CheckedLoadingMixin
from xwam.models.modeling_outputs import XWAMTransformerOutput
from xwam.models.single_file_loading import CheckedSingleFileMixin
from xwam.models.token_layout import TokenLayout
from xwam.models.wan_trunk import FromWanMixin


class TextCache:
    """Projected text and the text keys and values of every block, filled by the first forward pass that is given it.

    Valid for one prompt batch and unchanged weights.
    """

    def __init__(self, num_layers: int, num_depth_layers: int) -> None:
        self.context: torch.Tensor | None = None
        self.blocks = [KeyValue() for _ in range(num_layers)]
        self.depth_blocks = [KeyValue() for _ in range(num_depth_layers)]

    def check(self, text: torch.Tensor) -> None:
        """Refuse text `(B, N, E)` of another batch size or length than the text that filled the cache.

        Raises:
            ValueError: If B or N differs.
        """
        if self.context is not None and self.context.shape[:2] != text.shape[:2]:
            raise ValueError(
                f"`text_cache` holds (B, N) = {tuple(self.context.shape[:2])} text tokens, but `encoder_hidden_states` has "
                f"{tuple(text.shape[:2])}. Take a new one from `new_text_cache()` for each prompt batch."
            )


class XWAMTransformer3DModel(  # type: ignore[misc]  # `from_single_file` of ours takes fewer arguments
    CheckedLoadingMixin,
    CheckedSingleFileMixin,
    FromWanMixin,
    XWAMModelFeaturesMixin,
    ModelMixin,
    ConfigMixin,
    PeftAdapterMixin,
    FromOriginalModelMixin,
    CacheMixin,
    AttentionMixin,
):
    r"""Wan2.2's video transformer, extended by views, actions, robot states and depth.

    The names of the trunk's parameters are those of `diffusers.WanTransformer3DModel`.

    Source: X-WAM, arXiv 2604.26694, section 3; `depth_branch="sequence"` and `"channel"` are this library's definition of
    the paper's ablations, see docs/design/0003-depth-branches.md.

    Args:
        patch_size (`tuple[int, int, int]`, *optional*, defaults to `(1, 2, 2)`): Latent cells (t, h, w) of one token.
        num_attention_heads (`int`, *optional*, defaults to `24`): Heads.
        attention_head_dim (`int`, *optional*, defaults to `128`): Width of a head; the model width D is the product.
        in_channels (`int`, *optional*, defaults to `48`): Latent channels C of the video.
        out_channels (`int`, *optional*, defaults to `48`): Latent channels of the velocity; equal to `in_channels`.
        text_dim (`int`, *optional*, defaults to `4096`): Text width E.
        freq_dim (`int`, *optional*, defaults to `256`): Width of the timestep sinusoids.
        ffn_dim (`int`, *optional*, defaults to `14336`): Width of the feed-forward layers.
        num_layers (`int`, *optional*, defaults to `30`): Blocks of the trunk.
        cross_attn_norm (`bool`, *optional*, defaults to `True`): Learned norm before the text attention.
        qk_norm (`str`, *optional*, defaults to `"rms_norm_across_heads"`): The only kind there is.
        eps (`float`, *optional*, defaults to `1e-6`): Epsilon of all norms.
        num_views (`int`, *optional*, defaults to `3`): Views that have an identity; a call may use fewer.
        action_dim (`int`, *optional*, defaults to `14`): Channels A of an action.
        state_dim (`int`, *optional*, defaults to `16`): Channels R of a robot state.
        actions_per_frame (`int`, *optional*, defaults to `4`): Actions between two RGB frames.
        depth_branch (`str`, *optional*, defaults to `"interleaved"`): Where depth comes from: `"none"`; `"interleaved"`,
            blocks of its own beside the last trunk blocks; `"sequence"`, tokens of its own; `"channel"`, channels of its
            own.
        num_depth_layers (`int`, *optional*, defaults to `10`): Blocks M of the interleaved depth branch.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["XWAMTransformerBlock"]  # noqa: RUF012 - diffusers reads class attributes of these names
    _repeated_blocks = ["XWAMTransformerBlock"]  # noqa: RUF012
    _skip_layerwise_casting_patterns = [  # noqa: RUF012
        "patch_embedding", "condition_embedder", "norm", "view_embedding", "depth_embedding", "action_", "state_", "proj_out",
    ]  # fmt: skip
    _keep_in_fp32_modules = [  # noqa: RUF012
        "time_embedder", "time_proj", "scale_shift_table", "depth_scale_shift_table", "norm1", "norm2", "norm3", "norm_out",
        "proj_out", "depth_proj_out", "action_embedder", "action_proj_out", "state_embedder", "state_proj_out",
    ]  # fmt: skip
    _keys_to_ignore_on_load_unexpected = [r"^depth_"]  # noqa: RUF012 - left out with `depth_branch="none"`

    @register_to_config
    def __init__(
        self,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        num_attention_heads: int = 24,
        attention_head_dim: int = 128,
        in_channels: int = 48,
        out_channels: int = 48,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 14336,
        num_layers: int = 30,
        cross_attn_norm: bool = True,
        qk_norm: str = "rms_norm_across_heads",
        eps: float = 1e-6,
        num_views: int = 3,
        action_dim: int = 14,
        state_dim: int = 16,
        actions_per_frame: int = 4,
        depth_branch: str = "interleaved",
        num_depth_layers: int = 10,
    ) -> None:
        super().__init__()
        check_config(self.config)
        dim = num_attention_heads * attention_head_dim
        streams = 2 if depth_branch == "channel" else 1  # video alone, or video and depth in one token
        patch_features = patch_volume(patch_size) * streams * out_channels

        # 1. Embeddings
        self.patch_embedding = nn.Conv3d(streams * in_channels, dim, kernel_size=patch_size, stride=patch_size)
        self.view_embedding = nn.Embedding(num_views, dim)
        self.condition_embedder = ConditionEmbedder(dim, freq_dim, text_dim)
        self.action_embedder = TwoLayerNetwork(action_dim, dim, dim, nn.GELU(approximate="tanh"))
        self.state_embedder = TwoLayerNetwork(state_dim, dim, dim, nn.GELU(approximate="tanh"))
        if depth_branch == "sequence":
            self.depth_embedding = nn.Embedding(1, dim)

        # 2. Blocks
        def block() -> XWAMTransformerBlock:
            return XWAMTransformerBlock(dim, ffn_dim, num_attention_heads, cross_attn_norm, eps)

        self.blocks = nn.ModuleList(block() for _ in range(num_layers))
        if depth_branch == "interleaved":
            self.depth_blocks = nn.ModuleList(block() for _ in range(num_depth_layers))

        # 3. Heads
        self.norm_out = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.proj_out = Float32Linear(dim, patch_features)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.action_proj_out = TwoLayerNetwork(dim, dim, action_dim, nn.GELU(approximate="tanh"))
        self.state_proj_out = TwoLayerNetwork(dim, dim, state_dim, nn.GELU(approximate="tanh"))
        if depth_branch in ("interleaved", "sequence"):
            self.depth_proj_out = Float32Linear(dim, patch_features)
            self.depth_scale_shift_table = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)

        self.gradient_checkpointing = False

    @apply_lora_scale("attention_kwargs")
    def forward(
        self,
        hidden_states: torch.Tensor,
        action_hidden_states: torch.Tensor,
        state_hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        action_timestep: torch.Tensor,
        state_timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        depth_hidden_states: torch.Tensor | None = None,
        depth_timestep: torch.Tensor | None = None,
        predict_depth: bool = True,
        text_cache: TextCache | None = None,
        attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = True,
    ) -> XWAMTransformerOutput | tuple[torch.Tensor | None, ...]:
        """Predict the velocity of everything that is denoised, and depth.

        Args:
            hidden_states (`torch.Tensor` of shape `(B, C, T, V, h, w)`): Noisy video latents.
            action_hidden_states (`torch.Tensor` of shape `(B, K, A)`): Noisy actions, normalized.
            state_hidden_states (`torch.Tensor` of shape `(B, S, R)`): Noisy robot states, normalized.
            timestep (`torch.Tensor` of shape `(B,)` or `(B, T)`): Of the video, 0 clean to 1000 noise.
            action_timestep (`torch.Tensor` of shape `(B,)`, `(B, 1)` or `(B, K)`): Of the actions.
            state_timestep (`torch.Tensor` of shape `(B,)`, `(B, 1)` or `(B, S)`): Of the states.
            encoder_hidden_states (`torch.Tensor` of shape `(B, N, E)`): Text embeddings, padding included.
            depth_hidden_states (`torch.Tensor` of shape `(B, C, T, V, h, w)`, *optional*): Noisy depth latents, for the
                branches `"sequence"` and `"channel"`.
            depth_timestep (`torch.Tensor` of shape `(B,)` or `(B, T)`, *optional*): Of the depth frames, for the branch
                `"sequence"`; that of the video where it is not given.
            predict_depth (`bool`, *optional*, defaults to `True`): Run the interleaved depth branch. The other branches
                always run; video, actions and states never depend on this.
            text_cache (`TextCache`, *optional*): From `new_text_cache`; filled by the first pass, read by later ones.
            attention_kwargs (`dict`, *optional*): `{"scale": s}` scales the LoRA layers.
            return_dict (`bool`, *optional*, defaults to `True`): Return an output object instead of a tuple.

        Raises:
            ValueError: If a tensor has the wrong shape, or the depth latents or the text cache do not fit.
        """
        if not torch.compiler.is_compiling():
            sizes = check_inputs(
                self.config, hidden_states, action_hidden_states, state_hidden_states, encoder_hidden_states, depth_hidden_states
            )  # fmt: skip
            check_timesteps(
                sizes["B"],
                timestep=(timestep, {sizes["T"]}),
                action_timestep=(action_timestep, {1, sizes["K"]}),
                state_timestep=(state_timestep, {1, sizes["S"]}),
                depth_timestep=(depth_timestep, {sizes["T"]}),
            )
            if text_cache is not None:
                text_cache.check(encoder_hidden_states)
        layout = self._layout(hidden_states, action_hidden_states, state_hidden_states)

        # 1. Tokens, positions, timesteps, text
        tokens = self._embed_tokens(
            hidden_states, depth_hidden_states, action_hidden_states, state_hidden_states, layout
        )
        positions_dtype = maybe_adjust_dtype_for_device(torch.float64, tokens.device)
        positions = layout.positions(self.config.actions_per_frame, tokens.device, positions_dtype)
        rotary = rotary_embedding(positions, self.config.attention_head_dim)
        temb, modulation, timestep_index = self._embed_timesteps(
            layout, timestep, timestep if depth_timestep is None else depth_timestep, action_timestep, state_timestep
        )
        context = self._embed_text(encoder_hidden_states, text_cache)

        # 2. Blocks
        run_depth = predict_depth and self.config.depth_branch == "interleaved"
        tokens, depth_tokens = self._run_blocks(
            tokens, context, modulation, timestep_index, rotary, layout, text_cache, run_depth
        )

        # 3. Heads
        video, depth, actions, states = tokens.split(layout.sizes, dim=1)
        frame_temb = temb[:, : layout.num_frames]
        video = self._video_head(video, frame_temb, layout, self.scale_shift_table, self.proj_out)
        if self.config.depth_branch == "channel":
            video, depth = video.chunk(2, dim=1)
        elif self.config.depth_branch == "sequence":
            depth_temb = temb[:, layout.num_frames : 2 * layout.num_frames]
            depth = self._video_head(depth, depth_temb, layout, self.depth_scale_shift_table, self.depth_proj_out)
        elif depth_tokens is not None:
            depth = self._video_head(
                depth_tokens, frame_temb, layout, self.depth_scale_shift_table, self.depth_proj_out
            )
        else:
            depth = None
        output = (video, self.action_proj_out(actions), self.state_proj_out(states), depth)
        return XWAMTransformerOutput(*output) if return_dict else output

    def new_text_cache(self) -> TextCache:
        """An empty cache for the text keys and values of one prompt batch."""
        return TextCache(len(self.blocks), len(self.depth_blocks) if self.config.depth_branch == "interleaved" else 0)

    def without_depth(self) -> "XWAMTransformer3DModel":
        """The same network without its interleaved depth branch, sharing all weights: actions are identical.

        Saves the memory of `num_depth_layers` blocks (3.3 GB in bfloat16 at the released size) once this model is let go.

        Raises:
            ValueError: If depth is part of the sequence or of the channels and cannot be left out, or if robots or LoRA
                adapters are loaded and not fused.
        """
        if self.config.depth_branch not in ("interleaved", "none"):
            raise ValueError(
                f"Only an interleaved depth branch can be left out; this model's is {self.config.depth_branch!r}."
            )
        check_can_be_saved(self)  # adapters and fused projections have no place in a new model
        with torch.device("meta"):
            lean = type(self).from_config(self.config, depth_branch="none")
        kept = {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("depth_")}
        lean.load_state_dict(kept, assign=True)
        return lean.train(self.training)

    def _layout(self, video: torch.Tensor, actions: torch.Tensor, states: torch.Tensor) -> TokenLayout:
        _, p_h, p_w = self.config.patch_size
        return TokenLayout(
            num_frames=video.shape[2],
            num_views=video.shape[3],
            height=video.shape[4] // p_h,
            width=video.shape[5] // p_w,
            num_actions=actions.shape[1],
            num_states=states.shape[1],
            has_depth_tokens=self.config.depth_branch == "sequence",
        )

    def _embed_tokens(
        self,
        video: torch.Tensor,
        depth: torch.Tensor | None,
        actions: torch.Tensor,
        states: torch.Tensor,
        layout: TokenLayout,
    ) -> torch.Tensor:
        """Residual stream `(B, L, D)` in float32, in the order of `TokenLayout`."""
        if self.config.depth_branch == "channel" and depth is not None:
            video, depth = torch.cat([video, depth], dim=1), None
        patches = self._patchify(video, layout)
        device = patches.device
        views = self.view_embedding(torch.arange(layout.num_views, device=device))[:, None].to(device)  # (V, 1, D)
        parts = [patches + views]
        if depth is not None:
            identity = self.depth_embedding(torch.zeros(1, dtype=torch.long, device=device)).to(device)
            parts.append(self._patchify(depth, layout) + views + identity)
        tokens = [part.flatten(1, 3).float() for part in parts]  # (B, T V h w, D)
        vectors = [self.action_embedder(actions), self.state_embedder(states)]
        return torch.cat([*tokens, *(vector.to(device) for vector in vectors)], dim=1)

    def _patchify(self, latents: torch.Tensor, layout: TokenLayout) -> torch.Tensor:
        batch_size = latents.shape[0]
        latents = latents.to(self.patch_embedding.weight.dtype)
        per_view = latents.permute(0, 3, 1, 2, 4, 5).flatten(0, 1)  # (B V, C, T, h, w)
        patches = self.patch_embedding(per_view).flatten(3)  # (B V, D, T, h w)
        return patches.unflatten(0, (batch_size, layout.num_views)).permute(0, 3, 1, 4, 2)  # (B, T, V, h w, D)

    def _embed_timesteps(
        self,
        layout: TokenLayout,
        video: torch.Tensor,
        depth: torch.Tensor,
        actions: torch.Tensor,
        states: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Embedding `(B, G, D)` and modulation `(B, G, 6, D)` of the distinct timesteps, and each token's row."""

        def per_frame(timestep: torch.Tensor) -> torch.Tensor:
            return timestep[:, None].expand(-1, layout.num_frames) if timestep.ndim == 1 else timestep

        actions = actions[:, None] if actions.ndim == 1 else actions
        states = states[:, None] if states.ndim == 1 else states
        parts = [per_frame(video), *([per_frame(depth)] if layout.has_depth_tokens else []), actions, states]
        index = layout.timestep_index(actions.shape[1], states.shape[1], actions.device)
        return *self.condition_embedder(torch.cat(parts, dim=1)), index

    def _embed_text(self, text: torch.Tensor, cache: TextCache | None) -> torch.Tensor:
        if cache is not None and cache.context is not None:
            return cache.context
        embedder = self.condition_embedder.text_embedder
        context = embedder(text.to(self.patch_embedding.weight.dtype))
        if cache is not None:
            cache.context = context
        return context

    def _run_blocks(
        self,
        tokens: torch.Tensor,
        context: torch.Tensor,
        modulation: torch.Tensor,
        timestep_index: torch.Tensor,
        rotary: torch.Tensor,
        layout: TokenLayout,
        text_cache: TextCache | None,
        run_depth: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Trunk tokens after the last block, and the depth stream where it runs."""

        def run(block: nn.Module, *args: Any) -> torch.Tensor:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                return self._gradient_checkpointing_func(block, *args)
            return block(*args)

        first_depth_block = len(self.blocks) - len(self.depth_blocks) if run_depth else len(self.blocks)
        depth = None
        for index, block in enumerate(self.blocks):
            text_key_value = None if text_cache is None else text_cache.blocks[index]
            depth_index = index - first_depth_block
            if depth_index < 0:
                tokens = run(block, tokens, context, modulation, timestep_index, rotary, text_key_value)
                continue
            depth = tokens[:, : layout.num_video].contiguous() if depth is None else depth
            handed = KeyValue()
            tokens = run(block, tokens, context, modulation, timestep_index, rotary, text_key_value, handed)
            text_key_value = None if text_cache is None else text_cache.depth_blocks[depth_index]
            depth = run(
                self.depth_blocks[depth_index], depth, context, modulation, timestep_index[: layout.num_video],
                rotary[: layout.num_video], text_key_value, None, handed,
            )  # fmt: skip
        return tokens, depth

    def _video_head(
        self,
        tokens: torch.Tensor,
        temb: torch.Tensor,
        layout: TokenLayout,
        scale_shift_table: torch.Tensor,
        projection: nn.Module,
    ) -> torch.Tensor:
        """Latents `(B, C', T, V, h, w)` in float32 from video or depth tokens `(B, T V h w, D)`."""
        per_frame = self.norm_out(tokens).unflatten(1, (layout.num_frames, -1))  # (B, T, V h w, D)
        table = scale_shift_table.to(per_frame.device).float() + temb[:, :, None].to(per_frame.device)
        shift, scale = table.unbind(2)  # (B, T, D)
        patches = projection(torch.addcmul(shift[:, :, None], per_frame, 1 + scale[:, :, None]))
        patches = patches.unflatten(2, (layout.num_views, layout.height, layout.width))
        patches = patches.unflatten(-1, (*self.config.patch_size, -1))  # (B, T, V, h, w, p_t, p_h, p_w, C')
        ordered = patches.permute(0, 8, 1, 5, 2, 3, 6, 4, 7)  # (B, C', T, p_t, V, h, p_h, w, p_w)
        return ordered.flatten(7, 8).flatten(5, 6).flatten(2, 3)
