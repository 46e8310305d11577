"""How much time pre-annotations save: the seconds that annotators take with them and without, and their difference.

Chance chose which tasks are shown without one, so that the two differ in nothing else. A task that was left open, over
lunch perhaps, counts for nothing: a time is left out that is more than ``LEFT_OPEN`` times its side's median.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ENOUGH = 10
"""Timed tasks on each side without which nothing is said."""

LEFT_OPEN = 10

MOST = 1000
"""Times that are compared of each side; of more, some are taken evenly."""

_DRAWS, _SEED = 2000, 0

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Saved:
    """What pre-annotations saved, with the ends of an interval of 95 %.

    ``shown`` and ``control`` are how many timed annotations there are with and without one, ``begun`` how many began
    with one in all. ``seconds`` are saved with each, and ``minutes`` with all of them: middle, low and high end, None
    while either side has fewer than ``ENOUGH``. Below zero is time that was lost.
    """

    shown: int
    control: int
    begun: int
    seconds: tuple[float, float, float] | None = None
    minutes: tuple[float, float, float] | None = None


def time_saved(shown: Sequence[float], control: Sequence[float], begun: int) -> Saved:
    """Compare the seconds of annotations with and without a pre-annotation, all above zero; ``begun`` as there."""
    if min(len(shown), len(control)) < ENOUGH:
        return Saved(len(shown), len(control), begun)
    low, middle, high = difference(attended(shown), attended(control))
    each = begun / 60
    return Saved(len(shown), len(control), begun, (middle, low, high), (middle * each, low * each, high * each))


def attended(seconds: Sequence[float]) -> Doubles:
    """Leave out the times of tasks that were left open; at least one is given."""
    found = np.asarray(seconds[:: 1 + (len(seconds) - 1) // MOST], dtype=np.float64)
    return found[found <= LEFT_OPEN * np.median(found)]


def difference(shown: Doubles, control: Doubles) -> tuple[float, float, float]:
    """Bound how much longer the mean of ``control`` is than that of ``shown``: low end, middle, high end.

    By the bootstrap-t (Efron and Tibshirani 1993, chapter 12.5): times have a long tail, and of few of them the
    percentiles of the bootstrap make an interval that is too short.
    """
    chance = np.random.default_rng(_SEED)
    some, others = (chance.choice(times, (_DRAWS, len(times))) for times in (shown, control))
    middle, spread = float(control.mean() - shown.mean()), float(_spread(shown, control))
    spreads = _spread(some, others)
    # Where all that was drawn is one and the same time, the draw says nothing.
    said = spreads > 0
    if not spread or not said.any():
        return middle, middle, middle
    off = (others.mean(axis=1) - some.mean(axis=1) - middle)[said] / spreads[said]
    most, least = np.quantile(off, (0.975, 0.025))
    return middle - float(most) * spread, middle, middle - float(least) * spread


def _spread(shown: Doubles, control: Doubles) -> Doubles:
    """Give the standard error of the difference of means, for each row of the two."""
    found: Doubles = np.sqrt(sum(times.var(axis=-1, ddof=1) / times.shape[-1] for times in (shown, control)))
    return found
