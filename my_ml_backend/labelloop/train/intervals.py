"""Bootstrap intervals, for all metrics and resamples at once (numpy alone).

Items are drawn with replacement from all items, not class by class: the test side is itself a chance draw, so that the
share of each class is part of what is uncertain. Percentile method (Efron and Tibshirani 1993, chapter 13).

``weights`` is float64 (resamples, items): how often each resample drew each item. ``truth`` and ``predicted`` are bool
(items, classes), ``scores`` float64 (items, classes).
"""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Indicators = npt.NDArray[np.bool_]

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
