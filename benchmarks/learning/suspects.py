"""What wrong labels cost a head, and which of its labels it leaves out, at several shares of wrong ones.

``python -m benchmarks.learning.suspects --features FILE`` labels 200 pictures at random, some of them wrongly, and
prints as JSON how many of the pictures that nobody labeled the head has right.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.learning.features import Features

if TYPE_CHECKING:
    from benchmarks.learning.head import Trainer

SHARES = (0.0, 0.05, 0.2)
LABELS = 200
Row = Mapping[str, Any]


def trial(trainer: "Trainer", seed: int) -> Iterator[Row]:
    """Train on the same labels with each share of wrong ones; nine in ten train, the others validate."""
    features, random = trainer.features, np.random.default_rng(seed)
    order = random.permutation(len(features.labels))
    labeled, held_out = order[:LABELS], order[LABELS:]
    turned = random.integers(1, len(features.classes), LABELS)
    for share in SHARES:
        wrong = labeled[: round(share * LABELS)]
        given = features.labels.copy()
        given[wrong] = (given[wrong] + turned[: len(wrong)]) % len(features.classes)
        mixed = np.random.default_rng(seed).permutation(labeled)
        head = trainer.train(mixed[LABELS // 9 :].tolist(), mixed[: LABELS // 9].tolist(), given)
        left_out = set(getattr(head.candidate, "suspects", ()))
        yield {
            "seed": seed,
            "share": share,
            "held_out": len(held_out),
            "truth": int((head.scores(held_out).argmax(axis=1) == features.labels[held_out]).sum()),
            "wrong": len(wrong),
            "left_out": len(left_out),
            "found": len(left_out & {features.names[at] for at in wrong}),
        }


def told(before: Sequence[Row], now: Sequence[Row]) -> dict[str, str]:
    """Say for each share what the labels that are left out give: the same labels with both codes."""
    return {f"suspects, {share:.0%} of {LABELS} labels wrong": _told(share, before, now) for share in SHARES}


def _told(share: float, before: Sequence[Row], now: Sequence[Row]) -> str:
    some = [row for row in now if row["share"] == share]
    right = np.array([row["truth"] / row["held_out"] for row in some])
    was = np.array([row["truth"] / row["held_out"] for row in before if row["share"] == share])
    said = f"now {right.mean():.3f}"
    if len(was):
        change = right - was
        half = 1.96 * change.std(ddof=1) / np.sqrt(len(change))
        said = f"before {was.mean():.3f}, {said}, {100 * change.mean():+.1f} ± {100 * half:.1f} points"
    left_out, found, wrong = (np.mean([row[name] for row in some]) for name in ("left_out", "found", "wrong"))
    return f"{said}; leaves out {left_out:.1f}, {found:.1f} of the {wrong:.0f} wrong ones ({len(some)} trials)"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning.suspects", description=__doc__)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0, help="the first trial's seed")
    parser.add_argument("--loops", type=int, default=1, help="trials")
    options = parser.parse_args()
    from benchmarks.learning.head import Trainer, without_looking_up_threads

    without_looking_up_threads()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(Features.load(options.features), Path(folder)).prepare()
        seeds = range(options.first, options.first + options.loops)
        print(json.dumps([row for seed in seeds for row in trial(trainer, seed)]))


if __name__ == "__main__":
    main()
