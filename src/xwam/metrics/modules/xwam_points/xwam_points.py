"""Chamfer distance and F-score of predicted point clouds, as an `evaluate` module around `xwam.metrics.points`."""

import datasets
import evaluate
import numpy as np

from xwam.metrics.arrays import reduced
from xwam.metrics.points import neighbour_distances

_DESCRIPTION = "Chamfer distance (metres), and F-score, precision and recall at a distance, of predicted point clouds."
_INPUTS = """
predictions, references: lists of clouds in metres, float32 arrays of shape (M, 3), M of any size. Order matters.
kind: Chamfer distance as "mean", "sum" or "squared".
threshold: largest distance of a match, in metres.
reduce: "mean", or None for lists with one value per pair of clouds.
"""
_CITATION = """
@article{knapitsch2017tanks, author={Knapitsch, Park, Zhou, Koltun}, title={Tanks and Temples: Benchmarking Large-Scale Scene
Reconstruction}, journal={TOG}, year={2017}}
"""


class XWAMPoints(evaluate.Metric):
    """Clouds travel through Arrow as lists of float32 triples."""

    def _info(self) -> evaluate.MetricInfo:
        clouds = {name: datasets.Array2D((None, 3), "float32") for name in ("predictions", "references")}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(clouds),
        )

    def _compute(
        self,
        predictions: list,
        references: list,
        kind: str = "mean",
        threshold: float = 0.01,
        reduce: str | None = "mean",
    ) -> dict:
        values: dict[str, list[float]] = {name: [] for name in ("chamfer_distance", "f_score", "precision", "recall")}
        for prediction, truth in zip(predictions, references, strict=True):
            distances = neighbour_distances(np.asarray(prediction, np.float32), np.asarray(truth, np.float32))
            score = distances.f_score(threshold)
            values["chamfer_distance"].append(distances.chamfer_distance(kind))
            for name in ("f_score", "precision", "recall"):
                values[name].append(getattr(score, name))
        return {name: reduced(np.array(own), reduce).tolist() for name, own in values.items()}
