"""How good and how honest both recipes and the contest's winner are on pictures that no training has seen.

``python -m benchmarks.learning.recipes --images DIR --weights FILE`` measures out of fold, a folder per class, with
``--test-images DIR`` on those. One in ten of the pictures it learns from validates, by the hash of its bytes, as in a
run. It needs nothing of the code but what every version has, so that ``--save FOLDER`` with one in PYTHONPATH and
``--against FOLDER`` with another compare them on the same pictures.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.bench_train import per_class
from labelloop.train.dataset import Dataset, Sample, in_order, indicators
from labelloop.types import TrainSettings, side

if TYPE_CHECKING:
    from labelloop.train.recipes.base import Candidate, Material

Matrix = npt.NDArray[np.float64]
Scores = dict[str, Matrix]
"""What each model says of all held-out pictures, by its name: (seeds, pictures, classes)."""

_FOLDS = 5

MODELS = ("head", "finetune", "chosen")


@dataclass(frozen=True)
class Trial:
    """Trains on ``learned`` and asks about ``held``, which are places in the pictures."""

    classes: tuple[str, ...]
    samples: Sequence[Sample]
    settings: TrainSettings
    cache: Path

    def scores(self, learned: Sequence[int], held: Sequence[int]) -> dict[str, Matrix]:
        """Train both recipes as a run does and give each model's scores of the held-out pictures."""
        import torch

        from labelloop.train import contest
        from labelloop.train.selection import Validation, winner

        torch.set_num_threads(1)
        torch.manual_seed(self.settings.seed)
        materials = {name: self._material(learned, name) for name in ("head", "finetune")}
        given = materials["finetune"]
        found: list[Candidate] = []
        for name, material in materials.items():
            found.append(contest.RECIPES[name](material, found[-1] if found else None))
        found = [contest.with_temperature(one, given.dataset) for one in found]
        best = winner(found, Validation.of(given.dataset)).recipe
        asked = [self.samples[at] for at in held]
        pairs = zip(materials.values(), found, strict=True)
        scores = {one.recipe: _scores(_refitted(own, one), own, asked) for own, one in pairs}
        return scores | {"chosen": scores[best]}

    def _material(self, learned: Sequence[int], recipe: str) -> "Material":
        from labelloop.train.backbone import build, for_features, picture_spec
        from labelloop.train.pixels import PixelCache
        from labelloop.train.recipes.base import Material

        shown = [self.samples[at] for at in learned]
        validation = tuple(one for one in shown if side(one.picture) == "validation")
        training = tuple(one for one in shown if side(one.picture) != "validation")
        settings = for_features(self.settings) if recipe == "head" else self.settings
        start = build(settings, len(self.classes))
        pixels = PixelCache(picture_spec(start, settings.image_size), self.cache)
        data = in_order(Dataset(self.classes, "single", training, validation))
        return Material(data, settings, start, pixels, self.cache, lambda *_: None)


def _refitted(given: "Material", candidate: "Candidate") -> "Candidate":
    """Do what the code at hand does with the validation pictures once a recipe has won."""
    from labelloop.train import contest
    from labelloop.train.recipes import head

    refits: Mapping[str, Any] = getattr(contest, "REFITS", {"head": head.refit})
    return refits[candidate.recipe](given, candidate) if candidate.recipe in refits else candidate


def _scores(candidate: "Candidate", given: "Material", samples: Sequence[Sample]) -> Matrix:
    import torch

    from labelloop import pictures
    from labelloop.train import metrics

    images = torch.from_numpy(pictures.normalise(given.pixels.many(samples), given.pixels.spec))
    logits, model = [], candidate.model.eval()
    with torch.inference_mode():
        for some in torch.split(images, 64):
            straight = model(some)
            logits.append((straight + model(some.flip(3))) / 2 if candidate.flips else straight)
    return metrics.probabilities(torch.cat(logits).numpy(), "single")


def measure(trial: Trial, parts: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[str, Matrix]:
    """Give every model's scores (held-out pictures, classes), in the order of the parts' held-out places."""
    found = [trial.scores(learned, held) for learned, held in parts]
    return {name: np.concatenate([one[name] for one in found]) for name in MODELS}


def rows(truth: npt.NDArray[np.bool_], scores: Scores, against: Scores | None = None) -> Iterator[tuple[str, str]]:
    """Say of each model what it reached, over seeds, with 95 % intervals over pictures; ``against`` other code."""
    for name in MODELS:
        yield name, _told(truth, scores[name])
    losses = {name: _losses(truth, scores[name]).mean(axis=0) for name in MODELS}
    yield "log-loss, chosen less head", _interval(losses["chosen"] - losses["head"])
    if against is not None:
        for name in MODELS:
            yield f"before: {name}", _told(truth, against[name])
        before = {name: _losses(truth, against[name]).mean(axis=0) for name in MODELS}
        yield "log-loss, chosen less the finetune before", _interval(losses["chosen"] - before["finetune"])
        yield "log-loss, chosen less chosen before", _interval(losses["chosen"] - before["chosen"])
        yield "log-loss, chosen less the head before", _interval(losses["chosen"] - before["head"])
        right = [(one["chosen"].argmax(axis=2) == truth.argmax(axis=1)).mean(axis=0) for one in (scores, against)]
        yield "accuracy, chosen less chosen before", _interval(right[0] - right[1])


def _told(truth: npt.NDArray[np.bool_], scores: Matrix) -> str:
    right = (scores.argmax(axis=2) == truth.argmax(axis=1)).mean(axis=0)
    errors = [_calibration_error(truth, one) for one in scores]
    honest = [_calibrated_error(one.max(axis=1), float(np.mean(right))) for one in scores]
    return (
        f"accuracy {_interval(right)}, log-loss {_interval(_losses(truth, scores).mean(axis=0))}, calibration error "
        f"{np.mean(errors):.3f}, a calibrated one's {np.mean(honest):.3f}"
    )


def _losses(truth: npt.NDArray[np.bool_], scores: Matrix) -> Matrix:
    """Log-loss of each picture, (seeds, pictures), in nats."""
    losses: Matrix = -np.log(np.maximum(scores[:, truth], 1e-12))
    return losses


def _calibration_error(truth: npt.NDArray[np.bool_], scores: Matrix) -> float:
    from labelloop.train.metrics import bins, calibration_errors

    return float(calibration_errors(np.ones((1, len(truth))), bins(truth, scores, "single"))[0])


def _calibrated_error(confidence: Matrix, accuracy: float, draws: int = 200) -> float:
    """Give the mean calibration error of a model that is right as often as it says, and is right this often.

    Its confidences (pictures,) are those given, moved by one step on the scale of log-odds so that their mean is the
    accuracy; whether it is right is drawn.
    """
    odds = np.log(np.clip(confidence, 1e-6, 1 - 1e-6) / (1 - np.clip(confidence, 1e-6, 1 - 1e-6)))
    low, high = -10.0, 10.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(-odds - middle))).mean() < accuracy else (low, middle)
    sure = 1 / (1 + np.exp(-odds - low))
    place = np.clip(np.ceil(sure * 15).astype(int) - 1, 0, 14)
    chance = np.random.default_rng(0)
    gaps = [np.bincount(place, sure - (chance.uniform(size=len(sure)) < sure), 15) for _ in range(draws)]
    return float(np.mean([np.abs(gap).sum() / len(sure) for gap in gaps]))


def _interval(values: Matrix) -> str:
    """Give a mean with its 95 % interval (bootstrap over pictures)."""
    from labelloop.train.intervals import draws, ends

    means = np.concatenate([weights @ values for weights in draws(len(values), 2000, 0)]) / len(values)
    low, high = ends(means)
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def run(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Measure with every seed; with ``--save`` one that is there already is not measured again."""
    classes, samples = per_class(options.images)
    shown = len(samples)
    if options.test_images is not None:
        samples += per_class(options.test_images)[1]
    with tempfile.TemporaryDirectory() as name:
        saved = options.save or Path(name)
        saved.mkdir(parents=True, exist_ok=True)
        for seed in options.seeds:
            if (saved / f"{seed}.npz").exists():
                continue
            settings = TrainSettings(
                backbone=options.backbone, weights=options.weights, image_size=options.image_size, seed=seed
            )
            parts, order = _parts(samples, shown, len(classes), seed)
            found = measure(Trial(classes, samples, settings, options.cache or Path(name)), parts)
            in_place: dict[str, Any] = {key: one[np.argsort(order)] for key, one in found.items()}
            np.savez(saved / f"{seed}.npz", **in_place)
        held = np.arange(shown, len(samples)) if options.test_images is not None else np.arange(shown)
        truth = indicators([samples[at] for at in held], len(classes))
        yield from rows(truth, _read(saved, options.seeds), options.against and _read(options.against, options.seeds))


def _parts(samples: Sequence[Sample], shown: int, classes: int, seed: int) -> tuple[list[tuple[Any, Any]], Any]:
    """Give what is learned from and what is held out, folds or one test side, and all that is held out."""
    from labelloop.train.crossvalidation import folds

    parts: list[tuple[Any, Any]]
    if len(samples) > shown:
        parts = [(np.arange(shown), np.arange(shown, len(samples)))]
    else:
        parts = list(folds(indicators(samples, classes), _FOLDS, seed, [one.picture for one in samples]))
    return parts, np.concatenate([held for _, held in parts])


def _read(folder: Path, seeds: Sequence[int]) -> Scores:
    kept = [np.load(folder / f"{seed}.npz", allow_pickle=False) for seed in seeds]
    return {name: np.stack([one[name] for one in kept]) for name in MODELS}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning.recipes", description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--test-images", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--backbone", default="mobilenetv2_100?pad_type=same")
    parser.add_argument("--image-size", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cache", type=Path, help="pixels and features that measurements share")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--against", type=Path)
    for what, value in run(parser.parse_args()):
        print(f"{what:<42} {value}")


if __name__ == "__main__":
    main()
