"""From which score on a class is given, where several may be: as is best for its F1.

Where scores are calibrated, the threshold of the highest F1 of a class is half of that F1 (Lipton, Elkan and
Narayanaswamy, 2014, "Thresholding Classifiers to Maximize F1 Score", theorem 1): the weaker a class is recognised, the
lower.
"""

import numpy as np
import numpy.typing as npt

from labelloop.bundle_info import NetworkInfo
from labelloop.train import metrics
from labelloop.train.metrics import HeldOut
from labelloop.types import HALF

Floats = npt.NDArray[np.float64]

_FEWEST = 50
"""Pictures; fewer say too little of what exact answers would be lost."""

_LOSS = 0.01
"""Share of pictures that may be given another than exactly their classes instead."""

_SHARES = (1.0, 0.75, 0.5, 0.25)


def f1_thresholds(held: HeldOut) -> Floats | None:
    """Choose the thresholds (classes,) by calibrated logits of pictures that the model has not seen; None: a half each.

    They are drawn towards a half as far as it takes that as many pictures are given exactly their classes, but for one
    in a hundred: where classes are hardly recognised, F1 would have them given to everything.
    """
    if len(held.truth) < _FEWEST:
        return None
    scores = metrics.probabilities(held.logits, "multiple")
    wanted = np.array([_half_of_best(scores[:, at]) for at in range(scores.shape[1])])
    exact = metrics.accuracy(held.truth, scores >= HALF)
    for share in _SHARES:
        thresholds: Floats = np.round(HALF + share * (wanted - HALF), 4)
        if metrics.accuracy(held.truth, scores >= thresholds) >= exact - _LOSS:
            return thresholds
    return None


def _half_of_best(scores: Floats) -> float:
    """Give half of the highest F1 that is to be expected of one class, if its scores (items,) are probabilities."""
    ordered = np.sort(scores)[::-1]
    expected = 2 * np.cumsum(ordered) / (np.arange(1, len(ordered) + 1) + ordered.sum())
    return float(np.clip(expected.max() / 2, 0.01, HALF))


def least_scores(info: NetworkInfo) -> Floats | None:
    """Give a bundle's thresholds by class (classes,); None where it has none."""
    return np.array([info.thresholds.get(name, HALF) for name in info.classes]) if info.thresholds else None
