"""What a training run says of a step and of its end."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StepReport:
    """What a step did.

    Args:
        step (`int`): Steps that were done, this one included.
        losses (`dict[str, float]`): Means over all windows of the step, of all processes, by name; their weighted sum is
            `loss`.
        gradient_norm (`float`): Before it was cut.
        learning_rate (`float`): Of the step.
        indices (`list[int]`): Windows of this process, by their number in the stream.
        is_skipped (`bool`): Whether something was not finite, so that nothing was changed.
    """

    step: int
    losses: dict[str, float]
    gradient_norm: float
    learning_rate: float
    indices: list[int]
    is_skipped: bool

    @property
    def curves(self) -> dict[str, float]:
        """Its numbers by the names of the curves."""
        losses = {f"train/{name}": value for name, value in self.losses.items()}
        return {**losses, "train/gradient_norm": self.gradient_norm, "train/learning_rate": self.learning_rate}


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Args:
        step (`int`): Steps that were done.
        stopped_by (`int` or `None`): Number of the signal that ended it; `None` when it is complete.
        checkpoint (`Path` or `None`): The newest checkpoint.
        pipeline (`Path` or `None`): The trained pipeline, when it is complete.
        validation (`dict[str, float]`): The last validation.
    """

    step: int
    stopped_by: int | None
    checkpoint: Path | None
    pipeline: Path | None
    validation: dict[str, float]


def told(read: Iterable[Any], name: str) -> list[str]:
    """What all batches of a step say under a name; encoded batches may say nothing."""
    return [text for batch in read for text in getattr(batch, name, ())]
