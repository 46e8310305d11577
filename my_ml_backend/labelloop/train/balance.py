"""Class imbalance: how much each answer counts, so that rare classes are learned as well as frequent ones."""

import numpy as np
import numpy.typing as npt

from labelloop.errors import TrainingError
from labelloop.train.metrics import Indicators, correct, predictions
from labelloop.types import Choice

BALANCES = ("auto", "none", "loss", "sampler")

Matrix = npt.NDArray[np.float64]

_RARE = 0.5  # a class with less than this share of the pictures that the mean class has
_HEAVIEST = 10.0  # times the mean: one picture should not decide a fit
_LOSS = 0.01


def check_balance(name: str) -> None:
    """Raise TrainingError for a way to balance that there is not."""
    if name not in BALANCES:
        raise TrainingError(f"balance {name!r}: LABELLOOP_BALANCE takes {', '.join(BALANCES)}")


def imbalanced(shown: Indicators) -> bool:
    """Tell whether some class that is shown at all is rare: below half of the mean class."""
    counts = shown.sum(axis=0)
    counts = counts[counts > 0]
    return len(counts) > 1 and bool(counts.min() < _RARE * counts.mean())


def class_weights(shown: Indicators, choice: Choice) -> Matrix:
    """Weigh answers against how often they are given: (samples, classes), mean 1, none above 10.

    Kind ``single`` weighs a sample by its class, the same for all columns; ``multiple`` weighs, within each column, the
    samples that show the class against those that do not. Scarcer by n, heavier by n.
    """
    if choice == "multiple":
        share = shown.mean(axis=0)
        given = np.where(shown, share, 1 - share)
    else:
        given = np.broadcast_to(shown.mean(axis=0)[shown.argmax(axis=1)][:, None], shown.shape)
    scarce = 1 / np.maximum(given, 1 / (2 * len(shown)))
    scarce = np.minimum(scarce / scarce.mean(axis=0), _HEAVIEST)
    balanced: Matrix = scarce / scarce.mean(axis=0)
    return balanced


def worth_it(truth: Indicators, plain: Matrix, balanced: Matrix, choice: Choice) -> bool:
    """Tell whether it costs at most a point of accuracy, by logits of held-out samples; never with ``multiple``.

    What it gains is not asked: it is the recall of classes that have too few samples to measure it by. With
    ``multiple``, thresholds gain as much (train/thresholds.py), and leave scores calibrated.
    """
    if choice == "multiple":
        return False
    right = [correct(truth, predictions(logits, choice)).mean() for logits in (plain, balanced)]
    return bool(right[0] - right[1] <= _LOSS)
