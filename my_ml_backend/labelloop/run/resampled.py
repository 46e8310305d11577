"""Figures of regions as functions of how often each item is drawn: F1 and average precision (numpy alone).

``weights`` is float64 (resamples, items): how often each resample has each item; ones give the figure itself. All
resamples are computed at once. Of what no drawn item has, a figure is nan.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

_STEPS = np.linspace(0.0, 1.0, 101)
"""The recalls at which COCO reads precision (Lin et al., ECCV 2014; pycocotools, ``Params.recThrs``)."""

_AT_ONCE = 4_000_000
"""Numbers of one array in memory at a time."""


class Values(NamedTuple):
    """A figure of each resample: of the ``whole`` (resamples,), and of each of the ``labels`` (resamples, labels)."""

    whole: Vector
    labels: Matrix


class Figure(Protocol):
    """What a version reaches on items."""

    def __call__(self, weights: Matrix) -> Values:
        """Give the figure of each resample."""
        ...

    def only(self, items: npt.NDArray[np.bool_]) -> Self:
        """Give the figure of some items: bool, (items,)."""
        ...


@dataclass(frozen=True, eq=False)
class F1:
    """F1 of regions: how many of each label are ``right``, ``true`` and ``found``, float64 (items, labels) each."""

    right: Matrix
    true: Matrix
    found: Matrix

    def __call__(self, weights: Matrix) -> Values:
        """Give F1 over all regions, and of each label; nan where none is true and none found."""
        right, true, found = (weights @ counts for counts in (self.right, self.true, self.found))
        return Values(_f1(*(one.sum(axis=1) for one in (right, true, found))), _f1(right, true, found))

    def only(self, items: npt.NDArray[np.bool_]) -> "F1":
        """Give the figure of some items: bool, (items,)."""
        return F1(*(counts[items] for counts in self.counts))

    @property
    def counts(self) -> tuple[Matrix, Matrix, Matrix]:
        """What is right, true and found."""
        return self.right, self.true, self.found


def _f1(right: npt.NDArray[np.float64], true: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> Matrix:
    return ratio(2 * right, true + found)


def ratio(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> Matrix:
    """Divide; nan where there is nothing."""
    shares: Matrix = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
    return shares


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """COCO's average precision: the mean over the labels of which any region is true.

    A row of ``item``, ``label``, ``score`` and ``hit``, (found,) each, is one that was found: where, what, how sure,
    and whether it took a true one. ``true`` counts what is true of each label, float64 (items, labels).
    """

    item: Whole
    label: Whole
    score: Vector
    hit: npt.NDArray[np.bool_]
    true: Matrix

    def __call__(self, weights: Matrix) -> Values:
        """Give the mean over labels, and of each label; nan where none is true."""
        # As COCO sorts: of equal scores the earlier item's first.
        order = np.lexsort((self.item, -self.score))
        by_label = [order[self.label[order] == at] for at in range(self.true.shape[1])]
        labels = np.stack(
            [
                average_precision(weights, self.item[found], self.hit[found], self.true[:, at])
                for at, found in enumerate(by_label)
            ],
            axis=1,
        )
        known = ~np.isnan(labels)
        return Values(ratio(np.nan_to_num(labels).sum(axis=1), known.sum(axis=1).astype(np.float64)), labels)

    def only(self, items: npt.NDArray[np.bool_]) -> "AveragePrecision":
        """Give the figure of some items: bool, (items,)."""
        kept, place = items[self.item], np.cumsum(items) - 1
        rows = (place[self.item[kept]], self.label[kept], self.score[kept], self.hit[kept])
        return AveragePrecision(*rows, self.true[items])


def average_precision(weights: Matrix, item: Whole, hit: npt.NDArray[np.bool_], true: Vector) -> Vector:
    """Give the average precision of one label, (resamples,); nan where none of it is true.

    ``item`` and ``hit``, (found,), are in the order of falling scores; ``true`` (items,). Precision is made to fall
    with recall, and read at 101 recalls, as COCO does; every place of a hit stands for the recalls that it reaches
    first.
    """
    # What comes after the last hit changes nothing, and is most of what a detector finds.
    at = np.flatnonzero(hit)
    end = int(at[-1]) + 1 if len(at) else 0
    item, hit = item[:end], hit[:end]
    if len(weights) * len(item) > _AT_ONCE:
        parts = np.array_split(weights, 1 + len(weights) * len(item) // _AT_ONCE)
        return np.concatenate([average_precision(part, item, hit, true) for part in parts if len(part)])
    total = (weights @ true)[:, None]
    hits, places = np.cumsum(weights[:, item[at]], axis=1), np.cumsum(weights[:, item], axis=1)[:, at]
    precision = np.divide(hits, places, out=np.zeros_like(hits), where=places > 0)
    falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
    # A hit that is not drawn reaches no further than the one before it.
    reached = np.where(hits > 0, np.searchsorted(_STEPS, recall, side="right"), 0)
    steps = np.diff(reached, axis=1, prepend=0)
    found: Vector = np.where(total[:, 0] > 0, (steps * falling).sum(axis=1) / len(_STEPS), np.nan)
    return found
