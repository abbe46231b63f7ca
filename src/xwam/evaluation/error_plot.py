"""Errors over the horizon as a picture: one panel for each metric."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xwam.export.files import replacing
from xwam.utils.optional import require

COLUMNS = 3  # panels side by side
PANEL_SIZE = (3.6, 2.5)  # inches
DOTS_PER_INCH = 110
COLOURS = ("#4c78a8", "#8a8a8a", "#e45756", "#54a24b")


@dataclass(frozen=True, eq=False)
class Line:
    """One curve.

    Args:
        values (`np.ndarray` of shape `(F,)`): By frame; NaN where there is none.
        low (`np.ndarray` of shape `(F,)`, *optional*): Lower bound of its band.
        high (`np.ndarray` of shape `(F,)`, *optional*): Upper bound.
        parts (`Mapping[str, np.ndarray]`): What it is the mean of, such as cameras, drawn thin.
    """

    values: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    parts: Mapping[str, np.ndarray] | None = None


def plot_errors(
    path: str | Path, panels: Mapping[str, Mapping[str, Line]], seconds: Sequence[float], *, title: str = ""
) -> None:
    """Write a PNG with one panel for each metric, frame 0 left out. Panels of one constant number are left out.

    Args:
        path (`str` or `Path`): File to make, ending in `.png`.
        panels (`Mapping[str, Mapping[str, Line]]`): By label of the metric and name of the curve; at least one.
        seconds (`Sequence[float]`): Time of every frame.
        title (`str`, *optional*, defaults to `""`): Above all panels.

    Raises:
        ImportError: If Matplotlib is not installed.
    """
    require("matplotlib", extra="export", needed_for="xwam.evaluation.error_plot.plot_errors")
    from matplotlib.figure import Figure

    panels = {label: lines for label, lines in panels.items() if not _is_flat(lines)} or panels
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    size = (PANEL_SIZE[0] * columns, PANEL_SIZE[1] * rows + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    colours = dict(zip(dict.fromkeys(name for lines in panels.values() for name in lines), COLOURS, strict=False))
    for axis, (label, lines) in zip(axes, panels.items(), strict=False):
        for name, line in lines.items():
            _draw(axis, np.asarray(seconds), line, name, colours.get(name, "#333333"))
        axis.set_title(label, fontsize=9)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=7)
        axis.set_xlabel("seconds ahead", fontsize=7)
    for axis in axes[len(panels) :]:
        axis.axis("off")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    if title:
        figure.suptitle(title, fontsize=10, parse_math=False)  # an instruction may hold a $
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH)


def _is_flat(lines: Mapping[str, Line]) -> bool:
    """Whether all curves are one and the same constant, such as a coverage of 1 or an error of 0."""
    values = np.concatenate([line.values[1:] for line in lines.values()])
    values = values[~np.isnan(values)]
    return bool(values.size and np.allclose(values, values[0], rtol=1e-3, atol=1e-6))


def _draw(axis: Any, seconds: np.ndarray, line: Line, name: str, colour: str) -> None:
    def finite(values: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(values), values, np.nan)[1:]

    later = seconds[1:]
    for part in (line.parts or {}).values():
        axis.plot(later, finite(part), color=colour, linewidth=0.6, alpha=0.45)
    if line.low is not None and line.high is not None:
        axis.fill_between(later, finite(line.low), finite(line.high), color=colour, alpha=0.2, linewidth=0)
    axis.ticklabel_format(axis="y", useOffset=False)
    axis.plot(later, finite(line.values), color=colour, linewidth=1.6, marker="o", markersize=2.5, label=name)
