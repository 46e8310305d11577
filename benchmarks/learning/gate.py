"""How often the gate promotes what is truly better or worse, and how far its champion's test side can be believed.

``python -m benchmarks.learning.gate --features FILE`` prints trials as JSON, one for each way to make a challenger of
200 labels out of a champion of 160: labels more, labels taken away, labels that are wrong. Every trial parts the
pictures anew: those that are in no label set and not tested tell the truth. Heads are trained by the recipe, and the
verdict is the gate's, at 10 to 250 test items of the same draw. With code from before refits the test items decide
alone. ``summed`` makes rows of the trials.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.learning.features import Features
from benchmarks.learning.head import Head, Trainer, without_looking_up_threads
from labelloop.run.gate import judge
from labelloop.run.verdict import GateRule, Predictions, Verdict

TESTED = (10, 20, 40, 80, 150, 250)
LABELS = 200
_OLD = 0.8
"""Share of the labels that the champion of a healthy loop had."""

Labels = npt.NDArray[np.int64]
Rows = npt.NDArray[np.intp]

CHALLENGERS: Mapping[str, tuple[float, float, float, float]] = {
    "a quarter more labels": (_OLD, 1.0, 0.0, 0.0),
    "twice the labels": (0.5, 1.0, 0.0, 0.0),
    "a quarter more, the champion 10 % wrong": (_OLD, 1.0, 0.1, 0.0),
    "a quarter more, the champion 20 % wrong": (_OLD, 1.0, 0.2, 0.0),
    "a quarter more, 5 % wrong": (_OLD, 1.0, 0.0, 0.05),
    "a quarter more, 10 % wrong": (_OLD, 1.0, 0.0, 0.1),
    "a quarter more, 20 % wrong": (_OLD, 1.0, 0.0, 0.2),
    "a quarter more, all of them wrong": (_OLD, 1.0, 0.0, -1.0),
    "30 % taken away": (1.0, 0.7, 0.0, 0.0),
    "half taken away": (1.0, 0.5, 0.0, 0.0),
    "65 % taken away": (1.0, 0.35, 0.0, 0.0),
    "80 % taken away": (1.0, 0.2, 0.0, 0.0),
}
"""How much of the labels champion and challenger have, and which share of theirs is wrong; -1: all but the old ones."""


@dataclass(frozen=True)
class LabelSet:
    """Rows with what they are labeled; a tenth of them, by chance, is the validation side."""

    rows: Rows
    labels: Labels

    def train(self, trainer: Trainer) -> Head:
        validation = max(2, len(self.rows) // 10)
        given = trainer.features.labels.copy()
        given[self.rows] = self.labels
        return trainer.train(self.rows[validation:].tolist(), self.rows[:validation].tolist(), given)


@dataclass(frozen=True)
class Contest:
    """A champion and a challenger: their labels, their heads, and the rows of neither, in an order of chance."""

    trainer: Trainer
    old: LabelSet
    new: LabelSet
    others: Rows

    @classmethod
    def drawn(cls, trainer: Trainer, name: str, number: int) -> "Contest":
        """Draw trial ``number``; the same pictures are labeled and tested whatever the ``name`` of the challenger."""
        old_share, new_share, old_wrong, new_wrong = CHALLENGERS[name]
        rows = np.random.default_rng(number).permutation(len(trainer.features.labels))
        chance = np.random.default_rng((number, list(CHALLENGERS).index(name)))
        kept = round(LABELS * old_share)
        old = _labeled(trainer, rows[:kept], old_wrong, chance)
        new = _labeled(trainer, rows[: round(LABELS * new_share)], max(0.0, new_wrong), chance)
        if new_wrong < 0:
            new.labels[kept:] = _others(trainer, new.labels[kept:], chance)
        return cls(trainer, old, new, rows[LABELS:])

    @cached_property
    def heads(self) -> tuple[Head, Head]:
        return self.old.train(self.trainer), self.new.train(self.trainer)

    def right(self, rows: Rows) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Tell which rows champion and challenger have right."""
        truth = self.trainer.features.labels[rows]
        old, new = (head.scores(rows).argmax(axis=1) == truth for head in self.heads)
        return old, new

    @cached_property
    def evidence(self) -> Mapping[str, Any]:
        """Give what the gate is told beside: refits on the items that both learned from, where this code has them."""
        if find_spec("labelloop.run.refits") is None:
            return {}
        from labelloop.run.refits import met
        from labelloop.train.crossvalidation import Problem
        from labelloop.train.refitted_head import KeptChoice, RefittedHead
        from labelloop.types import Item

        features, refits = self.trainer.features, []
        classes, names = np.eye(len(features.classes), dtype=bool), features.names
        for side, head in zip((self.old, self.new), self.heads, strict=True):
            kept, made = KeptChoice(self.trainer.folder / "choice.json"), head.candidate
            kept.write(made.strength, made.balance, made.suspects, flips=made.flips)
            problem = Problem(features.straight[side.rows], classes[side.labels], "single")
            refits.append(
                RefittedHead.chosen(
                    [names[row] for row in side.rows],
                    problem,
                    self.trainer.settings.balance,
                    self.trainer.settings.seed,
                    lambda at, rows=side.rows: features.mirrored[rows[at]],  # type: ignore[misc]
                    kept=kept,
                )
            )
        given = dict(zip(self.new.rows.tolist(), self.new.labels.tolist(), strict=True))
        both = [row for row in self.old.rows.tolist() if row in given]
        items = [Item(row, names[row], (features.classes[given[row]],)) for row in both]
        return {"refits": met(items, features.classes, refits, 0, lambda *_: None)}

    def judge(self, tested: Rows) -> Verdict:
        features = self.trainer.features
        truth = np.eye(len(features.classes), dtype=bool)[features.labels[tested]]
        old, new = (Predictions(name, head.scores(tested)) for name, head in zip(("v1", "v2"), self.heads, strict=True))
        return judge(truth, old, new, features.classes, "single", GateRule(resamples=400), **self.evidence)

    def trial(self) -> Iterator[dict[str, float]]:
        """Judge at each number of test items; the truth is that of all rows that are in no label set."""
        old, new = self.right(self.others)
        for count in TESTED:
            if count > len(self.others) // 2:
                continue
            rest = slice(count, None)
            yield {
                "tested": count,
                "promoted": float(self.judge(self.others[:count]).passed),
                "better": float(new[rest].mean() - old[rest].mean()),
                "differ": float((new[rest] != old[rest]).mean()),
            }


def _labeled(trainer: Trainer, rows: Rows, wrong: float, chance: np.random.Generator) -> LabelSet:
    labels = trainer.features.labels[rows].copy()
    at = chance.permutation(len(rows))[: round(wrong * len(rows))]
    labels[at] = _others(trainer, labels[at], chance)
    return LabelSet(rows, labels)


def _others(trainer: Trainer, labels: Labels, chance: np.random.Generator) -> Labels:
    """Give another class than each of these, by chance."""
    classes = len(trainer.features.classes)
    return (labels + chance.integers(1, classes, len(labels))) % classes


_BANDS = ((-1.0, -0.07), (-0.07, -0.04), (-0.04, -0.02), (-0.02, -0.005), (-0.005, 0.005), (0.005, 0.02), (0.02, 1.0))
"""Truly better by, from and to."""

_ALIKE = 0.05


def summed(trials: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Give the share that is promoted: by how much better they are, and by how the challengers were made."""
    found: dict[str, str] = {}
    for count in sorted({one["tested"] for one in trials}):
        here = [one for one in trials if one["tested"] == count]
        for low, high in _BANDS:
            inside = [one for one in here if low <= one["better"] < high]
            alike = [one for one in inside if one["differ"] <= _ALIKE]
            name = f"{count} test items, truly better by {100 * low:+.1f} to {100 * high:+.1f}: promoted"
            found |= {name: _share(inside)} if inside else {}
            found |= {f"{name}, differing on 5 % at most": _share(alike)} if alike else {}
        for made in CHALLENGERS:
            inside = [one for one in here if one["made"] == made]
            better = 100 * float(np.mean([one["better"] for one in inside])) if inside else 0.0
            found |= {f"{count} test items, {made} (truly {better:+.1f}): promoted": _share(inside)} if inside else {}
    return found


def _share(trials: Sequence[Mapping[str, Any]]) -> str:
    return f"{np.mean([one['promoted'] for one in trials]):.2f} of {len(trials)}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning.gate", description=__doc__)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--loops", type=int, default=1)
    options = parser.parse_args()
    without_looking_up_threads()
    features = Features.load(options.features)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(features, Path(folder)).prepare()
        contests = (
            (name, Contest.drawn(trainer, name, number))
            for number in range(options.first, options.first + options.loops)
            for name in CHALLENGERS
        )
        print(json.dumps([{"made": name, **one} for name, contest in contests for one in contest.trial()]))


if __name__ == "__main__":
    main()
