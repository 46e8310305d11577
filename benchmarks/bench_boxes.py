"""How well boxes are found, after how much work of one core, beside a plain FCOS on the same network.

``python -m benchmarks.bench_boxes --images DIR --train FILE --test FILE --weights FILE`` reads COCO files, of pictures
below DIR. ``--of`` names what is compared: ``head``, ``finetune``, ``head+finetune`` (of which validation chooses),
and ``plain``, torchvision's FCOS after ``--epochs``. ``--pictures N`` learns from N of them, drawn by each of
``--seeds``, and ``--part K`` measures on the K-th fifth of the training file instead of the test file, to choose by.
What is in the folder ``--keep`` is not trained again, and what was killed goes on from there. Seconds are of this
process, user and system, on one thread; intervals (95 %) are by bootstrap over the measured pictures, of differences by
a paired one, of the mean over the seeds.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from labelloop.kinds.object_detection.boxes import LEAST
from labelloop.kinds.object_detection.engine import DetectorEngine
from labelloop.kinds.object_detection.info import DetectorInfo
from labelloop.kinds.object_detection.recipes.choosing import figure
from labelloop.kinds.object_detection.recipes.detecting import Candidates
from labelloop.kinds.object_detection.recipes.examples import Example
from labelloop.kinds.object_detection.recipes.sizes import Size
from labelloop.kinds.object_detection.recipes.training import Place, Sides, train
from labelloop.models.bundle import DESCRIPTION
from labelloop.train.backbone import spec_of
from labelloop.train.dataset import Sample
from labelloop.types import Box, Findings, TrainSettings

_PARTS = 5
_DRAWS = 500


@dataclass(frozen=True, slots=True)
class Listed:
    """The examples of a COCO file, and the names of its labels."""

    examples: tuple[Example, ...]
    classes: tuple[str, ...]

    @classmethod
    def read(cls, path: Path, images: Path) -> "Listed":
        held = json.loads(path.read_text())
        place = {one["id"]: at for at, one in enumerate(held["categories"])}
        boxes: dict[int, list[Any]] = {one["id"]: [] for one in held["images"]}
        for one in held["annotations"]:
            boxes[one["image_id"]].append(one)
        return cls(
            tuple(_example(one, images, boxes[one["id"]], place) for one in held["images"]),
            tuple(one["name"] for one in held["categories"]),
        )


def _example(picture: Any, images: Path, boxes: Sequence[Any], place: dict[int, int]) -> Example:
    path, sides = images / picture["file_name"], np.tile((picture["width"], picture["height"]), 2)
    rows = [(x, y, x + width, y + height) for x, y, width, height in (one["bbox"] for one in boxes)]
    corners = (np.array(rows, dtype=np.float32).reshape(-1, 4) / sides).clip(0, 1).astype(np.float32)
    labels = np.array([place[one["category_id"]] for one in boxes], dtype=np.int64)
    kept = ((corners[:, 2:] - corners[:, :2]) > LEAST).all(axis=1)
    sample = Sample(path, hashlib.sha256(path.read_bytes()).hexdigest(), ())
    return Example(sample, corners[kept], labels[kept])


def ours(
    listed: Listed, learned: Sequence[Example], settings: TrainSettings, side: int, folder: Path
) -> tuple[Any, float]:
    """Train with a tenth of the pictures for validation; give the engine and the seconds of this process.

    Caches and checkpoints below ``folder`` are used, so seconds are of all the work only where that is fresh.
    """
    shapes = np.array([_shape(one) for one in learned])
    width, height = np.median(shapes, axis=0)
    spec = replace(
        spec_of(replace(settings, image_size=0)),
        width=round(side * width / max(width, height) / 32) * 32,
        height=round(side * height / max(width, height) / 32) * 32,
    )
    smaller = np.concatenate([(one.corners[:, 2:] - one.corners[:, :2]).min(axis=1) for one in learned])
    held = max(2, len(learned) // 10)
    sides, begun = Sides(listed.classes, tuple(learned[held:]), tuple(learned[:held])), time.process_time()
    size = Size(spec, float(np.quantile(smaller, 0.05)) * side)
    (checkpoints := folder / "checkpoints").mkdir(exist_ok=True)
    train(sides, size, settings, folder / "bundle", Place(folder / "caches", checkpoints), lambda *_: None)
    seconds = time.process_time() - begun
    info = DetectorInfo.from_json((folder / "bundle" / DESCRIPTION).read_text())
    return DetectorEngine(folder / "bundle", info), seconds


def _shape(example: Example) -> tuple[int, int]:
    from labelloop.pictures import upright_size

    return upright_size(example.sample.path.read_bytes())


def found_by(engine: Any, examples: Sequence[Example], classes: Sequence[str]) -> list[Candidates]:
    """Let an engine find boxes."""
    answers = [engine.found([one.sample.path.read_bytes()], "")[0] for one in examples]
    return [_candidates(one, classes) for one in answers if isinstance(one, Findings)]


def _candidates(answer: Findings, classes: Sequence[str]) -> Candidates:
    boxes = [one.shape for one in answer.regions if isinstance(one.shape, Box)]
    corners = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in boxes]
    scores = np.array([one.score or 0.0 for one in answer.regions]).clip(1e-6, 1 - 1e-6)
    return Candidates(
        np.array(corners, dtype=np.float32).reshape(-1, 4),
        np.array([classes.index(one.label) for one in answer.regions], dtype=np.int64),
        np.log(scores / (1 - scores)).astype(np.float32),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one training finds in the measured pictures, and its CPU seconds."""

    found: list[Candidates]
    seconds: float

    def write(self, path: Path) -> None:
        """Keep it."""
        parts = {name: np.concatenate([getattr(one, name) for one in self.found]) for name in _FIELDS}
        counts = [len(one.labels) for one in self.found]
        np.savez(path, counts=counts, seconds=self.seconds, **parts)

    @classmethod
    def read(cls, path: Path) -> "Outcome":
        """Read what was kept."""
        with np.load(path) as held:
            cuts = np.cumsum(held["counts"])[:-1]
            parts = [np.split(held[name], cuts) for name in _FIELDS]
            return cls([Candidates(*one) for one in zip(*parts, strict=True)], float(held["seconds"]))


_FIELDS = ("corners", "labels", "logits")


def rows(outcomes: dict[str, list[Outcome]], tested: Sequence[Example], classes: Sequence[str]) -> dict[str, Any]:
    """Give AP50 of each, its mean over seeds with an interval, that of labels, and differences from the last one."""
    count = len(tested)
    draws = np.random.default_rng(0).multinomial(count, [1 / count] * count, _DRAWS).astype(np.float64)
    weights = np.vstack([np.ones((1, count)), draws])
    reached: dict[str, Any] = {}
    given: dict[str, Any] = {}
    for name, each in outcomes.items():
        figures = [figure(one.found, tested, len(classes))(weights) for one in each]
        reached[name] = np.mean([one.whole for one in figures], axis=0)
        labels = np.mean([one.labels[0] for one in figures], axis=0)
        given[name] = f"{_interval(reached[name])}, by seed {[round(float(one.whole[0]), 3) for one in figures]}"
        given[f"{name}: labels"] = dict(zip(classes, labels.round(3).tolist(), strict=True))
        given[f"{name}: seconds of CPU"] = [round(one.seconds) for one in each]
    *others, last = reached
    return given | {f"{name} less {last}": _interval(reached[name] - reached[last]) for name in others}


def _interval(values: Any) -> str:
    low, high = np.nanquantile(values[1:], (0.025, 0.975))
    return f"{values[0]:.3f} ({low:.3f} to {high:.3f})"


def plain(listed: Listed, learned: Sequence[Example], weights: str, epochs: int, seed: int) -> tuple[Any, float]:
    """Train torchvision's FCOS on the same network, strides 4, 8 and 16; give it and the seconds of this process."""
    import torch

    from benchmarks.plain_fcos import detector, fit

    torch.manual_seed(seed)
    begun, model = time.process_time(), detector(weights, len(listed.classes))
    fit(model, learned, epochs, seed)
    return model, time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--images", "--train", "--test", "--weights"):
        parser.add_argument(name, type=Path, required=name != "--test")
    parser.add_argument("--backbone", default="mobilenetv2_100?pad_type=same")
    parser.add_argument("--of", default="head,finetune,plain")
    parser.add_argument("--pictures", type=int, default=0, help="how many to learn from; 0: all")
    parser.add_argument("--part", type=int, choices=range(_PARTS))
    parser.add_argument("--size", type=int, default=416, help="pixels of the longer side; the plain one has 400")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--epochs", type=int, default=20, help="of the plain one")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    listed = Listed.read(options.train, options.images)
    tested, drawable = _sides(options, listed)
    with tempfile.TemporaryDirectory() as folder:
        place: Path = options.keep or Path(folder)
        outcomes = {
            name: [
                _outcome(options, listed, tested, drawable, name, int(seed), place) for seed in options.seeds.split(",")
            ]
            for name in options.of.split(",")
        }
    print(json.dumps(rows(outcomes, tested, listed.classes), indent=2))


def _sides(options: argparse.Namespace, listed: Listed) -> tuple[Sequence[Example], list[int]]:
    """Give the pictures to measure on, and which of the listed ones may be learned from."""
    everything = range(len(listed.examples))
    if options.part is None:
        return Listed.read(options.test, options.images).examples, list(everything)
    fifth = np.random.default_rng(7).permutation(len(listed.examples)) % _PARTS == options.part
    return [listed.examples[at] for at in everything if fifth[at]], [at for at in everything if not fifth[at]]


def _outcome(
    options: argparse.Namespace,
    listed: Listed,
    tested: Sequence[Example],
    drawable: Sequence[int],
    name: str,
    seed: int,
    place: Path,
) -> Outcome:
    """Train one, unless it is kept, and let it find boxes in the measured pictures."""
    drawn = [at for at in np.random.default_rng(seed).permutation(len(listed.examples)).tolist() if at in set(drawable)]
    learned = [listed.examples[at] for at in drawn[: options.pictures or None]]
    own = place / f"{'' if options.part is None else options.part}-{len(learned)}-{seed}"
    own.mkdir(parents=True, exist_ok=True)
    kept = own / f"{name}{options.epochs if name == 'plain' else ''}.npz"
    if not kept.exists():
        if name == "plain":
            from benchmarks.plain_fcos import found_by_plain

            model, seconds = plain(listed, learned, str(options.weights), options.epochs, seed)
            Outcome(found_by_plain(model, tested), seconds).write(kept)
        else:
            settings = TrainSettings(
                backbone=options.backbone,
                weights=str(options.weights),
                weights_hash="given",
                recipes=tuple(name.split("+")),
                seed=seed,
            )
            engine, seconds = ours(listed, learned, settings, options.size, own)
            Outcome(found_by(engine, tested, listed.classes), seconds).write(kept)
    return Outcome.read(kept)


if __name__ == "__main__":
    main()
