"""Two versions that find regions, on the same items: what each reaches by a figure, and what of it may be chance.

A figure of the whole, such as F1, is no sum over items, so McNemar's test does not apply. The paired bootstrap takes
its place (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3): items are drawn with
replacement, each with what both versions made of it, so that what is hard for both is no difference.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from labelloop.run.paired import TOLERANCE
from labelloop.run.resampled import F1, Figure, Values, Vector
from labelloop.run.verdict import GateRule
from labelloop.train.intervals import draws
from labelloop.types import Json

Ends = tuple[float | None, float | None]
"""An interval; nothing where all draws give the same."""


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
    """What contests since the best version let pass: the figure's ``difference``, and its ``variance`` by chance."""

    difference: float = 0.0
    variance: float = 0.0

    @classmethod
    def read(cls, gate: Json) -> "Passed":
        """Read what a champion's verdict noted; nothing where a person has named a new standard."""
        noted = gate.get("since_best") or {}
        return cls(*(float(noted.get(name, 0.0)) for name in ("difference", "variance")))

    def after(self, contest: "Contest") -> "Passed":
        """Add one more contest; nothing is left of it where the version is as good as the best."""
        variance = float(contest.drawn.whole.var())
        total = Passed(self.difference + contest.difference, self.variance + variance)
        return total if total.difference < -TOLERANCE else Passed()

    def p(self, items: int) -> float:
        """The chance of such a loss in all, on so many items, were all versions equally good."""
        return _of_few(self.difference / self.variance**0.5, items) if self.variance > 0 else 0.5

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

    @property
    def p(self) -> float:
        """The chance of such a loss were both equally good."""
        return _p(self.drawn.whole, self.champion.items)

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
            p = _p(self.drawn.labels[:, at], items[at])
            yield self.classes[at], int(items[at]), before, after, p, _ends(self.drawn.labels[:, at], confidence)


def _less(one: Values, other: Values) -> Values:
    """Subtract; where nothing is true there is no difference."""
    return Values(np.nan_to_num(one.whole - other.whole), np.nan_to_num(one.labels - other.labels))


def _joined(blocks: Iterator[Values]) -> Values:
    whole, labels = zip(*blocks, strict=True)
    return Values(np.concatenate(whole), np.concatenate(labels))


def _p(differences: Vector, items: int) -> float:
    """Give the chance of what was drawn where there is no difference: the share of draws that show none, or a gain.

    Draws that show neither count half.
    """
    better, same = differences > TOLERANCE, np.abs(differences) <= TOLERANCE
    share = float(better.mean() + same.mean() / 2)
    least = 1 / (2 * len(differences))
    return _of_few(NormalDist().inv_cdf(min(max(share, least), 1 - least)), items)


def _of_few(z: float, items: int) -> float:
    """Give the chance of a value as low as ``z`` standard errors that were told by so many items.

    Draws of few items vary too little, by (items - 1) / items, and Student's t has longer tails: by the normal
    distribution as Abramowitz and Stegun have it (Handbook of Mathematical Functions, 1964, 26.7.8).
    """
    if items < 2:
        return 0.5
    freedom = items - 1
    t = z * (freedom / items) ** 0.5
    return NormalDist().cdf(t * (1 - 1 / (4 * freedom)) / (1 + t * t / (2 * freedom)) ** 0.5)


def _ends(differences: Vector, confidence: float) -> Ends:
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    # Draws that all give the same say nothing of chance.
    return (float(low), float(high)) if high - low > TOLERANCE else (None, None)
