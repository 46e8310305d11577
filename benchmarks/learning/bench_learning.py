"""How much the loop learns and how far its figures can be believed, with the code as it is and as it was before.

``python -m benchmarks.learning`` simulates annotation loops with the product's own code, without Label Studio, on
features that are taken once: scikit-learn's digits by their pixels, or with ``--images DIR`` (a folder per class),
``--backbone`` and ``--weights`` other pictures by a network's features. Every loop parts the pictures anew: 480 wait
for labels, the others tell the truth. Every figure is given as of the commit where all tasks were ordered by their
scores alone, and as of now; where the clone does not hold that commit, as of now alone.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.learning import believed, first, suspects
from benchmarks.learning.features import digits, of_folder, written_digits
from benchmarks.learning.versions import BEGAN, before, in_parts, printed
from labelloop.types import TrainSettings


@dataclass(frozen=True)
class Plan:
    """What is measured on, with which code, how often.

    ``features`` is a file of all pictures' features, ``small`` one of fewer for each; ``images`` are the pictures, a
    folder per class, which are learned from with ``settings``. ``codes`` maps "before" and "now"
    to the folders of the product's code (None: as it is); "before" is missing where nobody has it. ``loops`` have the
    product's order, ``trials`` is how often anything else is tried.
    """

    features: Path
    small: Path
    images: Path
    settings: TrainSettings
    codes: Mapping[str, Path | None]
    loops: int
    trials: int

    def measured(self, module: str, features: Path, count: int, *arguments: str) -> dict[str, list[Any]]:
        """Run a module's trials with every code, and give what they found."""
        given = ["--features", str(features), *arguments]
        return {when: in_parts(module, given, count, code) for when, code in self.codes.items()}


def loops(plan: Plan) -> dict[str, str]:
    """Simulate loops: order against chance, test side against truth, champion against truth."""
    ordered = plan.measured("loop", plan.small, plan.loops)
    at_random = plan.measured("loop", plan.small, plan.trials, "--random")
    tables = (
        {when: believed.order(rows, at_random[when]) for when, rows in ordered.items()},
        {when: believed.test_side(rows) for when, rows in ordered.items()},
        {when: believed.champions(rows) for when, rows in ordered.items()},
    )
    return {f"{what}, {when}": table[when][what] for table in tables for what in table["now"] for when in table}


def gates(plan: Plan) -> dict[str, str]:
    """Let challengers that are truly better or worse meet champions, with few test items and with many."""
    from benchmarks.learning.gate import summed

    tables = {when: summed(trials) for when, trials in plan.measured("gate", plan.small, plan.trials).items()}
    names = [name for name in tables["now"] if "truly better by" in name]
    return {f"{name}, {when}": table[name] for name in names for when, table in tables.items() if name in table}


def wrong_labels(plan: Plan) -> dict[str, str]:
    """Train heads on labels of which some are wrong."""
    found = plan.measured("suspects", plan.small, plan.trials)
    return suspects.told(found.get("before", []), found["now"])


def recipes(plan: Plan) -> dict[str, str]:
    """Train both recipes out of fold, and measure what they and the chosen one reach and how calibrated they are."""
    settings = plan.settings
    found: dict[str, str] = {}
    given = ["--images", str(plan.images), "--weights", settings.weights, "--backbone", settings.backbone]
    given += ["--image-size", str(settings.image_size), "--seeds", "0", "--cache", str(plan.small.parent / "cache")]
    against: list[str] = []
    for when, code in plan.codes.items():
        saved = str(plan.small.parent / when)
        rows = (line.partition("  ") for line in printed("recipes", [*given, "--save", saved, *against], code))
        found |= {f"{what}, {when}": told.strip() for what, _, told in rows if not what.startswith("before: ")}
        against = ["--against", saved]
    return dict(sorted(found.items(), key=lambda row: row[0].rpartition(", ")[0]))


def first_labels(plan: Plan) -> dict[str, str]:
    """Learn from the first labels: before, all of them came at random."""
    found = in_parts("first", ["--features", str(plan.small)], plan.trials, plan.codes["now"])
    return {f"{what}, now": told for what, told in first.told(found).items()}


MEASURES: tuple[Callable[[Plan], Mapping[str, str]], ...] = (loops, first_labels, gates, wrong_labels, recipes)


_DIGITS = TrainSettings(backbone="test_resnet", weights="none", image_size=32)


def run(
    loops: int = 200, trials: int = 30, images: Path | None = None, settings: TrainSettings = _DIGITS
) -> dict[str, str]:
    """Measure the digits, or other pictures in a folder per class."""
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder, before() as old:
        if old is None:
            found["before"] = f"not measured: this clone does not hold {BEGAN}"
        codes = {"before": old, "now": None} if old else {"now": None}
        work = Path(folder)
        files = work / "features.npz", work / "small.npz"
        plan = Plan(*files, images or written_digits(work / "digits"), settings, codes, loops, trials)
        taken = of_folder(images, settings) if images else digits()
        taken.save(plan.features)
        taken.fewer().save(plan.small)
        for measure in MEASURES:
            found |= measure(plan)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder with a folder per class; with a --backbone")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--image-size", type=int, default=0)
    parser.add_argument("--loops", type=int, default=200, help="simulated loops with the product's order")
    parser.add_argument("--trials", type=int, default=30, help="of anything else")
    options = parser.parse_args()
    settings = _DIGITS
    if options.images:
        settings = TrainSettings(backbone=options.backbone, weights=options.weights, image_size=options.image_size)
    for what, value in run(options.loops, options.trials, options.images, settings).items():
        print(f"{what:<80} {value}")


if __name__ == "__main__":
    main()
