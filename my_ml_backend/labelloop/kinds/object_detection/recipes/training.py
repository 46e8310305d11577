"""A run's training: the recipes, each from what the one before it found, and the better one as a bundle."""

import copy
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from labelloop.data.split import splits
from labelloop.errors import TrainingError
from labelloop.kinds.object_detection.recipes.choosing import (
    Served,
    choose,
    mirrors,
    precision,
    suppressed,
)
from labelloop.kinds.object_detection.recipes.detecting import candidates
from labelloop.kinds.object_detection.recipes.examples import Example, Examples, load_changes
from labelloop.kinds.object_detection.recipes.export import Made, write_bundle
from labelloop.kinds.object_detection.recipes.fitting import (
    Plan,
    Remembered,
    Seen,
    Told,
    checkpoint_file,
    fit,
    taken_up,
)
from labelloop.kinds.object_detection.recipes.maps import MOST_BYTES, bytes_of, kept
from labelloop.kinds.object_detection.recipes.network import Detector, first_detector, short_numbers
from labelloop.kinds.object_detection.recipes.planning import Budget, Planner, Work
from labelloop.kinds.object_detection.recipes.sizes import Size
from labelloop.train.dataset import Sample
from labelloop.train.parity import spread
from labelloop.train.pixels import PixelCache, packed
from labelloop.train.recipes.finetune_plan import on_gpu
from labelloop.types import Epoch, Json, Progress, TrainSettings

if TYPE_CHECKING:
    from labelloop.kinds.regions import Regions
    from labelloop.run.context import Context

logger = logging.getLogger(__name__)

_FEW = 8
"""Validation pictures below which mirror images are judged by training pictures."""

_JUDGED = 32


@dataclass(frozen=True, slots=True)
class Sides:
    """What a training may see, the examples of each side in the order of their pictures."""

    classes: tuple[str, ...]
    train: tuple[Example, ...]
    validation: tuple[Example, ...]

    def readable(self, unreadable: "dict[str, str]") -> "Sides":
        """Leave out pictures (sha256) that cannot be read, and order the rest."""
        train, validation = (
            tuple(sorted((one for one in side if one.sample.picture not in unreadable), key=_picture))
            for side in (self.train, self.validation)
        )
        return Sides(self.classes, train, validation)


def sides_of(context: "Context", kind: "Regions") -> Sides:
    """Read what a run may see from its manifest, as far as its kind learns it."""
    manifest = context.manifest
    sides = splits(manifest, context.named_sides)
    train_side, validation = (
        tuple(
            Example.of(
                Sample(context.pictures.path(item.content), item.content, ()),
                kind.learnable(context, item).regions,
                manifest.classes,
            )
            for item in sides[name]
        )
        for name in ("train", "validation")
    )
    return Sides(manifest.classes, train_side, validation)


def _picture(example: Example) -> str:
    return example.sample.picture


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A trained detector (CPU, eval mode), how it would serve, and what its epochs reached."""

    recipe: str
    detector: Detector
    served: Served
    curve: tuple[Epoch, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a training works: caches of all runs, checkpoints of this one, or None for none."""

    caches: Path
    checkpoints: Path | None = None


def train(
    sides: Sides,
    size: Size,
    settings: TrainSettings,
    bundle: Path,
    place: Place,
    progress: Progress,
    budget: Budget = Budget(),  # noqa: B008 - frozen
) -> Json:
    """Train on ``sides`` and write the best detector's bundle; gives ``train.json`` (docs/training.md).

    The same data, settings and machine give the same detector. Raises TrainingError.
    """
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return _Run(sides, size, settings, place, progress, budget).train(bundle)


@dataclass(eq=False)
class _Run:
    sides: Sides
    size: Size
    settings: TrainSettings
    place: Place
    progress: Progress
    budget: Budget
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def train(self, bundle: Path) -> Json:
        pixels = PixelCache(self.size.spec, self.place.caches)
        with self._timed("pictures"):
            samples = [one.sample for one in (*self.sides.train, *self.sides.validation)]
            left_out = pixels.check(samples, len(samples), self.progress)
        self.sides = self.sides.readable(left_out)
        self._require_boxes(len(left_out))
        with self._timed("backbone"):
            start = first_detector(self.settings, self.size, self.sides.classes)
        found = list(self._candidates(start, pixels))
        best = self._winner(found)
        self.progress("export", 0, 1)
        with self._timed("export"):
            made = Made(
                best.detector, best.served, self.sides.classes, best.recipe, self.settings.backbone, self.size.spec
            )
            compared = spread([one.sample for one in (*self.sides.validation, *self.sides.train)])
            write_bundle(made, compared, pixels, bundle)
        self.progress("export", 1, 1)
        return {
            "bundle": bundle.name,
            "recipe": best.recipe,
            "validation": {one.recipe: one.served.precision for one in found if not math.isnan(one.served.precision)},
            "seconds": self.seconds,
            "left_out": left_out,
            "notes": self.notes,
            "curves": {one.recipe: one.curve for one in found},
            "flips": list(best.served.flips),
            "policy": load_changes(self.settings.augmentations).name,
            "calibration": {},
            "device": "cuda" if on_gpu() else "cpu",
            "suspects": [],
        }

    def _require_boxes(self, unreadable: int) -> None:
        if any(len(one.labels) for one in self.sides.train):
            return
        lost = f" ({unreadable} pictures could not be read)" if unreadable else ""
        raise TrainingError(
            f"none of the {len(self.sides.train)} training pictures has a box: draw some in Label Studio{lost}"
        )

    def _candidates(self, start: Detector, pixels: PixelCache) -> Iterator[Candidate]:
        samples = [one.sample for one in (*self.sides.train, *self.sides.validation)]
        planner = Planner(self.settings, len(self.sides.train), Work.of(start, self.size.spec), self.budget)
        with packed(samples, pixels, self.place.caches) as rows:
            policy, count = load_changes(self.settings.augmentations), len(self.sides.train)
            learned, held = (
                Examples(some, rows.rows()[first : first + len(some)], self.size.spec, policy)
                for first, some in ((0, self.sides.train), (count, self.sides.validation))
            )
            before: Candidate | None = None
            for name in self._entrants(planner):
                with self._timed(name):
                    one = _Recipe(self, planner, learned, held, name)
                    before = one.head(start) if name == "head" else one.finetune(start, before)
                if name in self.settings.recipes:
                    yield before

    def _entrants(self, planner: Planner) -> list[str]:
        """Name the recipes that run; a finetune from learned weights begins with a head's solution."""
        asked = self.settings.recipes
        if self.settings.weights == "none":
            if "finetune" not in asked:
                raise TrainingError(
                    "a head on random weights finds nothing: set LABELLOOP_WEIGHTS, or LABELLOOP_RECIPES=finetune"
                )
            if "head" in asked:
                self._note("head is left out: the features of random weights say nothing")
            return ["finetune"]
        if "finetune" not in asked:
            return ["head"]
        if "head" in asked and planner.too_long():
            spec = self.size.spec
            self._note(
                f"finetune is left out: {self.settings.backbone} at {spec.width} x {spec.height} pixels would take "
                "this CPU more than about five minutes; use a GPU, or set LABELLOOP_RECIPES=finetune"
            )
            return ["head"]
        return ["head", "finetune"]

    def _winner(self, found: Sequence[Candidate]) -> Candidate:
        """Give the first one, unless a later one is better on the validation side by more than chance makes of it.

        Unlike a finetune of classes, whose weights are half its head's, one of boxes may well be worse.
        """
        best = found[0]
        for one in found[1:]:
            if one.served.clearly_better(best.served, self.settings.seed):
                best = one
        return best

    def _note(self, sentence: str) -> None:
        logger.info(sentence)
        self.notes.append(sentence)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.seconds[stage] = round(time.monotonic() - begun, 3)


@dataclass(frozen=True, slots=True, eq=False)
class _Recipe:
    run: _Run
    planner: Planner
    learned: Examples
    held: Examples
    name: str

    def head(self, start: Detector) -> Candidate:
        """Let the pyramid and the heads learn on a body at rest."""
        detector, seed = copy.deepcopy(start), self.run.settings.seed
        plan = self.planner.head()
        checkpoint = self._checkpoint("head", detector, plan)
        curve = taken_up(detector, plan, checkpoint)
        if curve is None:
            trial = self.planner.trial()
            with self._source(detector, 1) as source:
                fit(detector, source, trial, seed, self._told("trial"), self._checkpoint("trial", detector, trial))
            flips = self._mirrors(detector)
            learned = replace(self.learned, flips=flips)
            room = self.planner.variants(bytes_of(detector, learned.spec), MOST_BYTES, learned.ways)
            with self._source(detector, room, learned) as source:
                curve = fit(detector, source, plan, seed, self._told("head"), checkpoint)
        return self._candidate(detector, curve)

    def finetune(self, start: Detector, before: Candidate | None) -> Candidate:
        """Let the body learn as well, but for its lowest layers."""
        detector = copy.deepcopy(before.detector if before else start)
        plan, flips = self.planner.finetune(), self._mirrors(detector) if before else ()
        source = Seen(replace(self.learned, flips=flips), learns=True)
        checkpoint = self._checkpoint("finetune", detector, plan)
        curve = fit(detector, source, plan, self.run.settings.seed, self._told("finetune"), checkpoint)
        return self._candidate(detector, curve)

    @contextmanager
    def _source(
        self, detector: Detector, variants: int, learned: Examples | None = None
    ) -> "Iterator[Remembered | Seen]":
        examples, run = learned or self.learned, self.run
        if not variants:
            yield Seen(examples, learns=False)
            return
        with kept(detector, examples, variants, run.settings.seed, run.place.caches, run.progress) as maps:
            yield Remembered(maps)

    def _mirrors(self, detector: Detector) -> tuple[str, ...]:
        few = self.held if len(self.held) >= _FEW else self.learned
        return mirrors(detector, few.first(_JUDGED))

    def _candidate(self, detector: Detector, curve: tuple[Epoch, ...]) -> Candidate:
        detector = detector.cpu().eval()
        served = choose(detector, self.held, len(self.run.sides.classes), self._mirrors(detector))
        return Candidate(self.name, detector, served, curve)

    def _told(self, name: str) -> Told:
        return Told(name, self.run.progress, lambda detector: reached(detector, self.held))

    def _checkpoint(self, name: str, detector: Detector, plan: Plan) -> Path | None:
        run = self.run
        if run.place.checkpoints is None:
            return None
        boxes = [
            (one.sample.picture, one.corners.tobytes(), one.labels.tobytes())
            for one in (*run.sides.train, *run.sides.validation)
        ]
        facts = (run.settings.fingerprint(), run.size, plan, run.sides.classes, boxes)
        return checkpoint_file(run.place.checkpoints, name, detector, facts)


def reached(detector: Detector, held: Examples) -> Epoch:
    """Say what a detector reaches on validation pictures as it is; nothing where none of them has a box."""
    if not any(len(one.labels) for one in held.examples):
        return {}
    with short_numbers(detector.device):
        found = suppressed(candidates(detector, held))
    return {"validation_ap50": precision(found, held.examples)}
