"""Labels that are probably wrong: what a cross-validated head confidently says otherwise.

Confident learning (Northcutt, Jiang and Chuang, 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels",
section 3): a picture counts as showing a class when the class's score is at least the mean score of that class among
the pictures labeled with it. So a class of which the model is never sure needs less to be believed.

Training leaves out as many of them as labels are likely to be wrong: a sure model is wrong, too, about a few.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labelloop.data.manifest import Manifest
from labelloop.train import metrics
from labelloop.train.crossvalidation import DEFAULT, FOLDS, Problem, cross_validate, unseen
from labelloop.train.logistic import Features, Matrix, Shown
from labelloop.train.metrics import HeldOut
from labelloop.types import Choice, Json

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
    return doubted(Problem(features, shown, choice), seed, pictures)


def doubted(problem: Problem, seed: int, items: Sequence[str] | None = None) -> Examined:
    """Examine the labels of a problem's samples; those of the same item (by its hash) are held out together."""
    strength = DEFAULT
    sample = np.sort(np.random.default_rng(seed).permutation(len(problem.shown))[:_EXAMINED])
    chosen = cross_validate(problem.take(sample), seed)
    if chosen is not None:
        strength = chosen.strength
    scores = metrics.probabilities(unseen(problem, strength, seed, items), problem.choice)
    return Examined(scores, tuple(suspects(scores, problem.shown, problem.choice)))


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


def left_out(held: HeldOut, choice: Choice, confirmed: Shown) -> tuple[Suspect, ...]:
    """Find the suspects that are not to be learned from, by what is known of samples out of sample; most certain first.

    They are as many as the likely share of wrong labels makes. ``confirmed`` (n,) are no suspects, and of each class
    half of the samples stay.
    """
    answers = held.truth.shape[1] if choice == "multiple" else 1
    doubted = HeldOut(held.truth[~confirmed], held.logits[~confirmed])
    most = round(wrong_share(doubted, choice) * len(doubted.truth) * answers)
    found = suspects(metrics.probabilities(held.logits, choice), held.truth, choice)
    return tuple(_sparing([one for one in found if not confirmed[one.row]][:most], held.truth))


def suspected(found: Mapping[str, Suspect], given: Mapping[str, Sequence[int]], names: Sequence[str]) -> list[Json]:
    """List what was found by item (sha256), most certain first, for a run's record (train.dataset.Trained).

    ``given`` maps each item to its classes, which index ``names``.
    """
    return [
        {
            "picture": picture,
            "given": [names[at] for at in given[picture]],
            "suggested": [names[at] for at in one.suggested],
            "score": one.score,
            "given_score": one.given_score,
        }
        for picture, one in sorted(found.items(), key=lambda entry: (entry[1].given_score - entry[1].score, entry[0]))
    ]


def listed(
    found: Examined, items: Sequence[str], given: Sequence[Sequence[int]], confirmed: Shown, manifest: Manifest
) -> Json:
    """List what was found, most certain first, but for what is confirmed, as ``label_errors.json`` has it.

    ``items`` (sha256) are those that were examined, with the classes ``given`` by index; of the tasks that show an item
    the first is named.
    """
    tasks: dict[str, int] = {}
    for item in manifest.items:
        tasks.setdefault(item.content, item.task)
    names = manifest.classes
    errors = [
        {
            "task": tasks[items[one.row]],
            "picture": items[one.row],
            "given": [names[at] for at in given[one.row]],
            "suggested": [names[at] for at in one.suggested],
            "score": one.score,
            "given_score": one.given_score,
        }
        for one in found.suspects
        if not confirmed[one.row]
    ]
    return {"examined": len(items), "folds": FOLDS, "errors": errors}


def _sparing(found: Sequence[Suspect], shown: Shown) -> Iterator[Suspect]:
    """Give those without which every class keeps half of its samples."""
    left, least = shown.sum(axis=0), shown.sum(axis=0) / 2
    for one in found:
        without = left - shown[one.row]
        if (without >= least)[shown[one.row]].all():
            left = without
            yield one


_SHARES = np.linspace(0, 0.5, 101)
_TEMPERATURES = np.geomspace(0.2, 3, 41)
_SMALLEST = 1e-12
_SPREAD = 0.3
"""As for the temperature itself (train/calibration.py)."""


def wrong_share(held: HeldOut, choice: Choice) -> float:
    """Estimate which share of the answers given to samples is wrong: in [0, 0.5].

    The most likely one, with the temperature, where a given answer is the model's with probability 1 - share and any
    other one with the rest (symmetric noise: Natarajan et al., 2013, "Learning with Noisy Labels"). Calibrated scores
    that contradict some labels need no wrong ones; sure scores that do so often cannot be calibrated without.
    """
    others = 1 if choice == "multiple" else max(1, held.truth.shape[1] - 1)
    found: list[tuple[float, float]] = []
    for temperature in _TEMPERATURES:
        scores = metrics.probabilities(held.logits / temperature, choice)
        given = np.where(held.truth, scores, 1 - scores).ravel() if choice == "multiple" else scores[held.truth]
        likely, share = _likeliest(given, others)
        found.append((likely - (np.log(temperature) / _SPREAD) ** 2 / 2, share))
    return max(found, key=lambda one: one[0])[1]


def _likeliest(given: npt.NDArray[np.float64], others: int) -> tuple[float, float]:
    """Find the share of wrong answers that scores of ``given`` ones make likely: log-likelihood and share.

    The logarithm of what is linear in the share has one maximum, so that halving finds it.
    """

    def likely(at: int) -> float:
        share = _SHARES[at]
        mixed = (1 - share - share / others) * given + share / others
        return float(np.log(np.maximum(mixed, _SMALLEST)).sum())

    low, high = 0, len(_SHARES) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if likely(middle + 1) > likely(middle) else (low, middle)
    return likely(low), float(_SHARES[low])


def thresholds(scores: Matrix, shown: Shown) -> npt.NDArray[np.float64]:
    """Mean score of each class among the samples labeled with it, (classes,); infinite for a class without any."""
    counts = shown.sum(axis=0)
    sums = np.where(shown, scores, 0.0).sum(axis=0)
    means: Matrix = np.divide(sums, counts, out=np.full(len(counts), np.inf), where=counts > 0)
    return means
