"""How many randomly served tasks it takes until a worse version is found, and how often one that is as good is.

``python -m benchmarks rollback`` makes up what two versions have right, a look after every task. Of classes they have
the same right but for a share of tasks that either has right alone; of regions each task gives both a figure in [0, 1].
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.watch.comparison import LEAST
from labelloop.watch.evidence import chances

Doubles = npt.NDArray[np.float64]

_ERROR, _TASKS, _AT_ONCE, _SEED = 0.01, 1000, 100, 7

_CLASSES = ((0.05, 0.05), (0.15, 0.15), (0.08, 0.05), (0.10, 0.05), (0.15, 0.05), (0.25, 0.05), (0.55, 0.05))
"""Shares of tasks that the predecessor alone has right, and the version alone."""

_REGIONS = (0.0, 0.03, 0.06, 0.12, 0.25)
"""By how much the predecessor's F1 of a task is higher on average."""


def run(trials: int = 1000) -> Mapping[str, Any]:
    """Measure; ``trials`` for each row."""
    random, found = np.random.default_rng(_SEED), {}
    for theirs, own in _CLASSES:
        rows = random.random((trials, _TASKS))
        differences = np.asarray((rows < theirs) * 1.0 - ((rows >= theirs) & (rows < theirs + own)), dtype=np.float64)
        found[f"classes {theirs:.2f} {own:.2f}"] = _told(differences)
    for lost in _REGIONS:
        hard = random.beta(4, 2, (trials, _TASKS))
        noise: Doubles = random.normal(0, 0.15, (2, trials, _TASKS))
        theirs_f1 = np.clip(hard + noise[0], 0, 1)
        own_f1 = np.clip(hard + noise[1] - lost, 0, 1)
        found[f"regions {lost:.2f}"] = _told(theirs_f1 - own_f1)
    return found


def _told(differences: Doubles) -> Mapping[str, Any]:
    """Say in which share of trials the version is found to be worse, and after how many tasks half of them do."""
    first = np.concatenate([_first(some) for some in _parts(differences)])
    half = float(np.sort(first)[len(first) // 2])
    shares = {f"found within {tasks}": float((first <= tasks).mean()) for tasks in (50, 100, 300, _TASKS)}
    return {"difference": round(float(differences.mean()), 4), **shares, "half of them after": half}


def _first(differences: Doubles) -> Doubles:
    seen = chances(differences) <= _ERROR
    seen[:, : LEAST - 1] = False
    return np.where(seen.any(axis=1), seen.argmax(axis=1) + 1.0, np.inf)


def _parts(differences: Doubles) -> Iterator[Doubles]:
    for start in range(0, len(differences), _AT_ONCE):
        yield differences[start : start + _AT_ONCE]
