"""How good predictions are, as plain functions of arrays (numpy alone), and answers held out with their truth.

``truth`` and ``predicted`` are bool arrays of shape (items, classes): which item has, or was given, which class. An
item that got no prediction at all is a row of False, and counts as wrong wherever it has a class.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.types import Choice


@dataclass(frozen=True, slots=True)
class Held:
    """Logits (n, classes) of pictures that the model, or one made in the same way, has not seen, with their truth."""

    truth: npt.NDArray[np.bool_]
    logits: npt.NDArray[np.floating[Any]]

    def joined(self, other: "Held | None") -> "Held":
        """Give both together."""
        if other is None:
            return self
        return Held(np.concatenate((self.truth, other.truth)), np.concatenate((self.logits, other.logits)))


Indicators = npt.NDArray[np.bool_]


def indicators(labels: Sequence[Collection[str]], classes: Sequence[str]) -> Indicators:
    """Turn each item's labels into a row: bool, (items, classes). Labels outside ``classes`` are ignored."""
    return np.array([[name in row for name in classes] for row in labels], dtype=bool).reshape(-1, len(classes))


def correct(truth: Indicators, predicted: Indicators) -> npt.NDArray[np.bool_]:
    """Tell which items have exactly the right classes: bool, (items,)."""
    same: npt.NDArray[np.bool_] = (truth == predicted).all(axis=1)
    return same


def accuracy(truth: Indicators, predicted: Indicators) -> float:
    """Share of items with exactly the right classes, in [0, 1]. Raises ValueError without items."""
    if not len(truth):
        raise ValueError("there are no items to measure accuracy on")
    return float(correct(truth, predicted).mean())


def label_accuracy(truth: Indicators, predicted: Indicators) -> npt.NDArray[np.float64]:
    """Share of items on which each class was rightly given or withheld: (classes,), in [0, 1]."""
    shares: npt.NDArray[np.float64] = (truth == predicted).mean(axis=0)
    return shares


def support(truth: Indicators) -> npt.NDArray[np.int64]:
    """Number of items that have each class: (classes,)."""
    counts: npt.NDArray[np.int64] = truth.sum(axis=0, dtype=np.int64)
    return counts


def recall(truth: Indicators, predicted: Indicators) -> npt.NDArray[np.float64]:
    """Share of each class's items that were given the class: (classes,), in [0, 1]; nan for a class without items."""
    counts = support(truth)
    found = (truth & predicted).sum(axis=0).astype(np.float64)
    shares: npt.NDArray[np.float64] = np.divide(found, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return shares


def confusion(truth: Indicators, predicted: Indicators) -> npt.NDArray[np.int64]:
    """Count the items of each class (rows) that were given each class (columns): (classes, classes)."""
    return truth.astype(np.int64).T @ predicted.astype(np.int64)


def report(
    labels: Sequence[Collection[str]], given: Sequence[Collection[str]], classes: Sequence[str], choice: Choice
) -> dict[str, Any]:
    """Sum up predictions as JSON: accuracy, each class's recall and support, the confusion matrix.

    ``labels`` and ``given`` hold each item's true and predicted class names; ``given`` is empty where a prediction
    failed. Kind ``multiple`` adds each class's own accuracy. Raises ValueError without items.
    """
    truth, predicted = indicators(labels, classes), indicators(given, classes)
    shares, counts = recall(truth, predicted), support(truth)
    summary: dict[str, Any] = {
        "items": len(truth),
        "accuracy": accuracy(truth, predicted),
        "recall": {
            name: None if np.isnan(share) else float(share) for name, share in zip(classes, shares, strict=True)
        },
        "support": {name: int(count) for name, count in zip(classes, counts, strict=True)},
        "confusion": confusion(truth, predicted).tolist(),
    }
    if choice == "multiple":
        own = label_accuracy(truth, predicted)
        summary["label_accuracy"] = {name: float(share) for name, share in zip(classes, own, strict=True)}
    return summary


def chosen(logits: npt.NDArray[np.floating[Any]], choice: Choice) -> Indicators:
    """Turn logits (items, classes) into predictions: the largest, or with ``multiple`` all at 0 and above."""
    if choice == "multiple":
        return logits >= 0
    given = np.zeros(logits.shape, dtype=bool)
    given[np.arange(len(logits)), logits.argmax(axis=1)] = True
    return given


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
    """Turn logits (items, classes) into probabilities: softmax, or with ``multiple`` one sigmoid per class."""
    values = logits.astype(np.float64)
    if choice == "multiple":
        shares: npt.NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(values, -500, 500)))
        return shares
    grown = np.exp(values - values.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))
