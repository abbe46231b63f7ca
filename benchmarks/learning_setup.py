"""What the learning benchmark trains on and what it trains: episodes of the embedded world, and an X-WAM of a quarter of `small`."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from transformers import T5TokenizerFast, UMT5Config, UMT5EncoderModel

from xwam.data.readers.base import EpisodeReader
from xwam.data.readers.lerobot import LeRobotReader
from xwam.data.readers.selection import Selection
from xwam.data.streams.collate import TrainBatch, collate
from xwam.data.streams.stream import make_stream
from xwam.data.streams.windows import WindowShape, read_clip
from xwam.models.transformer_xwam import XWAMTransformer3DModel
from xwam.pipelines.embedded import create_embedded_pipeline
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline
from xwam.recording.demonstrations import Recipe, record_demonstrations
from xwam.robots.processor import RobotProcessor
from xwam.robots.registry import get_robot
from xwam.schedulers.scheduling_xwam import XWAMScheduler
from xwam.training.config import TrainConfig
from xwam.training.encoded_dataset import EncodedDataset
from xwam.training.encoding import drop_prompts
from xwam.training.step import EncodedBatch
from xwam.training.trainer import RunResult, StepReport, Trainer, Validate

TASKS = ("push_to_region", "press_button", "lift_cube")
EPISODES = 60  # of every task
HELD_OUT = 8  # of them, never trained on: the last ones
IMAGE_SIZE = (64, 80)  # H, W: 20 tokens per view and latent frame
LATENT_CHANNELS = 16
TEXT_WIDTH, TEXT_LENGTH = 128, 64
SEED = 0

ROBOT = replace(get_robot("mujoco_panda"), image_size=IMAGE_SIZE)


def record(folder: Path) -> None:
    """Record the episodes; goes on where it was stopped."""
    options = {"image_size": list(IMAGE_SIZE)}
    recipes = [
        Recipe(environment=f"mujoco/{task}", options=options, expert={"noise": 0.0, "recovery": False, "speed": 1.0})
        for task in TASKS
    ]
    record_demonstrations(folder, recipes, episodes=EPISODES, output_format="lerobot", num_processes=1, first_seed=0)


def open_episodes(folder: Path) -> tuple[EpisodeReader, EpisodeReader]:
    """Episodes to train on, and those held out."""
    reader = LeRobotReader(folder, ROBOT, name="embedded world")
    by_task: dict[str, list[int]] = {}
    for number, episode in enumerate(reader.episodes):
        by_task.setdefault(str(episode.facts["environment"]), []).append(number)
    train = [number for numbers in by_task.values() for number in numbers[:-HELD_OUT]]
    held_out = [number for numbers in by_task.values() for number in numbers[-HELD_OUT:]]
    return Selection(reader, train), Selection(reader, held_out)


def batches_of(reader: EpisodeReader, batch_size: int) -> Callable[[int], Iterable[TrainBatch]]:
    """The stream of a reader from a batch on, cut as at inference."""
    return lambda start: make_stream(
        reader, RobotProcessor(ROBOT), seed=SEED, batch_size=batch_size, start_batch=start
    )


def make_vae() -> AutoencoderKLWan:
    """The Wan2.2 VAE's class at stride 8, z 16, 0.68 M parameters."""
    torch.manual_seed(SEED)
    return AutoencoderKLWan(
        base_dim=16, decoder_base_dim=16, z_dim=LATENT_CHANNELS, dim_mult=[1, 2, 2], num_res_blocks=1,
        temperal_downsample=[True, True], is_residual=True, in_channels=12, out_channels=12, patch_size=2,
        latents_mean=[0.0] * LATENT_CHANNELS, latents_std=[1.0] * LATENT_CHANNELS, scale_factor_spatial=8,
        scale_factor_temporal=4,
    )  # fmt: skip


def make_transformer(depth_branch: str) -> XWAMTransformer3DModel:
    """A new transformer of a quarter of `small`'s width."""
    torch.manual_seed(SEED)
    return XWAMTransformer3DModel(
        num_attention_heads=2, attention_head_dim=64, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS,
        text_dim=TEXT_WIDTH, ffn_dim=512, num_layers=12, num_depth_layers=4, num_views=len(ROBOT.cameras),
        action_dim=ROBOT.action_dim, state_dim=ROBOT.state_dim, actions_per_frame=ROBOT.actions_per_frame,
        depth_branch=depth_branch,
    )  # fmt: skip


def make_pipeline(vae: AutoencoderKLWan, depth_branch: str = "interleaved") -> XWAM4DPipeline:
    """A new X-WAM around a VAE, with a text encoder of random weights that are the same for every depth branch.

    Args:
        vae (`AutoencoderKLWan`): Trained.
        depth_branch (`str`, *optional*, defaults to `"interleaved"`): See `XWAMTransformer3DModel`.
    """
    transformer = make_transformer("interleaved")  # the generator stands where it leaves it
    tokenizer: T5TokenizerFast = create_embedded_pipeline(XWAM4DPipeline).tokenizer
    text_encoder = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(tokenizer), d_model=TEXT_WIDTH, d_kv=32, d_ff=256, num_layers=2, num_heads=4,
            feed_forward_proj="gated-gelu",
        )
    )  # fmt: skip
    if depth_branch != "interleaved":
        transformer = make_transformer(depth_branch)
    pipeline = XWAM4DPipeline(
        transformer=transformer, scheduler=XWAMScheduler(), vae=vae.eval(), robot_processor=RobotProcessor(ROBOT),
        text_encoder=text_encoder.eval(), tokenizer=tokenizer, max_sequence_length=TEXT_LENGTH,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def held_out_clips(folder: Path) -> list[TrainBatch]:
    """One window of every held-out episode, each begun at another part of the episode, in batches of eight."""
    _, held_out = open_episodes(folder)
    shape, processor = WindowShape.of(ROBOT), RobotProcessor(ROBOT)
    clips = []
    for number, episode in enumerate(held_out.episodes):
        row = (shape.count(episode.length) - 1) * (number % 4) // 4
        clips.append(processor.encode_clip(read_clip(held_out, number, row, shape)))
    return [collate(clips[start : start + 8]) for start in range(0, len(clips), 8)]


def train(
    pipeline: XWAM4DPipeline,
    config: TrainConfig,
    output: Path,
    encoded: EncodedDataset,
    validate: Validate | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> RunResult:
    """Train on an encoded data set; goes on where it was stopped."""
    encoded.check(pipeline)

    def batches(rank: int, num_ranks: int, done: int) -> Iterable[EncodedBatch]:
        return encoded.batches(
            seed=config.seed, batch_size=config.batch_size, rank=rank, world_size=num_ranks, start_batch=done
        )

    def encode(batch: EncodedBatch) -> EncodedBatch:
        if pipeline.transformer.config.depth_branch == "none":
            batch = replace(batch, clean=replace(batch.clean, depth=None), depth_mask=None)
        return drop_prompts(batch, encoded.empty_prompt_embeds, config.seed, config.text_dropout)

    trainer = Trainer(config, pipeline, batches, output, encode=encode, validate=validate, on_step=on_step)
    return trainer.run()
