"""One training step, from encoded clips to named losses."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from xwam.models.joint_latents import Given, JointLatents, pin_observation, token_timesteps
from xwam.models.modeling_outputs import XWAMTransformerOutput
from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.schedulers.noise_pairs import NoisePairs
from xwam.schedulers.scheduling_xwam import XWAMScheduler

MASK_EPSILON = 1e-8  # keeps a mean over no elements at zero; as in the reference


@dataclass(frozen=True)
class EncodedBatch:
    """A batch after the frozen encoders.

    Args:
        clean (`JointLatents`): Targets. `depth` holds the clean depth latents `(B, C, T, V, h, w)` of every depth branch, or
            `None` where depth is not trained.
        prompt_embeds (`torch.Tensor` of shape `(B, N, E)`): Text embeddings.
        action_mask (`torch.Tensor` of shape `(B, K, A)`): 1 where the robot has that channel.
        state_mask (`torch.Tensor` of shape `(B, S, R)`): 1 where the robot has that channel.
        depth_mask (`torch.Tensor` of shape `(B, T, V, h, w)`, *optional*): 1 in the latent cells whose depth was measured;
            all cells where it is not given.
        view_mask (`torch.Tensor` of shape `(B, V)`, *optional*): 1 for the views that were recorded; all where it is not given.
        indices (`torch.LongTensor` of shape `(B,)`, *optional*): Number of each sample in the stream, from which its noise is
            drawn.
    """

    clean: JointLatents
    prompt_embeds: torch.Tensor
    action_mask: torch.Tensor
    state_mask: torch.Tensor
    depth_mask: torch.Tensor | None = None
    view_mask: torch.Tensor | None = None
    indices: torch.Tensor | None = None

    def to(self, device: torch.device | str) -> "EncodedBatch":
        """Copy to a device."""
        return self._map(lambda tensor: tensor.to(device))

    def share_memory(self) -> "EncodedBatch":
        """The batch in memory that another process can have."""
        return self._map(torch.Tensor.share_memory_)

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "EncodedBatch":
        clean: dict[str, Any] = {
            name: part if part is None else change(part) for name, part in vars(self.clean).items()
        }
        rest: dict[str, Any] = {
            name: None if part is None else change(part) for name, part in vars(self).items() if name != "clean"
        }
        return EncodedBatch(clean=JointLatents(**clean), **rest)


@dataclass(frozen=True)
class LossTerm:
    """A loss before it is divided, so that shares of a batch can be put together.

    Args:
        total (`torch.Tensor`): Sum over the elements that count, a scalar.
        count (`torch.Tensor`): Their number, a float32 scalar without gradient.
    """

    total: torch.Tensor
    count: torch.Tensor

    @property
    def mean(self) -> torch.Tensor:
        """Mean over the elements that count; zero where there are none."""
        return self.total / (self.count + MASK_EPSILON)


def training_losses(
    transformer: XWAMTransformer3DModel,
    scheduler: XWAMScheduler,
    batch: EncodedBatch,
    pairs: NoisePairs,
    noise: JointLatents,
    *,
    depth_is_given: bool = False,
    with_spectral: bool = False,
) -> dict[str, torch.Tensor]:
    """Flow-matching losses at the given noise levels: the means of `loss_terms`, which see for the arguments.

    Returns:
        `dict[str, torch.Tensor]`: Scalar mean squared errors `video`, `actions`, `states`, and `depth` where it is trained;
            `spectral` where it is asked for.

    Raises:
        ValueError: If depth is given to a branch that does not denoise it.
    """
    terms = loss_terms(
        transformer, scheduler, batch, pairs, noise, depth_is_given=depth_is_given, with_spectral=with_spectral
    )
    return {name: term.mean for name, term in terms.items()}


def loss_terms(
    transformer: XWAMTransformer3DModel,
    scheduler: XWAMScheduler,
    batch: EncodedBatch,
    pairs: NoisePairs,
    noise: JointLatents,
    *,
    depth_is_given: bool = False,
    with_spectral: bool = False,
) -> dict[str, LossTerm]:
    r"""Squared errors of one forward pass: \(x_t = (1 - t)\,x_0 + t\,\epsilon\), \(v = \epsilon - x_0\).

    The observed first frame and first state carry no loss, nor do actions and states that were given clean, views that were
    not recorded and depth that was not measured. Masked entries that are not numbers count as zero; depth that was not
    measured is shown as noise to the branches that read depth, never as a value.

    Args:
        transformer (`XWAMTransformer3DModel`): With any depth branch.
        scheduler (`XWAMScheduler`): Defines noisy values, velocities and timesteps.
        batch (`EncodedBatch`): Targets and text.
        pairs (`NoisePairs`): Noise levels, from `scheduler.sample_noise_pairs` or `noise_for`.
        noise (`JointLatents`): Standard normal, shaped like `batch.clean`; with `depth` for the branches `"sequence"` and
            `"channel"`, without for the others.
        depth_is_given (`bool`, *optional*, defaults to `False`): For `"sequence"` and `"channel"`: the first depth frame is
            shown clean and carries no loss, as at inference where an observation brings depth.
        with_spectral (`bool`, *optional*, defaults to `False`): Also compare the spectra of the action velocities.

    Returns:
        `dict[str, LossTerm]`: `video`, `actions`, `states`, and `depth` where it is trained; `spectral` where it is asked for.
            Every parameter that takes part in a full batch takes part in each: an element that does not count has a zero
            gradient.

    Raises:
        ValueError: If depth is given to a branch that does not denoise it.
    """
    clean = _readable(batch)
    if depth_is_given and (clean.depth is None or noise.depth is None):
        raise ValueError(
            "`depth_is_given` needs depth latents that are denoised: `batch.clean.depth` and `noise.depth`."
        )
    output = _predict(transformer, scheduler, batch, clean, pairs, noise, depth_is_given)
    velocity = {name: scheduler.velocity(getattr(clean, name), getattr(noise, name)) for name in _PARTS}
    masks = loss_masks(batch, pairs, depth_is_given=depth_is_given)
    predicted = {"video": output.video, "actions": output.actions, "states": output.states}
    terms = {name: _squared_error(predicted[name], velocity[name], masks[name]) for name in _PARTS}
    if clean.depth is not None and output.depth is not None:
        target = clean.depth if noise.depth is None else scheduler.velocity(clean.depth, noise.depth)
        terms["depth"] = _squared_error(output.depth, target, masks["depth"])
    if with_spectral:
        terms["spectral"] = _spectral_error(output.actions, velocity["actions"], masks["actions"])
    return terms


_PARTS = ("video", "actions", "states")


def loss_masks(batch: EncodedBatch, pairs: NoisePairs, *, depth_is_given: bool = False) -> dict[str, torch.Tensor]:
    """Which elements carry loss, known before any forward pass: 1 or 0, shaped so that they extend to the targets.

    Args:
        batch (`EncodedBatch`): Its masks and sizes are read.
        pairs (`NoisePairs`): Tells which actions are given.
        depth_is_given (`bool`, *optional*, defaults to `False`): Whether the first depth frame is.

    Returns:
        `dict[str, torch.Tensor]`: Of `video` `(B, 1, T, V, 1, 1)`, `actions` `(B, K, A)` and `states` `(B, S, R)`, and of
            `depth` `(B, 1, T, V, h, w)` where the batch has depth.
    """
    clean, num_frames = batch.clean, batch.clean.video.shape[2]
    views = clean.video.new_ones(clean.video.shape[0], clean.video.shape[3], dtype=torch.float32)
    views = views if batch.view_mask is None else batch.view_mask
    video = views[:, None, None, :, None, None].repeat(1, 1, num_frames, 1, 1, 1)
    depth = video.clone()
    video[:, :, 0] = 0
    denoised = (~pairs.action_is_given)[:, None, None]  # (B, 1, 1)
    states = batch.state_mask * denoised
    states[:, 0] = 0
    masks = {"video": video, "actions": batch.action_mask * denoised, "states": states}
    if clean.depth is not None:
        if batch.depth_mask is not None:
            depth = depth * batch.depth_mask[:, None]
        depth = depth.expand(-1, -1, -1, -1, *clean.depth.shape[-2:]).clone()
        if depth_is_given:
            depth[:, :, 0] = 0
        masks["depth"] = depth
    return masks


def _predict(
    transformer: XWAMTransformer3DModel,
    scheduler: XWAMScheduler,
    batch: EncodedBatch,
    clean: JointLatents,
    pairs: NoisePairs,
    noise: JointLatents,
    depth_is_given: bool,
) -> XWAMTransformerOutput:
    noisy_depth = None
    if clean.depth is not None and noise.depth is not None:  # the branches that denoise depth like the video
        noisy_depth = _unmeasured(scheduler.add_noise(clean.depth, noise.depth, pairs.video), noise.depth, batch)
    noisy = JointLatents(
        video=scheduler.add_noise(clean.video, noise.video, pairs.video),
        actions=scheduler.add_noise(clean.actions, noise.actions, pairs.action),
        states=scheduler.add_noise(clean.states, noise.states, pairs.action),
        depth=noisy_depth,
    )
    given, observed = Given(depth=depth_is_given), clean
    if depth_is_given and clean.depth is not None and noise.depth is not None:
        observed = replace(clean, depth=_unmeasured(clean.depth, noise.depth, batch))
    noisy = pin_observation(noisy, observed, given)
    timesteps = token_timesteps(noisy, scheduler.scale(pairs.video), scheduler.scale(pairs.action), given)
    return transformer(
        noisy.video,
        noisy.actions,
        noisy.states,
        timesteps.video,
        timesteps.actions,
        timesteps.states,
        batch.prompt_embeds,
        depth_hidden_states=noisy.depth,
        depth_timestep=timesteps.depth,
        predict_depth=clean.depth is not None,
    )


def _readable(batch: EncodedBatch) -> JointLatents:
    """The targets, with 0 for what is masked out and not finite: the network reads masked entries too."""
    return replace(
        batch.clean,
        actions=_masked_numbers(batch.clean.actions, batch.action_mask),
        states=_masked_numbers(batch.clean.states, batch.state_mask),
    )


def _unmeasured(depth: torch.Tensor, noise: torch.Tensor, batch: EncodedBatch) -> torch.Tensor:
    """Depth latents with noise in place of the cells that were not measured."""
    return depth if batch.depth_mask is None else torch.where(batch.depth_mask[:, None] > 0, depth, noise)


def _squared_error(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> LossTerm:
    """Sum over the entries where `mask` is 1."""
    mask = mask.to(prediction.device).expand_as(prediction)
    difference = torch.where(mask > 0, prediction - target, 0.0)  # zero times NaN would be NaN
    return LossTerm((difference * mask).square().sum(), mask.sum(dtype=torch.float32))


def _spectral_error(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> LossTerm:
    """Distances between the spectra over time, of the examples that have a channel with loss in every action.

    Source: the `dct_loss` of `XWAMRunner.training_step` in the release, which compares all channels of such an example.
    """
    whole = (mask > 0).any(dim=-1).all(dim=-1)[:, None, None]  # (B, 1, 1)
    difference = torch.where(whole, prediction - target, 0.0)
    distances = torch.fft.rfft(difference, dim=1).abs()  # (B, K // 2 + 1, A)
    return LossTerm(distances.sum(), whole.expand_as(distances).sum(dtype=torch.float32))


def _masked_numbers(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.where((mask > 0) | values.isfinite(), values, 0.0)
