"""Intervals and tests: the bootstrap for all metrics and resamples at once, and those of counts (numpy alone).

Items are drawn with replacement from all items, not class by class: the test side is itself a chance draw, so that the
share of each class is part of what is uncertain. Percentile method (Efron and Tibshirani 1993, chapter 13). Where all
items are right, every draw says so and its interval has no width; those of counts keep an honest one.

``weights`` is float64 (resamples, items): how often each resample drew each item. ``truth`` and ``predicted`` are bool
(items, classes), ``scores`` float64 (items, classes).
"""

import math
from collections.abc import Iterator, Mapping
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from labelloop.train.metrics import Indicators

Matrix = npt.NDArray[np.float64]

RATES = ("f1", "precision", "recall", "auroc")


def rates(truth: Indicators, predicted: Indicators, scores: Matrix) -> Mapping[str, Matrix]:
    """Give each class's rates against the rest, (classes,); nan where no item, or (auroc) every item, has the class.

    The values are those of torchmetrics, which needs torch: a worker that lets others train has none.
    """
    once = np.ones((1, len(truth)))
    found = {**shares(once, truth, predicted), "auroc": areas(once, truth, scores)}
    return {rate: found[rate][0] for rate in RATES}


INTERVAL = 0.95
"""Share of the resamples between the two ends."""

_BLOCK = 4_000_000


def draws(items: int, resamples: int, seed: int) -> Iterator[Matrix]:
    """Draw ``resamples`` samples of ``items``, in blocks that fit into memory."""
    chance = np.random.default_rng(seed)
    most = max(1, _BLOCK // items)
    for start in range(0, resamples, most):
        rows = min(most, resamples - start)
        drawn = chance.integers(items, size=(rows, items)) + items * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * items).reshape(rows, items).astype(np.float64)


def ends(values: Matrix) -> tuple[float, float]:
    """Give the interval's ends of a metric's values (resamples,); those that are not defined (nan) are left out."""
    known = values[~np.isnan(values)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, ((1 - INTERVAL) / 2, (1 + INTERVAL) / 2))
    return float(low), float(high)


def shares(weights: Matrix, truth: Indicators, predicted: Indicators) -> Mapping[str, Matrix]:
    """Give each class's precision, recall, f1 and support: (resamples, classes).

    A class that no drawn item has is nan; a class that was never given has precision 0.
    """
    hits, support, given = (weights @ shown.astype(np.float64) for shown in (truth & predicted, truth, predicted))
    nothing = np.where(support > 0, 0.0, np.nan)
    return {
        "precision": np.divide(hits, given, out=nothing.copy(), where=(given > 0) & (support > 0)),
        "recall": np.divide(hits, support, out=nothing.copy(), where=support > 0),
        "f1": np.divide(2 * hits, support + given, out=nothing.copy(), where=support > 0),
        "support": support,
    }


def areas(weights: Matrix, truth: Indicators, scores: Matrix) -> Matrix:
    """Give each class's area under the ROC curve, against the rest: (resamples, classes).

    The chance that an item of the class scores higher than another, ties counting half (Hanley and McNeil 1982). It is
    nan where a resample has only one of the two.
    """
    return np.stack([_area(weights, truth[:, at], scores[:, at]) for at in range(truth.shape[1])], axis=1)


def _area(weights: Matrix, positive: Indicators, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # the first of each group of equal scores
    ordered, shown = weights[:, order], positive[order]
    with_class = np.add.reduceat(ordered * shown, starts, axis=1)
    without = np.add.reduceat(ordered * ~shown, starts, axis=1)
    below = np.cumsum(without, axis=1) - without / 2
    pairs = with_class.sum(axis=1) * without.sum(axis=1)
    found = (with_class * below).sum(axis=1)
    area: npt.NDArray[np.float64] = np.divide(found, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
    return area


def averages(values: Matrix, support: Matrix) -> tuple[Matrix, Matrix]:
    """Average values (resamples, classes) where defined: plainly, and weighted by ``support``; each (resamples,)."""
    known = ~np.isnan(values)
    return _mean(values, known.astype(np.float64)), _mean(values, known * support)


def _mean(values: Matrix, weight: Matrix) -> Matrix:
    total = weight.sum(axis=1)
    summed = (np.nan_to_num(values) * weight).sum(axis=1)
    mean: Matrix = np.divide(summed, total, out=np.full(len(values), np.nan), where=total > 0)
    return mean


FEW = 20
"""Items below which nothing is judged: the interval of one that has all of 19 right still reaches down to 0.83."""

TOO_FEW = "too few test items to judge"

_HALVINGS = 60


def too_few(items: int) -> list[str]:
    """Say so where the test items are too few for anybody to tell."""
    return [f"{TOO_FEW} ({items} of at least {FEW})"] if items < FEW else []


def wilson(hits: float, items: float, confidence: float = 0.95) -> tuple[float, float]:
    """Bound a share of which ``hits`` of ``items`` (more than none) were seen: both ends in [0, 1].

    The score interval of Wilson (J. Am. Stat. Assoc. 22, 1927, 209-212), without continuity correction.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = hits / items, z * z / items
    middle = share + spread / 2
    half = z * math.sqrt(share * (1 - share) / items + spread / items / 4)
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return 0.0 if hits == 0 else max(0.0, low), 1.0 if hits == items else min(1.0, high)


def paired_difference(lost: float, gained: float, items: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bound the difference of two shares measured on the same ``items``, in [-1, 1]: second less first.

    ``lost`` items only the first has right, ``gained`` only the second: numbers of items, or parts of them. The score
    interval of Tango (Statistics in Medicine 17, 1998, 891-908): all differences that its score test does not reject.
    Where the two never differ it is plus and minus z^2 / (items + z^2). Its ends exclude 0 exactly where McNemar's
    test without correction does.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    seen = (gained - lost) / items
    low = _boundary(lost, gained, items, z, seen, -1.0)
    high = _boundary(lost, gained, items, z, seen, 1.0)
    return low, high


def _boundary(lost: float, gained: float, items: int, z: float, inside: float, outside: float) -> float:
    """Halve the way from the difference that was seen to the end of the scale, until the test rejects."""
    if inside == outside:
        return outside
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        if _score(lost, gained, items, middle) <= z:
            inside = middle
        else:
            outside = middle
    return outside


def _score(lost: float, gained: float, items: int, difference: float) -> float:
    """Give Tango's score statistic (without sign) against a true ``difference``."""
    a = 2 * items
    b = -gained - lost + (2 * items - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    only_first = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = items * (2 * only_first + difference * (1 - difference))
    away = abs(gained - lost - items * difference)
    return away / math.sqrt(variance) if variance > 0 else math.inf if away else 0.0


def worse(lost: int, gained: int) -> float:
    """Give the chance of as many ``lost`` among the items that only one of two has right, were both equally good.

    One-sided, in (0, 1): near 0 the second one is worse. McNemar's exact test (Psychometrika 12, 1947, 153-157) as
    mid-p: what was seen counts half, so that the chance of a false alarm is close to the one asked for, and not far
    below it as that of the exact test (Fagerland, Lydersen and Laake, BMC Med. Res. Methodol. 13, 2013, 91).
    """
    differ = lost + gained
    ways = twice = math.comb(differ, lost)
    for count in range(lost, differ):
        ways = ways * (differ - count) // (count + 1)
        twice += 2 * ways
    return float(twice / 2 ** (differ + 1))
