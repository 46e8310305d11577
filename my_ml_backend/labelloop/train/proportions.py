"""Intervals and tests of counts, which keep an honest width where all items are right or none differs.

The bootstrap draws from the items at hand: where all of them are right, every draw says so, and its interval has no
width whatever the number of items. These come from the counts themselves.
"""

import math
from statistics import NormalDist

FEW = 20
"""Items below which nothing is judged: the interval of one that has all of 19 right still reaches down to 0.83."""

TOO_FEW = "too few test items to judge"

_HALVINGS = 60


def too_few(items: int) -> list[str]:
    """Say so where the test items are too few for anybody to tell."""
    return [f"{TOO_FEW} ({items} of at least {FEW})"] if items < FEW else []


def wilson(hits: int, items: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bound a share of which ``hits`` of ``items`` (at least one) were seen: both ends in [0, 1].

    The score interval of Wilson (J. Am. Stat. Assoc. 22, 1927, 209-212), without continuity correction.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = hits / items, z * z / items
    middle = share + spread / 2
    half = z * math.sqrt(share * (1 - share) / items + spread / items / 4)
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return 0.0 if hits == 0 else max(0.0, low), 1.0 if hits == items else min(1.0, high)


def paired_difference(lost: int, gained: int, items: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bound the difference of two shares measured on the same ``items``, in [-1, 1]: second less first.

    ``lost`` items only the first has right, ``gained`` only the second. The score interval of Tango (Statistics in
    Medicine 17, 1998, 891-908): all differences that its score test does not reject. Where the two never differ it is
    plus and minus z^2 / (items + z^2). Its ends exclude 0 exactly where McNemar's test without correction does.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    seen = (gained - lost) / items
    low = _boundary(lost, gained, items, z, seen, -1.0)
    high = _boundary(lost, gained, items, z, seen, 1.0)
    return low, high


def _boundary(lost: int, gained: int, items: int, z: float, inside: float, outside: float) -> float:
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


def _score(lost: int, gained: int, items: int, difference: float) -> float:
    """Give Tango's score statistic (without sign) against a true ``difference``."""
    a = 2 * items
    b = -gained - lost + (2 * items - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    only_first = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = items * (2 * only_first + difference * (1 - difference))
    away = abs(gained - lost - items * difference)
    return away / math.sqrt(variance) if variance > 0 else math.inf if away else 0.0


def mcnemar(lost: int, gained: int) -> float:
    """Give the two-sided p of as uneven a split of the items that only one has right, were both equally good.

    The exact conditional test of McNemar (Psychometrika 12, 1947, 153-157): binomial with one half.
    """
    differ, fewer = lost + gained, min(lost, gained)
    tail = sum(math.comb(differ, count) for count in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**differ))
