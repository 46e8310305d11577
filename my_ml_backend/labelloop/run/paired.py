"""Two versions on the same items: who has how many right, and what of the difference may be chance."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labelloop.train.intervals import paired_difference, worse
from labelloop.types import Json

TOLERANCE = 1e-9
"""Shares of a few items are exact in decimals; this is for their binary form."""


@dataclass(frozen=True, slots=True)
class Paired:
    """How many items ``before`` (champion) and ``after`` (challenger) have right; which only one has: lost, gained.

    ``low`` and ``high`` bound the difference of the two shares, after less before, by Tango's score interval.
    """

    items: int
    before: int
    after: int
    lost: int
    gained: int
    low: float
    high: float

    @property
    def difference(self) -> float:
        """Share of right items, after less before, in [-1, 1]."""
        return (self.after - self.before) / self.items

    @property
    def p(self) -> float:
        """The chance of such a loss were both equally good: what the gate decides by."""
        return worse(self.lost, self.gained)

    def told(self, champion: str, challenger: str, confidence: float, *, rejected: bool) -> list[str]:
        """Say how the two met, as the beginning of a verdict's sentence: part by part."""
        opening = f"{challenger} is rejected" if rejected else f"{challenger} replaces {champion}"
        met = (
            f"{opening}: {self.after} of {self.items} test items right ({self.after / self.items:.3f}) "
            f"against {self.before} ({self.before / self.items:.3f}) of {champion}"
        )
        interval = f"{confidence * 100:g} % interval [{self.low:+.3f}, {self.high:+.3f}]"
        return [met, f"difference {self.difference:+.3f}, {interval}"]

    def numbers(self) -> Json:
        """Give shares and the interval as JSON."""
        return {
            "items": self.items,
            "champion": self.before / self.items,
            "challenger": self.after / self.items,
            "lost": self.lost,
            "gained": self.gained,
            "difference": {"value": self.difference, "low": self.low, "high": self.high},
        }


def compare(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_], confidence: float) -> Paired:
    """Compare which items champion and challenger have right: bool, (items,) each, at least one item."""
    items, lost, gained = len(before), int((before & ~after).sum()), int((after & ~before).sum())
    low, high = paired_difference(lost, gained, items, confidence)
    return Paired(items, int(before.sum()), int(after.sum()), lost, gained, low, high)


Floats = npt.NDArray[np.float64]

_AT_ONCE = 4_000_000
"""Draws in memory at a time."""


def gap_interval(old: Floats, new: Floats, confidence: float, resamples: int, seed: int) -> tuple[float, float]:
    """Bound the difference in calibration error, new less old.

    ``old`` and ``new`` are (items, bins): each item's confidence less what came true, in the columns of its bins.
    Percentiles of the paired bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3):
    items are drawn with replacement, each with what both versions made of it, so that what is hard for both is no
    difference.
    """
    order = np.lexsort(np.hstack([old, new]).T)  # whatever the order in which the items came
    old, new = old[order], new[order]
    items, differences = len(old), []
    for drawn in _draws(items, resamples, seed):
        times = np.stack([np.bincount(row, minlength=items) for row in drawn]).astype(np.float64)
        differences.append((np.abs(times @ new) - np.abs(times @ old)).sum(axis=1) / items)
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(differences), [tail, 1 - tail])
    return float(low), float(high)


def _draws(items: int, resamples: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // items)
    for begun in range(0, resamples, at_once):
        yield random.integers(0, items, size=(min(at_once, resamples - begun), items))
