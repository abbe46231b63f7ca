"""A run of the real trainer on the joint arm's latents, which are a function of the batch's number."""

from pathlib import Path

import torch
from ecosystem_samples import make_pipeline
from robot_adapter_samples import JOINT_ARM
from tiny_run import make_trainer
from torch.utils.data import DataLoader, IterableDataset

from xwam.models.joint_latents import JointLatents
from xwam.pipelines.embedded import LATENT_CHANNELS, TEXT_WIDTH
from xwam.training.lora import LoraSettings, prepare_lora, robot_export
from xwam.training.step import EncodedBatch
from xwam.utils.seeding import seed_from


class JointBatches(IterableDataset):
    """Latents of the joint arm: two views, five frames, eight actions, no depth."""

    def __init__(self, batch_size: int, first: int) -> None:
        self.batch_size, self.first = batch_size, first

    def __iter__(self):
        number = self.first
        while True:
            yield self.batch(number)
            number += 1

    def batch(self, number: int) -> EncodedBatch:
        generator = torch.Generator().manual_seed(seed_from("joint batch", number % 2))
        size = self.batch_size

        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(size, *shape, generator=generator)

        action_mask = torch.from_numpy(JOINT_ARM.action_layout.mask).expand(size, 8, -1)
        return EncodedBatch(
            clean=JointLatents(draw(LATENT_CHANNELS, 2, 2, 2, 4), draw(8, 9), draw(5, 7)),
            prompt_embeds=draw(4, TEXT_WIDTH),
            action_mask=action_mask,
            state_mask=torch.ones(size, 5, 7),
            view_mask=torch.ones(size, 2),
            indices=torch.arange(number * size, (number + 1) * size),
        )


def batches(rank: int, num_ranks: int, first: int) -> DataLoader:
    return DataLoader(JointBatches(2, first), batch_size=None)


def new_pipeline(**options):
    pipe = make_pipeline()
    trained = prepare_lora(pipe, JOINT_ARM, LoraSettings(rank=4, alpha=8, is_rank_stabilized=True), **options)
    return pipe, trained


def run(output: Path, pipe, **changes):
    options = {
        "steps": 6,
        "learning_rate": 3e-3,
        "warmup_steps": 0,
        "depth_weight": 0.0,
        "export": robot_export(),
        **changes,
    }
    trainer, reports = make_trainer(output, pipeline=pipe, make_batches=batches, **options)
    return trainer.run(), reports
