"""Paired bootstrap: how far a difference measured on the same test items may be chance (numpy alone).

Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3: percentile intervals. Items are drawn with
replacement, each with what both versions made of it, so that what is hard for both is no difference.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_AT_ONCE = 4_000_000
"""Draws in memory at a time."""


def difference_interval(lost: int, gained: int, items: int, confidence: float) -> tuple[float, float]:
    """Bound the difference in the share of right items, in [-1, 1], of a pair that differs on ``lost`` and ``gained``.

    What drawing without end would give, computed: of ``items`` draws each loses, gains or keeps an item, so that their
    sum has the coefficients of a polynomial's power. Nothing is left to a seed or the order of the items, and one item
    more can only move both bounds up.
    """
    drawn = np.array([lost, items - lost - gained, gained]) / items
    length = 1 << (2 * items).bit_length()  # a power of two that holds all 2 * items + 1 coefficients
    chances = np.fft.irfft(np.fft.rfft(drawn, length) ** items, length)
    tail = (1 - confidence) / 2
    low, high = np.searchsorted(np.cumsum(chances), [tail, 1 - tail])
    return float(low - items) / items, float(high - items) / items


def gap_interval(old: Floats, new: Floats, confidence: float, resamples: int, seed: int) -> tuple[float, float]:
    """Bound the difference in calibration error, new less old.

    ``old`` and ``new`` are (items, bins): each item's confidence less what came true, in the columns of its bins.
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
