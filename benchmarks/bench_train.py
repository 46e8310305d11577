"""How much is learned from how few labels, and where the seconds of a training go.

``python -m benchmarks.bench_train`` labels scikit-learn's digits as the demo does: 60 at random, then 50 at a time of
those the model is least certain of. ``--images DIR --test-images DIR`` (a folder per class) with ``--backbone`` and
``--weights`` measures other pictures with a growing number of labels per class.
"""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from labelloop.serve.engines.base import open_engine
from labelloop.train.dataset import Dataset, Sample, Trained
from labelloop.types import Output, TrainSettings, side


@dataclass(frozen=True)
class Trial:
    """One place to train in: settings, classes, and the caches that runs share."""

    classes: tuple[str, ...]
    settings: TrainSettings
    folder: Path

    def train(self, labeled: Sequence[Sample]) -> Trained:
        from labelloop.train.trainer import train

        sides = {name: tuple(one for one in labeled if side(one.picture) == name) for name in ("train", "validation")}
        data = Dataset(self.classes, "single", sides["train"], sides["validation"])
        work = Path(tempfile.mkdtemp(dir=self.folder))
        return train(data, self.settings, work, self.folder / "cache", lambda _what, _done, _total: None)

    def scores(self, trained: Trained, samples: Sequence[Sample]) -> tuple[npt.NDArray[np.float64], float]:
        """Give each sample's score, and the accuracy over all."""
        answers = open_engine(trained.bundle, "onnx").predict([one.path.read_bytes() for one in samples], "v1")
        given = [answer for answer in answers if isinstance(answer, Output)]
        right = [answer.label == self.classes[one.targets[0]] for answer, one in zip(given, samples, strict=True)]
        return np.array([answer.score for answer in given]), float(np.mean(right))


def run(seeds: Sequence[int] = (0, 1), rounds: int = 4) -> dict[str, Any]:
    """Measure the digits; one row per seed and round."""
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        pictures = digits(Path(folder))
        for seed in seeds:
            settings = TrainSettings(
                backbone="test_resnet",
                weights="none",
                image_size=32,
                recipes=("head", "finetune"),
                epochs=20,
                batch_size=32,
                learning_rate=0.002,
                seed=seed,
            )
            trial = Trial(tuple("0123456789"), settings, Path(folder))
            order = [pictures[at] for at in np.random.default_rng(seed).permutation(len(pictures))]
            labeled, waiting, tests = order[:60], order[60:800], order[800:]
            for _ in range(rounds + 1):
                rows[f"seed {seed}, {len(labeled)} labels"], trained = row(trial, labeled, tests)
                scores, _ = trial.scores(trained, waiting)
                served = [waiting[at] for at in np.argsort(scores)[:50]]
                labeled, waiting = labeled + served, [one for one in waiting if one not in served]
    return rows


def row(trial: Trial, labeled: Sequence[Sample], tests: Sequence[Sample]) -> tuple[str, Trained]:
    begun = time.monotonic()
    trained = trial.train(labeled)
    seconds = time.monotonic() - begun
    _, accuracy = trial.scores(trained, tests)
    stages = ", ".join(f"{stage} {spent:.1f}" for stage, spent in trained.seconds.items() if spent >= 0.1)
    return f"{trained.recipe} {accuracy:.3f} on {len(tests)} in {seconds:.1f} s ({stages})", trained


def digits(folder: Path) -> list[Sample]:
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    samples = []
    for at, (pixels, label) in enumerate(zip(data.images, data.target, strict=True)):
        path = folder / f"{at}.png"
        grey = Image.fromarray((255 - pixels * (255 / 16)).astype(np.uint8))
        grey.resize((96, 96), Image.Resampling.BICUBIC).save(path)
        samples.append(_sample(path, int(label)))
    return samples


def _sample(path: Path, target: int) -> Sample:
    return Sample(path, hashlib.sha256(path.read_bytes()).hexdigest(), (target,))


def per_class(folder: Path) -> tuple[tuple[str, ...], list[Sample]]:
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    return classes, [
        _sample(path, target) for target, name in enumerate(classes) for path in sorted((folder / name).iterdir())
    ]


def folders(options: argparse.Namespace) -> dict[str, str]:
    """Measure a folder per class with more and more labels of each class."""
    (classes, shown), (_, tests) = per_class(options.images), per_class(options.test_images)
    settings = TrainSettings(
        backbone=options.backbone,
        weights=options.weights,
        image_size=options.image_size,
        recipes=("head", "finetune"),
        epochs=20,
        batch_size=32,
        learning_rate=0.002,
        seed=options.seed,
    )
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(classes, settings, Path(folder))
        order = [shown[at] for at in np.random.default_rng(options.seed).permutation(len(shown))]
        for count in options.labels:
            groups = [[one for one in order if one.targets == (target,)][:count] for target in range(len(classes))]
            rows[f"{count} labels of each class"], _ = row(trial, [one for group in groups for one in group], tests)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_train", description=__doc__)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--test-images", type=Path)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--image-size", type=int, default=0)
    parser.add_argument("--labels", type=int, nargs="+", default=[10, 20, 50, 120])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=2, help="of the digits: how many seeds")
    options = parser.parse_args()
    found = folders(options) if options.images and options.test_images else run(range(options.seeds))
    for what, value in found.items():
        print(f"{what:<28} {value}")


if __name__ == "__main__":
    main()
