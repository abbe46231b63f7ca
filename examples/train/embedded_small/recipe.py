"""What the embedded model is trained on, and what is trained: one configuration for two cores, for a GPU, and for a test."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import language
import torch
from diffusers import AutoencoderKLWan
from transformers import T5TokenizerFast, UMT5EncoderModel

from xwam import RobotProcessor, RobotSpec, XWAM4DPipeline, XWAMScheduler, XWAMTransformer3DModel, get_robot
from xwam.data.readers.base import EpisodeReader
from xwam.data.readers.lerobot import LeRobotReader
from xwam.data.readers.selection import Selection
from xwam.data.streams.collate import TrainBatch, collate
from xwam.data.streams.stream import make_stream
from xwam.data.streams.windows import WindowShape, read_clip
from xwam.recording.demonstrations import Recipe, record_demonstrations
from xwam.robots.clips import EncodedClip
from xwam.training.config import TrainConfig
from xwam.training.video_codec_training import VideoCodecConfig

PROMPT_LENGTH = 48  # tokens
EXPERTS = ({"noise": 0.0}, {"noise": 0.15})  # as sure as can be, and with a shaking hand that must be made up for
# Commands after success: a window holds 32 commands, and one should begin wherever the model may be asked
EXTRA_STEPS = (32, 36)
SEEDS_PER_EXPERT = 10_000  # the second expert's episodes begin in other scenes than the first one's
EASY_TASKS = ("press_button", "close_drawer", "open_drawer", "lift_cube", "pick_by_colour", "place_in_bin")
ALL_TASKS = (*EASY_TASKS, "push_to_region", "stack_cubes", "place_in_drawer")


@dataclass(frozen=True)
class Size:
    """Everything that differs between a training on two cores and one on a GPU.

    Args:
        tasks (`tuple[str, ...]`): Tasks of the embedded world.
        episodes (`int`): Episodes of every task, expert and appearance.
        appearances (`tuple[bool, ...]`): Whether light, colours, cameras and clutter vary; one value per appearance.
        held_out (`int`): Last episodes of each of them that are not trained on.
        image_size (`tuple[int, int]`): Height and width of what the model sees and imagines, in pixels.
        language_steps (`int`): Updates of the text encoder.
        stride (`int`): Rows from one encoded window to the next.
        codec_width (`int`): Base channels of the VAE.
        latent_channels (`int`): Channels of its latents.
        codec (`VideoCodecConfig`): How it is trained.
        num_heads (`int`): Attention heads of 64 channels.
        num_layers (`int`): Blocks of the transformer.
        num_depth_layers (`int`): Blocks of its depth branch.
        main (`TrainConfig`): How the transformer is trained.
        seed (`int`, *optional*, defaults to `0`): Of weights and training; data do not depend on it.
    """

    tasks: tuple[str, ...]
    episodes: int
    appearances: tuple[bool, ...]
    held_out: int
    image_size: tuple[int, int]
    language_steps: int
    stride: int
    codec_width: int
    latent_channels: int
    codec: VideoCodecConfig
    num_heads: int
    num_layers: int
    num_depth_layers: int
    main: TrainConfig
    seed: int = 0
    robot: RobotSpec = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "robot", replace(get_robot("mujoco_panda"), image_size=self.image_size))

    def with_seed(self, seed: int) -> "Size":
        """The same with other weights, noise and order."""
        return replace(self, seed=seed, codec=replace(self.codec, seed=seed), main=replace(self.main, seed=seed))


_MAIN = TrainConfig(
    optimizer="muon", learning_rate=1e-3, matrix_learning_rate=0.01, warmup_steps=50, betas=(0.9, 0.95), weight_decay=0.0,
    ema_decay=0.998, augmentation=False, log_interval=20, keep_checkpoints=1, num_workers=0, tracker="none", seed=0,
)  # fmt: skip

SIZES = {
    "cpu": Size(
        tasks=EASY_TASKS, episodes=60, appearances=(False,), held_out=4, image_size=(64, 80), language_steps=800, stride=3, codec_width=16,
        latent_channels=16, codec=VideoCodecConfig(steps=8000), num_heads=3, num_layers=10, num_depth_layers=4,
        main=replace(
            _MAIN, steps=8000, batch_size=12, validation_interval=1000, sample_interval=8000, save_interval=200,
            compile_blocks=True,
        ),
    ),
    "gpu": Size(
        tasks=ALL_TASKS, episodes=60, appearances=(False, True), held_out=4, image_size=(128, 160), language_steps=800, stride=4, codec_width=24,
        latent_channels=16, codec=VideoCodecConfig(steps=6000, clips_per_step=32), num_heads=4, num_layers=9,
        num_depth_layers=4,
        main=replace(
            _MAIN, steps=5000, batch_size=256, num_workers=8, validation_interval=500, sample_interval=5000, save_interval=500,
        ),
    ),
    # Everything smaller: to hold one training against another.
    "quick": Size(
        tasks=EASY_TASKS, episodes=30, appearances=(False,), held_out=4, image_size=(64, 80), language_steps=800, stride=4, codec_width=16,
        latent_channels=16, codec=VideoCodecConfig(steps=3000), num_heads=3, num_layers=6, num_depth_layers=3,
        main=replace(
            _MAIN, steps=600, batch_size=12, validation_interval=600, sample_interval=600, save_interval=200, ema_decay=0.99,
            compile_blocks=True,
        ),
    ),
    # Minutes: to see that all stages work.
    "tiny": Size(
        tasks=("press_button", "lift_cube"), episodes=2, appearances=(False, True), held_out=1, image_size=(64, 80), language_steps=10, stride=8,
        codec_width=8, latent_channels=8, codec=VideoCodecConfig(steps=6, save_interval=3), num_heads=1, num_layers=2,
        num_depth_layers=1,
        main=replace(
            _MAIN, steps=4, warmup_steps=1, batch_size=2, validation_interval=4, sample_interval=4, save_interval=2
        ),
    ),
}  # fmt: skip


def record(folder: Path, size: Size, num_processes: int, on_result: Callable[..., None] | None = None) -> None:
    """Record the demonstrations; goes on where it was stopped."""
    for number, expert in enumerate(EXPERTS):
        recipes = [
            Recipe(
                environment=f"mujoco/{task}",
                options={"randomized": True} if randomized else {},
                expert={"noise": 0.0, "recovery": False, "speed": 1.0, **expert},
                extra_steps=EXTRA_STEPS,
            )
            for task in size.tasks
            for randomized in size.appearances
        ]
        record_demonstrations(
            folder, recipes, episodes=size.episodes, num_processes=num_processes, first_seed=number * SEEDS_PER_EXPERT,
            on_result=on_result,
        )  # fmt: skip


def open_episodes(folder: Path, size: Size) -> tuple[EpisodeReader, EpisodeReader]:
    """Episodes to train on, and those held out: the last of every task, expert and appearance."""
    reader = LeRobotReader(folder, size.robot, name="embedded world")
    groups: dict[str, list[int]] = {}
    for number, episode in enumerate(reader.episodes):
        groups.setdefault(episode.key.rsplit("-", 1)[0], []).append(number)  # the key's last part is the seed
    last = {number for group in groups.values() for number in group[-size.held_out :]}
    numbers = range(len(reader.episodes))
    return Selection(reader, [n for n in numbers if n not in last]), Selection(reader, sorted(last))


def batches_of(
    reader: EpisodeReader, size: Size, batch_size: int, num_workers: int = 0
) -> Callable[[int], Iterable[TrainBatch]]:
    """The stream of a reader from a batch on, cut as at inference."""
    return lambda start: make_stream(
        reader, RobotProcessor(size.robot), seed=size.seed, batch_size=batch_size, start_batch=start, num_workers=num_workers,
    )  # fmt: skip


def held_out_clips(folder: Path, size: Size) -> list[TrainBatch]:
    """One window of every held-out episode, each begun at another part of the episode, in batches."""
    _, held_out = open_episodes(folder, size)
    shape, processor = WindowShape.of(size.robot), RobotProcessor(size.robot)
    clips = []
    for number, episode in enumerate(held_out.episodes):
        row = (shape.count(episode.length) - 1) * (number % 4) // 4
        clips.append(processor.encode_clip(read_clip(held_out, number, row, shape)))
    return in_batches(clips)


def in_batches(clips: Sequence[EncodedClip], size: int = 8) -> list[TrainBatch]:
    """So many clips at a time."""
    return [collate(clips[start : start + size]) for start in range(0, len(clips), size)]


def make_vae(size: Size) -> AutoencoderKLWan:
    """New weights of the Wan2.2 VAE's class at strides 8 and 4."""
    torch.manual_seed(size.seed)
    channels = size.latent_channels
    return AutoencoderKLWan(
        base_dim=size.codec_width, decoder_base_dim=size.codec_width, z_dim=channels, dim_mult=[1, 2, 2], num_res_blocks=1,
        temperal_downsample=[True, True], is_residual=True, in_channels=12, out_channels=12, patch_size=2,
        latents_mean=[0.0] * channels, latents_std=[1.0] * channels, scale_factor_spatial=8, scale_factor_temporal=4,
    )  # fmt: skip


def make_transformer(size: Size, depth_branch: str = "interleaved") -> XWAMTransformer3DModel:
    """New weights of the transformer.

    Args:
        size (`Size`): How large.
        depth_branch (`str`, *optional*, defaults to `"interleaved"`): See `XWAMTransformer3DModel`.
    """
    torch.manual_seed(size.seed)
    robot = size.robot
    return XWAMTransformer3DModel(
        num_attention_heads=size.num_heads, attention_head_dim=64, in_channels=size.latent_channels,
        out_channels=size.latent_channels, text_dim=language.WIDTH, ffn_dim=256 * size.num_heads,
        num_layers=size.num_layers, num_depth_layers=size.num_depth_layers, num_views=len(robot.cameras),
        action_dim=robot.action_dim, state_dim=robot.state_dim, actions_per_frame=robot.actions_per_frame,
        depth_branch=depth_branch,
    )  # fmt: skip


def make_pipeline(
    size: Size,
    vae: AutoencoderKLWan,
    tokenizer: T5TokenizerFast,
    text_encoder: UMT5EncoderModel,
    depth_branch: str = "interleaved",
) -> XWAM4DPipeline:
    """A new X-WAM around a VAE and a text encoder that are trained.

    Args:
        size (`Size`): How large.
        vae (`AutoencoderKLWan`): Of `make_vae`.
        tokenizer (`T5TokenizerFast`): Of `language`.
        text_encoder (`UMT5EncoderModel`): Of `language`.
        depth_branch (`str`, *optional*, defaults to `"interleaved"`): See `XWAMTransformer3DModel`.
    """
    pipeline = XWAM4DPipeline(
        transformer=make_transformer(size, depth_branch), scheduler=XWAMScheduler(), vae=vae.eval(),
        robot_processor=RobotProcessor(size.robot), text_encoder=text_encoder.eval(), tokenizer=tokenizer,
        max_sequence_length=PROMPT_LENGTH,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
