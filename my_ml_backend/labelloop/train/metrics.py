"""How good predictions are, as plain functions of arrays (numpy alone), and answers held out with their truth.

``truth`` and ``predicted`` are bool arrays of shape (items, classes): which item has, or was given, which class. An
item that got no prediction at all is a row of False, and counts as wrong wherever it has a class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.types import HALF, Choice, Json


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Logits (n, classes) of pictures that the model, or one made in the same way, has not seen, with their truth."""

    truth: npt.NDArray[np.bool_]
    logits: npt.NDArray[np.floating[Any]]

    def joined(self, other: "HeldOut | None") -> "HeldOut":
        """Give both together."""
        if other is None:
            return self
        return HeldOut(np.concatenate((self.truth, other.truth)), np.concatenate((self.logits, other.logits)))


Indicators = npt.NDArray[np.bool_]


def correct(truth: Indicators, predicted: Indicators) -> npt.NDArray[np.bool_]:
    """Tell which items have exactly the right classes: bool, (items,)."""
    same: npt.NDArray[np.bool_] = (truth == predicted).all(axis=1)
    return same


def accuracy(truth: Indicators, predicted: Indicators) -> float:
    """Share of items with exactly the right classes, in [0, 1]. Raises ValueError without items."""
    if not len(truth):
        raise ValueError("there are no items to measure accuracy on")
    return float(correct(truth, predicted).mean())


def support(truth: Indicators) -> npt.NDArray[np.int64]:
    """Number of items that have each class: (classes,)."""
    counts: npt.NDArray[np.int64] = truth.sum(axis=0, dtype=np.int64)
    return counts


def confusion(truth: Indicators, predicted: Indicators) -> npt.NDArray[np.int64]:
    """Count the items of each class (rows) that were given each class (columns): (classes, classes)."""
    return truth.astype(np.int64).T @ predicted.astype(np.int64)


def predictions(logits: npt.NDArray[np.floating[Any]], choice: Choice) -> Indicators:
    """Turn logits (items, classes) into predictions: the largest, or with ``multiple`` all at 0 and above."""
    if choice == "multiple":
        return logits >= 0
    given = np.zeros(logits.shape, dtype=bool)
    given[np.arange(len(logits)), logits.argmax(axis=1)] = True
    return given


def given(scores: npt.NDArray[np.float64], choice: Choice, thresholds: npt.NDArray[np.float64] | None) -> Indicators:
    """Tell which classes the scores (items, classes) give each item: the best, or with ``multiple`` those high enough.

    ``thresholds`` (classes,) says from which score on each class is given then, None: all from a half on.
    """
    least = HALF if thresholds is None else thresholds
    return predictions(scores - least if choice == "multiple" else scores, choice)


def log_loss(truth: Indicators, logits: npt.NDArray[np.floating[Any]], choice: Choice) -> float:
    """Mean negative log-likelihood of the truth per item, in nats; with ``multiple`` the mean over classes too."""
    return float(log_losses(truth, logits, choice).mean())


def log_losses(truth: Indicators, logits: npt.NDArray[np.floating[Any]], choice: Choice) -> npt.NDArray[np.float64]:
    """Negative log-likelihood of each item's truth, (items,), in nats; with ``multiple`` the mean over classes."""
    values = logits.astype(np.float64)
    if choice == "multiple":
        losses: npt.NDArray[np.float64] = np.logaddexp(0, np.where(truth, -values, values)).mean(axis=1)
        return losses
    top = values.max(axis=1, keepdims=True, initial=-np.inf)
    normaliser = np.log(np.exp(values - top).sum(axis=1)) + top[:, 0]
    return np.asarray(normaliser - values[truth])


def probabilities(logits: npt.NDArray[np.floating[Any]], choice: Choice) -> npt.NDArray[np.float64]:
    """Turn logits (items, classes) into the scores that are served: softmax, or with ``multiple`` one sigmoid each."""
    return (sigmoid if choice == "multiple" else softmax)(logits.astype(np.float64))


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Softmax over the last axis: (..., classes) in, positive numbers that sum to 1 out."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Logistic function, for each number by itself; never overflows."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


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
    """Sort items (items, classes) into 15 bins of equal width by how sure they are (Guo et al. 2017).

    With choice ``single`` an item's confidence is its best score, right when the best class is the true one. With
    ``multiple`` each pair of item and class counts on its own: its score, right when the item has the class. As
    torchmetrics has it, except that a score of exactly 1 belongs to the last bin and not into one of its own.
    """
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


def robustness_told(clean: float, items: int, table: Mapping[str, Sequence[float]], fgsm: Sequence[Json] = ()) -> Json:
    """Give ``robustness.json`` (docs/evaluation.md): a figure on so many items, and on what was made of them.

    ``table`` maps each corruption to the figure at its severities, from mild to heavy.
    """
    mean = float(np.mean([value for values in table.values() for value in values]))
    return {
        "clean": clean,
        "pictures": items,
        "severities": list(range(1, 1 + max(map(len, table.values())))),
        "corruptions": dict(table),
        "mean": mean,
        "relative_drop": (clean - mean) / clean if clean else None,
        "fgsm": list(fgsm),
    }
