"""Training configurations that are known by name: those of the paper, of the release, and of this library's embedded world.

The release publishes its fine-tuning configuration (`configs/model/wan22_5b_sft.yaml`), without the number of processes. The paper
gives rate, warm-up, steps and batch ("256 × 8" and "32 × 4", read here as processes × windows of each); the rest is the release's.
A recipe's windows per step are `batch_size` × `accumulation` × processes: on fewer GPUs, raise `accumulation`.
"""

from collections.abc import Mapping

from xwam.training.config import TrainConfig

RELEASE_FINE_TUNING = TrainConfig(
    steps=20_000, batch_size=4, learning_rate=1e-5, warmup_steps=200, gradient_checkpointing=True, log_interval=20,
    validation_interval=2500, sample_interval=2500, save_interval=5000, num_workers=8,
)  # fmt: skip

PAPER_FINE_TUNING = TrainConfig(
    steps=20_000, batch_size=4, learning_rate=3e-5, warmup_steps=200, gradient_checkpointing=True, save_interval=1000,
)  # fmt: skip

PAPER_PRETRAINING = TrainConfig(
    steps=40_000, batch_size=8, learning_rate=1e-4, warmup_steps=1000, gradient_checkpointing=True, save_interval=1000,
)  # fmt: skip

EMBEDDED = TrainConfig(
    steps=3000, batch_size=4, learning_rate=5e-4, warmup_steps=100, ema_decay=0.999, precision="no", num_workers=2,
    log_interval=10, validation_interval=500, sample_interval=1000, save_interval=250,
)  # fmt: skip

LORA = TrainConfig(
    steps=3000, batch_size=4, learning_rate=1e-4, warmup_steps=100, gradient_checkpointing=True, log_interval=10,
    validation_interval=500, sample_interval=1000, save_interval=250,
)  # fmt: skip

# The two fine-tunings of the release differ in their data and robots, not in how they train.
RECIPES: Mapping[str, TrainConfig] = {
    "pretraining": PAPER_PRETRAINING,
    "robocasa": RELEASE_FINE_TUNING,
    "robocasa_paper": PAPER_FINE_TUNING,
    "robotwin": RELEASE_FINE_TUNING,
    "robotwin_paper": PAPER_FINE_TUNING,
    "embedded": EMBEDDED,
    "lora": LORA,
}


def get_recipe(name: str) -> TrainConfig:
    """A training configuration by name.

    Args:
        name (`str`): One of `RECIPES`.

    Raises:
        ValueError: If there is no such recipe.
    """
    if name not in RECIPES:
        raise ValueError(f"There is no recipe {name!r}; known recipes are {sorted(RECIPES)}.")
    return RECIPES[name]
