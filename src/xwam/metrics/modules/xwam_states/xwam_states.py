"""Errors of predicted tool poses, as an `evaluate` module around `xwam.metrics.states`."""

import datasets
import evaluate
import numpy as np

from xwam.metrics.states import gripper_error, position_error, rotation_error

_DESCRIPTION = "Position (metres), rotation (radians) and gripper (opening) errors of predicted tool poses."
_INPUTS = """
predictions, references: lists of poses of one arm, each x, y, z in metres, a unit quaternion w, x, y, z and an opening from 0
to 1: eight numbers. Several arms: one call per arm.
reduce: "mean", or None for lists with one value per pose.
"""


class XWAMStates(evaluate.Metric):
    """One row of eight numbers per step."""

    def _info(self) -> evaluate.MetricInfo:
        rows = {name: datasets.Sequence(datasets.Value("float64")) for name in ("predictions", "references")}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(rows),
        )

    def _compute(self, predictions: list, references: list, reduce: str | None = "mean") -> dict:
        prediction, truth = np.array(predictions, np.float64), np.array(references, np.float64)
        if prediction.shape[1:] != (8,) or truth.shape[1:] != (8,):
            raise ValueError(f"Poses must have eight numbers; the shapes are {prediction.shape} and {truth.shape}.")
        errors = {
            "position": position_error(prediction[:, :3], truth[:, :3], reduce=reduce),
            "rotation": rotation_error(prediction[:, 3:7], truth[:, 3:7], reduce=reduce),
            "gripper": gripper_error(prediction[:, 7], truth[:, 7], reduce=reduce),
        }
        return {name: values.tolist() for name, values in errors.items()}
