"""Train a video VAE of `AutoencoderKLWan`'s class on a robot's own frames, RGB and depth alike.

What matters for small robot worlds, see docs/log.md: full frames, since the middle block attends to all of them; more weight on
what moves and on saturated colours, or small objects fade; mild compression.
"""

import json
import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file, save_file

from xwam.checkpoints.json_files import read_json
from xwam.data.streams.collate import TrainBatch
from xwam.errors import TrainingError
from xwam.training.checkpoint_store import CheckpointStore
from xwam.training.encoding import UNMEASURED
from xwam.training.muon import Muon, is_matrix
from xwam.utils.differences import first_difference
from xwam.utils.seeding import seed_from
from xwam.utils.shapes import expect_shapes

_STATE = "state.safetensors"
_SETTINGS = "settings.json"


@dataclass(frozen=True)
class VideoCodecObjective:
    r"""What the VAE is trained to do: \(\sum_p w_p\,(|e_p| + \alpha e_p^2) / \sum_p w_p + \beta\,\mathrm{KL}\).

    Args:
        squared (`float`, *optional*, defaults to `4.0`): α, weight of the squared error beside the absolute one.
        colour (`float`, *optional*, defaults to `4.0`): Added weight of a fully saturated pixel.
        motion (`float`, *optional*, defaults to `4.0`): Added weight of a pixel that differs from the clip's mean by
            `motion_range` or more.
        motion_range (`float`, *optional*, defaults to `0.25`): In units of [-1, 1].
        divergence (`float`, *optional*, defaults to `1e-4`): β, weight of the mean divergence of a latent from the standard
            normal.
    """

    squared: float = 4.0
    colour: float = 4.0
    motion: float = 4.0
    motion_range: float = 0.25
    divergence: float = 1e-4


def pixel_weights(clips: torch.Tensor, objective: VideoCodecObjective) -> torch.Tensor:
    """Weight of every pixel `(B, 1, F, H, W)`: 1, more where it is saturated or moves.

    Args:
        clips (`torch.Tensor` of shape `(B, 3, F, H, W)`): In [-1, 1].
        objective (`VideoCodecObjective`): How much more.
    """
    saturation = (clips.amax(dim=1, keepdim=True) - clips.amin(dim=1, keepdim=True)) / 2
    deviation = (clips - clips.mean(dim=2, keepdim=True)).abs().amax(dim=1, keepdim=True)
    moving = (deviation / objective.motion_range).clamp(max=1)
    return 1 + objective.colour * saturation + objective.motion * moving


def codec_losses(
    vae: AutoencoderKLWan,
    clips: torch.Tensor,
    objective: VideoCodecObjective,
    generator: torch.Generator | None = None,
) -> dict[str, torch.Tensor]:
    """Losses of one batch of clips, each of one view.

    Args:
        vae (`AutoencoderKLWan`): In training.
        clips (`torch.Tensor` of shape `(B, 3, F, H, W)`): RGB or depth images in [-1, 1].
        objective (`VideoCodecObjective`): Weights.
        generator (`torch.Generator`, *optional*): Of the latents' noise.

    Returns:
        `dict[str, torch.Tensor]`: Scalars `loss`, which is minimized, its parts `reconstruction` and `divergence`, and the
            plain mean squared error `squared_error`.
    """
    expect_shapes(clips=(clips, "B 3 F H W"))
    posterior = vae.encode(clips).latent_dist
    decoded = vae.decode(posterior.sample(generator), return_dict=False)[0]
    error = decoded - clips
    weights = pixel_weights(clips, objective)
    weighed = weights * (error.abs() + objective.squared * error.square())
    reconstruction = weighed.mean() / weights.mean()
    divergence = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
    return {
        "loss": reconstruction + objective.divergence * divergence,
        "reconstruction": reconstruction.detach(),
        "divergence": divergence.detach(),
        "squared_error": error.detach().square().mean(),
    }


@dataclass(frozen=True)
class VideoCodecConfig:
    """How a VAE is trained; the clips of a step follow from the seed and the number of the step.

    Args:
        steps (`int`, *optional*, defaults to `3000`): Updates.
        clips_per_step (`int`, *optional*, defaults to `3`): Clips of one view, drawn among those of a window; at least one of
            RGB and one of depth where both are there.
        short_frames (`int`, *optional*, defaults to `5`): Frames of a clip, but for every fourth step, which takes all.
        matrix_learning_rate (`float`, *optional*, defaults to `0.02`): Highest rate of the weights, which Muon changes.
        learning_rate (`float`, *optional*, defaults to `0.004`): Highest rate of the rest, which AdamW changes.
        warmup_steps (`int`, *optional*, defaults to `30`): Steps over which the rates rise; then they fall along a cosine.
        max_gradient_norm (`float`, *optional*, defaults to `1.0`): Longer gradients are shortened.
        seed (`int`, *optional*, defaults to `0`): Of the choice of clips and of the latents' noise.
        save_interval (`int`, *optional*, defaults to `200`): Steps between checkpoints.
        objective (`VideoCodecObjective`, *optional*): What is minimized.

    Raises:
        ValueError: If a number is out of its range.
    """

    steps: int = 3000
    clips_per_step: int = 3
    short_frames: int = 5
    matrix_learning_rate: float = 0.02
    learning_rate: float = 0.004
    warmup_steps: int = 30
    max_gradient_norm: float = 1.0
    seed: int = 0
    save_interval: int = 200
    objective: VideoCodecObjective = field(default_factory=VideoCodecObjective)

    def __post_init__(self) -> None:
        for name in ("steps", "clips_per_step", "short_frames", "warmup_steps", "save_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {getattr(self, name)}.")
        for name in ("matrix_learning_rate", "learning_rate", "max_gradient_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` must be finite and above 0, but is {getattr(self, name)}.")


def train_video_codec(
    vae: AutoencoderKLWan,
    make_batches: Callable[[int], Iterable[TrainBatch]],
    config: VideoCodecConfig,
    folder: Path,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    *,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Train in place, going on from the newest checkpoint in the folder.

    Args:
        vae (`AutoencoderKLWan`): In float32, on the device to train on.
        make_batches (`Callable[[int], Iterable[TrainBatch]]`): Gives the stream from a batch on; one batch per step.
        config (`VideoCodecConfig`): How.
        folder (`Path`): Where checkpoints are kept.
        on_step (`Callable[[int, dict[str, float]], None]`, *optional*): Told the number of steps done and the losses.
        data (`Mapping[str, Any]`, *optional*): What the batches come from, as JSON values: `data_identity`.

    Raises:
        TrainingError: If the folder's checkpoint is of another configuration, other data or another VAE.
    """
    store, device = CheckpointStore(folder, keep=1), next(vae.parameters()).device
    optimizers, settings = _optimizers(vae, config), _settings(vae, config, data or {})
    done = _resume(vae, optimizers, store, settings)
    batches = iter(make_batches(done))
    vae.train()
    for step in range(done, config.steps):
        clips = draw_clips(next(batches), config, step).to(device)
        generator = torch.Generator().manual_seed(seed_from(config.seed, "codec noise", step))
        losses = codec_losses(vae, clips, config.objective, generator)
        vae.zero_grad(set_to_none=True)
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), config.max_gradient_norm)
        rise = min(1.0, (step + 1) / config.warmup_steps)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rise * 0.5 * (1 + math.cos(math.pi * step / config.steps))
            optimizer.step()
        if on_step is not None:
            on_step(step + 1, {name: float(loss.detach()) for name, loss in losses.items()})
        if (step + 1) % config.save_interval == 0 or step + 1 == config.steps:
            store.save(step + 1, partial(_write, vae, optimizers, settings))
    vae.eval()


def draw_clips(batch: TrainBatch, config: VideoCodecConfig, step: int) -> torch.Tensor:
    """Clips of a step `(n, 3, F, H, W)`, of views that were recorded and depth that was measured.

    Args:
        batch (`TrainBatch`): Windows to draw from.
        config (`VideoCodecConfig`): How many, and how long.
        step (`int`): Names the draw.
    """
    images = batch.frames[batch.view_mask]  # (n, F, 3, H, W)
    filled = torch.where(batch.depth_mask[:, :, :, None], batch.depth_images, UNMEASURED)
    depths = filled[batch.depth_mask.flatten(2).any(dim=2)]
    draw = random.Random(seed_from(config.seed, "clips", step))
    kinds = [kind for kind in (images, depths) if len(kind)]
    first = draw.randrange(len(kinds))
    chosen = [
        kind[draw.randrange(len(kind))]
        for kind in (kinds[(first + number) % len(kinds)] for number in range(config.clips_per_step))
    ]
    clips = torch.stack(chosen).transpose(1, 2)  # (n, 3, F, H, W)
    return clips if step % 4 == 0 else clips[:, :, : config.short_frames]


def _optimizers(vae: AutoencoderKLWan, config: VideoCodecConfig) -> list[torch.optim.Optimizer]:
    matrices = [parameter for parameter in vae.parameters() if is_matrix(parameter)]
    rest = [parameter for parameter in vae.parameters() if not is_matrix(parameter)]
    optimizers = [
        Muon(matrices, lr=config.matrix_learning_rate),
        torch.optim.AdamW(rest, lr=config.learning_rate, weight_decay=0.0, betas=(0.9, 0.99)),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _settings(vae: AutoencoderKLWan, config: VideoCodecConfig, data: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint goes on with, as JSON values."""
    own = {name: value for name, value in vae.config.items() if not name.startswith("_")}
    training = {name: value for name, value in asdict(config).items() if name != "save_interval"}
    return json.loads(json.dumps({"config": training, "data": dict(data), "vae": own}))


def _write(
    vae: AutoencoderKLWan, optimizers: list[torch.optim.Optimizer], settings: dict[str, Any], folder: Path
) -> None:
    state = {f"vae/{name}": tensor for name, tensor in vae.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for parameter, own in optimizer.state_dict()["state"].items():
            state |= {f"optimizer/{number}/{parameter}/{name}": value for name, value in own.items()}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / _STATE)
    (folder / _SETTINGS).write_text(json.dumps(settings, indent=2), encoding="utf-8")


def _resume(
    vae: AutoencoderKLWan, optimizers: list[torch.optim.Optimizer], store: CheckpointStore, settings: dict[str, Any]
) -> int:
    """Take the newest checkpoint; steps that were done."""
    store.clean()
    newest = store.newest()
    if newest is None:
        return 0
    there = read_json(newest / _SETTINGS) if (newest / _SETTINGS).exists() else settings
    if difference := first_difference(there, settings):
        field, then, now = difference
        raise TrainingError(
            f"{newest} was trained with `{field}` = {then!r}, not {now!r}: take another folder, or train on with what was begun."
        )
    state = load_file(newest / _STATE)
    vae.load_state_dict({name[4:]: tensor for name, tensor in state.items() if name.startswith("vae/")})
    for number, optimizer in enumerate(optimizers):
        content = optimizer.state_dict()
        for name, tensor in state.items():
            if name.startswith(f"optimizer/{number}/"):
                _, _, parameter, quantity = name.split("/")
                content["state"].setdefault(int(parameter), {})[quantity] = tensor
        optimizer.load_state_dict(content)
    return store.step_of(newest)


@torch.no_grad()
def measure_latents(vae: AutoencoderKLWan, clips: Iterable[torch.Tensor]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of every latent channel, for the config's `latents_mean` and `latents_std`.

    Args:
        vae (`AutoencoderKLWan`): Trained.
        clips (`Iterable[torch.Tensor]` of shape `(B, 3, F, H, W)`): What it will encode, RGB and depth images.

    Returns:
        `tuple[list[float], list[float]]`: Means and standard deviations, one per channel.

    Raises:
        ValueError: If there are no clips.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in clips:
        latents = vae.encode(batch).latent_dist.mode().double().transpose(0, 1).flatten(1)  # (C, cells)
        count += latents.shape[1]
        total = total + latents.sum(dim=1)
        squares = squares + latents.square().sum(dim=1)
    if not count:
        raise ValueError("There are no clips to measure latents of.")
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=1e-12).sqrt()
    return mean.tolist(), std.tolist()
