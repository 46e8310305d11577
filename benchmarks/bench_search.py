"""How many trials a minute a search makes, with one process and with two.

``python -m benchmarks.bench_search`` searches over optimizer, learning rate and augmentations for 400 of scikit-learn's
digits, 32 x 32, with a small network from random weights. Starting the processes is included.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench_train import digits
from labelloop.data.manifest import Manifest
from labelloop.run.context import Context
from labelloop.run.folder import RunFolder
from labelloop.run.search.leader import SearchBudget
from labelloop.run.search.space import space_of
from labelloop.run.search.study import run_search
from labelloop.settings import Settings
from labelloop.train.dataset import Sample
from labelloop.types import Item, Json, ProjectKey

_PICTURES = 400


def run(jobs: Sequence[int] = (1, 2), trials: int = 12, epochs: int = 10) -> dict[str, Any]:
    """Measure; one row for each number of processes."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        pictures = digits(Path(folder))[:_PICTURES]
        for count in jobs:
            settings = Settings(
                model_dir=folder, backbone="test_resnet", weights="none", image_size=32, epochs=epochs, seed=1
            )
            context = fetched(Path(folder) / f"run-{count}", settings, pictures)
            found = run_search(
                context, space_of(settings, context.kind), SearchBudget(trials), count, [], lambda _trials: None
            )
            rows[f"{count} at a time, trials/minute"] = _told(found)
    return rows


def fetched(folder: Path, settings: Settings, pictures: Sequence[Sample]) -> Context:
    """Make a run folder whose data are there."""
    context = Context(RunFolder(folder), settings, lambda _what, _done, _total: None)
    items = [
        Item(number + 1, context.pictures.add(one.path.read_bytes()), (str(one.targets[0]),))
        for number, one in enumerate(pictures)
    ]
    manifest = Manifest.of(ProjectKey("local", 1), "single", tuple("0123456789"), items)
    folder.mkdir()
    context.folder.manifest.write_text(manifest.to_jsonl())
    context.folder.sides.write_text('{"sides": {}, "moved": []}')
    return context


def _told(found: Json) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items() if count)
    busy = sum(one["seconds"] for one in found["trials"])
    spent = f"{counts} in {found['seconds']:.0f} s, {busy:.0f} s of trials"
    best = f"best {found['best']['accuracy']:.3f}" if found["best"] else "no trial has ended"
    return f"{found['trials_per_minute']:.1f} ({spent}, {best})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_search", description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    for what, value in run(options.jobs, options.trials, options.epochs).items():
        print(f"{what:<32} {value}")


if __name__ == "__main__":
    main()
