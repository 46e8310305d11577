"""Whether what a version predicts now is like what it predicted at first, and if not, what has changed.

A champion is looked at again and again, by several figures each time. All of them together may be wrong once in twenty
champions: see LEVEL and LOOKS. Each look has predictions of its own, and none is looked at twice.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from labelloop.cloud.base import Figure
from labelloop.types import Json
from labelloop.watch.sample import MOST_CLASSES
from labelloop.watch.statistics import Compared, holm, ks, mmd, principal, psi, typical

LEVEL = 0.05
"""Of champions whose inputs stay as they are, the share that is said to drift within LOOKS looks, at most."""

LOOKS = 30

LEAST = 100
"""Predictions without which nothing is judged, and descriptions without which scores alone are."""

MOST_TASKS = 20
"""Tasks that are named."""

DIRECTIONS = 6
"""Of the features, those in which pictures vary most: in many more of them a few pictures are lost in chance."""

PICTURES, FEATURES = "pictures", "features"

Doubles = npt.NDArray[np.float64]


class Observed(NamedTuple):
    """One prediction as it is judged: its task if it has one, when it was made, the scores, the picture's description.

    ``row`` is empty where the picture was not described, ``features`` where the version's network took none of it.
    """

    task: int | None
    at: float
    scores: dict[str, float]
    row: list[float]
    features: list[float]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one look at a version found. Moments are Unix seconds; ``p`` are likely without any change.

    ``first`` and ``last`` are when the predictions were made, ``new`` how many there are, ``reference`` with how many
    they are compared. ``ks`` and ``psi`` are of the class that differs most, ``ks_p`` is adjusted for the number of
    classes. ``mmd`` and ``mmd_p`` are of the pictures' descriptions, ``features`` and ``features_p`` of what the
    network makes of them, None where too few have any. ``drifts`` says whether this is more than chance, ``what`` in
    which class or that in the ``pictures`` or their ``features``; ``tasks`` are those most typical of it, the most
    typical one first.
    """

    version: str = ""
    at: float = 0.0
    first: float = 0.0
    last: float = 0.0
    new: int = 0
    reference: int = 0
    most_changed: str = ""
    ks: float = 0.0
    ks_p: float = 1.0
    psi: float = 0.0
    mmd: float | None = None
    mmd_p: float | None = None
    features: float | None = None
    features_p: float | None = None
    drifts: bool = False
    what: str = ""
    tasks: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        period = f"{self.new} predictions from {_moment(self.first)} to {_moment(self.last)}"
        if not self.drifts:
            return f"{period} are like the {self.reference} that {self.version} made at first"
        return f"{period} differ from the {self.reference} that {self.version} made at first, most in {self._changed()}"

    def _changed(self) -> str:
        if self.what == PICTURES:
            return f"the pictures (MMD {self.mmd:.3g}, p {self.mmd_p:.2g})"
        if self.what == FEATURES:
            return f"what the network sees in the pictures (MMD {self.features:.3g}, p {self.features_p:.2g})"
        return f"the scores of {self.what} (KS {self.ks:.2f}, p {self.ks_p:.2g}, PSI {self.psi:.2f})"

    def to_json(self) -> Json:
        """Turn into plain values."""
        return asdict(self)

    @classmethod
    def parse(cls, kept: Json) -> Self:
        """Read what ``to_json`` gave; what a newer release adds is passed over."""
        return cls(**{entry.name: kept[entry.name] for entry in fields(cls) if entry.name in kept})

    def figures(self, project: str) -> list[Figure]:
        """Give what can be drawn over time: whether it drifts (0 or 1), the distances of scores and of pictures."""
        found = {"Drift": float(self.drifts), "DriftKS": self.ks, "DriftPSI": self.psi, "DriftMMD": self.mmd}
        return [
            Figure(name, value, project, self.version, self.at) for name, value in found.items() if value is not None
        ]


def judge(
    version: str, reference: Sequence[Observed], new: Sequence[Observed], at: float, level: float = LEVEL / LOOKS
) -> Judgement:
    """Compare new predictions with the reference; of unchanged inputs a share of ``level`` is said to drift, at most.

    It is shared equally by the tests that can be made: of the scores of all classes (Kolmogorov-Smirnov, Holm's
    correction), of the pictures' descriptions and of their features (MMD, permutations). Where too few pictures have
    those, the others have all of it. Raises ValueError without any prediction on either side.
    """
    # Where nothing was found in any of them, there is no class, and nothing to tell apart by scores.
    names = _classes(reference) or _classes(new) or [""]
    columns = [(_column(reference, name), _column(new, name)) for name in names]
    tested = [ks(*pair) for pair in columns]
    adjusted = holm([one.p for one in tested])
    worst = min(range(len(names)), key=lambda one: (adjusted[one], -tested[one].statistic))
    pictures = _compare_pictures(reference, new, seed=int(at))
    features = _compare_features(reference, new, seed=int(at))
    found = [
        *([(pictures.p, PICTURES)] if pictures else []),
        *([(features.p, FEATURES)] if features else []),
        (adjusted[worst], f"class {names[worst]}"),
    ]
    least, what = min(found, key=lambda one: one[0])
    drifts = least <= level / len(found)
    if pictures and what == PICTURES:
        tasks = _most([one for one in new if one.row], pictures.witness)
    elif features and what == FEATURES:
        tasks = _most([one for one in new if one.features], features.witness)
    else:
        tasks = _most(new, typical(*columns[worst]))
    return Judgement(
        version=version,
        at=at,
        first=min(one.at for one in new),
        last=max(one.at for one in new),
        new=len(new),
        reference=len(reference),
        most_changed=names[worst],
        ks=round(tested[worst].statistic, 4),
        ks_p=adjusted[worst],
        psi=round(psi(*columns[worst]), 4),
        mmd=round(pictures.statistic, 6) if pictures else None,
        mmd_p=pictures.p if pictures else None,
        features=round(features.statistic, 6) if features else None,
        features_p=features.p if features else None,
        drifts=drifts,
        what=what if drifts else "",
        tasks=tasks if drifts else [],
    )


def observed(kept: Json) -> Observed:
    """Read one prediction as a store keeps it; raises KeyError or TypeError for what is none.

    One that an older release has kept has no features.
    """
    return Observed(
        kept["task"], float(kept["at"]), dict(kept["scores"]), list(kept["row"]), list(kept.get("features", []))
    )


def _classes(reference: Sequence[Observed]) -> list[str]:
    """Name the classes that are judged: those of the reference, the most likely ones where they are many."""
    total: dict[str, float] = {}
    for one in reference:
        for name, score in one.scores.items():
            total[name] = total.get(name, 0.0) + score
    return sorted(total, key=lambda name: (-total[name], name))[:MOST_CLASSES]


def _column(observed: Sequence[Observed], name: str) -> Doubles:
    return np.array([one.scores.get(name, 0.0) for one in observed], dtype=np.float64)


def _compare_pictures(reference: Sequence[Observed], new: Sequence[Observed], seed: int) -> Compared | None:
    """Compare descriptions; None where there are too few, or they are of different lengths."""
    rows = _rows([one.row for one in reference], [one.row for one in new])
    return mmd(*rows, seed) if rows else None


def _compare_features(reference: Sequence[Observed], new: Sequence[Observed], seed: int) -> Compared | None:
    """Compare features by the directions in which they vary most; None as for descriptions."""
    rows = _rows([one.features for one in reference], [one.features for one in new])
    return mmd(*principal(*rows, DIRECTIONS), seed) if rows else None


def _rows(reference: Sequence[list[float]], new: Sequence[list[float]]) -> tuple[Doubles, Doubles] | None:
    """Give what is there of either sample; None where that is too little, or rows are of different lengths."""
    before, after = [row for row in reference if row], [row for row in new if row]
    if min(len(before), len(after)) < LEAST or len({len(row) for row in (*before, *after)}) > 1:
        return None
    return np.array(before, dtype=np.float64), np.array(after, dtype=np.float64)


def _most(observed: Sequence[Observed], weights: Doubles) -> list[int]:
    """Name the tasks that weigh most, each once."""
    order = np.argsort(-weights, kind="stable").tolist()
    tasks = (observed[at].task for at in order if weights[at] > 0)
    return list(dict.fromkeys(task for task in tasks if task is not None))[:MOST_TASKS]


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
