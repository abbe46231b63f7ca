"""What the exported model says of itself; `measure.py --card` adds what it can do."""

import json
from pathlib import Path

from recipe import EXPERTS, Size

from xwam.checkpoints.sources import EMBEDDED
from xwam.pipelines.model_card import ModelCard
from xwam.pipelines.pipeline_xwam_4d import XWAM4DPipeline


def make_card(size: Size, pipeline: XWAM4DPipeline, clocks: Path) -> ModelCard:
    """The card of a trained model.

    Args:
        size (`Size`): What was trained.
        pipeline (`XWAM4DPipeline`): The result.
        clocks (`Path`): Folder with the time that every stage took.
    """
    millions = sum(own.numel() for own in pipeline.transformer.parameters()) / 1e6
    height, width = size.image_size
    episodes = size.episodes * len(size.tasks) * len(EXPERTS) * len(size.appearances)
    looks = "clean and randomized" if True in size.appearances else "clean"
    return ModelCard(
        title=f"X-WAM, embedded: {len(size.tasks)} tasks of a simulated table, {millions:.0f} M parameters",
        description=(
            f"A small X-WAM, trained from nothing: {len(size.robot.cameras)} views of {height}×{width} pixels, a UMT5 and a "
            "Wan video VAE of the classes that the released model uses, each trained for this. It is there to try, test and "
            f"teach the library, and knows these tasks of its simulated world only: {', '.join(size.tasks)}. It drives no real "
            "robot. The recipe, and the command of every figure: `examples/train/embedded_small`."
        ),
        training_data=(
            f"{episodes} demonstrations of scripted experts in the embedded MuJoCo world ({looks}), half of them with a shaking "
            f"hand; {size.held_out} of every kind held out. Their phrasings are the world's, the text encoder also read a grammar "
            f"of paraphrases. None of the phrasings of the evaluation is in either, but some differ in a word or two only. No recording of people or real robots.\n\n"
            f"{_training(size)}\n\n{_times(clocks)}"
        ),
        license="apache-2.0",
        source=EMBEDDED,
        tags=("mujoco", "simulation"),
    )


def _training(size: Size) -> str:
    config = size.main
    return (
        f"Video VAE: {size.codec.steps:,} updates on RGB and depth. Transformer: {config.steps:,} updates of "
        f"{config.batch_size} windows, Muon at {config.matrix_learning_rate} for matrices and AdamW at {config.learning_rate} for "
        f"the rest, asynchronous noise, moving average of {config.ema_decay}. Seed {config.seed}."
    )


def _times(clocks: Path) -> str:
    stages = {path.stem: json.loads(path.read_text()) for path in sorted(clocks.glob("*.json"))}
    minutes = ", ".join(f"{name} {own['seconds'] / 60:.0f} ({own['starts']})" for name, own in stages.items())
    return f"Minutes of every stage, and how often it was started: {minutes or 'not measured'}."
