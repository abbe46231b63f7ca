"""Text is encoded once per prompt, and its keys and values once per prompt and weights. See docs/design/0005-prompt-cache.md."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.pipelines.denoising import Prompt
from xwam.utils.plain_tensors import plain_tensors

MAX_PROMPTS = 64  # embeddings: 4 MB each at the released size
MAX_TEXT_CACHES = 2  # keys and values: 250 MB each at the released size; guidance needs two
_PROBE_SIZE = 16  # elements of every tensor that are compared


@dataclass(frozen=True, eq=False)
class _Remembered:
    """Keys and values with everything they were computed from; the embeddings are a copy of the caller's."""

    prompt: Prompt
    options: Hashable
    weights: Hashable


class PromptCache:
    """Remembers embeddings by prompt, and text keys and values by the content of the embeddings and the weights.

    Nothing that it holds is shared with a caller, and all is thrown away when the weights that it comes from have changed in
    any way that `weights_fingerprint` sees.
    """

    def __init__(self) -> None:
        self._embeds: OrderedDict[Hashable, torch.Tensor] = OrderedDict()
        self._caches: list[_Remembered] = []

    def clear(self) -> None:
        """Forget everything."""
        self._embeds.clear()
        self._caches.clear()

    def embeds(
        self,
        prompts: Sequence[str],
        state: Hashable | None,
        encode: Callable[[list[str]], torch.Tensor],
        device: torch.device,
    ) -> torch.Tensor:
        """Embeddings `(B, N, E)` of prompts; only those that are not known are encoded, each once.

        Args:
            prompts (`Sequence[str]`): One per example.
            state (`Hashable` or `None`): State of everything that encodes; `None` where that cannot be told, and nothing is
                remembered.
            encode (`Callable`): Encodes a list of prompts, on any device.
            device (`torch.device`): Where the embeddings are wanted.
        """
        rows = {prompt: self._embeds[prompt, state] for prompt in prompts if (prompt, state) in self._embeds}
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in rows]
        if missing:
            rows.update(zip(missing, encode(missing).split(1), strict=True))
        if state is not None:
            for prompt in dict.fromkeys(prompts):
                self._embeds[prompt, state] = rows[prompt]
                self._embeds.move_to_end((prompt, state))
            while len(self._embeds) > MAX_PROMPTS:
                self._embeds.popitem(last=False)
        return torch.cat([rows[prompt].to(device) for prompt in prompts])

    def prompts(
        self,
        transformer: XWAMTransformer3DModel,
        embeds: Sequence[torch.Tensor],
        attention_kwargs: dict[str, Any] | None,
    ) -> list[Prompt]:
        """Embeddings with their caches of keys and values: the remembered ones where they still hold.

        Args:
            transformer (`XWAMTransformer3DModel`): Network whose keys and values are cached.
            embeds (`Sequence[torch.Tensor]`): Text embeddings `(B, N, E)` of one or more prompt batches.
            attention_kwargs (`dict` or `None`): LoRA scale, on which keys and values depend.
        """
        weights = weights_fingerprint(_text_modules(transformer))
        scale = repr(sorted((attention_kwargs or {}).items()))
        return [self._prompt(transformer, own, (scale, autocast_state(own.device)), weights) for own in embeds]

    def _prompt(
        self, transformer: XWAMTransformer3DModel, embeds: torch.Tensor, options: Hashable, weights: Hashable | None
    ) -> Prompt:
        for known in self._caches:
            if known.options == options and known.weights == weights and _are_equal(known.prompt.embeds, embeds):
                self._caches.remove(known)
                self._caches.append(known)
                return known.prompt
        prompt = Prompt(embeds.clone(), transformer.new_text_cache())
        if weights is not None:
            self._caches.append(_Remembered(prompt, options, weights))
            del self._caches[:-MAX_TEXT_CACHES]
        return prompt


def autocast_state(device: torch.device) -> Hashable:
    """In what precision a device computes here: what was computed within `torch.autocast` is not what is computed outside."""
    return torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type)


def weights_fingerprint(modules: Iterable[nn.Module]) -> Hashable | None:
    """A value that changes with the weights of the modules, or `None` where that cannot be told.

    It sees other parameters and dtypes, in-place changes that PyTorch counts, adapters that are added, scaled, switched or
    fused, and, by comparing the first elements of every tensor, changes through `.data` as averaging helpers and the hot
    swapping of adapters make them. Moving weights to another device and back does not change it.
    """
    parts: list[Hashable] = []
    tensors: list[torch.Tensor] = []
    for module in modules:
        for child in module.modules():
            if isinstance(child, BaseTunerLayer):
                scaling = getattr(child, "scaling", None)
                parts.append(repr((child.active_adapters, child.disable_adapters, child.merged_adapters, scaling)))
        tensors.extend(plain for parameter in module.parameters() for plain in plain_tensors(parameter))
    if not tensors or any(tensor.is_meta for tensor in tensors):
        return None
    parts.extend((id(tensor), _version(tensor), str(tensor.dtype)) for tensor in tensors)
    heads = defaultdict(list)
    for tensor in tensors:
        heads[tensor.device, tensor.dtype].append(tensor.detach().flatten()[:_PROBE_SIZE])
    for (_, dtype), alike in heads.items():
        parts.append(str(dtype))
        parts.extend(torch.cat(alike).float().tolist())
    return tuple(parts)


def _are_equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    alike = (first.shape, first.dtype, first.device) == (second.shape, second.dtype, second.device)
    return alike and torch.equal(first, second)


def _text_modules(transformer: XWAMTransformer3DModel) -> list[nn.Module]:
    """Every module that text keys and values depend on."""
    blocks = [*transformer.blocks, *getattr(transformer, "depth_blocks", ())]
    attentions = [block.attn2 for block in blocks]
    layers = ("to_k", "to_v", "to_kv", "norm_k")
    return [
        *(getattr(attention, name) for attention in attentions for name in layers if hasattr(attention, name)),
        transformer.condition_embedder.text_embedder,
    ]


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
