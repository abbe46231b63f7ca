"""How far two point clouds lie apart: Chamfer distance, and precision, recall and F-score at a distance.

Clouds are arrays `(M, 3)` in metres in one frame, of any two sizes. A search tree finds each point's nearest neighbour in the
other cloud, with all cores.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from xwam.metrics.arrays import check_floats
from xwam.utils.optional import require

CHAMFER_KINDS = ("mean", "sum", "squared")


@dataclass(frozen=True)
class FScore:
    """How much of a cloud is right and how much of the truth it covers.

    Args:
        f_score (`float`): Harmonic mean of precision and recall, 0 to 1.
        precision (`float`): Share of the predicted points that lie within `threshold` of a true one.
        recall (`float`): Share of the true points that lie within `threshold` of a predicted one.
        threshold (`float`): Metres.
    """

    f_score: float
    precision: float
    recall: float
    threshold: float


@dataclass(frozen=True, eq=False)
class NeighbourDistances:
    """Distance of every point to its nearest neighbour in the other cloud, from which all values of this file follow.

    Args:
        to_truth (`np.ndarray` of shape `(M,)`): From each predicted point to the truth, in metres.
        to_prediction (`np.ndarray` of shape `(N,)`): From each true point to the prediction, in metres.
    """

    to_truth: np.ndarray
    to_prediction: np.ndarray

    def chamfer_distance(self, kind: str = "mean") -> float:
        """As the function of that name.

        Args:
            kind (`str`, *optional*, defaults to `'mean'`): One of `CHAMFER_KINDS`.
        """
        if kind not in CHAMFER_KINDS:
            raise ValueError(f"`kind` must be one of {CHAMFER_KINDS} but is {kind!r}.")
        if kind == "squared":
            return float(np.square(self.to_truth).mean() + np.square(self.to_prediction).mean())
        total = float(self.to_truth.mean() + self.to_prediction.mean())
        return total if kind == "sum" else total / 2

    def f_score(self, threshold: float) -> FScore:
        """As the function of that name.

        Args:
            threshold (`float`): Metres.
        """
        if not 0 < threshold < np.inf:
            raise ValueError(f"`threshold` must be a positive distance in metres but is {threshold}.")
        precision, recall = (float((own <= threshold).mean()) for own in (self.to_truth, self.to_prediction))
        total = precision + recall
        return FScore(2 * precision * recall / total if total else 0.0, precision, recall, threshold)


def chamfer_distance(prediction: np.ndarray, truth: np.ndarray, *, kind: str = "mean") -> float:
    r"""Chamfer distance of two clouds. Order does not matter.

    With \(d_{p \to t}\) the distances of the predicted points to their nearest true points, and the reverse:
    `"mean"`: \((\overline{d_{p \to t}} + \overline{d_{t \to p}}) / 2\), in metres. `"sum"`: twice that, in metres.
    `"squared"`: \(\overline{d_{p \to t}^2} + \overline{d_{t \to p}^2}\), in square metres.

    Args:
        prediction (`np.ndarray` of shape `(M, 3)`): Points in metres, floating point.
        truth (`np.ndarray` of shape `(N, 3)`): Points in metres in the same frame, floating point.
        kind (`str`, *optional*, defaults to `'mean'`): One of `CHAMFER_KINDS`.

    Raises:
        TypeError: If a cloud is no NumPy array of floating-point numbers.
        ValueError: If a cloud is empty, holds a number that is not finite, or has another shape, or there is no such kind.
        ImportError: If SciPy is not installed.
    """
    return neighbour_distances(prediction, truth).chamfer_distance(kind)


def f_score(prediction: np.ndarray, truth: np.ndarray, *, threshold: float = 0.01) -> FScore:
    """F-score of a cloud with its precision and recall. Order matters: it swaps the two.

    Source: A. Knapitsch et al., "Tanks and Temples", TOG 36 (2017), section 4.

    Args:
        prediction (`np.ndarray` of shape `(M, 3)`): Points in metres, floating point.
        truth (`np.ndarray` of shape `(N, 3)`): Points in metres in the same frame, floating point.
        threshold (`float`, *optional*, defaults to `0.01`): Largest distance of a match, in metres.

    Raises:
        TypeError: If a cloud is no NumPy array of floating-point numbers.
        ValueError: If a cloud is empty, holds a number that is not finite, or has another shape, or the threshold is not
            positive.
        ImportError: If SciPy is not installed.
    """
    return neighbour_distances(prediction, truth).f_score(threshold)


def neighbour_distances(prediction: np.ndarray, truth: np.ndarray) -> NeighbourDistances:
    """Distances both ways, found once for all values that follow from them.

    Args:
        prediction (`np.ndarray` of shape `(M, 3)`): Points in metres, floating point.
        truth (`np.ndarray` of shape `(N, 3)`): Points in metres in the same frame, floating point.

    Raises:
        TypeError: If a cloud is no NumPy array of floating-point numbers.
        ValueError: If a cloud is empty, holds a number that is not finite, or has another shape.
        ImportError: If SciPy is not installed.
    """
    for name, points in (("prediction", prediction), ("truth", truth)):
        check_floats(name, points, (3,))
        if points.ndim != 2 or not len(points):
            raise ValueError(f"`{name}` must have shape (M, 3) with at least one point but has shape {points.shape}.")
    spatial = require("scipy.spatial", extra="metrics", needed_for="xwam.metrics.points")
    with ThreadPoolExecutor(2) as pool:  # building a tree uses one core and lets go of the interpreter
        predicted_tree, true_tree = pool.map(lambda points: _tree(spatial, points), (prediction, truth))
    return NeighbourDistances(
        to_truth=true_tree.query(prediction, workers=-1)[0], to_prediction=predicted_tree.query(truth, workers=-1)[0]
    )


def _tree(spatial: Any, points: np.ndarray) -> Any:
    return spatial.cKDTree(points, balanced_tree=False)  # half the time to build, and no slower to ask
