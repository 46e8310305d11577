"""Metrics of predictions as they are: those of one draw that takes every item once (train/intervals.py).

One class is taken against the rest, whatever the kind. Arrays are (items, classes). The values are those that
torchmetrics gives, which needs torch: a worker that lets others train has none.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from labelloop.train.intervals import areas, shares

Matrix = npt.NDArray[np.float64]
Indicators = npt.NDArray[np.bool_]

RATES = ("f1", "precision", "recall", "auroc")


def exact(truth: Indicators, predicted: Indicators) -> float:
    """Share of items with exactly the right classes."""
    return float((truth == predicted).all(axis=1).mean())


def rates(truth: Indicators, predicted: Indicators, scores: Matrix) -> Mapping[str, Matrix]:
    """Give each class's rates against the rest, (classes,); nan where no item, or (auroc) every item, has the class."""
    once = np.ones((1, len(truth)))
    found = {**shares(once, truth, predicted), "auroc": areas(once, truth, scores)}
    return {rate: found[rate][0] for rate in RATES}
