"""How far scores can be taken at their word: 15 bins of equal width (Guo et al. 2017), and the log-loss (numpy alone).

As torchmetrics has it, except that a score of exactly 1 belongs to the last bin and not into one of its own.

With choice ``single`` an item's confidence is its best score, right when the best class is the true one. With
``multiple`` each pair of item and class counts on its own: its score, right when the item has the class. Pictures that
failed have no score and are left out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.train.metrics import Indicators
from labelloop.types import Choice, Json

Matrix = npt.NDArray[np.float64]

BINS = 15
_SMALLEST = 1e-12  # a score of 0 for the truth would cost infinitely much


@dataclass(frozen=True, slots=True)
class Bins:
    """Each item's part in each bin, (items, bins): the sum of its confidences, how many were right, and how many."""

    confidence: Matrix
    right: Matrix
    count: Matrix


def bins(truth: Indicators, scores: Matrix, choice: Choice) -> Bins:
    """Sort items (items, classes) into bins."""
    if choice == "single":
        best = scores.argmax(axis=1)[:, None]
        confidence, right = (np.take_along_axis(values, best, axis=1) for values in (scores, truth))
    else:
        confidence, right = scores, truth
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    member = place[..., None] == np.arange(BINS)  # (items, scores of an item, bins)
    return Bins(
        (member * confidence[..., None]).sum(axis=1),
        (member * right[..., None]).sum(axis=1).astype(np.float64),
        member.sum(axis=1).astype(np.float64),
    )


def calibration_errors(weights: Matrix, found: Bins) -> Matrix:
    """Expected calibration error of each resample, (resamples,): the mean distance of confidence and share of right.

    ``weights`` is (resamples, items); nan without items.
    """
    gap = np.abs(weights @ found.confidence - weights @ found.right).sum(axis=1)
    count = (weights @ found.count).sum(axis=1)
    errors: Matrix = np.divide(gap, count, out=np.full(len(weights), np.nan), where=count > 0)
    return errors


def diagram(found: Bins) -> list[Json]:
    """Give the bins that are not empty: mean confidence, share that was right, and how many."""
    sums = (values.sum(axis=0) for values in (found.confidence, found.right, found.count))
    return [
        {"confidence": float(confidence / count), "accuracy": float(right / count), "count": int(count)}
        for confidence, right, count in zip(*sums, strict=True)
        if count
    ]


def score_log_loss(truth: Indicators, scores: Matrix, choice: Choice) -> float:
    """Mean negative log-likelihood of the truth, in nats per item (``multiple``: and class); nan without items."""
    if not len(truth):
        return float("nan")
    likely: npt.NDArray[Any] = np.where(truth, scores, 1 - scores) if choice == "multiple" else scores[truth]
    return float(-np.log(np.maximum(likely, _SMALLEST)).mean())
