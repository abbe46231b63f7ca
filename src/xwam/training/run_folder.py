"""What a run leaves on the disk and goes on from: checkpoints, the best and the trained pipeline, the configuration."""

import json
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from xwam.data.writers.durable_files import write_json
from xwam.errors import TrainingError
from xwam.models.model_features import check_can_be_saved
from xwam.pipelines.pipeline_xwam import XWAMPipeline
from xwam.training.checkpoint_store import CheckpointStore, recover, save_folder
from xwam.training.config import TrainConfig
from xwam.training.full_state import (
    full_optimizer,
    full_weights,
    load_full_optimizer,
    load_full_weights,
    whole_state,
)
from xwam.training.lora import lora_options
from xwam.training.optimization import MovingAverage
from xwam.training.random_state import random_state, seed_generators, set_random_state
from xwam.training.ranks import gather_states, is_deepspeed, is_sharded, raise_together, sum_over_ranks
from xwam.training.resuming import check_same_run, checkpoint_to_resume, first_sample
from xwam.training.state_files import RunFacts, RunState, Tensors, read_facts, read_state, write_state

CONFIG_NAME, CHECKPOINTS, WEIGHTS = "train_config.json", "checkpoints", "weights"

Export = Callable[[XWAMPipeline, Path], None]

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """Where a run is.

    Args:
        step (`int`, *optional*, defaults to `0`): Steps that were done, skipped ones included.
        samples (`int`, *optional*, defaults to `0`): Windows of the stream that were used, by all processes.
        skipped_steps (`int`, *optional*, defaults to `0`): Steps in which something was not finite.
        skipped_in_a_row (`int`, *optional*, defaults to `0`): Of those, the ones since the last sound step.
        skipped_samples (`int`, *optional*, defaults to `0`): Windows that could not be read and were replaced.
        best (`float`, *optional*, defaults to `math.inf`): Lowest validation loss so far.
    """

    step: int = 0
    samples: int = 0
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    skipped_samples: int = 0
    best: float = math.inf

    @property
    def counters(self) -> dict[str, int]:
        """What was skipped, by name."""
        return {name: value for name, value in asdict(self).items() if name.startswith("skipped")}


class RunFolder:
    """The folder of a run. All processes call all methods; the main one writes.

    Args:
        folder (`Path`): Seen by all processes.
        accelerator (`Accelerator`): Of the run.
        config (`TrainConfig`): Of the run.
        pipeline (`XWAMPipeline`): Its transformer is trained.
        model (`torch.nn.Module`): The transformer as accelerate prepared it.
        optimizer (`torch.optim.Optimizer`): As accelerate prepared it.
        average (`MovingAverage` or `None`): Of the weights.
        frozen (`str`): Fingerprint of what is not trained.
        data (`Mapping[str, Any]`): What the data are.
        export (`Callable[[XWAMPipeline, Path], None]`): Writes a pipeline.
    """

    def __init__(
        self,
        folder: Path,
        accelerator: Accelerator,
        config: TrainConfig,
        pipeline: XWAMPipeline,
        model: torch.nn.Module,
        optimizer: Any,
        average: MovingAverage | None,
        frozen: str,
        data: Mapping[str, Any],
        export: Export,
    ) -> None:
        self.folder, self.accelerator, self.config, self.pipeline = folder, accelerator, config, pipeline
        self.model, self.optimizer, self.average, self.frozen = model, optimizer, average, frozen
        self.data = json.loads(json.dumps(data, allow_nan=False))  # as it will be read from a checkpoint
        self.lora = lora_options(pipeline.transformer)
        self.export_pipeline = export
        self.store = CheckpointStore(folder / CHECKPOINTS, config.keep_checkpoints)

    @property
    def _transformer(self) -> Any:
        return self.pipeline.transformer

    @property
    def _is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    def averaged(self) -> AbstractContextManager[None]:
        """Within the block, the transformer has the averaged weights, where there are such."""
        return nullcontext() if self.average is None else self.average.applied()

    # ---------------------------------------------------------------- going on

    def resume(self, resume: str | Path) -> Progress:
        """Find the checkpoint, load it and say where the run is; without one, begin.

        Args:
            resume (`str` or `Path`): `"auto"`, `"never"` or a checkpoint.

        Raises:
            TrainingError: If the run cannot go on.
            CheckpointError: If the checkpoint that was named is damaged or of another model.
        """
        step, error = 0, None
        if self._is_main:
            try:
                recover(self.folder)
                self.store.clean()
                found = self._find(resume)
                step = -1 if found is None else read_facts(found).step
            except (TrainingError, ValueError, OSError) as failure:
                error = failure
        raise_together(self.accelerator, error, "looking for a checkpoint")
        step = int(sum_over_ranks(self.accelerator, {"step": step})["step"])
        if step < 0:
            seed_generators(self.config.seed, self.accelerator.process_index)
            self._write_config()
            return Progress()
        path = self.store.path_of(step) if resume == "auto" else Path(resume)
        logger.info("Going on from %s.", path)
        return self._load(read_state(path, with_tensors=self._is_main))

    def _find(self, resume: str | Path) -> Path | None:
        if is_deepspeed(self.accelerator):
            if resume not in ("auto", "never") or any(self.store.folder.glob("*-*")):
                raise TrainingError(_NO_ZERO_RESUME)
            return None
        return checkpoint_to_resume(resume, self.store)

    def _load(self, state: RunState) -> Progress:
        facts, accelerator, transformer = state.facts, self.accelerator, self._transformer
        check_same_run(facts, self.config, self.data, self.frozen, self.lora)
        updates = facts.counters.get("average_updates", 0)
        if self.average is not None:
            if not updates and facts.step:
                logger.warning(
                    "The checkpoint has no moving average: it begins with the weights of step %d.", facts.step
                )
            load_full_weights(transformer, (state.average if updates else state.weights) or {})
            self.average.reset()
            self.average.num_updates = updates
        load_full_weights(transformer, state.weights)
        has_optimizer = facts.step > facts.counters.get("skipped_steps", 0)
        load_full_optimizer(transformer, self.optimizer.optimizer, state.optimizer, is_empty=not has_optimizer)
        rank = accelerator.process_index
        if rank < len(state.random):
            set_random_state(state.random[rank])
        else:
            seed_generators(self.config.seed, rank)
        if facts.num_processes != accelerator.num_processes:
            logger.warning(
                "The run goes on with %d processes; until here it had %d. The samples stay in order, but a step has %d windows now.",
                accelerator.num_processes, facts.num_processes, self.config.batch_size * accelerator.num_processes * self.config.accumulation,
            )  # fmt: skip
        samples = first_sample(facts, self.config.batch_size * accelerator.num_processes)
        skipped = {name: facts.counters[name] for name in Progress().counters}
        self._write_config()
        return Progress(facts.step, samples, **skipped, best=math.inf if facts.best is None else facts.best)

    def _write_config(self) -> None:
        if self._is_main:
            write_json(self.folder / CONFIG_NAME, self.config.to_dict())

    # ---------------------------------------------------------------- saving

    def save(self, progress: Progress) -> None:
        """Write a checkpoint and remove the oldest.

        Args:
            progress (`Progress`): Where the run is.

        Raises:
            TrainingError: If the disk is full or fails, and `on_save_error` is `"stop"`.
        """
        if is_deepspeed(self.accelerator):
            self.export(f"{CHECKPOINTS}/{WEIGHTS}-{progress.step:08d}")
            return
        state, error = self._state(progress), None
        if self._is_main:
            try:
                self.store.save(progress.step, lambda folder: write_state(state, folder))
            except TrainingError as failure:
                error = failure
        self._settle(error, "saving a checkpoint")

    def _state(self, progress: Progress) -> RunState:
        average: Tensors | None = None
        if self.average is not None:
            with self.average.applied():
                average = full_weights(self._transformer)
        facts = RunFacts(
            step=progress.step,
            samples=progress.samples,
            num_processes=self.accelerator.num_processes,
            config=self.config.to_dict(),
            data=self.data,
            frozen=self.frozen,
            counters={
                **progress.counters,
                "average_updates": 0 if self.average is None else self.average.num_updates,
            },
            best=progress.best if math.isfinite(progress.best) else None,
            lora=self.lora,
        )
        return RunState(
            facts=facts,
            weights=full_weights(self._transformer),
            average=average,
            optimizer=full_optimizer(self._transformer, self.optimizer.optimizer),
            random=gather_states(self.accelerator, random_state()),
        )

    def export(self, name: str, *, is_needed: bool = False) -> Path:
        """Write the pipeline with the averaged weights, where there are such, else with the weights as they are.

        Args:
            name (`str`): Below the run's folder; what is there is replaced.
            is_needed (`bool`, *optional*, defaults to `False`): Fail where it cannot be written, whatever `on_save_error` says.

        Returns:
            `Path`: The pipeline's folder.

        Raises:
            TrainingError: As for `save`.
        """
        target, error = self.folder / name, None
        with self.averaged():
            pipeline = self._whole_pipeline()
            if self._is_main:
                try:
                    save_folder(target, lambda folder: self.export_pipeline(pipeline, folder))
                except TrainingError as failure:
                    error = failure
        self._settle(error, "exporting the pipeline", is_needed=is_needed)
        return target

    def _whole_pipeline(self) -> XWAMPipeline:
        """The pipeline, or in its place one whose transformer has been put together from all processes."""
        if not is_sharded(self.accelerator):
            return self.pipeline
        check_can_be_saved(self._transformer)
        if is_deepspeed(self.accelerator):
            weights = self.accelerator.get_state_dict(self.model)
        else:
            weights = whole_state(self._transformer)
        if not self._is_main:
            return self.pipeline
        with torch.device("meta"):
            whole = type(self._transformer).from_config(self._transformer.config)
        whole.load_state_dict(weights, assign=True)
        return type(self.pipeline).from_pipe(self.pipeline, transformer=whole)

    def _settle(self, error: TrainingError | None, doing: str, *, is_needed: bool = False) -> None:
        if is_needed or self.config.on_save_error == "stop":
            raise_together(self.accelerator, error, doing)
        elif error is not None:
            logger.error("%s Training goes on.", error)


_NO_ZERO_RESUME = (
    "A run with DeepSpeed cannot go on where it stopped: DeepSpeed keeps its optimizer in pickles, which this library neither "
    "writes nor reads. Begin a new run in another folder from the newest weights (`--base`), or train with FSDP2, which resumes "
    "exactly."
)
