"""Two versions that find regions, on the same items: what each reaches by a figure, and what of it may be chance.

A figure of the whole, such as F1, is no sum over items, so McNemar's test does not apply. What takes its place is the
randomisation test (Noreen, Computer Intensive Methods for Testing Hypotheses, 1989; of F1: Yeh, COLING 2000): were both
versions equally good, what they made of an item could as well be each other's, so items are swapped between them at
random, and a difference that swaps seldom reach is not chance. Of items that are right or wrong it is McNemar's test.
Intervals are those of the paired bootstrap: items are drawn, each with what both versions made of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from labelloop.run.paired import TOLERANCE
from labelloop.run.resampled import F1, Figure, Matrix, Values, Vector
from labelloop.run.verdict import GateRule
from labelloop.train.intervals import draws
from labelloop.types import Json

Ends = tuple[float | None, float | None]
"""An interval; nothing where all draws give the same."""

_BLOCK = 2_000_000
"""Draws in memory at a time."""


@dataclass(frozen=True, eq=False)
class Finder:
    """What a version finds in the test items: its main ``figure``, and its regions counted.

    ``failed`` items got no prediction, so nothing was found in them.
    """

    version: str
    figure: Figure
    counts: F1
    failed: int = 0

    @property
    def items(self) -> int:
        """How many there are."""
        return len(self.counts.true)

    @cached_property
    def reached(self) -> Values:
        """The figure itself: whole (1,), labels (1, labels)."""
        return self.figure(np.ones((1, self.items)))

    @property
    def value(self) -> float:
        """The figure of the whole; nan where no region is true."""
        return float(self.reached.whole[0])

    @property
    def regions(self) -> tuple[int, int, int]:
        """How many regions are right, missed, and invented."""
        right, true, found = (int(counts.sum()) for counts in self.counts.counts)
        return right, true - right, found - right

    def only(self, items: npt.NDArray[np.bool_]) -> "Finder":
        """Give what it finds in some items: bool, (items,)."""
        return replace(self, figure=self.figure.only(items), counts=self.counts.only(items))

    def told(self) -> str:
        """Say what is right, missed and invented."""
        right, missed, invented = self.regions
        return f"{right} regions right, {missed} missed, {invented} invented"

    def numbers(self) -> Json:
        """Give that as JSON."""
        return dict(zip(("right", "missed", "invented"), self.regions, strict=True))


@dataclass(frozen=True, slots=True)
class Passed:
    """What contests since the best version let pass: the figure's ``difference``, and its ``variance`` by chance.

    ``items`` counts those of which the versions made something else.
    """

    difference: float = 0.0
    variance: float = 0.0
    items: int = 0

    @classmethod
    def read(cls, gate: Json) -> "Passed":
        """Read what a champion's verdict noted; nothing where a person has named a new standard."""
        noted = gate.get("since_best") or {}
        difference, variance = (float(noted.get(name, 0.0)) for name in ("difference", "variance"))
        return cls(difference, variance, int(noted.get("items", 0)))

    def after(self, difference: float, variance: float, items: int) -> "Passed":
        """Add one more contest; nothing is left of it where the version is as good as the best."""
        total = Passed(self.difference + difference, self.variance + variance, self.items + items)
        return total if total.difference < -TOLERANCE else Passed()

    @property
    def p(self) -> float:
        """The chance of such a loss in all, were all versions equally good.

        By Student's t, for few items make no normal distribution, and that by a normal one (Abramowitz and Stegun,
        Handbook of Mathematical Functions, 26.7.8).
        """
        if self.variance <= 0:
            return 0.5
        t, items = self.difference / self.variance**0.5, max(1, self.items)
        return NormalDist().cdf(t * (1 - 1 / (4 * items)) / (1 + t * t / (2 * items)) ** 0.5)

    def numbers(self) -> Json:
        """Give it as JSON."""
        return {"conceded": -self.difference, "since_best": asdict(self)}


@dataclass(frozen=True, eq=False)
class Contest:
    """Two versions on the same items, one label after the other in ``classes``; ``seed`` decides every draw."""

    name: str
    champion: Finder
    challenger: Finder
    classes: Sequence[str]
    rule: GateRule
    seed: int

    @property
    def difference(self) -> float:
        """By how much the challenger's figure is higher."""
        return self.challenger.value - self.champion.value

    @cached_property
    def drawn(self) -> Values:
        """The differences of the bootstrap's resamples."""
        blocks = draws(self.champion.items, self.rule.resamples, self.seed)
        return _joined(_less(self.challenger.figure(one), self.champion.figure(one)) for one in blocks)

    @cached_property
    def swapped(self) -> Values:
        """The differences of versions between which items were swapped."""
        both = self.champion.figure.joined(self.challenger.figure)
        blocks = _swaps(self.champion.items, self.rule.resamples, self.seed)
        return _joined(_less(both(np.hstack((1 - one, one))), both(np.hstack((one, 1 - one)))) for one in blocks)

    @property
    def p(self) -> float:
        """The chance of such a loss were both equally good; what was seen counts half (mid-p)."""
        return _p(self.swapped.whole, self.difference)

    @property
    def differing(self) -> int:
        """On how many items what they found counts differently."""
        pairs = zip(self.champion.counts.counts, self.challenger.counts.counts, strict=True)
        return int(np.any([(one != other).any(axis=1) for one, other in pairs], axis=0).sum())

    def interval(self) -> Ends:
        """Bound the difference."""
        return _ends(self.drawn.whole, self.rule.confidence)

    def labels(self) -> Iterator[tuple[str, int, float, float, float, Ends]]:
        """Give each label with enough items: its name, items, the figure before and after, p, and the interval.

        Intervals are wider by the number of labels, for among many one looks worse by chance (Bonferroni).
        """
        items = (self.champion.counts.true > 0).sum(axis=0)
        judged = [at for at in range(len(self.classes)) if items[at] >= self.rule.class_items]
        confidence = 1 - (1 - self.rule.confidence) / max(1, len(judged))
        for at in judged:
            before, after = (float(side.reached.labels[0, at]) for side in (self.champion, self.challenger))
            p = _p(self.swapped.labels[:, at], after - before)
            yield self.classes[at], int(items[at]), before, after, p, _ends(self.drawn.labels[:, at], confidence)


def _swaps(items: int, times: int, seed: int) -> Iterator[Matrix]:
    """Draw which items are swapped, 1 or 0, (times, items) in all, in blocks that fit into memory."""
    chance, most = np.random.default_rng(seed), max(1, _BLOCK // items)
    for begun in range(0, times, most):
        yield chance.integers(0, 2, (min(most, times - begun), items)).astype(np.float64)


def _less(one: Values, other: Values) -> Values:
    """Subtract; where nothing is true there is no difference."""
    return Values(np.nan_to_num(one.whole - other.whole), np.nan_to_num(one.labels - other.labels))


def _joined(blocks: Iterator[Values]) -> Values:
    whole, labels = zip(*blocks, strict=True)
    return Values(np.concatenate(whole), np.concatenate(labels))


def _p(chances: Vector, seen: float) -> float:
    lower, same = chances < seen - TOLERANCE, np.abs(chances - seen) <= TOLERANCE
    return float(lower.mean() + same.mean() / 2)


def _ends(differences: Vector, confidence: float) -> Ends:
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    # Draws that all give the same say nothing of chance.
    return (float(low), float(high)) if high - low > TOLERANCE else (None, None)
