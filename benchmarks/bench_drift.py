"""How often a look says that predictions drift, where nothing has changed and where something has.

``python -m benchmarks.bench_drift`` trains a champion on a part of scikit-learn's digits. Then it takes other pictures
at random, again and again: some are what the champion predicted at first, others are new, and these are blurred,
darker, of other shares of the classes, or partly of a class that it does not know. ``--images DIR`` (a folder per
class) with ``--backbone``, ``--weights`` and ``--image-size`` does so with other pictures. ``--seed`` names another
training and other draws, ``--parts`` some of this only, ``--unknown`` which classes it does not know, one at a time.
"""

import argparse
import io
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter

from benchmarks.bench_train import Trial, digits, per_class
from labelloop.files import cores
from labelloop.pictures import decode
from labelloop.serve.engines.base import open_engine
from labelloop.train.dataset import Sample
from labelloop.types import Output, TrainSettings, chunks
from labelloop.watch.description import describe
from labelloop.watch.features import FeatureExtractor
from labelloop.watch.judgement import LEVEL, LOOKS, Judgement, Observed, judge
from labelloop.watch.sample import rounded

NEW, MOST_REFERENCE = 300, 500
"""Predictions of a look, and of what they are compared with, where there are enough pictures."""

BLUR = (0.25, 0.5, 1.0, 2.0, 6.0)
"""Standard deviations of the blur, in hundredths of the shorter side."""

DARK = (0.9, 0.75, 0.6, 0.45)
SHARES = (0.05, 0.1, 0.2)
"""Of the new pictures, those of a class that the champion does not know."""

Draw = Callable[[np.random.Generator], tuple[list[Observed], list[Observed]]]
"""Gives what was predicted at first, and what is new."""


PARTS = ("calm", "changes", "shares", "unknown")


@dataclass(frozen=True)
class Material:
    """Pictures that the champion has not learned from: class, what is observed of each, and whether it is right."""

    labels: npt.NDArray[np.int64]
    observed: list[Observed]
    right: npt.NDArray[np.bool_]


def run(trials: int = 20, calm: int = 100, seed: int = 1) -> dict[str, str]:
    """Measure the digits."""
    with tempfile.TemporaryDirectory() as folder:
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
        return measure(trial, digits(Path(folder)), 30, trials, calm)


def measure(
    trial: Trial,
    pictures: Sequence[Sample],
    each: int,
    trials: int,
    calm: int,
    parts: Collection[str] = PARTS,
    unknown: Sequence[int] = (-1,),
) -> dict[str, str]:
    """Measure what a champion that learned ``each`` pictures of every class says of the others."""
    rng = np.random.default_rng(trial.settings.seed)
    order = [pictures[at] for at in rng.permutation(len(pictures))]
    learned = {one.picture for target in range(len(trial.classes)) for one in _of(order, target)[:each]}
    rows = {}
    if set(parts) - {"unknown"}:
        rows = _known(trial, learned, order, trials, calm, parts)
    if "unknown" in parts:
        for hidden in unknown:
            rows |= _new_class(trial, learned, order, trials, hidden % len(trial.classes))
    return rows


def _known(
    trial: Trial, learned: set[str], order: Sequence[Sample], trials: int, calm: int, parts: Collection[str]
) -> dict[str, str]:
    """Measure a champion that knows all classes."""
    pool = [one for one in order if one.picture not in learned]
    bundle = trial.train([one for one in order if one.picture in learned]).bundle
    plain = _observe(bundle, pool, trial.classes)
    rows = {f"accuracy on {len(pool)} pictures": f"{plain.right.mean():.3f}"}
    if "calm" in parts:
        rows |= _false_alarms(plain, calm, trial.settings.seed)
    for name, change in _changes() if "changes" in parts else ():
        moved = _observe(bundle, pool, trial.classes, change)
        lost = plain.right.mean() - moved.right.mean()
        rows[name] = _power(partial(_draw, plain, moved), lost, trials, trial.settings.seed)
    for name, weights in _priors(plain, len(trial.classes)) if "shares" in parts else ():
        lost = plain.right.mean() - np.average(plain.right, weights=weights[plain.labels])
        rows[name] = _power(partial(_draw, plain, plain, weights=weights), lost, trials, trial.settings.seed)
    return rows


def _of(pictures: Sequence[Sample], target: int) -> list[Sample]:
    return [one for one in pictures if one.targets == (target,)]


def _new_class(trial: Trial, learned: set[str], order: Sequence[Sample], trials: int, hidden: int) -> dict[str, str]:
    """Leave a class out of the training and out of what is predicted at first; it is put last."""
    last, name = len(trial.classes) - 1, trial.classes[hidden]
    order = [replace(one, targets=(_place(one.targets[0], hidden, last),)) for one in order]
    known = tuple(one for one in trial.classes if one != name)
    trained = replace(trial, classes=known).train(
        [one for one in order if one.picture in learned and one.targets != (last,)]
    )
    pool = [one for one in order if one.picture not in learned]
    found = _observe(trained.bundle, pool, (*known, name))
    right = found.right[found.labels != last].mean()
    rows = {}
    for share in SHARES:
        weights = np.append(np.full(last, (1 - share) / last), share)
        draw = partial(_draw, found, found, weights=weights, hidden=last)
        rows[f"{name} is new, {share:.0%} of the pictures"] = _power(draw, share * right, trials, trial.settings.seed)
    return rows


def _place(target: int, hidden: int, last: int) -> int:
    return last if target == hidden else target - (target > hidden)


def _changes() -> Iterator[tuple[str, Callable[[Image.Image], Image.Image]]]:
    for sigma in BLUR:
        yield f"blur of {sigma} % of the side", partial(_blurred, sigma=sigma)
    for light in DARK:
        yield f"{light:.0%} of the light", partial(_darkened, light=light)


def _darkened(image: Image.Image, light: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(light)


def _blurred(image: Image.Image, sigma: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(sigma / 100 * min(image.size)))


def _priors(plain: Material, classes: int) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    """Give other shares of the classes, the one that is known worst growing; each class has one of its own."""
    worst = min(range(classes), key=lambda one: plain.right[plain.labels == one].mean())
    for times in (1.5, 2.0):
        weights = np.full(classes, (classes - times) / (classes - 1))
        weights[worst] = times
        yield f"the worst class {times} times as frequent", weights / classes
    gone = np.ones(classes)
    gone[sorted(range(classes), key=lambda one: -plain.right[plain.labels == one].mean())[: classes // 3]] = 0
    yield f"the best {classes // 3} of {classes} classes gone", gone / gone.sum()


def _observe(
    bundle: Path,
    pictures: Sequence[Sample],
    classes: Sequence[str],
    change: Callable[[Image.Image], Image.Image] = lambda image: image,
) -> Material:
    """Have the champion predict pictures after a change, and describe them."""
    engine, features = open_engine(bundle, "onnx"), FeatureExtractor(bundle)

    def predict(some: list[Sample]) -> list[tuple[Output, list[float], list[float]]]:
        contents = [_encoded(change(decode(one.path.read_bytes()))) for one in some]
        answers = [answer for answer in engine.predict(contents, "v1") if isinstance(answer, Output)]
        rows = [_kept(describe(content), 4) for content in contents]
        taken = [_kept(features(content), 2) for content in contents]
        return list(zip(answers, rows, taken, strict=True))

    with ThreadPoolExecutor(cores()) as pool:
        found = [one for some in pool.map(predict, chunks(pictures, 64)) for one in some]
    answers = [answer for answer, *_ in found]
    observed = [
        Observed(number, 0.0, rounded(answer.scores), row, taken)
        for number, (answer, row, taken) in enumerate(found, 1)
    ]
    labels = np.array([one.targets[0] for one in pictures])
    right = [answer.label == classes[label] for answer, label in zip(answers, labels, strict=True)]
    return Material(labels, observed, np.array(right))


def _kept(row: Iterable[float], digits: int) -> list[float]:
    return [round(float(value), digits) for value in row]


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "BMP")
    return buffer.getvalue()


def _draw(
    plain: Material,
    moved: Material,
    rng: np.random.Generator,
    weights: npt.NDArray[np.float64] | None = None,
    hidden: int = -1,
) -> tuple[list[Observed], list[Observed]]:
    """Draw what was predicted at first, and what is new; no picture is both, or is there twice.

    ``weights`` are the shares of the classes among the new ones, ``hidden`` the class that is not among the first.
    """
    order = rng.permutation(len(plain.observed))
    new = order[:NEW] if weights is None else _weighted(rng, order, plain.labels, weights)
    rest = order[~np.isin(order, new) & (plain.labels[order] != hidden)]
    return [plain.observed[at] for at in rest[:MOST_REFERENCE]], [moved.observed[at] for at in new]


def _weighted(
    rng: np.random.Generator,
    order: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
) -> npt.NDArray[np.int64]:
    """Take pictures in such shares of the classes, as far as there are enough of each."""
    counts = rng.multinomial(NEW, weights)
    return np.concatenate([order[labels[order] == label][:count] for label, count in enumerate(counts)])


def _looks(draw: Draw, trials: int, seed: int) -> Iterator[Judgement]:
    for number in range(trials):
        reference, new = draw(np.random.default_rng([seed, number]))
        yield judge("v1", reference, new, at=float(seed * 1_000_000 + number))


def _false_alarms(plain: Material, times: int, seed: int) -> dict[str, str]:
    """Count looks at pictures of which nothing has changed, at a level of 5 % and at that of one look of thirty."""
    found = list(_looks(partial(_draw, plain, plain), times, seed))
    least = np.array([_least_p(one) for one in found])
    return {
        f"nothing has changed, at a level of {LEVEL:.0%}": _shown(int((least <= LEVEL).sum()), times),
        f"nothing has changed, at that of one look of {LOOKS}": _shown(sum(one.drifts for one in found), times),
    }


def _least_p(found: Judgement) -> float:
    """Give the level at which a look would just have said that predictions drift."""
    ps = [p for p in (found.ks_p, found.mmd_p, found.features_p) if p is not None]
    return len(ps) * min(ps)


def _power(draw: Draw, lost: float, trials: int, seed: int) -> str:
    """Count the looks that find a change, by all figures, and by each of them alone at the same level."""
    found = list(_looks(draw, trials, seed))
    ps: dict[str, list[float | None]] = {
        "scores": [one.ks_p for one in found],
        "pictures": [one.mmd_p for one in found],
        "features": [one.features_p for one in found],
    }
    level = LEVEL / LOOKS
    alone = ", ".join(
        f"{name} {sum(p is not None and p <= level for p in some) / trials:.0%}" for name, some in ps.items()
    )
    told = _shown(sum(one.drifts for one in found), trials)
    return f"costs {100 * lost:.1f} points: {told}; alone: {alone}"


def _shown(count: int, of: int) -> str:
    """Give a share with its 95 % interval (Wilson, 1927)."""
    share, z = count / of, 1.96
    middle, half = share + z**2 / (2 * of), z * np.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    low, high = ((middle + sign * half) / (1 + z**2 / of) for sign in (-1, 1))
    return f"{share:.1%} of {of} looks ({max(0.0, low):.1%} to {high:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_drift", description=__doc__)
    parser.add_argument("--images", type=Path, nargs="+", help="folders with a folder per class")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--image-size", type=int, default=0)
    parser.add_argument("--each", type=int, default=30, help="pictures of each class that the champion learns from")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--unknown", type=int, nargs="+", default=[-1], help="numbers of classes that it does not know")
    parser.add_argument("--trials", type=int, default=100, help="looks at each change")
    parser.add_argument("--calm", type=int, default=300, help="looks where nothing has changed")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = _folders(options) if options.images else run(options.trials, options.calm, options.seed)
    for what, value in found.items():
        print(f"{what:<50} {value}")


def _folders(options: argparse.Namespace) -> dict[str, str]:
    sets = [per_class(folder) for folder in options.images]
    settings = TrainSettings(
        backbone=options.backbone,
        weights=options.weights,
        image_size=options.image_size,
        recipes=("head",),
        seed=options.seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(sets[0][0], settings, Path(folder))
        pictures = [one for _, some in sets for one in some]
        return measure(
            trial,
            pictures,
            options.each,
            options.trials,
            options.calm,
            options.parts,
            options.unknown,
        )


if __name__ == "__main__":
    main()
