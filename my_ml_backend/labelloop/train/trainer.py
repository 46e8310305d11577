"""A run's training: the recipes compete on the validation split, and the better one becomes a bundle."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from labelloop.errors import TrainingError
from labelloop.train import metrics
from labelloop.train.backbone import build, picture_spec
from labelloop.train.bundle import write_bundle
from labelloop.train.dataset import Dataset, in_order, indicators, require_contrast
from labelloop.train.pixels import Pixels
from labelloop.train.recipes import finetune, head
from labelloop.train.recipes.base import Candidate, Material, Recipe
from labelloop.train.recipes.plan import too_long
from labelloop.train.trained import Trained
from labelloop.types import Progress, TrainSettings

_RECIPES: Mapping[str, Recipe] = {"head": head.fit, "finetune": finetune.fit}  # in the order in which they run

logger = logging.getLogger(__name__)


def train(dataset: Dataset, settings: TrainSettings, workdir: Path, cache_dir: Path, progress: Progress) -> Trained:
    """Train on ``dataset`` and write the best model's bundle below ``workdir``.

    The same data, settings and machine give the same model. ``cache_dir`` holds what runs share: pixels, features,
    exported backbones; it may be wiped between runs. Raises TrainingError.
    """
    unknown = [name for name in settings.recipes if name not in _RECIPES]
    if unknown or not settings.recipes:
        raise TrainingError(f"recipes {unknown or 'none'}: LABELLOOP_RECIPES takes {', '.join(_RECIPES)}")
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return _Run(dataset, settings, cache_dir, progress).train(workdir)


class _Run:
    def __init__(self, dataset: Dataset, settings: TrainSettings, cache_dir: Path, progress: Progress) -> None:
        self._seconds: dict[str, float] = {}
        self._notes: list[str] = []
        with self._timed("backbone"):
            start = build(settings, len(dataset.classes))
        pixels = Pixels(picture_spec(start, settings.image_size), cache_dir)
        with self._timed("pictures"):
            self._left_out = pixels.check((*dataset.train, *dataset.validation), progress)
        self._material = Material(self._readable(dataset), settings, start, pixels, cache_dir, progress)

    def train(self, workdir: Path) -> Trained:
        candidates: list[Candidate] = []
        for name in self._entrants():
            with self._timed(name):
                candidates.append(_RECIPES[name](self._material, candidates[-1] if candidates else None))
        winner = self._winner(candidates)
        self._material.progress("export", 0, 1)
        with self._timed("export"):
            write_bundle(winner, self._material, workdir / "bundle")
        self._material.progress("export", 1, 1)
        return Trained(
            bundle=workdir / "bundle",
            recipe=winner.recipe,
            validation=self._accuracies(candidates),
            seconds=self._seconds,
            left_out=self._left_out,
            notes=tuple(self._notes),
        )

    def _readable(self, dataset: Dataset) -> Dataset:
        for picture, reason in list(self._left_out.items())[:1]:
            lost = len(self._left_out)
            logger.warning("%d unreadable pictures are left out of training, such as %s: %s", lost, picture, reason)
        train, validation = (
            tuple(sample for sample in side if sample.picture not in self._left_out)
            for side in (dataset.train, dataset.validation)
        )
        readable = in_order(replace(dataset, train=train, validation=validation))
        require_contrast(readable, len(self._left_out))
        return readable

    def _entrants(self) -> list[str]:
        """Leave out what has no chance, or no time, where the other recipe remains."""
        settings = self._material.settings
        names = [name for name in _RECIPES if name in settings.recipes]
        if len(names) < 2:
            return names
        if self._material.fresh:
            self._note("head is left out: the features of random weights say nothing")
            return ["finetune"]
        if too_long(self._material):
            size = self._material.pixels.spec.width
            self._note(
                f"finetune is left out: {settings.backbone} at {size} px would take this CPU more than about a minute; "
                "use a GPU, or set LABELLOOP_RECIPES=finetune"
            )
            return ["head"]
        return names

    def _winner(self, candidates: list[Candidate]) -> Candidate:
        """Give the best by validation accuracy, then log-loss; without validation pictures the first."""
        dataset = self._material.dataset
        if not dataset.validation:
            return candidates[0]
        truth, accuracies = indicators(dataset.validation, len(dataset.classes)), self._accuracies(candidates)
        return min(
            candidates, key=lambda one: (-accuracies[one.recipe], metrics.log_loss(truth, one.logits, dataset.kind))
        )

    def _accuracies(self, candidates: list[Candidate]) -> dict[str, float]:
        dataset = self._material.dataset
        truth = indicators(dataset.validation, len(dataset.classes))
        return {
            one.recipe: metrics.accuracy(truth, metrics.chosen(one.logits, dataset.kind))
            for one in candidates
            if len(truth)
        }

    def _note(self, sentence: str) -> None:
        logger.info(sentence)
        self._notes.append(sentence)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._seconds[stage] = round(time.monotonic() - begun, 3)
