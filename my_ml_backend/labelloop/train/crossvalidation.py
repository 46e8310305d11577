"""Cross-validation of a head: its folds, how strongly to regularise it, and its logits of pictures it has not seen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from labelloop.train import metrics
from labelloop.train.axes import Axes
from labelloop.train.logistic import Features, Linear, Matrix, Regression, Shown, fit_parts, one_thread
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
class Problem:
    """What a head learns from: features (n, features), classes shown (n, classes), weights of the answers likewise.

    With ``mirrored``, the features of the mirror images, it learns from both and answers with the mean over both.
    ``added`` are more features and the classes they show: always learned from, whatever is held out, and never asked
    about. Without ``scaled`` features are taken as they are: the stronger ones are to count for more. ``strengths`` are
    those to choose from; ``default`` is left only for what is clearly better, None: the lowest log-loss decides.
    ``axes`` are those that features are on; layers are always on the features themselves.
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
    axes: Axes | None = None

    def turned(self) -> "Problem":
        """Give the same problem on its principal axes, once for all that is asked of it and of its parts."""
        if self.axes is not None:
            return self
        if not self.scaled:
            return replace(self, axes=Axes.plain(self.features))
        more, others = (self.features[:0], self.shown[:0]) if self.added is None else self.added
        parts = [one for one in (self.features, more, self.mirrored) if one is not None and len(one)]
        axes, rows = Axes.of(np.concatenate(parts) if len(parts) > 1 else parts[0])
        count = len(self.features)
        added = None if self.added is None else (rows[count : count + len(more)], others)
        mirrored = None if self.mirrored is None else rows[-count:]
        return replace(self, features=rows[:count], added=added, mirrored=mirrored, axes=axes)

    def asked(self, at: npt.NDArray[np.intp]) -> Features:
        """Give what is answered for: with mirror images the mean of both."""
        rows = self.features[at]
        return rows if self.mirrored is None else mean(rows, self.mirrored[at])

    def take(self, at: npt.NDArray[np.intp]) -> "Problem":
        """Give a part of the samples."""
        weights = None if self.weights is None else self.weights[at]
        mirrored = None if self.mirrored is None else self.mirrored[at]
        return replace(self, features=self.features[at], shown=self.shown[at], weights=weights, mirrored=mirrored)


def mean(straight: Features, mirrored: Features) -> Features:
    """Average the features of pictures and of their mirror images."""
    return np.asarray((straight + mirrored) / 2, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Heads:
    """Heads on a problem, fitted together: one has not seen the samples of the first of ``held``, and so on.

    ``regression`` holds all that is learned from; ``learned`` (heads, n) tells which head learns from which.
    """

    problem: Problem
    held: Sequence[Rows]
    regression: Regression
    learned: Shown

    @classmethod
    def of(cls, problem: Problem, held: Sequence[Rows]) -> "Heads":
        """Say from what they learn."""
        problem = problem.turned()
        assert problem.axes is not None  # noqa: S101 - it is turned
        count = len(problem.shown)
        rows, shown, weights, sample = [problem.features], [problem.shown], [problem.weights], [np.arange(count)]
        if problem.mirrored is not None:
            half = np.full(problem.shown.shape, 0.5) if problem.weights is None else problem.weights / 2
            rows, shown, weights, sample = [*rows, problem.mirrored], shown * 2, [half, half], sample * 2
        if problem.added is not None:
            more, others = problem.added
            told = None if weights[0] is None else np.ones(others.shape)
            rows, shown, weights = [*rows, more], [*shown, others], [*weights, told]
            sample.append(np.full(len(more), count))
        owner, learned = np.concatenate(sample), np.ones((len(held), count + 1), dtype=bool)
        for part, at in zip(learned, held, strict=True):
            part[at] = False
        counted = [one for one in weights if one is not None]
        regression = Regression(
            np.concatenate(rows) if len(rows) > 1 else rows[0],
            problem.axes.spread,
            np.concatenate(shown),
            problem.choice,
            np.concatenate(counted) if counted else None,
        )
        return cls(problem, held, regression, learned[:, owner])

    def fit(self, strength: float, start: Sequence[Linear] = ()) -> list[Linear]:
        """Fit them, on the axes of the problem; ``start`` is where the search begins."""
        return fit_parts(self.regression, strength, self.learned, start)

    def logits(self, found: Sequence[Linear]) -> Matrix:
        """Give the logits of samples, (samples, classes), each by the head that has not seen it."""
        logits = np.zeros(self.problem.shown.shape)
        with one_thread():
            for linear, at in zip(found, self.held, strict=True):
                logits[at] = linear.logits(self.problem.asked(at))
        return logits

    def folded(self, found: Sequence[Linear]) -> list[Linear]:
        """Give layers on the features themselves."""
        axes = self.problem.axes
        assert axes is not None  # noqa: S101 - it is turned
        return [axes.fold(linear) for linear in found]


def solve(problem: Problem, strength: float) -> Linear:
    """Fit the head to all samples."""
    heads = Heads.of(problem, [np.arange(0)])
    return heads.folded(heads.fit(strength))[0]


@dataclass(frozen=True, slots=True)
class Validated:
    """The strength that cross-validation chose, and with it each sample's logits, (n, classes), unseen.

    ``found`` are the layers of the ``heads`` at that strength.
    """

    strength: float
    logits: Matrix
    heads: Heads
    found: Sequence[Linear]


def cross_validate(
    problem: Problem, seed: int, strengths: tuple[float, ...] = (), known: Validated | None = None
) -> Validated | None:
    """Cross-validate the strengths, the problem's own where none are given; None with too few samples.

    The default, if any, is left for another strength only where that one's log-loss is lower by more than its standard
    error over samples: with few samples the lowest is a matter of chance. Stronger and weaker ones are looked at as
    long as the log-loss falls, without a default all. Five folds, beyond 300 samples three.
    ``known`` is what has been found of this very problem at its default.
    """
    if len(problem.shown) < _FEWEST:
        return None
    strengths = strengths or problem.strengths
    count = FOLDS if len(problem.shown) <= _MANY else _FOLDS_OF_MANY
    heads = Heads.of(problem, [held for _, held in folds(problem.shown, count, seed)])
    tried: dict[int, tuple[Validated, Matrix]] = {}

    def look(at: int, start: Sequence[Linear]) -> float:
        found = heads.fit(strengths[at], start)
        logits = heads.logits(found)
        tried[at] = Validated(strengths[at], logits, heads, found), _losses(problem, logits)
        return float(tried[at][1].mean())

    if problem.default is None:
        for at in range(len(strengths)):
            look(at, tried[at - 1][0].found if at else ())
        return min(tried.values(), key=lambda one: float(one[1].mean()))[0]
    default = strengths.index(problem.default) if problem.default in strengths else 0
    if known is not None and known.strength == strengths[default]:
        tried[default] = known, _losses(problem, known.logits)
        first = float(tried[default][1].mean())
    else:
        first = look(default, ())
    for towards in (-1, 1):
        at, lowest = default, first
        while 0 <= at + towards < len(strengths):
            found, at = tried[at][0].found, at + towards
            loss = look(at, found)
            if loss >= lowest:
                break
            lowest = loss
    places = sorted(tried)
    best = _clearly_best(np.stack([tried[at][1] for at in places]), places.index(default))
    return tried[places[best]][0]


def unseen(problem: Problem, strength: float, seed: int, pictures: Sequence[str] | None = None) -> Matrix:
    """Give the logits of all samples, (n, classes), each by a head of five that has not seen it.

    Samples of the same picture (by its hash, where given) are held out together.
    """
    heads = Heads.of(problem, [held for _, held in folds(problem.shown, FOLDS, seed, pictures)])
    return heads.logits(heads.fit(strength))


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
