"""How a model gets better by labels, from what its versions reached, and what more labels would bring.

The share of right items is taken to follow ``end - loss * (labels / 100) ** -pace``: a power law, as Hestness et al.
(2017, "Deep Learning Scaling is Predictable, Empirically") found for many tasks. Versions are few and their
test sides small, so no curve is chosen: all those of a grid are weighed by how likely each makes what was seen, and a
forecast's interval holds what they say together. A curve of this form slows down from its beginning: of a model that
has hardly begun to learn it foretells too little.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from labelloop.types import Json

Values = npt.NDArray[np.float64]

FEWEST = 3
"""Versions of different numbers of labels, without which nothing is foretold."""

POINT = 0.01
"""The gain that a forecast tells the labels for."""

_SPREAD = 3.0
"""The last version has to have so many times the labels of the first: what is closer together tells no direction."""

_FARTHEST = 4.0
"""Labels are foretold up to so many times those there are."""

_SURE = 0.95

_NEW = 0.5
"""What a version's test items count: most of them were those of the version before."""


@dataclass(frozen=True, slots=True)
class Reached:
    """What a version reached: it learned from ``labels`` items, and has ``right`` of ``items`` test items.

    A figure that is no share of items tells as much as so many would (models/headline.py).
    """

    labels: int
    right: float
    items: float


@dataclass(frozen=True, slots=True)
class Gain:
    """By how much the share of right items would rise, with the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What more labels would bring: ``doubled`` with twice the labels, ``end`` with labels without end.

    ``for_a_point`` are the labels for one point more: median and interval, None where that is beyond four times those
    there are. ``now`` is the number of labels it begins with; the ``versions`` told it.
    """

    now: int
    doubled: Gain
    end: Gain
    for_a_point: tuple[int | None, int | None, int | None]
    versions: tuple[Reached, ...]

    def sentence(self) -> str:
        """Say it to who decides whether to go on labeling."""
        likely, soonest, latest = self.for_a_point
        if likely is None:
            told = f"{_FARTHEST - 1:.0f} times as many labels more are likely to bring less than 1 point"
        else:
            until = f"at least {soonest}" if latest is None else f"{soonest} to {latest}"
            told = f"about {likely} more labels for +1 point ({until})"
        return (
            f"{told}; twice the labels: {100 * self.doubled.value:+.1f} points "
            f"({100 * self.doubled.low:+.1f} to {100 * self.doubled.high:+.1f})"
        )

    def to_json(self) -> Json:
        """Give the numbers, as a version's record keeps them."""
        return {
            "labels": self.now,
            "versions": [asdict(one) for one in self.versions],
            "sentence": self.sentence(),
            "for_a_point": dict(zip(("value", "low", "high"), self.for_a_point, strict=True)),
            "doubled": asdict(self.doubled),
            "end": asdict(self.end),
        }


def forecast(versions: Sequence[Reached]) -> Forecast | None:
    """Say what more labels would bring; None where the versions are too few or too close together to tell."""
    seen = [one for one in versions if one.items and one.labels]
    labels = {one.labels for one in seen}
    if len(labels) < FEWEST or max(labels) < _SPREAD * min(labels):
        return None
    now = max(labels)
    end, loss, pace = _curves()
    weights = _weights(seen, end, loss, pace)
    lost = loss * (now / _UNIT) ** -pace

    doubled = Gain(*_spread(lost - loss * (2 * now / _UNIT) ** -pace, weights))
    end_of_all = Gain(*_spread(lost, weights))
    # Of a curve: (now + n) ** -pace is what is left of the loss when a point of it has gone.
    left = np.maximum(lost - POINT, 0.0) / loss
    with np.errstate(divide="ignore", over="ignore"):
        needed = np.where(left > 0, _UNIT * left ** (-1 / pace) - now, np.inf)
    farthest = (_FARTHEST - 1) * now
    likely, soonest, latest = (None if found > farthest else max(1, round(found)) for found in _spread(needed, weights))
    return Forecast(now, doubled, end_of_all, (likely, soonest, latest), tuple(seen))


_UNIT = 100.0
"""Labels at which a curve's loss is told."""


def _curves() -> tuple[Values, Values, Values]:
    """Give the curves of the grid: end, loss at 100 labels, pace; each (curves,)."""
    ends, losses, paces = np.linspace(0.30, 1.0, 36), np.linspace(1e-4, 0.6, 41), np.linspace(0.2, 1.2, 11)
    end, loss, pace = (one.ravel() for one in np.meshgrid(ends, losses, paces, indexing="ij"))
    return end, loss, pace


def _weights(seen: Sequence[Reached], end: Values, loss: Values, pace: Values) -> Values:
    """Weigh the curves by the chance that each gives to what was seen: (curves,), sum 1."""
    chance = np.zeros(len(end))
    for one in seen:
        share = np.clip(end - loss * (one.labels / _UNIT) ** -pace, 1e-6, 1 - 1e-6)
        chance += one.right * np.log(share) + (one.items - one.right) * np.log(1 - share)
    weights = np.exp(_NEW * (chance - chance.max()))
    return np.asarray(weights / weights.sum())


def _spread(values: Values, weights: Values) -> tuple[float, float, float]:
    """Give the weighted median, and the ends between which 95 % of the weight lies."""
    order = np.argsort(values, kind="stable")
    summed = np.cumsum(weights[order])
    tail = (1 - _SURE) / 2
    at = np.minimum(np.searchsorted(summed, (0.5, tail, 1 - tail)), len(values) - 1)
    middle, low, high = (float(values[order[place]]) for place in at)
    return middle, low, high
