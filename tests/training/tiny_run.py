"""A run of the real trainer on a tiny transformer and latents that are a function of the sample's number."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from tiny import make_transformer
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from xwam.models.joint_latents import JointLatents
from xwam.pipelines.embedded import LATENT_CHANNELS, TEXT_WIDTH, create_embedded_pipeline
from xwam.pipelines.pipeline_xwam_policy import XWAMPolicyPipeline
from xwam.training.config import TrainConfig
from xwam.training.reports import StepReport
from xwam.training.step import EncodedBatch
from xwam.training.trainer import Trainer
from xwam.utils.seeding import seed_from

CONFIG = TrainConfig(
    steps=20, batch_size=2, learning_rate=3e-3, warmup_steps=3, precision="no", num_workers=0, log_interval=1,
    save_interval=100, tracker="none", seed=7,
)  # fmt: skip


def tiny_pipeline(branch: str = "interleaved", seed: int = 0) -> XWAMPolicyPipeline:
    pipeline = create_embedded_pipeline(XWAMPolicyPipeline, depth_branch=branch)
    spec = pipeline.robot_processor.spec
    pipeline.transformer = make_transformer(
        seed, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS, text_dim=TEXT_WIDTH, depth_branch=branch,
        action_dim=spec.action_dim, state_dim=spec.state_dim, actions_per_frame=spec.actions_per_frame,
    )  # fmt: skip
    pipeline.register_modules(transformer=pipeline.transformer)
    return pipeline


def example(index: int) -> EncodedBatch:
    """Sample `index` as a batch of one: its latents, which repeat after 8 samples, and some masks."""
    generator = torch.Generator().manual_seed(seed_from("example", index % 8))

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(1, *shape, generator=generator)

    video = (LATENT_CHANNELS, 3, 2, 2, 2)
    action_mask, state_mask = torch.zeros(1, 32, 14), torch.zeros(1, 9, 16)
    action_mask[:, : 32 - 4 * (index % 3), :7], state_mask[:, :, :8] = 1, 1
    return EncodedBatch(
        clean=JointLatents(draw(*video), draw(32, 14), draw(9, 16), draw(*video)),
        prompt_embeds=draw(4, TEXT_WIDTH),
        action_mask=action_mask,
        state_mask=state_mask,
        depth_mask=(draw(3, 2, 2, 2) > 0).float() * (index % 5 > 0),
        view_mask=torch.ones(1, 2),
        indices=torch.tensor([index]),
    )


def joined(examples: list[EncodedBatch]) -> EncodedBatch:
    parts = {
        name: torch.cat([getattr(own, name) for own in examples]) for name in vars(examples[0]) if name != "clean"
    }
    clean = {name: torch.cat([getattr(own.clean, name) for own in examples]) for name in vars(examples[0].clean)}
    return EncodedBatch(clean=JointLatents(**clean), **parts)


class Stream(IterableDataset):
    """Batches of one rank, whatever the number of workers: the contract of `xwam.data.streams.stream`."""

    def __init__(self, batch_size: int, rank: int, num_ranks: int, first: int) -> None:
        self.batch_size, self.rank, self.num_ranks, self.first = batch_size, rank, num_ranks, first

    def __iter__(self) -> Iterator[EncodedBatch]:
        info = get_worker_info()
        number, stride = (self.first, 1) if info is None else (self.first + info.id, info.num_workers)
        while True:
            start = (number * self.num_ranks + self.rank) * self.batch_size
            yield joined([example(index) for index in range(start, start + self.batch_size)])
            number += stride


def make_batches(batch_size: int, num_workers: int = 0):
    def make(rank: int, num_ranks: int, first: int) -> DataLoader:
        context = "fork" if num_workers else None
        return DataLoader(
            Stream(batch_size, rank, num_ranks, first), batch_size=None, num_workers=num_workers,
            multiprocessing_context=context, generator=torch.Generator().manual_seed(0),
        )  # fmt: skip

    return make


def new_process_state() -> None:
    """Forget accelerate's singletons, as a new process would."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    PartialState._reset_state()


def make_trainer(output: Path, *, branch: str = "interleaved", **changes) -> tuple[Trainer, list[StepReport]]:
    """The trainer, and the list that its reports go to."""
    new_process_state()
    options = {
        name: changes.pop(name)
        for name in ("validate", "export", "data", "make_batches", "encode", "pipeline")
        if name in changes
    }
    on_step = changes.pop("on_step", None)
    config = replace(CONFIG, **changes)
    reports: list[StepReport] = []

    def note(report: StepReport) -> None:
        reports.append(report)
        if on_step is not None:
            on_step(report)

    batches = options.pop("make_batches", None) or make_batches(config.batch_size, config.num_workers)
    pipeline = options.pop("pipeline", None) or tiny_pipeline(branch)
    encode = options.pop("encode", None) or (lambda batch: batch)
    trainer = Trainer(config, pipeline, batches, output, encode=encode, on_step=note, **options)
    return trainer, reports
