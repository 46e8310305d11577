"""What the order of tasks is worth: heads that learned from labels it chose, against as many labels chosen at random.

Only a fifth of the labels, those of the validation and test sides, are of random items, so no more than that can be
exchanged, and each of these is measured by heads that have not seen it. What both heads learn from besides are the
train-side labels from before there was an order.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from labelloop.train import metrics
from labelloop.train.crossvalidation import DEFAULT, FOLDS, Problem, folds, solve
from labelloop.train.intervals import paired_difference
from labelloop.types import Json

Rows = npt.NDArray[np.intp]

Right = Callable[[Rows, Rows], npt.NDArray[np.float64]]
"""Says which items a model has right, 1 or 0, (asked,), that learned from others: (learned, asked), by row."""

FEWEST = 20
"""Random items, and as many that were chosen: what fewer say is not worth a sentence."""

_DRAWS = 4
"""Heads per fold, each of other labels that the order chose."""

_MOST = 1000
"""Labels that are exchanged, and as many besides: more would take minutes."""


@dataclass(frozen=True, slots=True)
class OrderGain:
    """By how much the share of right items is higher with ``labels`` that the order chose than with random ones.

    ``besides`` are the labels that both learn from, ``items`` the random ones that both are measured on; ``low`` and
    ``high`` bound ``value`` at 95 %.
    """

    labels: int
    besides: int
    items: int
    value: float
    low: float
    high: float

    @property
    def told(self) -> str:
        """Say what follows from it, if anything does."""
        if self.low > 0:
            return "the order helps"
        return "the order costs" if self.high < 0 else "what the order saves cannot be told from these labels"

    @property
    def sentence(self) -> str:
        """Say it with its figures."""
        value, low, high = (f"{100 * one:+.1f}" for one in (self.value, self.low, self.high))
        return (
            f"{self.told}: {self.labels} labels that it chose give {value} points against as many random ones "
            f"(95 % interval {low} to {high}, {self.items} random items)"
        )

    def to_json(self) -> Json:
        """Turn into plain values."""
        return {**asdict(self), "sentence": self.sentence}


def order_gain(problem: Problem, random: Rows, chosen: Rows, seed: int) -> OrderGain | None:
    """Compare labels of ``random`` and ``chosen`` items of a problem, by row; see ``exchanged``."""
    return exchanged(len(problem.shown), partial(_right, problem), random, chosen, seed)


def exchanged(count: int, right: Right, random: Rows, chosen: Rows, seed: int, most: int = _MOST) -> OrderGain | None:
    """Compare labels of ``random`` and ``chosen`` items, by row of ``count``; None with too few of either.

    ``right`` learns, and ``most`` bounds what is exchanged, and what else is learned from. All other rows are learned
    from besides. Chosen labels are drawn several times, and an item counts by how often
    heads have it right. The interval (Tango 1998) takes what only one has right by parts of items, and is rather too
    wide.
    """
    if min(len(random), len(chosen)) < FEWEST:
        return None
    chance = np.random.default_rng(seed)
    besides = chance.permutation(np.setdiff1d(np.arange(count), np.union1d(random, chosen)))[:most]
    gained, sizes = np.zeros(len(random)), []
    # Parted by chance alone: in folds of the same classes, the random ones would know the shares of classes held out.
    for learned, held in folds(np.ones((len(random), 1), dtype=bool), FOLDS, seed):
        asked, size = random[held], min(len(learned), len(chosen), most)
        sizes.append(size)
        drawn = [chance.choice(random[learned], size, replace=False)]
        drawn += [chance.choice(chosen, size, replace=False) for _ in range(_DRAWS)]
        by_chance, *by_order = (right(np.concatenate((besides, one)), asked) for one in drawn)
        gained[held] = np.mean(by_order, axis=0) - by_chance
    lost, won = float(-np.minimum(gained, 0).sum()), float(np.maximum(gained, 0).sum())
    low, high = paired_difference(lost, won, len(random))
    return OrderGain(min(sizes), len(besides), len(random), float(gained.mean()), low, high)


def _right(problem: Problem, learned: Rows, asked: Rows) -> npt.NDArray[np.float64]:
    """Say which items a head has right that learned from others: 1 or 0, (asked,)."""
    logits = solve(problem.take(learned), DEFAULT).logits(problem.features[asked])
    predicted = metrics.predictions(logits, problem.choice)
    return metrics.correct(problem.shown[asked], predicted).astype(np.float64)
