"""What both pipelines can be asked for, and the checks of it that come before any model work."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from diffusers import DiffusionPipeline

StepCallback = Callable[[DiffusionPipeline, int, torch.Tensor, dict[str, Any]], dict[str, Any]]
Generators = torch.Generator | list[torch.Generator] | None

CALLBACK_TENSORS = ("video", "actions", "states", "depth")


@dataclass(frozen=True)
class CallOptions:
    """Arguments of a call besides the observation; see `XWAMPolicyPipeline.__call__` for each.

    Args:
        num_inference_steps (`int` or `None`): Steps T_O of the video.
        num_action_steps (`int` or `None`): Steps T_a of actions and states.
        guidance_scale (`float`): Guidance; 1 is off.
        generator (`torch.Generator`, list or `None`): For the noise.
        prompt_embeds (`torch.Tensor` or `None`): Text embeddings `(B, N, E)`.
        negative_prompt_embeds (`torch.Tensor` or `None`): Embeddings `(B, N, E)` of the unconditional prompt.
        attention_kwargs (`dict` or `None`): `{"scale": s}` scales the LoRA layers.
        callback (`Callable` or `None`): Called after each step.
        callback_inputs (`Sequence[str]`): Names of the tensors it gets.
        output_type (`str`): Form of the output.
        num_views (`int`, *optional*): Only the first so many cameras of the robot; all of them where not given.
    """

    num_inference_steps: int | None
    num_action_steps: int | None
    guidance_scale: float
    generator: Generators
    prompt_embeds: torch.Tensor | None
    negative_prompt_embeds: torch.Tensor | None
    attention_kwargs: dict[str, Any] | None
    callback: StepCallback | None
    callback_inputs: Sequence[str]
    output_type: str
    num_views: int | None = None

    @property
    def is_guided(self) -> bool:
        """Whether the network is asked twice a step."""
        return self.guidance_scale != 1.0

    @property
    def needs_text_encoder(self) -> bool:
        """Whether some prompt must be encoded."""
        return self.prompt_embeds is None or (self.is_guided and self.negative_prompt_embeds is None)

    @property
    def callback_tensors(self) -> list[str]:
        """Tensors that the callback gets: diffusers' callback classes name their own."""
        return list(dict.fromkeys(getattr(self.callback, "tensor_inputs", self.callback_inputs)))

    def generators(self, batch_size: int) -> list[torch.Generator | None]:
        """One generator for each example."""
        return [*self.generator] if isinstance(self.generator, list) else [self.generator] * batch_size

    def check(self, batch_size: int, text_dim: int, device: torch.device, output_types: Sequence[str]) -> None:
        """Check every field.

        Raises:
            ValueError: Names the argument, what was expected and what came.
        """
        self._check_guidance()
        self._check_generators(batch_size, device)
        for name in ("prompt_embeds", "negative_prompt_embeds"):
            _check_embeds(name, getattr(self, name), batch_size, text_dim)
        self._check_attention_kwargs()
        if self.callback is not None and not callable(self.callback):
            raise ValueError(f"`callback_on_step_end` must be callable, but is {type(self.callback).__name__}.")
        if not isinstance(self.callback_inputs, list | tuple):
            raise ValueError(
                f"`callback_on_step_end_tensor_inputs` must be a list of names, but is {self.callback_inputs!r}."
            )
        unknown = [name for name in self.callback_tensors if name not in CALLBACK_TENSORS]
        if unknown:
            raise ValueError(
                f"`callback_on_step_end_tensor_inputs` may name {list(CALLBACK_TENSORS)}, but names {unknown}."
            )
        if self.output_type not in output_types:
            raise ValueError(f"`output_type` must be one of {list(output_types)}, but is {self.output_type!r}.")

    def _check_guidance(self) -> None:
        scale = self.guidance_scale
        if isinstance(scale, bool) or not isinstance(scale, Real):
            raise ValueError(f"`guidance_scale` must be a number, but is {scale!r}.")
        if not (math.isfinite(scale) and scale >= 0):
            raise ValueError(f"`guidance_scale` must be finite and not negative, but is {scale}.")
        if not self.is_guided and self.negative_prompt_embeds is not None:
            raise ValueError("`negative_prompt_embeds` count only with guidance, but `guidance_scale` is 1 (off).")

    def _check_generators(self, batch_size: int, device: torch.device) -> None:
        generators = self.generators(batch_size)
        for own in generators:
            if not isinstance(own, torch.Generator | None):
                raise ValueError(
                    f"`generator` must be a torch.Generator or a list of them, but holds {type(own).__name__}."
                )
            if own is not None and own.device.type not in ("cpu", device.type):
                raise ValueError(f"`generator` must be on the CPU or on {device.type}, but is on {own.device.type}.")
        if len(generators) != batch_size:
            raise ValueError(
                f"`generator` must have one entry for each of the {batch_size} observations, but has {len(generators)}."
            )

    def _check_attention_kwargs(self) -> None:
        given = self.attention_kwargs
        if given is None:
            return
        if not isinstance(given, Mapping) or given.keys() - {"scale"}:
            raise ValueError(f"`attention_kwargs` must be None or {{'scale': number}}, but is {given!r}.")
        scale = given.get("scale", 1.0)
        if isinstance(scale, bool) or not isinstance(scale, Real) or not math.isfinite(scale):
            raise ValueError(f"`attention_kwargs['scale']` must be a finite number, but is {scale!r}.")


def check_replacements(changed: Any, tensors: Mapping[str, torch.Tensor | None]) -> dict[str, torch.Tensor]:
    """What a callback returned, when it may stand for the tensors that it was given.

    Raises:
        ValueError: If it is no dictionary, names other tensors, or a tensor is of another shape or not finite.
    """
    if not isinstance(changed, Mapping | None):
        raise ValueError(
            f"`callback_on_step_end` must return a dictionary or None, but returned {type(changed).__name__}."
        )
    checked = {}
    for name, value in (changed or {}).items():
        old = tensors.get(name)
        if old is None:
            raise ValueError(f"`callback_on_step_end` may replace {sorted(tensors)}, but returned {name!r}.")
        if not isinstance(value, torch.Tensor) or value.shape != old.shape:
            raise ValueError(
                f"`callback_on_step_end` must keep the shape {tuple(old.shape)} of {name!r}, but returned {_shown(value)}."
            )
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"`callback_on_step_end` must keep {name!r} finite, but returned NaN or infinity.")
        checked[name] = value.to(old)
    return checked


def _check_embeds(name: str, embeds: torch.Tensor | None, batch_size: int, text_dim: int) -> None:
    if embeds is None:
        return
    if not isinstance(embeds, torch.Tensor) or embeds.ndim != 3 or not embeds.is_floating_point():
        raise ValueError(f"`{name}` must be a float tensor of shape (B, N, E), but is {_shown(embeds)}.")
    if embeds.shape[0] != batch_size or embeds.shape[1] < 1 or embeds.shape[2] != text_dim:
        raise ValueError(
            f"`{name}` must have shape ({batch_size}, N, {text_dim}) with N ≥ 1, but has {tuple(embeds.shape)}."
        )
    if not bool(torch.isfinite(embeds).all()):
        raise ValueError(f"`{name}` must be finite, but holds NaN or infinity.")


def _shown(value: Any) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
