"""Cross-validation of a head: its folds, how strongly to regularise it, and its logits of pictures it has not seen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from labelloop.train import metrics
from labelloop.train.logistic import Features, Linear, Matrix, Shown, Standard, fit_rows
from labelloop.types import Choice

Rows = npt.NDArray[np.intp]


def folds(
    shown: npt.NDArray[np.bool_], count: int, seed: int, pictures: Sequence[str] | None = None
) -> Iterator[tuple[Rows, Rows]]:
    """Yield ``count`` pairs of rows, to fit on and held out; every row is held out once.

    ``shown`` (n, classes) tells which sample shows which class: samples that show the same are dealt out in turn.
    Samples of the same picture (by its hash, where given) are held out together.
    """
    fold = _dealt(shown, count, seed, pictures)
    for number in range(count):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def _dealt(
    shown: npt.NDArray[np.bool_], count: int, seed: int, pictures: Sequence[str] | None
) -> npt.NDArray[np.int64]:
    names = np.arange(len(shown)) if pictures is None else np.asarray(pictures)
    _, first, group = np.unique(names, return_index=True, return_inverse=True)
    chance = np.random.default_rng(seed).permutation(len(first))
    _, combination = np.unique(shown[first], axis=0, return_inverse=True)
    order = np.lexsort((chance, combination.ravel()))
    fold = np.empty(len(first), dtype=np.int64)
    fold[order] = np.arange(len(first)) % count
    dealt: npt.NDArray[np.int64] = fold[group.ravel()]
    return dealt


STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
DEFAULT = 0.1

_FEWEST = 6  # pictures; fewer cannot be parted into anything one could learn from
_MANY, FOLDS, _FOLDS_OF_MANY = 300, 5, 3


@dataclass(frozen=True, slots=True)
class Validated:
    """The strength that cross-validation chose, and with it each sample's logits, (n, classes), unseen."""

    strength: float
    logits: Matrix


@dataclass(frozen=True, slots=True)
class Problem:
    """What a head learns from: features (n, features), classes shown (n, classes), weights of the answers likewise.

    With ``mirrored``, the features of the mirror images, it learns from both and answers with the mean over both.
    ``added`` are more features and the classes they show: always learned from, whatever is held out, and never asked
    about. Without ``scaled`` features are taken as they are: the stronger ones are to count for more. ``strengths`` are
    those to choose from; ``default`` is left only for what is clearly better, None: the lowest log-loss decides.
    """

    features: Features
    shown: Shown
    choice: Choice
    weights: Matrix | None = None
    mirrored: Features | None = None
    added: tuple[Features, Shown] | None = None
    scaled: bool = True
    strengths: tuple[float, ...] = STRENGTHS
    default: float | None = DEFAULT

    def learned(self, at: npt.NDArray[np.intp] | slice) -> tuple[Features, Shown, Matrix | None]:
        """Give what is learned from the samples ``at``: features, classes shown, weights."""
        rows, shown = self.features[at], self.shown[at]
        weights = None if self.weights is None else self.weights[at]
        if self.added is not None:
            more, others = self.added
            rows, shown = np.concatenate((rows, more)), np.concatenate((shown, others))
            weights = None if weights is None else np.concatenate((weights, np.ones(others.shape)))
        if self.mirrored is None:
            return rows, shown, weights
        halves = np.full(shown.shape, 0.5) if weights is None else weights / 2
        return np.concatenate((rows, self.mirrored[at])), np.tile(shown, (2, 1)), np.tile(halves, (2, 1))

    def asked(self, at: npt.NDArray[np.intp]) -> Features:
        """Give what is answered for: with mirror images the mean of both."""
        rows = self.features[at]
        return rows if self.mirrored is None else mean(rows, self.mirrored[at])

    def take(self, at: npt.NDArray[np.intp]) -> "Problem":
        """Give a part of the samples."""
        weights = None if self.weights is None else self.weights[at]
        mirrored = None if self.mirrored is None else self.mirrored[at]
        return replace(self, features=self.features[at], shown=self.shown[at], weights=weights, mirrored=mirrored)

    def standard(self, rows: Features) -> Standard:
        """Say how features are scaled, by those that are learned from."""
        return Standard.of(rows) if self.scaled else Standard.plain(rows.shape[1])


def mean(straight: Features, mirrored: Features) -> Features:
    """Average the features of pictures and of their mirror images."""
    return np.asarray((straight + mirrored) / 2, dtype=np.float32)


def solve(problem: Problem, strength: float) -> Linear:
    """Fit the head to all samples."""
    rows, shown, weights = problem.learned(slice(None))
    standard = problem.standard(rows)
    return standard.fold(fit_rows(standard.rows(rows), shown, problem.choice, strength, weights))


def cross_validate(problem: Problem, seed: int, strengths: tuple[float, ...] = ()) -> Validated | None:
    """Cross-validate the strengths, the problem's own where none are given; None with too few samples.

    The default, if any, is left for another strength only where that one's log-loss is lower by more than its standard
    error over samples: with few samples the lowest is a matter of chance. Five folds, beyond 300 samples three.
    """
    if len(problem.shown) < _FEWEST:
        return None
    strengths = strengths or problem.strengths
    given = np.zeros((len(strengths), *problem.shown.shape))
    count = FOLDS if len(problem.shown) <= _MANY else _FOLDS_OF_MANY
    for learned, held in folds(problem.shown, count, seed):
        rows, shown, weights = problem.learned(learned)
        standard, found = problem.standard(rows), None
        rows, asked = standard.rows(rows), standard.rows(problem.asked(held))
        for at, strength in enumerate(strengths):
            found = fit_rows(rows, shown, problem.choice, strength, weights, found)
            given[at, held] = found.logits(asked)
    losses = np.stack([_losses(problem, logits) for logits in given])
    if problem.default is None:
        best = int(losses.mean(axis=1).argmin())
    else:
        best = _clearly_best(losses, strengths.index(problem.default)) if problem.default in strengths else 0
    return Validated(strengths[best], given[best])


def unseen(problem: Problem, strength: float, seed: int, pictures: Sequence[str] | None = None) -> Matrix:
    """Give the logits of all samples, (n, classes), each by a head of five that has not seen it.

    Samples of the same picture (by its hash, where given) are held out together.
    """
    logits = np.zeros(problem.shown.shape)
    for learned, held in folds(problem.shown, FOLDS, seed, pictures):
        logits[held] = solve(problem.take(learned), strength).logits(problem.asked(held))
    return logits


def _losses(problem: Problem, logits: Matrix) -> Matrix:
    """Log-loss of each sample; where answers are weighted, so are samples."""
    losses = metrics.log_losses(problem.shown, logits, problem.choice)
    return losses if problem.weights is None else losses * np.where(problem.shown, problem.weights, 0).max(axis=1)


def _clearly_best(losses: Matrix, default: int) -> int:
    """Choose among (strengths, samples)."""
    change = losses - losses[default]
    error = change.std(axis=1) / np.sqrt(change.shape[1])
    mean = np.where(change.mean(axis=1) < -error, change.mean(axis=1), 0.0)
    return int(mean.argmin()) if mean.min() < 0 else default
