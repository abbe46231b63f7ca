"""What a configuration and the inputs of the transformer must be, checked before anything is built or computed."""

import math
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import torch

from xwam.utils.shapes import expect_shapes

DEPTH_BRANCHES = ("none", "interleaved", "sequence", "channel")
DENOISED_BRANCHES = ("sequence", "channel")  # whose depth is denoised with the video, and must always be there
_MINIMUMS = {
    "num_attention_heads": 1, "attention_head_dim": 6, "in_channels": 1, "text_dim": 1, "freq_dim": 2, "ffn_dim": 1,
    "num_layers": 1, "num_views": 1, "action_dim": 1, "state_dim": 1, "actions_per_frame": 1,
}  # fmt: skip
_EVEN = ("attention_head_dim", "freq_dim")  # rotary pairs; cosines and sines
_TENSOR_OF_SIZE = {"K": "action_hidden_states", "S": "state_hidden_states", "N": "encoder_hidden_states"}


def check_config(config: Mapping[str, Any]) -> None:
    """Check the arguments of `XWAMTransformer3DModel`.

    Raises:
        ValueError: If they make no model; the message names the field.
    """
    for name, minimum in _MINIMUMS.items():
        _check_count(name, config[name], minimum)
    for name in _EVEN:
        if config[name] % 2:
            raise ValueError(f"`{name}` must be even, but is {config[name]}.")
    if not 0 < config["eps"] < math.inf:
        raise ValueError(f"`eps` must be positive and finite, but is {config['eps']}.")
    if config["depth_branch"] not in DEPTH_BRANCHES:
        raise ValueError(f"`depth_branch` must be one of {list(DEPTH_BRANCHES)}, but is {config['depth_branch']!r}.")
    num_layers, num_depth_layers = config["num_layers"], config["num_depth_layers"]
    if config["depth_branch"] == "interleaved":
        _check_count("num_depth_layers", num_depth_layers, 1, num_layers, " (`num_layers`)")
    if config["qk_norm"] != "rms_norm_across_heads":
        raise ValueError(f"`qk_norm` must be 'rms_norm_across_heads', but is {config['qk_norm']!r}.")
    if config["out_channels"] != config["in_channels"]:
        raise ValueError(
            f"`out_channels` must equal `in_channels` = {config['in_channels']}, but is {config['out_channels']}."
        )
    patch_size = tuple(config["patch_size"])
    if len(patch_size) != 3 or patch_size[0] != 1 or not all(_is_whole(size) and size >= 1 for size in patch_size):
        raise ValueError(f"`patch_size` must be (1, height, width), but is {patch_size}.")


def check_inputs(
    config: Mapping[str, Any],
    video: torch.Tensor,
    actions: torch.Tensor,
    states: torch.Tensor,
    text: torch.Tensor,
    depth: torch.Tensor | None,
) -> dict[str, int]:
    """Check what the transformer's forward pass is given but the timesteps, and return the size bound to each letter.

    Raises:
        ValueError: If a tensor has the wrong shape or is empty, or the depth latents do not fit the depth branch.
    """
    sizes = expect_shapes(
        hidden_states=(video, f"B {config['in_channels']} T V h w"),
        action_hidden_states=(actions, f"B K {config['action_dim']}"),
        state_hidden_states=(states, f"B S {config['state_dim']}"),
        encoder_hidden_states=(text, f"B N {config['text_dim']}"),
    )
    for letter, size in sizes.items():
        if size < 1:
            name = _TENSOR_OF_SIZE.get(letter, "hidden_states")
            raise ValueError(f"`{name}` must have {letter} of at least 1, but is empty.")
    if sizes["V"] > config["num_views"]:
        raise ValueError(f"`hidden_states` has V = {sizes['V']} views but the model knows {config['num_views']}.")
    for letter, patch in zip("Thw", config["patch_size"], strict=True):
        if sizes[letter] % patch:
            raise ValueError(f"`hidden_states` has {letter} = {sizes[letter]}, which {patch} does not divide.")
    branch = config["depth_branch"]
    denoises_depth = branch in DENOISED_BRANCHES
    if denoises_depth != (depth is not None):
        verb = "needs" if denoises_depth else "takes no"
        raise ValueError(f"The depth branch {branch!r} {verb} `depth_hidden_states`.")
    if depth is not None and depth.shape != video.shape:
        raise ValueError(
            f"`depth_hidden_states` must have the shape of `hidden_states`, {tuple(video.shape)}, "
            f"but has shape {tuple(depth.shape)}."
        )
    return sizes


def check_timesteps(batch_size: int, **timesteps: tuple[torch.Tensor | None, set[int]]) -> None:
    """Check every `name=(timestep, counts)`: shape `(B,)`, or `(B, n)` with `n` among the counts.

    Raises:
        ValueError: If one has another shape; unnamed, tokens would take their neighbours' timesteps.
    """
    for name, (timestep, counts) in timesteps.items():
        if timestep is None or timestep.shape == (batch_size,):
            continue
        if timestep.ndim != 2 or timestep.shape[0] != batch_size or timestep.shape[1] not in counts:
            wanted = " or ".join(f"({batch_size}, {count})" for count in sorted(counts))
            raise ValueError(f"`{name}` must have shape ({batch_size},) or {wanted} but has {tuple(timestep.shape)}.")


def _check_count(name: str, value: Any, minimum: int, maximum: float = math.inf, what: str = "") -> None:
    if _is_whole(value) and minimum <= value <= maximum:
        return
    if maximum < math.inf:
        raise ValueError(f"`{name}` must lie in {minimum}…{maximum}{what}, but is {value!r}.")
    raise ValueError(f"`{name}` must be a whole number of at least {minimum}, but is {value!r}.")


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
