"""One annotation loop, from the first labels on: order, training, gate and the test side's figures, round by round.

What decides is the product's own code: ``data/split`` says on which side an item is, the recipe trains, the gate
judges, and the score is the one by which Label Studio serves. Left out are Label Studio, the pictures, and the heads
that the gate trains anew beside the test side, which would take ten times as long.
``python -m benchmarks.learning.loop`` simulates some loops and prints what it found as JSON.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.learning.features import Features
from benchmarks.learning.head import Head, Trainer, without_looking_up_threads
from labelloop.data.split import SIDES
from labelloop.run import verdict
from labelloop.run.gate import judge, judge_first
from labelloop.run.verdict import GateRule, Predictions
from labelloop.studio.results.prediction import of_one
from labelloop.types import side

POOL = 480
"""Pictures that wait to be labeled; all others tell how good a version is in truth."""

ROUNDS = (40, 80, 120, 160, 200, 250, 300, 350, 400)
"""Labels at which a version is trained; the first ones are chosen at random."""

Rows = npt.NDArray[np.intp]
Row = dict[str, Any]


@dataclass
class Loop:
    """One loop on pictures that are parted by ``seed``; with ``ordered`` off every next task is a random one."""

    trainer: Trainer
    seed: int
    ordered: bool = True
    pool: int = POOL
    waiting: list[int] = field(init=False)
    labeled: list[int] = field(init=False, default_factory=list)
    held_out: Rows = field(init=False)
    champion: Head | None = field(init=False, default=None)
    gate: dict[str, Any] = field(init=False, default_factory=dict)
    version: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        order = np.random.default_rng(self.seed).permutation(len(self.trainer.features.labels))
        self.waiting, self.held_out = [int(at) for at in order[: self.pool]], order[self.pool :]

    def run(self, rounds: Sequence[int] = ROUNDS) -> list[Row]:
        return [self._round(labels) for labels in rounds]

    def _round(self, labels: int) -> Row:
        self._label(labels - len(self.labeled))
        while not all(sides := self._sides()):  # a first version waits for an item on every side
            self._label(1)
        train, validation, test = sides
        head = self.trainer.train(train, validation)
        promoted = self._judge(head, train, np.array(test))
        assert self.champion is not None
        return {
            "seed": self.seed,
            "ordered": self.ordered,
            "labels": labels,
            "items": len(test),
            "right": self._right(head, np.array(test)),
            "held_out": len(self.held_out),
            "truth": self._right(head, self.held_out),
            "promoted": promoted,
            "champion_right": self._right(self.champion, np.array(test)),
            "champion_truth": self._right(self.champion, self.held_out),
        }

    def _label(self, count: int) -> None:
        """Label what is served next: the lowest scores first, as Label Studio does."""
        for at in self._served(np.array(self.waiting))[:count]:
            self.waiting.remove(at)
            self.labeled.append(at)

    def _served(self, rows: Rows) -> list[int]:
        if not self.ordered or self.champion is None or not len(rows):
            return [int(at) for at in rows]
        sure = [of_one(row.tolist(), "least_confidence") for row in self.champion.scores(rows)]
        scores = order_scores([self.content(at) for at in rows], sure, f"v{self.version}")
        return [int(at) for at in rows[np.argsort(scores, kind="stable")]]

    def content(self, at: int) -> str:
        """Give what stands for an item's content: in every loop it is on a side of its own."""
        return hashlib.sha256(f"{self.seed} {self.trainer.features.names[at]}".encode()).hexdigest()

    def _sides(self) -> list[list[int]]:
        return [[at for at in self.labeled if side(self.content(at)) == name] for name in SIDES]

    def _right(self, head: Head, rows: Rows) -> int:
        return int((head.scores(rows).argmax(axis=1) == self.trainer.features.labels[rows]).sum())

    def _judge(self, head: Head, train: Sequence[int], test: Rows) -> bool:
        """Let the gate judge by the test side, and promote what passes; the first version is champion in any case."""
        shown = np.eye(len(self.trainer.features.classes), dtype=bool)[self.trainer.features.labels]
        new = Predictions("new", head.scores(test))
        if self.champion is None:
            found = judge_first(shown[test], new, shown[train], "single")
        else:
            old = Predictions("old", self.champion.scores(test))
            classes, given = self.trainer.features.classes, conceded(self.gate)
            found = judge(shown[test], old, new, classes, "single", GateRule(), conceded=given)
        if found.passed or self.champion is None:
            self.champion, self.gate = head, found.numbers
            self.version = len(self.labeled)
        return found.passed


def order_scores(contents: Sequence[str], sure: Sequence[float], version: str) -> list[float]:
    """Give the scores by which Label Studio orders items of which the champion is ``sure``; once they were the same."""
    try:
        from labelloop.loop.order import Order, is_held_out, quantiles
    except ImportError:
        return list(sure)
    table = quantiles(score for content, score in zip(contents, sure, strict=True) if not is_held_out(content))
    order = Order(version, table)
    return [order.place(content, score).score for content, score in zip(contents, sure, strict=True)]


def conceded(gate: dict[str, Any]) -> Any:
    """Read what a champion's verdict noted, as the gate of the code at hand takes it."""
    made: Any = getattr(verdict, "Conceded", None)
    return float(gate.get("conceded", 0.0)) if made is None else made.read(gate)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning.loop", description=__doc__)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0, help="the first loop's seed")
    parser.add_argument("--loops", type=int, default=1)
    parser.add_argument("--random", action="store_true", help="serve every task at random")
    options = parser.parse_args()
    without_looking_up_threads()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(Features.load(options.features), Path(folder)).prepare()
        seeds = range(options.first, options.first + options.loops)
        rows = [row for seed in seeds for row in Loop(trainer, seed, not options.random).run()]
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
