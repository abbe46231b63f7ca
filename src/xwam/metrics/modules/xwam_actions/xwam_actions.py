"""Errors of predicted commands by unit, as an `evaluate` module around `xwam.metrics.actions`."""

import datasets
import evaluate
import numpy as np

from xwam.metrics.actions import command_errors_by_unit
from xwam.metrics.arrays import reduced
from xwam.structures import ActionChunk

_DESCRIPTION = "Mean difference without sign of predicted commands, over the columns of each unit."
_INPUTS = """
predictions, references: lists of commands, each one number per column.
columns: names of the columns.
units: unit of each column, such as "m", "rad", "1".
reduce: "mean", or None for lists with one value per command.
"""


class XWAMActions(evaluate.Metric):
    """One row of numbers per command."""

    def _info(self) -> evaluate.MetricInfo:
        rows = {name: datasets.Sequence(datasets.Value("float64")) for name in ("predictions", "references")}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(rows),
        )

    def _compute(
        self,
        predictions: list,
        references: list,
        columns: list[str],
        units: list[str],
        reduce: str | None = "mean",
    ) -> dict:
        prediction, truth = (
            ActionChunk("", np.array(rows, np.float64), tuple(columns), period=0.0)
            for rows in (predictions, references)
        )
        errors = command_errors_by_unit(prediction, truth, dict(zip(columns, units, strict=True)))
        return {unit: reduced(values, reduce).tolist() for unit, values in errors.items()}
