"""Which checkpoint a run goes on from, and whether it is the same run."""

import logging
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

from xwam.errors import TrainingError
from xwam.training.checkpoint_store import CheckpointStore, check_checkpoint
from xwam.training.config import TrainConfig
from xwam.training.lora import LORA_DROPOUT
from xwam.training.state_files import RunFacts, read_facts
from xwam.utils.differences import differences

# Fields of a configuration that change what is said, kept or how fast it goes, but not what is learnt.
HARMLESS = frozenset(
    {
        "num_workers", "log_interval", "validation_interval", "sample_interval", "save_interval", "keep_checkpoints",
        "on_save_error", "tracker", "rank_timeout", "gradient_checkpointing", "compile_blocks",
    }
)  # fmt: skip

logger = logging.getLogger(__name__)


def checkpoint_to_resume(resume: str | Path, store: CheckpointStore) -> Path | None:
    """The checkpoint that was asked for, compared with its manifest.

    Args:
        resume (`str` or `Path`): `"auto"`, `"never"` or a checkpoint.
        store (`CheckpointStore`): Those of the run.

    Returns:
        `Path` or `None`: `None` to begin anew.

    Raises:
        TrainingError: If all checkpoints are damaged, or a run that should begin anew has checkpoints already.
        CheckpointError: If the one that was named is damaged.
    """
    if resume == "auto":
        newest = store.newest()
        if newest is None and store.steps():
            raise TrainingError(
                f"All checkpoints in {store.folder} are damaged. To begin anew, take another output folder."
            )
        return newest
    if resume == "never":
        if store.steps():
            raise TrainingError(
                f"{store.folder} holds checkpoints of a run already: take another output folder, remove them, or go on with "
                '`resume="auto"`.'
            )
        return None
    path = Path(resume)
    if not path.is_dir():
        raise TrainingError(
            f"There is no checkpoint {path}; in {store.folder} there are those after steps {store.steps()}."
        )
    check_checkpoint(path)
    step = read_facts(path).step
    if path.resolve().parent == store.folder.resolve() and (newer := [n for n in store.steps() if n > step]):
        logger.warning(
            'The checkpoints after steps %s stay; until this run has passed them, `resume="auto"` would go on from the newest of them.', newer,
        )  # fmt: skip
    return path


def check_same_run(
    facts: RunFacts, config: TrainConfig, data: Mapping[str, Any], frozen: str, lora: Mapping[str, Any]
) -> None:
    """Compare what a checkpoint was trained on with what it is to go on with; a changed configuration is only warned of.

    Args:
        facts (`RunFacts`): Of the checkpoint.
        config (`TrainConfig`): Of this run.
        data (`Mapping[str, Any]`): Of this run.
        frozen (`str`): Fingerprint of what is not trained.
        lora (`Mapping[str, Any]`): Of this run: `xwam.training.lora.lora_options`.

    Raises:
        TrainingError: If the data, the frozen weights or the shape of the LoRA are others, or all steps were done already.
    """
    _check_same_lora(facts.lora, lora)
    if facts.frozen != frozen:
        raise TrainingError(
            "The checkpoint belongs to another base: the weights that are not trained differ, or other ones are trained."
        )
    if changed := _differences(facts.data, data):
        raise TrainingError(
            f"The data are not those of the checkpoint, so that the order of samples would be another ({_told(changed)}). To train on with "
            "other data, begin a new run from the exported pipeline."
        )
    if facts.step > config.steps:
        raise TrainingError(f"The checkpoint has {facts.step} steps already, but `steps` is {config.steps}.")
    for name, now in config.to_dict().items():
        then = facts.config.get(name)
        if then != now and name not in HARMLESS:
            logger.warning("The run goes on with `%s` = %r; until here it was %r.", name, now, then)


def first_sample(facts: RunFacts, together: int) -> int:
    """Number of the sample to go on with: that of the checkpoint, or a few before where processes changed.

    Args:
        facts (`RunFacts`): Of the checkpoint.
        together (`int`): Windows of one forward pass of all processes.
    """
    again = facts.samples % together
    if again:
        logger.warning(
            "%d windows are seen a second time: %d were seen, which is no multiple of the %d that all processes now take together.",
            again, facts.samples, together,
        )  # fmt: skip
    return facts.samples - again


def _check_same_lora(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if not then or not now:  # no LoRA, or a checkpoint that does not tell
        return
    changed = _differences(then, now)
    if refused := [own for own in changed if own[0] != LORA_DROPOUT]:
        raise TrainingError(
            f"The LoRA is not that of the checkpoint, whose weights would act otherwise than they were trained ({_told(refused)}). Go "
            "on with the checkpoint's values, or begin a new run in another output folder."
        )
    for name, before, after in changed:
        logger.warning("The run goes on with `%s` = %r; until here it was %r.", name, after, before)


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    return sorted(differences(then, now), key=itemgetter(0))


def _told(changed: list[tuple[str, Any, Any]]) -> str:
    return "; ".join(f"{name}: {then!r} then, {now!r} now" for name, then, now in changed)
