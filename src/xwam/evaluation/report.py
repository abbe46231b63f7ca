"""From results to a report: what can be repeated byte for byte, what the clock said, a table and a plot."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xwam.evaluation.provenance import machine
from xwam.evaluation.results import EpisodeResult, ResultsFolder
from xwam.evaluation.statistics import percentiles, wilson_interval
from xwam.evaluation.tables import markdown_table
from xwam.export.files import replacing
from xwam.utils.optional import require

PLOT_WIDTH = 7.0  # inches
BAR_HEIGHT = 0.32  # inches per environment
DOTS_PER_INCH = 120


@dataclass(frozen=True)
class Report:
    """A whole evaluation.

    Args:
        rates (`Mapping[str, Any]`): What the same suite gives again, JSON-able: success, steps, instructions, identities.
        timings (`Mapping[str, Any]`): What the clock said, JSON-able; never twice the same.
    """

    rates: Mapping[str, Any]
    timings: Mapping[str, Any]

    @property
    def table(self) -> str:
        """Success rates and times, one row per environment, in Markdown."""
        rows = [["environment", "success", "rate", "95 % interval", "steps to success", "inference p50 / p95", "step"]]
        for name in [*self.rates["environments"], "overall"]:
            rates = self.rates["overall"] if name == "overall" else self.rates["environments"][name]["rates"]
            rows.append([name, *_rate_cells(rates), *_time_cells(self.timings["environments"][name])])
        return markdown_table(rows)

    def write(self, folder: Path, *, plot: bool) -> None:
        """Write `report.json`, `timings.json`, `report.md` and, where wanted, `report.png`.

        Args:
            folder (`Path`): Where to.
            plot (`bool`): Whether to draw; needs Matplotlib.

        Raises:
            ImportError: If there is to be a plot and Matplotlib is not installed.
        """
        for name, facts in (("report.json", self.rates), ("timings.json", self.timings)):
            text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            with replacing(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
        if plot:
            plot_rates(folder / "report.png", self.rates)
        with replacing(folder / "report.md") as temporary:
            temporary.write_text(self._page(with_plot=plot), encoding="utf-8")

    def _page(self, *, with_plot: bool) -> str:
        parts = ["# Closed-loop evaluation", self.table]
        if with_plot:
            parts.append("![success rates](report.png)")
        parts.append("Intervals are Wilson's at 95 %. “Overall” pools all episodes.")
        for name, facts in self.rates["environments"].items():
            identity = json.dumps(facts["identity"], indent=1, ensure_ascii=False)
            seeds = [episode["seed"] for episode in facts["episodes"] if not episode["is_success"]]
            failures = f"Seeds without success: {', '.join(map(str, seeds)) or 'none'}."
            parts += [f"## {name}", failures, f"```json\n{identity}\n```"]
        parts += ["## Clock", f"```json\n{json.dumps(self.timings['machine'], indent=1, ensure_ascii=False)}\n```"]
        return "\n\n".join(parts) + "\n"


def make_report(
    folder: ResultsFolder, results: Sequence[EpisodeResult], *, num_ranks: int = 1, num_processes: int = 1
) -> Report:
    """Sum up the results of a suite.

    Args:
        folder (`ResultsFolder`): Where they are, for what they are results of.
        results (`Sequence[EpisodeResult]`): At least one.
        num_ranks (`int`, *optional*, defaults to `1`): How many shared the work of the last run, to be noted with the timings.
        num_processes (`int`, *optional*, defaults to `1`): Processes of each rank, likewise.
    """
    by_name: dict[str, list[EpisodeResult]] = {}
    for result in results:
        by_name.setdefault(result.environment, []).append(result)
    identities = folder.identities(by_name)
    environments = {
        name: {"rates": _rates(own), "identity": identities[name], "episodes": [_episode(result) for result in own]}
        for name, own in by_name.items()
    }
    clocks = {name: _clock(own) for name, own in {**by_name, "overall": list(results)}.items()}
    return Report(
        rates={"overall": _rates(results), "environments": environments},
        timings={
            "environments": clocks,
            "machine": {**machine(), "num_ranks": num_ranks, "num_processes": num_processes},
        },
    )


def plot_rates(path: str | Path, rates: Mapping[str, Any]) -> None:
    """Write a PNG with one bar per environment and its 95 % interval.

    Args:
        path (`str` or `Path`): File to make, ending in `.png`.
        rates (`Mapping[str, Any]`): `Report.rates`.

    Raises:
        ImportError: If Matplotlib is not installed.
    """
    require("matplotlib", extra="export", needed_for="xwam.evaluation.report.plot_rates")
    from matplotlib.figure import Figure

    rows = {name: facts["rates"] for name, facts in rates["environments"].items()}
    if len(rows) > 1:
        rows["overall"] = rates["overall"]
    figure = Figure(figsize=(PLOT_WIDTH, 1.0 + BAR_HEIGHT * len(rows)), layout="constrained")
    axis = figure.subplots()
    values = [row["success_rate"] for row in rows.values()]
    low, high = zip(*(row["interval_95"] for row in rows.values()), strict=True)
    errors = [
        [value - bound for value, bound in zip(values, low, strict=True)],
        [bound - value for value, bound in zip(values, high, strict=True)],
    ]
    colours = ["#8a8a8a" if name == "overall" else "#4c78a8" for name in rows]
    axis.barh(list(rows), values, xerr=errors, color=colours, height=0.6, capsize=3, error_kw={"linewidth": 1})
    axis.set_xlim(0, 1)
    axis.invert_yaxis()
    axis.set_xlabel("success rate, with 95 % Wilson interval")
    axis.grid(axis="x", alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH)


def _rates(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    steps = [result.num_steps for result in results if result.is_success]
    return {
        "num_successes": len(steps),
        "num_episodes": len(results),
        "success_rate": len(steps) / len(results),
        "interval_95": list(wilson_interval(len(steps), len(results))),
        "mean_steps_to_success": sum(steps) / len(steps) if steps else None,
    }


def _episode(result: EpisodeResult) -> dict[str, Any]:
    return {
        "seed": result.seed,
        "is_success": result.is_success,
        "num_steps": result.num_steps,
        "num_inferences": result.num_inferences,
        "instruction": result.instruction,
    }


def _clock(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    inferences = [seconds for result in results for seconds in result.inference_seconds]
    commands = sum(result.num_steps for result in results)
    step_ms = 1000 * sum(result.step_seconds for result in results) / commands
    return {"num_inferences": len(inferences), "inference": percentiles(inferences), "mean_step_ms": round(step_ms, 3)}


def _rate_cells(rates: Mapping[str, Any]) -> list[str]:
    low, high = rates["interval_95"]
    steps = rates["mean_steps_to_success"]
    return [
        f"{rates['num_successes']}/{rates['num_episodes']}",
        f"{100 * rates['success_rate']:.1f} %",
        f"{100 * low:.1f} … {100 * high:.1f} %",
        "–" if steps is None else f"{steps:.1f}",
    ]


def _time_cells(clock: Mapping[str, Any]) -> list[str]:
    inference = clock["inference"]
    return [f"{inference['p50_ms']:.1f} / {inference['p95_ms']:.1f} ms", f"{clock['mean_step_ms']:.1f} ms"]
