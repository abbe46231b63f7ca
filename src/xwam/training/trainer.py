"""The training loop: `Trainer.run`, from top to bottom. accelerate distributes; why it looks like this: docs/design/0009."""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from xwam.errors import TrainingError
from xwam.pipelines.pipeline_xwam import XWAMPipeline
from xwam.training.config import TrainConfig
from xwam.training.encoding import TextEncoding, drop_prompts, encode_batch, needs_depth
from xwam.training.full_state import frozen_fingerprint
from xwam.training.loss_counts import NoisyExamples, loss_counts, mean_losses, numbers_of, with_noise
from xwam.training.memory import memory_explained
from xwam.training.objective import weighted_sum
from xwam.training.optimization import MovingAverage, make_optimizer, set_learning_rate
from xwam.training.progress import RunLog
from xwam.training.ranks import check_accelerator, is_deepspeed, make_accelerator, sum_over_ranks
from xwam.training.reports import RunResult, StepReport, told
from xwam.training.run_folder import Export, RunFolder
from xwam.training.signals import StopSignals, ignore_signals
from xwam.training.step import MASK_EPSILON, EncodedBatch, loss_terms

BEST, FINAL = "best", "pipeline"
MOST_SKIPPED_STEPS = 3  # in a row; then something is wrong that the next window will not mend
MOST_NAMED = 16  # windows in a message
VALIDATION_LOSS = "loss"

logger = logging.getLogger(__name__)

MakeBatches = Callable[[int, int, int], Iterable[Any]]
Encode = Callable[[Any], EncodedBatch]
Validate = Callable[[XWAMPipeline, int, bool], Mapping[str, float]]


class Trainer:
    """Trains the transformer of a pipeline; its VAE and text encoder stay as they are.

    What requires a gradient is trained, and only that is in the checkpoints.

    Args:
        config (`TrainConfig`): How.
        pipeline (`XWAMPipeline`): What. The parameters that require a gradient must be float32.
        make_batches (`Callable[[int, int, int], Iterable]`): Given rank, number of ranks and batches to leave out, the
            batches of that rank: see `xwam.data.streams.stream.make_stream`.
        output (`Path`): Folder of the run.
        encode (`Callable`, *optional*): Makes an `EncodedBatch` on the accelerator's device of what `make_batches` yields; by
            default with the pipeline's VAE and text encoder.
        validate (`Callable`, *optional*): Given the pipeline, the step and whether to write samples, numbers by name. Every
            process calls it. The pipeline with the lowest `"loss"` is kept as `best`.
        export (`Callable`, *optional*): Writes the trained pipeline into a folder; by default `save_pretrained`.
        data (`Mapping[str, Any]`, *optional*): What the data are, in values of JSON; the same when a run goes on.
        on_step (`Callable[[StepReport], None]`, *optional*): Called after every step.
        accelerator (`Accelerator`, *optional*): One that exists already, with the configuration's accumulation.

    Raises:
        TrainingError: If the processes were not started as asked for.
        ValueError: If nothing is to be trained, what is to be trained is not float32, or the accelerator is another
            configuration's.
    """

    def __init__(
        self,
        config: TrainConfig,
        pipeline: XWAMPipeline,
        make_batches: MakeBatches,
        output: Path,
        *,
        encode: Encode | None = None,
        validate: Validate | None = None,
        export: Export | None = None,
        data: Mapping[str, Any] | None = None,
        on_step: Callable[[StepReport], None] | None = None,
        accelerator: Accelerator | None = None,
    ) -> None:
        self.config, self.pipeline, self.make_batches = config, pipeline, make_batches
        self.accelerator = make_accelerator(config, Path(output)) if accelerator is None else accelerator
        self.encode = self._encode_with_pipeline if encode is None else encode
        self.validate, self.on_step = validate, on_step
        self.validation: dict[str, float] = {}
        self._freeze()
        self.average = self._prepare()
        check_accelerator(self.accelerator, config)
        self.folder = RunFolder(
            Path(output), self.accelerator, config, pipeline, self.model, self.optimizer, self.average, self._frozen,
            dict(data or {}), export or (lambda own, to: own.save_pretrained(to)),
        )  # fmt: skip

    @memory_explained()
    def run(self, resume: str | Path = "auto") -> RunResult:
        """Train until the configured step or a signal, with checkpoints on the way.

        Args:
            resume (`str` or `Path`, *optional*, defaults to `"auto"`): `"auto"` goes on from the newest sound checkpoint
                below `output`, where there is one; `"never"` begins anew; else the checkpoint to go on from.

        Raises:
            TrainingError: If the run cannot go on: the message says why and what to do.
            CheckpointError: If the checkpoint that was named is damaged or of another model.
        """
        config, accelerator = self.config, self.accelerator
        self.progress = progress = self.folder.resume(resume)
        with StopSignals() as signals, RunLog(accelerator, config, self.folder.folder, progress.step) as log:
            batches = self._batches()
            while progress.step < config.steps:
                # 1. Read the windows of this step
                start = time.perf_counter()
                read = [self._next(batches) for _ in range(config.accumulation)]
                waited = time.perf_counter() - start

                # 2. Encode them and draw their noise
                examples = [self._examples(batch) for batch in read]

                # 3. Forward and backward: the loss is a mean over all windows of the step, of all processes
                learning_rate = set_learning_rate(self.optimizer, progress.step, config)
                counts = sum_over_ranks(accelerator, loss_counts(examples, with_spectral=config.spectral_weight > 0))
                totals = self._backward(examples, counts)
                norm = self._gradient_norm()

                # 4. Hear what the other processes saw
                own = {"stop": signals.received is not None, "samples": len(read) * config.batch_size}
                sums = sum_over_ranks(accelerator, {**totals, **own, "lost": len(told(read, "skipped"))})
                losses = mean_losses(sums, counts, config.loss_weights)

                # 5. Change the weights, unless something is not finite
                is_finite = math.isfinite(losses["loss"]) and math.isfinite(norm)
                if is_finite:
                    self.optimizer.step()
                    if self.average is not None:
                        self.average.update()
                self.optimizer.zero_grad()
                progress.step += 1
                progress.samples += int(sums["samples"])
                progress.skipped_samples += int(sums["lost"])
                self._count_skipped(is_finite, read, examples)

                # 6. Say, validate, save, stop
                is_stopped = sums["stop"] > 0
                is_last = is_stopped or progress.step == config.steps
                report = StepReport(progress.step, losses, norm, learning_rate, numbers_of(examples), not is_finite)
                self._say(log, report, int(sums["samples"]), waited)
                self._validate(log)
                if is_last or progress.step % config.save_interval == 0:
                    self.folder.save(progress)
                if self.on_step is not None:
                    self.on_step(report)
                if is_stopped:
                    return self._result(stopped_by=signals.received or signal.SIGTERM)
        return self._result(pipeline=self.folder.export(FINAL, is_needed=True))

    # ---------------------------------------------------------------- before the loop

    def _freeze(self) -> None:
        """Leave VAE and text encoder as they are; on the device where they are needed."""
        self._encode_text = None
        is_needed = self.encode == self._encode_with_pipeline or self.validate is not None
        for component in (self.pipeline.vae, self.pipeline.text_encoder):
            if component is not None:
                component.requires_grad_(False).to(self.accelerator.device if is_needed else "cpu")
        if self.pipeline.text_encoder is not None:
            self._encode_text = TextEncoding(
                self.pipeline.text_encoder, self.pipeline.tokenizer, self.pipeline.config.max_sequence_length
            )

    def _prepare(self) -> MovingAverage | None:
        """Hand model and optimizer to accelerate."""
        config = self.config
        transformer: Any = self.pipeline.transformer
        trained = {name: p for name, p in transformer.named_parameters() if p.requires_grad}
        if narrow := [name for name, parameter in trained.items() if parameter.dtype != torch.float32]:
            raise ValueError(
                f"What is trained must be float32, but {narrow[0]} and {len(narrow) - 1} others are not: load with "
                "`dtype=torch.float32`. `precision` decides about the products."
            )
        if config.ema_decay is not None and is_deepspeed(self.accelerator):
            raise TrainingError("With DeepSpeed there is no moving average: train with FSDP2, or without `ema_decay`.")
        if config.gradient_checkpointing:
            transformer.enable_gradient_checkpointing()
        if config.compile_blocks:
            transformer.compile_repeated_blocks()
        self._frozen = frozen_fingerprint(transformer)
        optimizer = make_optimizer(trained.values(), config)
        self.model, self.optimizer = self.accelerator.prepare(transformer.train(), optimizer)
        return None if config.ema_decay is None else MovingAverage(transformer.parameters(), config.ema_decay)

    def _batches(self) -> Iterator[Any]:
        rank, num_ranks = self.accelerator.process_index, self.accelerator.num_processes
        done = self.progress.samples // (self.config.batch_size * num_ranks)
        batches = self.make_batches(rank, num_ranks, done)
        if isinstance(batches, DataLoader) and batches.num_workers and batches.worker_init_fn is None:
            batches.worker_init_fn = ignore_signals
        return iter(batches)

    # ---------------------------------------------------------------- in the loop

    def _next(self, batches: Iterator[Any]) -> Any:
        try:
            return next(batches)
        except StopIteration:
            raise TrainingError(
                f"The data ended after {self.progress.step} of {self.config.steps} steps: `make_batches` must not end."
            ) from None

    def _encode_with_pipeline(self, batch: Any) -> EncodedBatch:
        if self._encode_text is None or self.pipeline.vae is None:
            raise ValueError(
                "Without VAE or text encoder, the trainer needs encoded batches and an `encode` of its own."
            )
        with_depth = needs_depth(self.pipeline.transformer.config.depth_branch, self.config.depth_weight > 0)
        encoded = encode_batch(batch, self.pipeline.vae, self._encode_text, with_depth=with_depth)
        return drop_prompts(encoded, self._encode_text([""]), self.config.seed, self.config.text_dropout)

    def _examples(self, batch: Any) -> NoisyExamples:
        branch = self.pipeline.transformer.config.depth_branch
        return with_noise(self.encode(batch), self.pipeline.scheduler, branch, self.config)

    def _backward(self, examples: list[NoisyExamples], counts: Mapping[str, float]) -> dict[str, torch.Tensor]:
        """Gradients of the step's loss; sums of this process by name."""
        config, accelerator = self.config, self.accelerator
        undo = accelerator.num_processes * config.accumulation  # accelerate takes the mean over both
        totals: dict[str, torch.Tensor] = {}
        for example in examples:
            with accelerator.accumulate(self.model):
                terms = loss_terms(
                    self.model, self.pipeline.scheduler, example.batch, example.pairs, example.noise,
                    with_spectral=config.spectral_weight > 0,
                )  # fmt: skip
                shares = {name: term.total / (counts[name] + MASK_EPSILON) for name, term in terms.items()}
                accelerator.backward(weighted_sum(shares, config.loss_weights) * undo)
            totals = {name: term.total.detach() + totals.get(name, 0.0) for name, term in terms.items()}
        return totals

    def _gradient_norm(self) -> float:
        """Norm of the gradients before they are cut."""
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_gradient_norm)
        return 0.0 if norm is None else float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    def _count_skipped(self, is_finite: bool, read: list[Any], examples: list[NoisyExamples]) -> None:
        """Tell of what was skipped; give up after three steps in a row."""
        for problem in told(read, "skipped"):
            logger.warning("Skipped and replaced: %s", problem)
        self.progress.skipped_in_a_row = 0 if is_finite else self.progress.skipped_in_a_row + 1
        if is_finite:
            return
        self.progress.skipped_steps += 1
        windows = told(read, "sources") or [f"sample {number}" for number in numbers_of(examples)]
        where = (
            f"step {self.progress.step}, process {self.accelerator.process_index}: {', '.join(windows[:MOST_NAMED])}"
        )
        logger.warning("The loss or its gradient is not finite; nothing was changed (%s).", where)
        most = 1 if is_deepspeed(self.accelerator) else MOST_SKIPPED_STEPS  # DeepSpeed has changed the weights by now
        if self.progress.skipped_in_a_row >= most:
            good = self.folder.store.newest() if self.accelerator.is_main_process else None
            raise TrainingError(
                f"The loss or its gradient was not finite in {most} steps in a row, the last one {where}. Last good "
                f"checkpoint: {good or 'none'}. Look at these windows with `python -m xwam.data.check`; a lower `learning_rate`, "
                '`precision` "no" or a lower `max_gradient_norm` may help.'
            )

    def _say(self, log: RunLog, report: StepReport, samples: int, waited: float) -> None:
        log.rates.add(samples, waited)
        log.advance({"loss": report.losses["loss"], "lr": report.learning_rate})
        if report.step % self.config.log_interval == 0 or report.is_skipped:
            counters = {f"count/{name}": float(count) for name, count in self.progress.counters.items()}
            log.write(report.step, {**report.curves, **counters, **log.rates.take()})

    def _validate(self, log: RunLog) -> None:
        """Ask for a validation where one is due, and keep the pipeline if it is the best one so far."""
        config, progress, transformer = self.config, self.progress, self.pipeline.transformer
        is_at_end = progress.step == config.steps
        if self.validate is None or not (is_at_end or progress.step % config.validation_interval == 0):
            return
        with torch.no_grad(), self.folder.averaged():
            transformer.eval()
            found = self.validate(
                self.pipeline, progress.step, is_at_end or progress.step % config.sample_interval == 0
            )
            transformer.train()
        self.validation = dict(found)
        log.write(progress.step, {f"validation/{name}": value for name, value in found.items()})
        own = found.get(VALIDATION_LOSS, math.inf) if self.accelerator.is_main_process else 0.0
        loss = sum_over_ranks(self.accelerator, {"loss": own})["loss"]  # what one process saves, all must help to save
        if loss < progress.best:
            progress.best = loss
            self.folder.export(BEST)

    def _result(self, stopped_by: int | None = None, pipeline: Path | None = None) -> RunResult:
        steps = self.folder.store.steps()
        newest = self.folder.store.path_of(steps[-1]) if steps else None
        return RunResult(self.progress.step, stopped_by, newest, pipeline, self.validation)
