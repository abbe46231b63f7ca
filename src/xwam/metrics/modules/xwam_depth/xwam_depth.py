"""AbsRel, δ1 to δ3, RMSE and coverage of predicted depth, as an `evaluate` module around `xwam.metrics.depth`."""

import datasets
import evaluate
import numpy as np

from xwam.metrics.arrays import reduced
from xwam.metrics.depth import depth_errors

_DESCRIPTION = "AbsRel, δ1 to δ3, RMSE (metres) and coverage of predicted depth maps."
_INPUTS = """
predictions, references: lists of depth maps in metres, float32 arrays of shape (H, W); 0 where unknown. Order matters.
alignment: "none", "median" or "scale_shift".
reduce: "mean", or None for lists with one value per map.
"""
_CITATION = """
@inproceedings{eigen2014depth, author={Eigen, Puhrsch, Fergus}, title={Depth Map Prediction from a Single Image using a
Multi-Scale Deep Network}, booktitle={NeurIPS}, year={2014}}
"""


class XWAMDepth(evaluate.Metric):
    """Maps travel through Arrow as float32 TIFF, which loses nothing of float32."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Image(), "references": datasets.Image()}),
        )

    def _compute(
        self, predictions: list, references: list, alignment: str = "none", reduce: str | None = "mean"
    ) -> dict:
        prediction, truth = (np.stack([np.asarray(depth) for depth in depths]) for depths in (predictions, references))
        errors = depth_errors(prediction, truth, alignment=alignment)
        return {name: reduced(values, reduce).tolist() for name, values in errors.items()}
