"""How much speaks against a version, item by item: tests that one may look at after every item, without an end.

Whoever looks at an ordinary test again and again finds something in the end. Here a gambler bets on every item that the
version is worse. Where it is not, no bet can be expected to win, so that the stakes ever grow by a factor of 1/p with a
chance of p at most (Ville, 1939; Shafer, 2021; for bounded means Waudby-Smith and Ramdas, 2024).
"""

import math

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

_BETS = np.arange(1, 40) / 40
"""Shares of the stake that are bet on each item, each by a gambler of its own; their mean is what counts."""

_HALVINGS = 60


def chances(differences: npt.ArrayLike) -> Doubles:
    """Say after each item how likely so much evidence is, ever, where no difference is to be expected: (..., items).

    ``differences`` (..., items) are by how much another version does better on an item, in [-1, 1]: at most the chance
    given here is it that they look like this or worse at any time, where each is expected to be 0 or less given those
    before it. Their order decides nothing but what was said in between. Raises ValueError for other numbers.
    """
    found = np.asarray(differences, dtype=np.float64)
    if not (np.abs(found) <= 1).all():
        raise ValueError("a difference of two shares lies between -1 and 1")
    stakes = np.log1p(found[..., None] * _BETS).cumsum(axis=-2)
    most = stakes.max(axis=-1, keepdims=True, initial=0.0)
    grown = most[..., 0] + np.log(np.exp(stakes - most).mean(axis=-1))
    return np.asarray(np.exp(-np.maximum(grown, 0.0)))


def at_least(kept: int, begun: int, error: float) -> float:
    """Bound a share from below by ``kept`` of ``begun``: it is lower with a chance of ``error`` at most.

    That is Chernoff's bound, which needs no large numbers. 0 where there are none.
    """
    if not begun or not kept:
        return 0.0
    seen, low, high = kept / begun, 0.0, kept / begun
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if begun * _divergence(seen, middle) > math.log(1 / error):
            low = middle
        else:
            high = middle
    return low


def _divergence(seen: float, share: float) -> float:
    """Give the Kullback-Leibler divergence of two coins, in nats; infinite where the second never shows heads."""
    if share <= 0.0:
        return math.inf
    rest = (1 - seen) * math.log((1 - seen) / (1 - share)) if seen < 1 else 0.0
    return seen * math.log(seen / share) + rest
