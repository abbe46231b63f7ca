"""From measured windows to a report: means with bootstrap intervals over episodes, by view and by step, table and plot."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xwam.evaluation.error_plot import Line, plot_errors
from xwam.evaluation.future_errors import FutureErrors, mean
from xwam.evaluation.future_metrics import METRICS, PAPER_COLUMNS
from xwam.evaluation.scored_folders import ScoredWindow
from xwam.evaluation.tables import jsonable, markdown_table, shown
from xwam.export.files import json_format, replacing_folder
from xwam.metrics.bootstrap import ConfidenceInterval, confidence_interval

FORMAT = "xwam.scores"
FILES = {"report.json", "report.md", "report.png"}
ALL, STILL = "all", "frame 0 repeated"


class VideoReport:
    """All windows of a folder together. Means leave out frame 0, which is observed, and weigh every window alike.

    Args:
        windows (`Sequence[ScoredWindow]`): At least one; all with frames at the same instants.
        settings (`Mapping[str, Any]`): How it was measured, JSON-able; kept with the numbers.

    Raises:
        ValueError: If there is no window, or frames lie at other instants.
    """

    def __init__(self, windows: Sequence[ScoredWindow], settings: Mapping[str, Any]) -> None:
        if not windows:
            raise ValueError("A report must have at least one window, but has none.")
        self.windows, self.settings = tuple(windows), dict(settings)
        counts = {
            (len(next(iter(values.values()))), own.frame_period)
            for own in windows
            for values in own.errors.values.values()
        }
        if len(counts) > 1:
            raise ValueError(
                f"All windows must have frames at the same instants, but have (frames, period) {sorted(counts)}."
            )
        if not counts:
            raise ValueError("Nothing could be measured: the windows have none of the metrics asked for.")
        self.num_frames, self.frame_period = counts.pop()

    @property
    def metrics(self) -> list[str]:
        """Names of what was measured in any window."""
        return [name for name in METRICS if any(name in window.errors.values for window in self.windows)]

    def subjects(self, metric: str) -> list[str]:
        """Cameras, arms or clouds that a metric was measured on.

        Args:
            metric (`str`): One of `metrics`.
        """
        return list(dict.fromkeys(name for window in self.windows for name in window.errors.values.get(metric, ())))

    def values(self, metric: str, *, of_still: bool = False) -> np.ndarray:
        """All values of a metric, `(windows, subjects, F)`; NaN where one was not measured.

        Args:
            metric (`str`): One of `metrics`.
            of_still (`bool`, *optional*, defaults to `False`): Those of frame 0 repeated instead of the predictions'.
        """
        names = self.subjects(metric)
        values = np.full((len(self.windows), len(names), self.num_frames), np.nan)
        for row, window in enumerate(self.windows):
            for place, own in (window.still if of_still else window.errors).values.get(metric, {}).items():
                values[row, names.index(place)] = own
        return values

    def interval(self, values: np.ndarray) -> ConfidenceInterval:
        """Mean over the windows with its 95 % interval over episodes; none where a value is infinite.

        Args:
            values (`np.ndarray` of shape `(windows, ...)`): One row for each window.
        """
        infinite = np.isinf(values).any(axis=0)
        found = confidence_interval(np.where(infinite, np.nan, values), episodes=[own.episode for own in self.windows])
        return ConfidenceInterval(
            np.where(infinite, np.inf, found.mean), found.low, found.high, found.level, found.num_episodes
        )

    def total(self, metric: str, *, subject: str | None = None, of_still: bool = False) -> ConfidenceInterval:
        """One number over all windows, the subjects and the frames after frame 0.

        Args:
            metric (`str`): One of `metrics`.
            subject (`str`, *optional*): Only of this one.
            of_still (`bool`, *optional*, defaults to `False`): Of frame 0 repeated.
        """
        values = self.values(metric, of_still=of_still)[:, :, 1:]
        if subject is not None:
            values = values[:, [self.subjects(metric).index(subject)]]
        return self.interval(mean(mean(values, axis=1), axis=1))

    @property
    def table(self) -> str:
        """The paper's columns, a row for each camera, for all, and for frame 0 repeated, with 95 % intervals, in Markdown."""
        columns = [name for name in PAPER_COLUMNS if name in self.metrics]
        cameras = list(
            dict.fromkeys(name for metric in columns if metric != "chamfer" for name in self.subjects(metric))
        )
        rows = [["view", *(METRICS[name].label for name in columns)]]
        for camera in cameras:
            rows.append([camera, *(self._cell(name, camera) for name in columns)])
        rows.append([ALL, *(self._cell(name) for name in columns)])
        rows.append([STILL, *(self._cell(name, of_still=True) for name in columns)])
        return markdown_table(rows)

    @property
    def other_table(self) -> str:
        """Every other metric, over all subjects, in Markdown; empty where there is none."""
        names = [name for name in self.metrics if name not in PAPER_COLUMNS]
        rows = [[METRICS[name].label, self._cell(name), self._cell(name, of_still=True)] for name in names]
        return markdown_table([["metric", "prediction", STILL], *rows]) if rows else ""

    def to_dict(self) -> dict[str, Any]:
        """All numbers, JSON-able: NaN is `null`, infinity `"Infinity"`."""
        return {
            "format": FORMAT,
            "num_windows": len(self.windows),
            "num_episodes": len({window.episode for window in self.windows}),
            "num_frames": self.num_frames,
            "frame_period": self.frame_period,
            "settings": self.settings,
            "metrics": {metric: self._facts(metric) for metric in self.metrics},
            "windows": {window.name: _totals(window.errors) for window in self.windows},
        }

    def plot(self, path: str | Path) -> None:
        """Write a PNG with one panel for each metric over the seconds ahead, with intervals; thin lines are views.

        Args:
            path (`str` or `Path`): File to make.

        Raises:
            ImportError: If Matplotlib is not installed.
        """
        panels = {}
        for metric in self.metrics:
            values, still = self.values(metric), mean(self.values(metric, of_still=True), axis=1)
            found = self.interval(mean(values, axis=1))
            views = mean(values, axis=0)
            parts = dict(zip(self.subjects(metric), views, strict=True)) if len(views) > 1 else {}
            lines = {"prediction": Line(found.mean, found.low, found.high, parts)}
            if not np.isnan(still).all():
                lines[STILL] = Line(self.interval(still).mean)
            panels[METRICS[metric].label] = lines
        seconds = [frame * self.frame_period for frame in range(self.num_frames)]
        count = len({window.episode for window in self.windows})
        plot_errors(path, panels, seconds, title=f"{len(self.windows)} windows of {count} episodes, 95 % intervals")

    def write(self, folder: str | Path, *, plot: bool = True) -> None:
        """Write `report.json`, `report.md` and `report.png`, all or nothing.

        Args:
            folder (`str` or `Path`): Folder to make; a report that was there before is replaced.
            plot (`bool`, *optional*, defaults to `True`): Whether to draw; needs Matplotlib.

        Raises:
            ValueError: If the folder holds files of somebody else.
            ImportError: If there is to be a plot and Matplotlib is not installed.
        """
        with replacing_folder(folder, own_files=own_files) as temporary:
            text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            (temporary / "report.json").write_text(text, encoding="utf-8")
            if plot:
                self.plot(temporary / "report.png")
            (temporary / "report.md").write_text(self._page(with_plot=plot), encoding="utf-8")

    def _page(self, *, with_plot: bool) -> str:
        count = len({window.episode for window in self.windows})
        intro = (
            f"{len(self.windows)} windows of {count} episodes, {self.num_frames - 1} frames {self.frame_period:g} s apart, "
            "without frame 0, which is observed. In brackets: 95 % bootstrap intervals over episodes."
        )
        definitions = "\n".join(f"- {METRICS[name].label}: {METRICS[name].definition}" for name in self.metrics)
        settings = f"```json\n{json.dumps(self.settings, indent=1, ensure_ascii=False)}\n```"
        parts = [
            "# Scores",
            intro,
            self.table,
            "![over the horizon](report.png)" if with_plot else "",
            self.other_table,
        ]
        return "\n\n".join(part for part in (*parts, "## What was measured", definitions, settings) if part) + "\n"

    def _cell(self, metric: str, subject: str | None = None, *, of_still: bool = False) -> str:
        if subject is not None and subject not in self.subjects(metric):
            return ""
        found, digits = self.total(metric, subject=subject, of_still=of_still), METRICS[metric].digits
        bounds = (
            "" if np.isnan(found.low) else f" [{shown(float(found.low), digits)}, {shown(float(found.high), digits)}]"
        )
        return shown(float(found.mean), digits) + bounds

    def _facts(self, metric: str) -> dict[str, Any]:
        values, names = self.values(metric), self.subjects(metric)
        by_subject = self.interval(values)
        return {
            "unit": METRICS[metric].unit,
            "higher_is_better": METRICS[metric].higher_is_better,
            "definition": METRICS[metric].definition,
            **_interval_facts(self.total(metric)),
            "frame_0_repeated": _interval_facts(self.total(metric, of_still=True)),
            "by_frame": _interval_facts(self.interval(mean(values, axis=1))),
            "by_subject": {
                name: {
                    **_interval_facts(self.total(metric, subject=name)),
                    "by_frame": {part: jsonable(getattr(by_subject, part)[place]) for part in ("mean", "low", "high")},
                }
                for place, name in enumerate(names)
            },
        }


def own_files(folder: Path) -> set[str]:
    """Files of an earlier report in a folder; none where it is not one of ours.

    Args:
        folder (`Path`): The folder.
    """
    return FILES if json_format(folder / "report.json") == FORMAT else set()


def _totals(errors: FutureErrors) -> dict[str, Any]:
    return {metric: jsonable(errors.total(metric)) for metric in errors.values}


def _interval_facts(found: ConfidenceInterval) -> dict[str, Any]:
    return {part: jsonable(getattr(found, part)) for part in ("mean", "low", "high")}
