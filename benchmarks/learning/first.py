"""The first labels: what a head has learned from typical and different pictures, and from pictures at random.

``python -m benchmarks.learning.first --features FILE`` lets 480 pictures wait, some of them on the test and validation
sides, as the product's split says; these come at random in both orders. It prints as JSON how many of the pictures that
nobody labeled a head has right, whose regularisation is the product's choice. Pictures of the test side teach nothing.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.learning.features import Features
from labelloop.train.crossvalidation import Problem, mean, solve
from labelloop.train.head_choice import choose
from labelloop.types import side

LABELS = (40, 60, 80, 110, 160)
POOL = 480
"""Pictures that wait to be labeled."""

Row = Mapping[str, Any]
Rows = npt.NDArray[np.intp]


def trial(features: Features, seed: int, pool: int = POOL, rounds: Sequence[int] = LABELS) -> Iterator[Row]:
    """Label pictures that are parted by ``seed`` in both orders, and learn from the first of them."""
    from labelloop.train.first_labels import first_labels

    order = np.random.default_rng(seed).permutation(len(features.labels))
    waiting, unseen = order[:pool], order[pool:]
    sides = [side(hashlib.sha256(f"{seed} {features.names[at]}".encode()).hexdigest()) for at in waiting]
    served = first_labels(features.straight[waiting], [name != "train" for name in sides], max(rounds), seed)
    at_random = np.random.default_rng(seed).permutation(len(waiting))[: max(rounds)].tolist()
    for labels in rounds:
        found = {
            arm: _right(features, waiting[[at for at in chosen[:labels] if sides[at] != "test"]], unseen, seed)
            for arm, chosen in (("typical", served), ("random", at_random))
        }
        yield {"seed": seed, "labels": labels, "held_out": len(unseen), **found}


def _right(features: Features, learned: Rows, unseen: Rows, seed: int) -> int:
    shown = np.eye(len(features.classes), dtype=bool)[features.labels[learned]]
    problem = Problem(features.straight[learned], shown, "single")
    choice = choose(problem, "auto", seed, lambda at: features.mirrored[learned[at]])
    asked = features.straight[unseen]
    if choice.flips:
        asked = mean(asked, features.mirrored[unseen])
    answers = solve(choice.problem, choice.strength).logits(asked).argmax(axis=1)
    return int((answers == features.labels[unseen]).sum())


def told(rows: Sequence[Row]) -> dict[str, str]:
    """Compare both orders on the same parts of the pictures, after so many labels."""
    rounds = sorted({int(row["labels"]) for row in rows})
    return {f"first {labels} labels": _told([row for row in rows if row["labels"] == labels]) for labels in rounds}


def _told(rows: Sequence[Row]) -> str:
    typical, at_random = (np.array([row[arm] / row["held_out"] for row in rows]) for arm in ("typical", "random"))
    change = 100 * (typical - at_random)
    half = 1.96 * change.std(ddof=1) / np.sqrt(len(change)) if len(change) > 1 else np.nan
    return (
        f"typical {typical.mean():.3f}, at random {at_random.mean():.3f}, "
        f"{change.mean():+.1f} ± {half:.1f} points ({len(rows)} trials)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning.first", description=__doc__)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0, help="the first trial's seed")
    parser.add_argument("--loops", type=int, default=1, help="trials")
    options = parser.parse_args()
    from benchmarks.learning.head import without_looking_up_threads

    without_looking_up_threads()
    features = Features.load(options.features)
    seeds = range(options.first, options.first + options.loops)
    print(json.dumps([row for seed in seeds for row in trial(features, seed)]))


if __name__ == "__main__":
    main()
