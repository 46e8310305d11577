"""Two versions on the same items: who has how many right, and what of the difference may be chance."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labelloop.run.bootstrap import difference_interval
from labelloop.train.proportions import paired_difference
from labelloop.types import Json

TOLERANCE = 1e-9
"""Shares of a few items are exact in decimals; this is for their binary form."""


@dataclass(frozen=True, slots=True)
class Paired:
    """How many items ``before`` (champion) and ``after`` (challenger) have right; which only one has: lost, gained.

    ``low`` and ``high`` bound the difference of the two shares, after less before, by the paired bootstrap: the gate
    decides by them. ``shown`` are the ends that people are told, by Tango's score interval: it has a width where the
    two never differ, and the bootstrap has none.
    """

    items: int
    before: int
    after: int
    lost: int
    gained: int
    low: float
    high: float
    shown: tuple[float, float]

    @property
    def difference(self) -> float:
        """Share of right items, after less before, in [-1, 1]."""
        return (self.after - self.before) / self.items

    @property
    def noise(self) -> float:
        """Standard error of the difference if both were equally good (McNemar, Psychometrika 12, 1947)."""
        return math.sqrt(self.lost + self.gained) / self.items

    @property
    def proven_worse(self) -> bool:
        """Whether the whole interval that decides lies below zero."""
        return self.high < 0

    def told(self, champion: str, challenger: str, confidence: float, *, rejected: bool) -> list[str]:
        """Say how the two met, as the beginning of a verdict's sentence: part by part."""
        opening = f"{challenger} is rejected" if rejected else f"{challenger} replaces {champion}"
        met = (
            f"{opening}: {self.after} of {self.items} test items right ({self.after / self.items:.3f}) "
            f"against {self.before} ({self.before / self.items:.3f}) of {champion}"
        )
        low, high = self.shown
        interval = f"difference {self.difference:+.3f}, {confidence * 100:g} % interval [{low:+.3f}, {high:+.3f}]"
        return [met, interval]

    def numbers(self) -> Json:
        """Give shares and intervals as JSON: ``difference`` as it is shown, ``decided_by`` what the gate looked at."""
        low, high = self.shown
        return {
            "items": self.items,
            "champion": self.before / self.items,
            "challenger": self.after / self.items,
            "lost": self.lost,
            "gained": self.gained,
            "difference": {"value": self.difference, "low": low, "high": high},
            "decided_by": {"method": "paired bootstrap", "low": self.low, "high": self.high},
        }


def compare(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_], confidence: float) -> Paired:
    """Compare which items champion and challenger have right: bool, (items,) each, at least one item."""
    items, lost, gained = len(before), int((before & ~after).sum()), int((after & ~before).sum())
    low, high = difference_interval(lost, gained, items, confidence)
    shown = paired_difference(lost, gained, items, confidence)
    return Paired(items, int(before.sum()), int(after.sum()), lost, gained, low, high, shown)
