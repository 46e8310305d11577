"""Are two samples of one distribution? Tests and measures over arrays, in numpy alone: the web image has no scipy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.integer[Any] | np.floating[Any]]
Doubles = npt.NDArray[np.float64]

PERMUTATIONS = 9_999
"""Of the test on features: the least p-value that it gives is 1 / 10,000."""

_AT_ONCE = 500
"""Permutations whose sums are made at a time: a few megabytes."""

_CHANCE = 50
"""As large permutations after which no more are made; with all of them p is below .005 then."""

_BINS, _PER_BIN = 10, 5
"""Bins of the stability index: deciles, fewer where either sample would have less than so many values in each."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What a test found: its statistic, and how likely one at least as large is without any difference."""

    statistic: float
    p: float


def ks(reference: Numbers, new: Numbers) -> Tested:
    """Compare two samples of numbers by the largest distance of their distribution functions (Kolmogorov, Smirnov).

    The p-value is exact where no value is there twice, and too large, so on the safe side, where some are. Raises
    ValueError for an empty sample.
    """
    m, n = len(reference), len(new)
    if not m or not n:
        raise ValueError("both samples need a value")
    values = np.concatenate([reference, new])
    below = np.searchsorted(np.sort(reference), values, side="right") * n
    distance = int(np.abs(below - np.searchsorted(np.sort(new), values, side="right") * m).max())
    return Tested(distance / (m * n), _share_of_paths_beyond(m, n, distance))


def _share_of_paths_beyond(m: int, n: int, distance: int) -> float:
    """Give the share of all ways to merge m and n values that take the two functions ``distance`` / (m n) apart.

    Walks all ways at once, value by value: ``inside[i]`` is the share that has taken i of the m and never was so far
    apart (Hodges, 1958). What leaves is summed up, so that small shares keep their digits.
    """
    if not distance:
        return 1.0
    taken = np.arange(m + 1)
    inside, beyond = np.zeros(m + 1), 0.0
    inside[0] = 1.0
    for step in range(m + n):
        of_first = inside * ((m - taken) / (m + n - step))
        inside -= of_first
        inside[1:] += of_first[:-1]
        outside = np.abs(taken * n - (step + 1 - taken) * m) >= distance
        beyond += float(inside[outside].sum())
        inside[outside] = 0.0
    return min(beyond, 1.0)


def psi(reference: Numbers, new: Numbers) -> float:
    """Measure how far two samples of numbers are apart: the population stability index, 0 for no difference.

    The bins are the reference's deciles, fewer for small samples; half a value is added to each, so that an empty one
    counts. Two samples of one distribution have about (bins - 1) (1/m + 1/n) (Yurdakul, 2018), which is taken off. A
    measure of size, in which .1 is usually called small and .25 large; whether it may be chance, ``ks`` says.
    """
    most = max(2, min(_BINS, len(reference) // _PER_BIN, len(new) // _PER_BIN))
    edges = _edges(reference, most)
    before, after = _shares(reference, edges), _shares(new, edges)
    found = float(((after - before) * np.log(after / before)).sum())
    return max(0.0, found - len(edges) * (1 / len(reference) + 1 / len(new)))


def typical(reference: Numbers, new: Numbers) -> Doubles:
    """Say of each new number how typical it is of what has changed: the gain in share of its decile, (n,)."""
    edges = _edges(reference, _BINS)
    gained = _shares(new, edges) - _shares(reference, edges)
    found: Doubles = gained[np.searchsorted(edges, new, side="left")]
    return found


def _edges(values: Numbers, bins: int) -> Doubles:
    """Give what lies between bins of equally many values; fewer, where values are the same."""
    found: Doubles = np.unique(np.quantile(values.astype(np.float64), np.linspace(0, 1, bins + 1)[1:-1]))
    return found


def _shares(values: Numbers, edges: Doubles) -> Doubles:
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1) + 0.5
    shares: Doubles = counts / counts.sum()
    return shares


@dataclass(frozen=True, slots=True)
class Compared(Tested):
    """What the test on features found, and for each new row how typical it is of what has changed, (n,)."""

    witness: Doubles


def mmd(reference: Numbers, new: Numbers, seed: int, permutations: int = PERMUTATIONS) -> Compared:
    """Compare two samples of rows by the squared maximum mean discrepancy, with a permutation test.

    The kernel is Gaussian, as wide as the median distance of two rows, each column first divided by its deviation
    (Gretton et al., 2012). Rows are (m, columns) and (n, columns). Where so many permutations are as large that chance
    explains it anyway, no more are made (Besag and Clifford, 1991).
    """
    rows = np.concatenate([reference, new]).astype(np.float64)
    kernel = _kernel(_standardised(rows))
    weights = np.concatenate([np.full(len(reference), -1 / len(reference)), np.full(len(new), 1 / len(new))])
    found = float(weights @ kernel @ weights)
    as_large, made = 0, 0
    for shuffled in _shuffles(weights, permutations, seed):
        larger = np.flatnonzero(np.einsum("ij,ij->i", shuffled @ kernel, shuffled) >= found - 1e-12)
        if as_large + len(larger) >= _CHANCE:
            p = _CHANCE / (made + int(larger[_CHANCE - as_large - 1]) + 1)
            break
        as_large, made = as_large + len(larger), made + len(shuffled)
    else:
        p = (1 + as_large) / (1 + made)
    return Compared(found, p, (kernel @ weights)[len(reference) :])


def principal(reference: Numbers, new: Numbers, count: int) -> tuple[Doubles, Doubles]:
    """Turn rows to the ``count`` directions in which both samples together vary most: (m, count) and (n, count)."""
    rows = np.concatenate([reference, new]).astype(np.float64)
    rows -= rows.mean(axis=0)
    directions = np.linalg.svd(rows, full_matrices=False)[2][:count]
    return rows[: len(reference)] @ directions.T, rows[len(reference) :] @ directions.T


def _shuffles(weights: Doubles, times: int, seed: int) -> Iterator[Doubles]:
    """Yield so many permutations of the weights, some rows of them at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, times, _AT_ONCE):
        yield rng.permuted(np.tile(weights, (min(_AT_ONCE, times - start), 1)), axis=1)


def _standardised(rows: Doubles) -> Doubles:
    deviations = rows.std(axis=0)
    found: Doubles = (rows - rows.mean(axis=0)) / np.where(deviations > 1e-9, deviations, 1.0)
    return found


def _kernel(rows: Doubles) -> Doubles:
    squares = (rows**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * rows @ rows.T, 0.0)
    apart = distances[np.triu_indices(len(rows), 1)]
    kernel: Doubles = np.exp(-distances / max(float(np.median(apart)) if len(apart) else 0.0, 1e-12))
    return kernel


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust p-values for how many there are (Holm, 1979): those below a level are wrong, any of them, at that rate."""
    adjusted, least = [1.0] * len(ps), 0.0
    for rank, at in enumerate(sorted(range(len(ps)), key=lambda at: ps[at])):
        least = max(least, min(1.0, (len(ps) - rank) * ps[at]))
        adjusted[at] = least
    return adjusted
