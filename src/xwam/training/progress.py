"""What a run says while it goes: a bar, a line of JSON and a point of every curve now and then. The main process speaks."""

import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from accelerate import Accelerator
from tqdm import tqdm

from xwam.training.config import TrainConfig
from xwam.utils.disk import sync_file

logger = logging.getLogger(__name__)

METRICS_NAME = "metrics.jsonl"
TRACKER_RUN = "curves"


class RunLog:
    """Progress bar, `metrics.jsonl` and the tracker of a run.

    Args:
        accelerator (`Accelerator`): Of the run; its trackers get the curves.
        config (`TrainConfig`): Number of steps; shown by the tracker.
        output (`Path`): Where `metrics.jsonl` lies.
        first_step (`int`): Steps that were done before; later lines of an interrupted run are removed.
    """

    def __init__(self, accelerator: Accelerator, config: TrainConfig, output: Path, first_step: int) -> None:
        self._accelerator, self._config, self._output, self._first_step = accelerator, config, output, first_step
        self._speaks = accelerator.is_main_process
        self.rates = Rates()

    def __enter__(self) -> Self:
        if self._speaks:
            self._output.mkdir(parents=True, exist_ok=True)
            _keep_lines(self._output / METRICS_NAME, self._first_step)
        shown = {
            name: value if isinstance(value, (int, float)) else str(value)
            for name, value in vars(self._config).items()
        }
        self._accelerator.init_trackers(TRACKER_RUN, config=shown)
        self.bar = tqdm(
            total=self._config.steps, initial=self._first_step, unit="step", desc="training", disable=not self._speaks
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()
        for tracker in self._accelerator.trackers:
            tracker.finish()
        self._accelerator.trackers = []

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write one line and one point of every curve; numbers that are not finite are left out.

        A disk that is full costs the line, not the run.

        Args:
            step (`int`): Steps that were done.
            values (`Mapping[str, float]`): Numbers by name; `/` groups curves.
        """
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        try:
            if self._speaks:
                with (self._output / METRICS_NAME).open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"step": step, **finite}) + "\n")
            self._accelerator.log(finite, step=step)
        except OSError as error:
            logger.warning("The numbers of step %d could not be written: %s.", step, error)

    def advance(self, shown: Mapping[str, Any]) -> None:
        """Move the bar by one step.

        Args:
            shown (`Mapping[str, Any]`): What stands behind it.
        """
        self.bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items()}, refresh=False)
        self.bar.update()


class Rates:
    """Samples per second, and the share of the time in which training waited for data, since they were last asked for."""

    def __init__(self) -> None:
        self._samples, self._waited, self._start = 0, 0.0, time.perf_counter()

    def add(self, samples: int, waited: float) -> None:
        """Count a step.

        Args:
            samples (`int`): Windows of the step, of all processes.
            waited (`float`): Seconds that this process waited for them.
        """
        self._samples += samples
        self._waited += waited

    def take(self) -> dict[str, float]:
        """The rates; counting begins anew."""
        seconds = max(time.perf_counter() - self._start, 1e-9)
        rates = {"rate/samples_per_second": self._samples / seconds, "rate/waiting_for_data": self._waited / seconds}
        self.__init__()  # type: ignore[misc]
        return rates


def _keep_lines(path: Path, last_step: int) -> None:
    """Remove the lines of steps that will be done again, and a line that was cut off."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            step = json.loads(line)["step"]
        except (ValueError, KeyError, TypeError):
            continue
        if step <= last_step:
            kept.append(line + "\n")
    temporary = path.with_name(f".{path.name}")
    temporary.write_text("".join(kept), encoding="utf-8")
    sync_file(temporary)
    temporary.replace(path)
