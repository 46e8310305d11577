"""Labels that are probably wrong: what a cross-validated head confidently says otherwise.

Confident learning (Northcutt, Jiang and Chuang, 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels",
section 3): a picture counts as showing a class when the class's score is at least the mean score of that class among
the pictures labeled with it. So a class of which the model is never sure needs less to be believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labelloop.train import metrics
from labelloop.train.crossvalidation import DEFAULT, Problem, cross_validate, folds, solve
from labelloop.train.logistic import Features, Matrix, Shown
from labelloop.types import Choice

FOLDS = 5
_EXAMINED = 2000
"""Pictures that the regularisation is chosen by."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """One sample whose label is probably wrong, by row; ``score`` is the suggestion's, ``given_score`` the label's.

    With choice ``multiple`` they are those of the one class that is most confidently missing or too much.
    """

    row: int
    suggested: tuple[int, ...]
    score: float
    given_score: float


@dataclass(frozen=True, slots=True)
class Examined:
    """Scores out of sample, (n, classes) in [0, 1], and the suspects, most certain first."""

    scores: Matrix
    suspects: tuple[Suspect, ...]


def label_errors(
    features: Features,
    shown: Shown,
    choice: Choice,
    seed: int,
    pictures: Sequence[str] | None = None,
) -> Examined:
    """Examine labels: ``features`` (n, features), ``shown`` (n, classes) tells which sample has which label.

    Samples of the same picture (by its hash) are held out together.
    """
    problem, strength = Problem(features, shown, choice), DEFAULT
    sample = np.sort(np.random.default_rng(seed).permutation(len(shown))[:_EXAMINED])
    chosen = cross_validate(problem.take(sample), seed)
    if chosen is not None:
        strength = chosen.strength
    logits = np.zeros(shown.shape)
    for learned, held in folds(shown, FOLDS, seed, pictures):
        logits[held] = solve(problem.take(learned), strength).logits(features[held])
    scores = metrics.probabilities(logits, choice)
    return Examined(scores, tuple(suspects(scores, shown, choice)))


def suspects(scores: Matrix, shown: Shown, choice: Choice) -> list[Suspect]:
    """Find confident disagreements of scores (n, classes) with labels, most certain first."""
    found = (_single if choice == "single" else _multiple)(scores, shown)
    return sorted(found, key=lambda one: (one.given_score - one.score, one.row))


def _single(scores: Matrix, shown: Shown) -> list[Suspect]:
    confident = scores >= thresholds(scores, shown)
    best = np.where(confident, scores, -1.0).argmax(axis=1)
    given = shown.argmax(axis=1)
    rows = np.flatnonzero(confident.any(axis=1) & (best != given) & (scores.argmax(axis=1) == best))
    return [
        Suspect(int(row), (int(best[row]),), float(scores[row, best[row]]), float(scores[row, given[row]]))
        for row in rows
    ]


def _multiple(scores: Matrix, shown: Shown) -> list[Suspect]:
    missing = ~shown & (scores >= thresholds(scores, shown)) & (scores > 0.5)
    surplus = shown & (1 - scores >= thresholds(1 - scores, ~shown)) & (scores < 0.5)
    wrong, sure = missing | surplus, np.where(missing, scores, 1 - scores)
    found = []
    for row in np.flatnonzero(wrong.any(axis=1)):
        score = float(sure[row][wrong[row]].max())
        suggested = np.flatnonzero(shown[row] ^ wrong[row])
        found.append(Suspect(int(row), tuple(int(column) for column in suggested), score, 1 - score))
    return found


def thresholds(scores: Matrix, shown: Shown) -> npt.NDArray[np.float64]:
    """Mean score of each class among the samples labeled with it, (classes,); infinite for a class without any."""
    counts = shown.sum(axis=0)
    sums = np.where(shown, scores, 0.0).sum(axis=0)
    means: Matrix = np.divide(sums, counts, out=np.full(len(counts), np.inf), where=counts > 0)
    return means
