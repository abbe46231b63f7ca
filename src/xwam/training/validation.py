"""How good is it on held-out clips: losses at fixed noise, and futures that are sampled and compared with what came.

A pixel moves where a colour channel differs from that of the first frame by more than `MOTION_THRESHOLD`. Every PSNR is that of
the mean squared error over all such pixels of all clips together, of colours in [0, 1], without the first frame, which is
observed. "Copy" is a forecast that repeats the first frame.
"""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xwam.data.streams.collate import TrainBatch
from xwam.geometry.depth import image_to_depth
from xwam.models.input_checks import DENOISED_BRANCHES
from xwam.models.video_codec import decode_latents
from xwam.pipelines.pipeline_xwam import XWAMPipeline
from xwam.training.encoding import EncodeText, TextEncoding, encode_batch, needs_depth
from xwam.training.futures import Futures, sample_futures
from xwam.training.noise import noise_for
from xwam.training.objective import LossWeights, weighted_sum
from xwam.training.step import MASK_EPSILON, EncodedBatch, loss_terms
from xwam.training.validation_pictures import write_pictures
from xwam.utils.seeding import seed_from

MOTION_THRESHOLD = 0.1  # of colours in [0, 1]: well above the noise of a codec


@dataclass(frozen=True)
class ValidationReport:
    """What `evaluate` found. What could not be measured is `None`.

    Args:
        num_clips (`int`): Clips whose losses were taken.
        losses (`dict[str, float]`): Mean losses at fixed noise, by name.
        loss (`float`): Their weighted sum.
        num_sampled (`int`): Clips whose future was sampled.
        psnr (`float`, *optional*): Of the sampled video, in dB.
        psnr_moving (`float`, *optional*): On the pixels that move.
        copy_psnr (`float`, *optional*): Of the first frame repeated.
        copy_psnr_moving (`float`, *optional*): On the pixels that move.
        codec_psnr (`float`, *optional*): Of the true video through the VAE: what no sample can pass.
        codec_psnr_moving (`float`, *optional*): On the pixels that move.
        depth_error (`float`, *optional*): Mean of |d̂ − d| / d over measured pixels of all frames, where depth is metric.
        copy_depth_error (`float`, *optional*): Of the first measured frame repeated, over the frames after it.
        action_error (`float`, *optional*): Root mean square over valid channels, normalised units.
        mean_action_error (`float`, *optional*): Of the best constant action: the mean of these clips.
        state_error (`float`, *optional*): Root mean square over valid channels and the states after the first.
        copy_state_error (`float`, *optional*): Of the first state repeated.
    """

    num_clips: int
    losses: dict[str, float]
    loss: float
    num_sampled: int = 0
    psnr: float | None = None
    psnr_moving: float | None = None
    copy_psnr: float | None = None
    copy_psnr_moving: float | None = None
    codec_psnr: float | None = None
    codec_psnr_moving: float | None = None
    depth_error: float | None = None
    copy_depth_error: float | None = None
    action_error: float | None = None
    mean_action_error: float | None = None
    state_error: float | None = None
    copy_state_error: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return dataclasses.asdict(self)

    def numbers(self) -> dict[str, float]:
        """All that was measured as flat numbers, for curves; the losses under `loss_<name>`."""
        flat = {name: float(value) for name, value in vars(self).items() if isinstance(value, (int, float))}
        return {**flat, **{f"loss_{name}": value for name, value in self.losses.items()}}


@torch.no_grad()
def evaluate(
    pipeline: XWAMPipeline,
    batches: Iterable[TrainBatch],
    *,
    seed: int = 0,
    mode: str = "ans",
    noise_draws: int = 4,
    weights: LossWeights | None = None,
    with_samples: bool = True,
    num_inference_steps: int | None = None,
    num_action_steps: int | None = None,
    folder: Path | None = None,
    max_pictures: int = 4,
) -> ValidationReport:
    """Measure a pipeline on clips; the same clips, seed and weights give the same numbers, however they are batched.

    Args:
        pipeline (`XWAMPipeline`): With VAE and text encoder, in evaluation mode.
        batches (`Iterable[TrainBatch]`): Held-out clips, in a fixed order and without augmentation.
        seed (`int`, *optional*, defaults to `0`): Of all noise.
        mode (`str`, *optional*, defaults to `"ans"`): How noise levels are drawn, see `xwam.schedulers.noise_pairs`.
        noise_draws (`int`, *optional*, defaults to `4`): Noise levels at which each clip's losses are taken.
        weights (`LossWeights`, *optional*): Of the sum.
        with_samples (`bool`, *optional*, defaults to `True`): Whether to sample futures.
        num_inference_steps (`int`, *optional*): Steps T_O of the video; the scheduler's where not given.
        num_action_steps (`int`, *optional*): Steps T_a of the actions; the scheduler's where not given.
        folder (`Path`, *optional*): Where a video and a picture of each of the first clips go.
        max_pictures (`int`, *optional*, defaults to `4`): Clips that are written.

    Raises:
        ValueError: If there are no clips, or the pipeline cannot encode.
    """
    if pipeline.vae is None or pipeline.text_encoder is None:
        raise ValueError("Validation needs a pipeline with VAE and text encoder.")
    encode_text = TextEncoding(pipeline.text_encoder, pipeline.tokenizer, pipeline.config.max_sequence_length)
    sums = _Sums(seed, mode, noise_draws)
    for batch in batches:
        encoded = _encode(pipeline, batch, encode_text)
        sums.add_losses(pipeline, encoded)
        if with_samples:
            sampled = sample_futures(
                pipeline, encoded, sums.numbers(len(batch)), seed, num_inference_steps, num_action_steps
            )
            sums.add_futures(pipeline, batch, encoded, sampled)
            if folder is not None:
                write_pictures(folder, pipeline, batch, sampled.frames, sampled.depth_images, sums.count, max_pictures)
        sums.count += len(batch)
    return sums.report(LossWeights() if weights is None else weights)


def _encode(pipeline: XWAMPipeline, batch: TrainBatch, encode_text: EncodeText) -> EncodedBatch:
    assert pipeline.vae is not None
    with_depth = needs_depth(pipeline.transformer.config.depth_branch, bool(batch.depth_mask.any()))
    return encode_batch(batch, pipeline.vae, encode_text, with_depth=with_depth)


class _Sums:
    """Sums over all clips."""

    def __init__(self, seed: int, mode: str, noise_draws: int) -> None:
        self.seed, self.mode, self.noise_draws = seed, mode, noise_draws
        self.count = self.sampled = 0
        self._totals: dict[str, float] = {}
        self._counts: dict[str, float] = {}
        self._actions: list[tuple[torch.Tensor, torch.Tensor]] = []

    def numbers(self, batch_size: int) -> list[int]:
        """Numbers of the clips of the batch that begins here."""
        return list(range(self.count, self.count + batch_size))

    def add_losses(self, pipeline: XWAMPipeline, encoded: EncodedBatch) -> None:
        """Losses at the noise of every draw."""
        numbers = self.numbers(len(encoded.clean.video))
        with_depth = pipeline.transformer.config.depth_branch in DENOISED_BRANCHES
        for draw in range(self.noise_draws):
            seed = seed_from("validation", self.seed, draw)
            pairs, noise = noise_for(
                numbers, seed, pipeline.scheduler, encoded.clean, self.mode, with_depth=with_depth
            )
            for name, term in loss_terms(pipeline.transformer, pipeline.scheduler, encoded, pairs, noise).items():
                self._add(f"loss {name}", term.total, term.count)

    def add_futures(self, pipeline: XWAMPipeline, batch: TrainBatch, encoded: EncodedBatch, sampled: Futures) -> None:
        """Errors of sampled futures, and of forecasts that are simpler."""
        assert pipeline.vae is not None
        device = sampled.frames.device
        truth = _colours(batch.frames.to(device))
        seen = batch.view_mask.to(device)[:, :, None, None, None, None].expand_as(truth[:, :, 1:])
        moves = (truth[:, :, 1:] - truth[:, :, :1]).abs().amax(dim=3, keepdim=True) > MOTION_THRESHOLD
        forecasts = {
            "psnr": _colours(sampled.frames),
            "copy_psnr": truth[:, :, :1].expand_as(truth),
            "codec_psnr": _colours(decode_latents(pipeline.vae, encoded.clean.video)),
        }
        for name, forecast in forecasts.items():
            error = (forecast - truth)[:, :, 1:].square()
            self._add(name, error[seen].sum(), seen.sum())
            self._add(f"{name}_moving", error[seen & moves].sum(), (seen & moves).sum())
        self._add_depth(pipeline, batch, sampled)
        self._add_vectors(encoded, sampled)
        self.sampled += len(batch)

    def _add_depth(self, pipeline: XWAMPipeline, batch: TrainBatch, sampled: Futures) -> None:
        spec = pipeline.robot_processor.spec
        planes = [camera.depth_range for camera in spec.cameras]
        is_metric = all(planes) and spec.depth_encoding != "relative"
        if sampled.depth_images is None or not batch.depth_mask.any() or not is_metric:
            return
        device = sampled.depth_images.device
        near, far = torch.tensor(planes, device=device).T[:, :, None]  # (V, 1) each
        truth = image_to_depth(batch.depth_images.to(device), near, far, spec.depth_encoding)  # (B, V, F, H, W)
        known = batch.depth_mask.to(device)
        relative = (image_to_depth(sampled.depth_images, near, far, spec.depth_encoding) - truth).abs() / truth
        self._add("depth_error", relative[known].sum(), known.sum())
        known = known[:, :, 1:] & known[:, :, :1]
        relative = (truth[:, :, :1] - truth[:, :, 1:]).abs() / truth[:, :, 1:]
        self._add("copy_depth_error", relative[known].sum(), known.sum())

    def _add_vectors(self, encoded: EncodedBatch, sampled: Futures) -> None:
        mask, clean = encoded.action_mask, encoded.clean
        self._add("action_error", ((sampled.actions - clean.actions) * mask).square().sum(), mask.sum())
        self._actions.append(((clean.actions * mask).cpu(), mask.cpu()))
        mask = encoded.state_mask[:, 1:]
        for name, states in (("state_error", sampled.states), ("copy_state_error", clean.states[:, :1])):
            self._add(name, ((states[:, -mask.shape[1] :] - clean.states[:, 1:]) * mask).square().sum(), mask.sum())

    def report(self, weights: LossWeights) -> ValidationReport:
        """Means of everything.

        Raises:
            ValueError: If there was no clip.
        """
        if self.count == 0:
            raise ValueError("There must be at least one clip to validate on, but there is none.")
        losses = {name[5:]: self._mean(name) or 0.0 for name in self._totals if name.startswith("loss ")}
        found: dict[str, Any] = {}
        for name in ("psnr", "copy_psnr", "codec_psnr"):
            found[name] = _decibel(self._mean(name))
            found[f"{name}_moving"] = _decibel(self._mean(f"{name}_moving"))
        for name in ("depth_error", "copy_depth_error"):
            found[name] = self._mean(name)
        for name in ("action_error", "state_error", "copy_state_error"):
            found[name] = _root(self._mean(name))
        return ValidationReport(
            num_clips=self.count,
            losses=losses,
            loss=float(weighted_sum({name: torch.tensor(value) for name, value in losses.items()}, weights)),
            num_sampled=self.sampled,
            mean_action_error=self._mean_action_error(),
            **found,
        )

    def _mean_action_error(self) -> float | None:
        if not self._actions:
            return None
        actions, mask = (torch.cat(parts) for parts in zip(*self._actions, strict=True))
        mean = actions.sum(dim=(0, 1)) / mask.sum(dim=(0, 1)).clamp(min=1)
        return _root(float(((actions - mean) * mask).square().sum() / (mask.sum() + MASK_EPSILON)))

    def _add(self, name: str, total: torch.Tensor, count: torch.Tensor) -> None:
        self._totals[name] = self._totals.get(name, 0.0) + float(total)
        self._counts[name] = self._counts.get(name, 0.0) + float(count)

    def _mean(self, name: str) -> float | None:
        return self._totals[name] / self._counts[name] if self._counts.get(name, 0) > 0 else None


def _colours(frames: torch.Tensor) -> torch.Tensor:
    """Frames in [-1, 1] as colours held to [0, 1]."""
    return ((frames + 1) / 2).clamp(0, 1)


def _decibel(squared_error: float | None) -> float | None:
    return None if squared_error is None else -10 * math.log10(max(squared_error, 1e-10))


def _root(square: float | None) -> float | None:
    return None if square is None else math.sqrt(square)
