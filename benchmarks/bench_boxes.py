"""How well boxes are found, after how much work of one core, beside a plain FCOS on the same network.

``python -m benchmarks.bench_boxes --images DIR --train FILE --test FILE --weights FILE`` reads COCO files, of pictures
below DIR. ``--pictures N`` learns from N of them, ``--baseline EPOCHS`` trains torchvision's FCOS instead, and
``--part K`` measures on the K-th fifth of the training file instead of the test file, to choose by.
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
from labelloop.kinds.object_detection.recipes.choosing import figure, hits
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
    """Train with a tenth of the pictures for validation; give the engine and the seconds of this process."""
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
    train(sides, size, settings, folder / "bundle", Place(folder / "caches"), lambda *_: None)
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


def measured(
    found: Sequence[Candidates], examples: Sequence[Example], classes: Sequence[str], seed: int
) -> dict[str, Any]:
    """Give AP50 with its interval (bootstrap over pictures), and that of each label."""
    of, count = figure(found, examples, len(classes)), len(examples)
    whole, draws = of(np.ones((1, count))), np.random.default_rng(seed).multinomial(count, [1 / count] * count, _DRAWS)
    low, high = np.nanquantile(of(draws.astype(np.float64)).whole, (0.025, 0.975))
    right = sum(int(hits(one, example).sum()) for one, example in zip(found, examples, strict=True))
    labels = dict(zip(classes, whole.labels[0].round(3).tolist(), strict=True))
    return {"ap50": round(float(whole.whole[0]), 4), "low": round(float(low), 3), "high": round(float(high), 3),
            "labels": labels, "right": right}  # fmt: skip


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
    parser.add_argument("--recipes", default="head,finetune")
    parser.add_argument("--pictures", type=int, default=0, help="how many to learn from; 0: all")
    parser.add_argument("--part", type=int, choices=range(_PARTS))
    parser.add_argument("--size", type=int, default=416, help="pixels of the longer side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--baseline", type=int, default=0, metavar="EPOCHS")
    options = parser.parse_args()
    listed = Listed.read(options.train, options.images)
    order = np.random.default_rng(options.seed).permutation(len(listed.examples)).tolist()
    if options.part is None:
        tested = Listed.read(options.test, options.images).examples
    else:
        fifth = np.random.default_rng(7).permutation(len(listed.examples)) % _PARTS == options.part
        tested = tuple(listed.examples[at] for at in np.flatnonzero(fifth))
        order = [at for at in order if not fifth[at]]
    learned = [listed.examples[at] for at in order][: options.pictures or None]
    if options.baseline:
        from benchmarks.plain_fcos import found_by_plain

        model, seconds = plain(listed, learned, str(options.weights), options.baseline, options.seed)
        found = found_by_plain(model, tested)
    else:
        settings = TrainSettings(
            backbone=options.backbone,
            weights=str(options.weights),
            weights_hash="given",
            recipes=tuple(options.recipes.split(",")),
            seed=options.seed,
        )
        with tempfile.TemporaryDirectory() as folder:
            engine, seconds = ours(listed, learned, settings, options.size, Path(folder))
            found = found_by(engine, tested, listed.classes)
    row = {"pictures": len(learned), "seconds": round(seconds), **measured(found, tested, listed.classes, options.seed)}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
