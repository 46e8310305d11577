"""How much the loop learns and how far its figures can be believed, with the code as it is and as it was before.

``python -m benchmarks.learning`` simulates annotation loops with the product's own code, without Label Studio, on
features that are taken once: scikit-learn's digits by their pixels, or with ``--images DIR ...`` (a folder per class),
``--backbone`` and ``--weights`` other pictures by a network's features. Every loop parts the pictures anew: 480 wait
for labels, the others tell the truth. Every figure is given as of the commit where all tasks were ordered by their
scores alone, and as of now; where the clone does not hold that commit, as of now alone.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.learning import believed
from benchmarks.learning.features import Features, digits, of_folders
from benchmarks.learning.versions import BEGAN, before, in_parts
from labelloop.types import TrainSettings


@dataclass(frozen=True)
class Plan:
    """What is measured on: features of all pictures, those that loops learn from, and how many loops."""

    features: Path
    small: Path
    loops: int
    compared: int


Measure = Callable[[Plan, Path | None], Mapping[str, str]]
"""Gives rows by name, with the code of a folder (None: as it is)."""


def loops(plan: Plan, code: Path | None) -> dict[str, str]:
    """Simulate loops: test side against truth, champion against truth, order against chance."""
    ordered = in_parts("loop", ["--features", str(plan.small)], plan.loops, code)
    at_random = in_parts("loop", ["--features", str(plan.small), "--random"], plan.compared, code)
    return believed.order(ordered, at_random) | believed.test_side(ordered) | believed.champions(ordered)


MEASURES: tuple[Measure, ...] = (loops,)


def run(loops: int = 500, compared: int = 50, features: Features | None = None) -> dict[str, str]:
    """Measure the digits, or other pictures, with both codes."""
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder, before() as old:
        plan = Plan(Path(folder) / "features.npz", Path(folder) / "small.npz", loops, compared)
        taken = digits() if features is None else features
        taken.save(plan.features)
        taken.fewer().save(plan.small)
        if old is None:
            found["before"] = f"not measured: this clone does not hold {BEGAN}"
        for measure in MEASURES:
            was, now = {} if old is None else measure(plan, old), measure(plan, None)
            for name in {**was, **now}:
                found |= {
                    f"{name}, {when}": rows[name] for when, rows in (("before", was), ("now", now)) if name in rows
                }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__)
    parser.add_argument("--images", type=Path, nargs="+", help="folders with a folder per class")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--image-size", type=int, default=0)
    parser.add_argument("--loops", type=int, default=500, help="simulated loops with the product's order")
    parser.add_argument("--compared", type=int, default=50, help="as many with tasks served at random")
    options = parser.parse_args()
    features = None
    if options.images:
        settings = TrainSettings(
            backbone=options.backbone, weights=options.weights, image_size=options.image_size, recipes=("head",)
        )
        features = of_folders(options.images, settings)
    for what, value in run(options.loops, options.compared, features).items():
        print(f"{what:<44} {value}")


if __name__ == "__main__":
    main()
