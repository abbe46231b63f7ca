"""A dream held against what really came, as numbers and words for a page."""

import numpy as np
import pandas as pd

from xwam import Future
from xwam.evaluation.comparison import Comparison
from xwam.evaluation.future_errors import ErrorOptions
from xwam.evaluation.future_metrics import METRICS
from xwam.evaluation.reality import compare
from xwam.evaluation.tables import shown

GROUPS = ("images", "depth", "states")  # clouds would take a visitor's patience, and the commands are the same
PLOTTED = {"psnr": "PSNR (dB)", "abs_rel": "depth AbsRel", "position": "tool off by (m)"}
DREAM, STILL = "dream", "nothing moves"


def hold_against(dream: Future, reality: Future) -> Comparison:
    """Every error that a visitor waits for."""
    return compare(dream, reality, ErrorOptions(groups=GROUPS))


def words(comparison: Comparison) -> str:
    """Where dream and reality part, in Markdown."""
    return "\n".join(f"- {sentence}" for sentence in comparison.findings)


def numbers(comparison: Comparison) -> pd.DataFrame:
    """Means over the frames after the observed one, beside what a forecast would score in which nothing moves."""
    rows = []
    for metric in comparison.errors.values:
        digits = METRICS[metric].digits
        totals = [own.total(metric) for own in (comparison.errors, comparison.still)]
        rows.append([METRICS[metric].label, *(shown(total, digits) for total in totals)])
    return pd.DataFrame(rows, columns=["mean over frames", DREAM, STILL])


def plots(comparison: Comparison) -> list[pd.DataFrame]:
    """One table in long form for each of `PLOTTED`, over the seconds ahead; empty where it was not measured."""
    tables = []
    for metric in PLOTTED:
        parts = []
        for line, own in zip((DREAM, STILL), (comparison.errors, comparison.still), strict=True):
            if metric in own.values:
                values = own.over_frames(metric)[1:]
                seconds = comparison.reality.frame_period * np.arange(1, len(values) + 1)
                parts.append(pd.DataFrame({"s": seconds.round(3), "value": values, "line": line}).dropna())
        tables.append(pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["s", "value", "line"]))
    return tables
