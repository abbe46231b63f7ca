"""Features that diffusers gives every model, kept to what is right for X-WAM: the rest is refused in one sentence."""

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from diffusers import (
    FasterCacheConfig,
    ModelMixin,
    PyramidAttentionBroadcastConfig,
    TaylorSeerCacheConfig,
)
from diffusers.hooks import SeaCacheConfig, TextKVCacheConfig
from diffusers.hooks.hooks import HookRegistry, StateManager
from diffusers.hooks.pyramid_attention_broadcast import (
    _PYRAMID_ATTENTION_BROADCAST_HOOK,
    PyramidAttentionBroadcastHook,
    PyramidAttentionBroadcastState,
)
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from torch import nn

from xwam.checkpoints.verification import check_adapter_file
from xwam.errors import UnsafeFileError

# Text keys and values absent, empty or filled; plain, handing over or joining; batch sizes: PyTorch stops after 8.
RECOMPILE_LIMIT = 64
TAYLORSEER_IDENTIFIERS = (r"blocks\.\d+\.attn\d", r"blocks\.\d+\.ffn")
_REFUSED_CACHES = {
    FasterCacheConfig: "it needs the conditional and unconditional halves in one batch and the token order of a video model",
    SeaCacheConfig: "it measures the change of the video tokens alone and would skip steps in which actions still move",
    TextKVCacheConfig: "text keys and values are cached already, see `new_text_cache`",
}

_NOT_PARALLEL = (
    "X-WAM cannot be split over devices by context or tensor parallelism: the depth branch reads slices of the whole sequence, "
    "and a step has too few tokens to gain from it. Run one model on each device."
)


class CacheConfig(Protocol):
    """Any of diffusers' cache configurations."""


class XWAMModelFeaturesMixin:
    """Goes before diffusers' mixins among the bases of the transformer."""

    # ---------------------------------------------------------------- caches

    def enable_cache(self, config: CacheConfig) -> None:
        """Skip work that hardly changes from step to step. An approximation: measure before relying on it.

        The step that predicts depth is always computed in full, in a cache context of its own.

        Args:
            config (`CacheConfig`): `FirstBlockCacheConfig`, `MagCacheConfig`, `TaylorSeerCacheConfig` (its `cache_identifiers`
                default to the attention and feed-forward layers of the trunk) or `PyramidAttentionBroadcastConfig`.

        Raises:
            ValueError: If this cache is wrong for X-WAM, or the configuration would hook nothing.
        """
        for kind, reason in _REFUSED_CACHES.items():
            if isinstance(config, kind):
                raise ValueError(f"{kind.__name__} does not work with X-WAM: {reason}.")
        if isinstance(config, TaylorSeerCacheConfig):
            config = self._checked_taylorseer(config)
        super().enable_cache(config)  # type: ignore[misc]
        if isinstance(config, PyramidAttentionBroadcastConfig):
            _keep_a_state_per_context(self)

    def _checked_taylorseer(self, config: TaylorSeerCacheConfig) -> TaylorSeerCacheConfig:
        if config.use_lite_mode or config.skip_predict_identifiers:
            raise ValueError(
                "TaylorSeer's lite mode and `skip_predict_identifiers` do not work with X-WAM: skipped layers give zeros, "
                "which the action and state heads would read."
            )
        if config.disable_cache_before_step < 1:
            raise ValueError(
                f"`disable_cache_before_step` must be at least 1, but is {config.disable_cache_before_step}: the first step "
                "has nothing to predict from."
            )
        if not config.cache_identifiers:
            return replace(config, cache_identifiers=list(TAYLORSEER_IDENTIFIERS))  # type: ignore[type-var]
        names = [name for name, _ in self.named_modules()]
        for pattern in config.cache_identifiers:
            if not any(re.fullmatch(pattern, name) for name in names):
                raise ValueError(
                    f"`cache_identifiers` has {pattern!r}, which matches no layer in full; the default is "
                    f"{list(TAYLORSEER_IDENTIFIERS)}."
                )
        return config

    # ---------------------------------------------------------------- attention, devices

    def set_attention_backend(self, backend: str) -> None:
        """Choose how this model computes attention; other models keep what they use.

        Args:
            backend (`str`): A name of `diffusers.models.attention_dispatch.AttentionBackendName`, such as `"native"`.

        Raises:
            ValueError: If there is no such backend.
            RuntimeError: If its package is not installed.
        """
        with _process_default_kept():
            super().set_attention_backend(backend)  # type: ignore[misc]

    def enable_parallelism(self, **_: Any) -> None:
        """Not supported: see the message."""
        raise NotImplementedError(_NOT_PARALLEL)

    def compile_repeated_blocks(self, *args: Any, **kwargs: Any) -> None:
        """Compile the blocks as `diffusers.ModelMixin` does, with room for all the forms in which a block runs.

        Args:
            args: See `torch.compile`.
            kwargs: See `torch.compile`.
        """
        if "recompile_limit" in inspect.signature(torch.compile).parameters:
            kwargs.setdefault("recompile_limit", RECOMPILE_LIMIT)
        super().compile_repeated_blocks(*args, **kwargs)  # type: ignore[misc]

    # ---------------------------------------------------------------- files

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """Load as `diffusers.ModelMixin` does, on one device.

        Args:
            pretrained_model_name_or_path (`str` or `Path`): Folder, hub id or `"embedded"`.
            kwargs: See `diffusers.ModelMixin.from_pretrained`.

        Raises:
            NotImplementedError: If a `parallel_config` is given.
        """
        if kwargs.get("parallel_config") is not None:
            raise NotImplementedError(_NOT_PARALLEL)
        return super().from_pretrained(pretrained_model_name_or_path, **kwargs)  # type: ignore[misc]

    def load_lora_adapter(self, pretrained_model_name_or_path_or_dict: Any, *args: Any, **kwargs: Any) -> None:
        """Load a LoRA adapter as `diffusers.loaders.PeftAdapterMixin` does, from safetensors only.

        Args:
            pretrained_model_name_or_path_or_dict (`str`, `Path` or `dict`): File, folder, hub id or tensors.
            args: See `diffusers`.
            kwargs: See `diffusers`.

        Raises:
            UnsafeFileError: If the file is anything but safetensors.
            CorruptFileError: If it is damaged.
        """
        source = pretrained_model_name_or_path_or_dict
        if not isinstance(source, dict):
            check_adapter_source(Path(source), kwargs.get("weight_name"))
            source, kwargs["use_safetensors"] = str(source), True
        super().load_lora_adapter(source, *args, **kwargs)  # type: ignore[misc]

    @wraps(ModelMixin.save_pretrained)  # pipelines read the signature for `variant` and `max_shard_size`
    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write weights and config as `diffusers.ModelMixin` does.

        Args:
            save_directory (`str` or `Path`): Folder; made where it does not exist.
            kwargs: See `diffusers.ModelMixin.save_pretrained`.

        Raises:
            ValueError: If the weights are in a form that cannot be loaded again, or a pickle is asked for.
        """
        if not kwargs.get("safe_serialization", True):
            raise ValueError(
                "`safe_serialization=False` would write a pickle, which is never loaded again. Leave it out."
            )
        check_can_be_saved(self)
        super().save_pretrained(save_directory, **kwargs)  # type: ignore[misc]


def check_can_be_saved(model: Any) -> None:
    """Refuse adapters and fused projections, whose tensors have names that no new model has.

    Raises:
        ValueError: Says what to call first.
    """
    if loaded := getattr(getattr(model, "_robots", None), "loaded", None):
        raise ValueError(
            f"The transformer carries the robots {sorted(loaded)}, which a saved model cannot hold. Call `merge_robot()` or "
            "`unload_robot()` first, or save a robot alone with `save_robot()`."
        )
    if getattr(model, "peft_config", None):
        raise ValueError(
            "The transformer carries LoRA adapters that a saved model cannot hold. Call `fuse_lora()` and "
            "`unload_lora_weights()` first, or save the adapter with `save_lora_weights()`."
        )
    if any(getattr(module, "fused_projections", False) for module in model.modules()):
        raise ValueError("The transformer's attention projections are fused. Call `unfuse_qkv_projections()` first.")


def check_adapter_source(source: Path, weight_name: str | None) -> None:
    """Check what loading an adapter would read: every local weight file; of the hub only the name.

    Raises:
        UnsafeFileError: If it is anything but safetensors.
        CorruptFileError: If a local file is damaged.
    """
    if weight_name is not None and not weight_name.endswith(".safetensors"):
        raise UnsafeFileError(f"{weight_name} is not a safetensors file; adapters are loaded from nothing else.")
    if source.is_file():
        check_adapter_file(source)
    elif source.is_dir():
        check_adapter_file(source if weight_name is None else source / weight_name)


@contextmanager
def _process_default_kept() -> Iterator[None]:
    """Diffusers makes the backend of one model the default of all; take that back."""
    default = _AttentionBackendRegistry.get_active_backend()[0]
    try:
        yield
    finally:
        _AttentionBackendRegistry.set_active_backend(default)


class _BroadcastHook(PyramidAttentionBroadcastHook):
    """Attention broadcast that remembers each kind of forward pass (cond, uncond, depth) by itself.

    diffusers' own has one memory, in which a guided call would mix the conditional and the unconditional attention, and the
    depth step would find no keys and values.
    """

    def initialize_hook(self, module: nn.Module) -> nn.Module:
        self.states = StateManager(PyramidAttentionBroadcastState)  # type: ignore[arg-type]
        return module

    @property
    def state(self) -> PyramidAttentionBroadcastState:
        return self.states.get_state()

    def reset_state(self, module: nn.Module) -> None:
        self.states.reset()


def _keep_a_state_per_context(model: Any) -> None:
    for module in model.modules():
        registry: HookRegistry | None = getattr(module, "_diffusers_hook", None)
        plain = None if registry is None else registry.get_hook(_PYRAMID_ATTENTION_BROADCAST_HOOK)
        if registry is None or plain is None:
            continue
        registry.remove_hook(_PYRAMID_ATTENTION_BROADCAST_HOOK, recurse=False)
        hook = _BroadcastHook(plain.timestep_skip_range, plain.block_skip_range, plain.current_timestep_callback)
        registry.register_hook(hook, _PYRAMID_ATTENTION_BROADCAST_HOOK)
