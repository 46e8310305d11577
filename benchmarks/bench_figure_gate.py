"""How often the gate lets a version pass that finds regions truly better, equally well, or worse.

``python -m benchmarks.bench_figure_gate`` makes up items: what is true in them is as hard for both versions, and each
has its own luck, so that two equally good ones differ on some regions. Items have 2.5 regions on average where F1
decides, some of them none, and 8 of three labels where average precision does. A version that is worse misses more and
invents more; how good it is, items without end would say.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri  # type: ignore[import-untyped]

from labelloop.run.figure_gate import judge
from labelloop.run.finders import Contest, Finder, Passed
from labelloop.run.resampled import F1, AveragePrecision
from labelloop.run.verdict import GateRule

Vector = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

_SHARED, _ITEMS_OWN = 0.85, 0.3
"""Shares of the variance: what both versions share of a region's difficulty, and what its item's regions share."""

_RULE = GateRule(resamples=500)
_SIZES = (10, 20, 40, 80, 300)
_BETTER = (0.03, 0.01, 0.0, -0.03, -0.05, -0.10)
_CHAMPION = 0.82


@dataclass(frozen=True)
class Things:
    """Things to find, or to take for one: each one's item, label, and how hard it is."""

    item: Whole
    label: Whole
    hard: Vector

    @classmethod
    def drawn(cls, items: Vector, mean: float, labels: int, random: np.random.Generator) -> "Things":
        """Draw them; ``items`` holds how hard each item is."""
        item = np.repeat(np.arange(len(items)), random.poisson(mean, len(items)))
        own = random.normal(size=len(item))
        hard = np.sqrt(_ITEMS_OWN) * items[item] + np.sqrt(1 - _ITEMS_OWN) * own
        return cls(item, random.integers(0, labels, len(item)), hard)

    def taken(self, share: float, random: np.random.Generator) -> Vector:
        """Give how sure a version is of each: above 0 for those that it takes, a ``share`` of all."""
        luck = random.normal(size=len(self.item))
        return np.asarray(ndtri(share) - np.sqrt(_SHARED) * self.hard - np.sqrt(1 - _SHARED) * luck)

    def count(self, items: int, labels: int, chosen: npt.NDArray[np.bool_]) -> Vector:
        """Count the chosen ones by item and label."""
        counts = np.zeros((items, labels))
        np.add.at(counts, (self.item[chosen], self.label[chosen]), 1)
        return counts


class TestSide:
    """Items with what is true of them, and what could be invented."""

    def __init__(self, items: int, random: np.random.Generator, mean: float, labels: int) -> None:
        self.items, self.labels, self.random = items, labels, random
        hard = random.normal(size=items)
        self.true, self.false = (Things.drawn(hard, mean, labels, random) for _ in range(2))

    def by_f1(self, name: str, reached: float) -> Finder:
        """Make up what a version finds whose F1 is ``reached``: it misses and invents as much."""
        right, wrong = self.true.taken(reached, self.random) > 0, self.false.taken(1 - reached, self.random) > 0
        counts = self._counts(right, wrong)
        return Finder(name, counts, counts)

    def by_precision(self, name: str, quality: float) -> Finder:
        """Make up detections with scores, of nearly all that is true and of as much that is not."""
        right, wrong = self.true.taken(quality, self.random), self.false.taken(1 - quality, self.random)
        # What is hardly to be seen is not detected at all, as by a least score.
        seen, taken = right > -1, wrong > -1
        figure = AveragePrecision(
            np.concatenate((self.true.item[seen], self.false.item[taken])),
            np.concatenate((self.true.label[seen], self.false.label[taken])),
            np.asarray(ndtr(np.concatenate((right[seen], wrong[taken])))),
            np.concatenate((np.ones(seen.sum(), dtype=bool), np.zeros(taken.sum(), dtype=bool))),
            self.true.count(self.items, self.labels, np.ones(len(self.true.item), dtype=bool)),
        )
        return Finder(name, figure, self._counts(right > 0, wrong > 0))

    def _counts(self, right: npt.NDArray[np.bool_], wrong: npt.NDArray[np.bool_]) -> F1:
        true = self.true.count(self.items, self.labels, np.ones(len(right), dtype=bool))
        hits = self.true.count(self.items, self.labels, right)
        return F1(hits, true, hits + self.false.count(self.items, self.labels, wrong))


@dataclass(frozen=True)
class Figure:
    """A figure that decides: how items are made up, and what finds in them when it truly reaches so much."""

    name: str
    mean: float
    labels: int
    find: Callable[[TestSide, str, float], Finder]

    def side(self, items: int, random: np.random.Generator) -> TestSide:
        return TestSide(items, random, self.mean, self.labels)


def _qualities() -> Callable[[float], float]:
    """Find out by many items which average precision a quality gives; gives the quality of a precision."""
    side = TestSide(10_000, np.random.default_rng(0), 8.0, 3)
    qualities = np.linspace(0.6, 0.95, 15)
    reached = [side.by_precision("", quality).value for quality in qualities]
    return lambda precision: float(np.interp(precision, reached, qualities))


def figures() -> list[Figure]:
    quality = _qualities()
    return [
        Figure("span F1", 2.5, 1, TestSide.by_f1),
        Figure("AP50", 8.0, 3, lambda side, name, reached: side.by_precision(name, quality(reached))),
    ]


def contest(figure: Figure, side: TestSide, old: Finder, new: Finder) -> Contest:
    return Contest(figure.name, old, new, tuple("abc")[: figure.labels], _RULE, int(side.random.integers(1 << 30)))


def promoted(figure: Figure, items: int, better: float, times: int) -> float:
    """Share of challengers that pass who are truly better by ``better``."""
    random, passed = np.random.default_rng((items, round(1000 * better) + 1000)), 0
    for _ in range(times):
        side = figure.side(items, random)
        old, new = figure.find(side, "v1", _CHAMPION), figure.find(side, "v2", _CHAMPION + better)
        passed += judge(contest(figure, side, old, new), Passed()).passed
    return passed / times


def lost(figure: Figure, items: int, worse: float, times: int, rounds: int = 20, *, counted: bool = True) -> float:
    """Figure lost in the mean when challengers follow each other on the same items, each worse than the champion."""
    random, losses = np.random.default_rng(items), []
    for _ in range(times):
        side, reached, since = figure.side(items, random), _CHAMPION, Passed()
        champion = figure.find(side, "v1", reached)
        for _ in range(rounds):
            challenger = figure.find(side, "v2", reached - worse)
            verdict = judge(contest(figure, side, champion, challenger), since if counted else Passed())
            if verdict.passed:
                champion, reached, since = challenger, reached - worse, Passed.read(verdict.numbers)
        losses.append(_CHAMPION - reached)
    return float(np.mean(losses))


def run(times: int = 300) -> Mapping[str, Any]:
    rows: dict[str, Any] = {}
    for figure in figures():
        for items in _SIZES:
            for better in _BETTER:
                slow = figure.labels > 1 and items == max(_SIZES)
                found = promoted(figure, items, better, times // 3 if slow else times)
                name = f"{figure.name}, {items} test items, truly better by {better:+.2f}"
                rows[f"{name}: promoted"] = round(found, 2)
    f1 = figures()[0]
    for items in (20, 80, 300):
        chains = [lost(f1, items, 0.02, 2 * times // 15, counted=counted) for counted in (True, False)]
        rows[f"{f1.name}, {items} test items, lost after 20 challengers worse by 0.02"] = round(chains[0], 3)
        rows[f"{f1.name}, {items} test items, the same if nothing that passed were counted"] = round(chains[1], 3)
    return rows


if __name__ == "__main__":
    for what, value in run().items():
        print(f"{what:<90} {value}")
