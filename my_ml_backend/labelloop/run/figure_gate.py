"""The gate of kinds that find regions: versions meet by a figure of the whole, such as F1, on the same items.

A figure is no sum over items, so McNemar's test does not apply. What takes its place is the randomisation test (Noreen,
Computer Intensive Methods for Testing Hypotheses, 1989; of F1: Yeh, COLING 2000): were both versions equally good, what
they made of an item could as well be each other's, so items are swapped between them at random, and a difference that
swaps seldom reach is not chance. Of items that are right or wrong it is McNemar's test. Intervals are those of the
paired bootstrap: items are drawn, each with what both versions made of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from labelloop.run.gate import unjudged
from labelloop.run.paired import TOLERANCE
from labelloop.run.resampled import F1, Figure, Matrix, Values, Vector
from labelloop.run.verdict import GateRule, Verdict
from labelloop.train.intervals import FEW, draws, too_few
from labelloop.types import Json

Ends = tuple[float | None, float | None]
"""An interval; nothing where all draws give the same."""

_BLOCK = 2_000_000
"""Draws in memory at a time."""

_FIRST_MUST_BEAT = 0.0
"""What finding nothing reaches, by F1 as by average precision."""


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


def judge_first(name: str, version: Finder, interval: Ends, left_out: int = 0) -> Verdict:
    """Judge the first version: it must beat finding nothing. ``interval`` bounds its figure, called ``name``.

    ``left_out``: further test items, which it could not be asked about.
    """
    if not version.items or (left_out and version.items < FEW):
        return unjudged(version.version, "it could be asked about", version.items, left_out)
    if np.isnan(version.value):
        return _nothing_true(version, left_out)
    passed = version.value > _FIRST_MUST_BEAT
    told = f"{name} {version.value:.3f}{_bounds(interval)} on {version.items} test items: {version.told()}"
    beaten = "finding nothing has 0" if passed else "no better than finding nothing"
    opening = "becomes the first champion" if passed else "is rejected"
    sentence = f"{version.version} {opening}: {told}; {beaten}"
    numbers: Json = {"test_items": version.items, "figure": name, "challenger": version.value, "conceded": 0.0}
    numbers |= {"majority": _FIRST_MUST_BEAT, "regions": {"challenger": version.numbers()}, "few": version.items < FEW}
    remarks = [*too_few(version.items), *_failures(version), *_left_out(left_out, numbers)]
    return Verdict(passed, "; ".join([sentence, *remarks]), numbers)


def meet_bootstrap(first: Verdict, contest: Contest, asked: int) -> Verdict:
    """Judge a first version that has passed once more: it must beat the endpoint that has predicted until now, too.

    The ``contest`` is on the items that the endpoint answered, of those that it was ``asked`` about; where they are too
    few, the verdict stands.
    """
    bootstrap, count = contest.champion.version, contest.champion.items
    if not count or count < min(FEW, asked) or np.isnan(contest.difference):
        why = f"{bootstrap} answered {count} of {asked} test items, too few for it to be compared with"
        return replace(first, sentence=f"{first.sentence}; {why}")
    passed = contest.difference > 0
    told = _met(contest, rejected=not passed)
    told += [f"{asked - count} test items that {bootstrap} did not answer do not count there"] if asked > count else []
    told += [first.sentence] if passed else [f"{bootstrap} predicts until a version beats it", *too_few(count)]
    numbers = first.numbers | {"bootstrap": {"version": bootstrap, "items": count, **_shares(contest)}}
    return Verdict(passed, "; ".join(told), numbers)


def judge(contest: Contest, since: Passed = Passed(), left_out: int = 0) -> Verdict:
    """Judge a challenger: its figure not worse beyond chance, here or since the best version, and no label fallen.

    ``since`` is what the champion's own verdict noted. ``left_out``: further test items, which not both could be asked
    about. The same arguments give the same verdict.
    """
    challenger, count = contest.challenger, contest.challenger.items
    if not count or (left_out and count < FEW):
        return unjudged(
            challenger.version, f"both it and {contest.champion.version} could be asked about", count, left_out
        )
    if np.isnan(contest.difference):
        return _nothing_true(challenger, left_out)
    reasons, remark, numbers = _whole(contest, since)
    fallen, told, labels = _labels(contest)
    found = [*reasons, *fallen]
    parts = [*_met(contest, rejected=bool(found)), *(found or [one for one in (remark, told) if one])]
    numbers = {"test_items": count, **_shares(contest), "few": count < FEW, **numbers, **labels, "seed": contest.seed}
    parts += [*too_few(count), *_failures(challenger), *_left_out(left_out, numbers)]
    return Verdict(not found, "; ".join(parts), numbers)


def _whole(contest: Contest, since: Passed) -> tuple[list[str], str, Json]:
    """Judge the whole: reasons to reject, a remark where there are none, and numbers."""
    difference, p, error = contest.difference, contest.p, contest.rule.error
    total = since.after(difference, float(np.square(contest.swapped.whole).mean()), contest.differing)
    reasons, remark = [], ""
    if difference < -TOLERANCE and p <= error:
        reasons.append(f"it is worse beyond chance: {_test(p, error)}")
    elif difference < -TOLERANCE and total.p <= error:
        told = f"{total.difference:+.3f} in all, p = {total.p:.2g}, at most {error:g} rejects"
        reasons.append(f"with what passed since the best version it is worse beyond chance: {told}")
    elif difference < -TOLERANCE:
        remark = f"it is measured worse, which may be chance: {_test(p, error)}"
    decided_by = {"method": "randomisation test", "items": contest.champion.items, "p": p, "error": error}
    return reasons, remark, {"decided_by": decided_by, **total.numbers()}


def _test(p: float, error: float) -> str:
    return f"items swapped between equally good versions, p = {p:.2g}, at most {error:g} rejects"


def _labels(contest: Contest) -> tuple[list[str], str, Json]:
    """Judge each label: reasons to reject, a remark, and numbers; where the whole is better, none decides."""
    judged, margin = list(contest.labels()), contest.rule.margin
    error = contest.rule.error / max(1, len(judged))
    better, reasons, told = contest.difference > TOLERANCE, list[str](), list[str]()
    numbers: Json = {}
    for name, items, before, after, p, (low, high) in judged:
        key = f"class {name}"
        difference = {"value": after - before, "low": low, "high": high}
        numbers[key] = {"items": items, "champion": before, "challenger": after, "difference": difference}
        if before - after > margin + TOLERANCE:
            text = f"{key} falls from {before:.3f} to {after:.3f} on {items} items"
            proven = p <= error
            reasons += [text] if proven and not better else []
            told.append(f"{text}, where the whole is better" if proven else f"{text}, which may be chance")
    if not judged:
        told.append(f"no class has the {contest.rule.class_items} items to be judged alone")
    return reasons, "; ".join(told) or f"no class falls by more than {margin:g}", {"classes": numbers}


def _met(contest: Contest, *, rejected: bool) -> list[str]:
    """Say how the two met, as the beginning of a verdict's sentence: part by part."""
    champion, challenger = contest.champion, contest.challenger
    opening = f"{challenger.version} is rejected" if rejected else f"{challenger.version} replaces {champion.version}"
    reached = f"{contest.name} {challenger.value:.3f} on {challenger.items} test items"
    return [
        f"{opening}: {reached} against {champion.value:.3f} of {champion.version}",
        f"difference {contest.difference:+.3f}{_between(contest.interval(), contest.rule.confidence)}",
        f"{challenger.told()}, against {', '.join(map(str, champion.regions))}",
    ]


def _shares(contest: Contest) -> Json:
    low, high = contest.interval()
    sides = {"champion": contest.champion, "challenger": contest.challenger}
    return {
        "figure": contest.name,
        **{name: side.value for name, side in sides.items()},
        "difference": {"value": contest.difference, "low": low, "high": high},
        "regions": {name: side.numbers() for name, side in sides.items()},
    }


def _nothing_true(version: Finder, left_out: int) -> Verdict:
    """Leave a version unjudged where no test item has anything to be found."""
    numbers: Json = {"test_items": version.items, "few": True, "conceded": 0.0} | (
        {"left_out": left_out} if left_out else {}
    )
    told = f"none of the {version.items} test items has a region, so nothing shows what it finds: label more"
    return Verdict(False, f"{version.version} cannot be judged: kept, not promoted; {told}", numbers)


def _failures(version: Finder) -> list[str]:
    return [f"{version.failed} predictions of {version.version} failed and found nothing"] if version.failed else []


def _left_out(count: int, numbers: Json) -> list[str]:
    if not count:
        return []
    numbers["left_out"] = count
    return [f"{count} test items that not both could be asked about do not count"]


def _bounds(interval: Ends) -> str:
    low, high = interval
    return "" if low is None or high is None else f" (95 % interval {low:.3f} to {high:.3f})"


def _between(interval: Ends, confidence: float) -> str:
    low, high = interval
    return "" if low is None or high is None else f", {confidence * 100:g} % interval [{low:+.3f}, {high:+.3f}]"


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
