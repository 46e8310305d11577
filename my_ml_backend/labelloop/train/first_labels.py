"""Which items to label first, before anything is known of any: those that stand for the most others, and differ.

Each item is chosen so that all items are as similar as can be to the nearest one that is chosen or labeled: greedy
facility location (Nemhauser, Wolsey, Fisher 1978), so every beginning of the order is a good choice too. It is after
what is typical and diverse, as TypiClust is (Hacohen et al. 2022), which clusters.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from labelloop.train.logistic import Standard

Features = npt.NDArray[np.float32]


def typical(features: Features, count: int, labeled: Sequence[int] = ()) -> list[int]:
    """Order rows of features (items, features), at most ``count``; ``labeled`` rows are there already.

    Similarity is the cosine between standardised features, whose square matrix is held: 4 MB for 1,000 items. Of
    items that are alike all but the first come late.
    """
    if not len(features):
        return []
    rows = Standard.of(features).rows(features)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    alike = rows @ rows.T
    open_rows = np.ones(len(rows), dtype=bool)
    open_rows[list(labeled)] = False
    nearest = alike[list(labeled)].max(axis=0, initial=-1.0)
    order: list[int] = []
    for _ in range(min(count, int(open_rows.sum()))):
        gained = np.maximum(alike, nearest).sum(axis=1)
        at = int(np.where(open_rows, gained, -np.inf).argmax())
        order.append(at)
        open_rows[at] = False
        nearest = np.maximum(nearest, alike[at])
    return order


def first_labels(
    features: Features, held_out: Sequence[bool], count: int, seed: int, labeled: Sequence[int] = ()
) -> list[int]:
    """Order rows of features (items, features), at most ``count``: typical ones of the train side, others at random.

    ``held_out`` says which items are on the validation or test side. They stay where chance puts them, so that
    figures taken on them are those of all items; every other place goes to the next of the train side's ``typical``.
    ``labeled`` rows are not among them.
    """
    held, done = np.asarray(held_out, dtype=bool), set(labeled)
    order = np.random.default_rng(seed).permutation(len(features))
    places = [int(at) for at in order if int(at) not in done][:count]
    train = np.flatnonzero(~held)
    there = [at for at, row in enumerate(train) if int(row) in done]
    wanted = sum(not held[at] for at in places)
    chosen = iter(int(train[at]) for at in typical(features[train], wanted, there))
    return [at if held[at] else next(chosen) for at in places]
