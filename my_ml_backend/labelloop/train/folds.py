"""Folds for cross-validation: alike in their classes, and no picture in two of them."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]


def folds(
    shown: npt.NDArray[np.bool_], count: int, seed: int, pictures: Sequence[str] | None = None
) -> Iterator[tuple[Rows, Rows]]:
    """Yield ``count`` pairs of rows, to fit on and held out; every row is held out once.

    ``shown`` (n, classes) tells which sample shows which class: samples that show the same are dealt out in turn.
    Samples of the same picture (by its hash, where given) are held out together.
    """
    fold = _dealt(shown, count, seed, pictures)
    for number in range(count):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def _dealt(
    shown: npt.NDArray[np.bool_], count: int, seed: int, pictures: Sequence[str] | None
) -> npt.NDArray[np.int64]:
    names = np.arange(len(shown)) if pictures is None else np.asarray(pictures)
    _, first, group = np.unique(names, return_index=True, return_inverse=True)
    chance = np.random.default_rng(seed).permutation(len(first))
    _, combination = np.unique(shown[first], axis=0, return_inverse=True)
    order = np.lexsort((chance, combination.ravel()))
    fold = np.empty(len(first), dtype=np.int64)
    fold[order] = np.arange(len(first)) % count
    dealt: npt.NDArray[np.int64] = fold[group.ravel()]
    return dealt
