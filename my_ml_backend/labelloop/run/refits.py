"""More evidence than the test side has: both versions trained anew without items that both learned from.

The items that are in the labels of both are dealt into folds. For each fold a model is trained of the champion's labels
and one of the challenger's, both without the fold, and both answer for it; right is what its items are labeled today.
Trained alike, they differ by their labels alone, and no item counts that only one of them has. The kind says how a
model is trained anew (``Classification.refit``).
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from labelloop.data.manifest import Manifest
from labelloop.data.split import Part
from labelloop.errors import Damaged, NotFound, RunCancelled, TrainingError
from labelloop.files import cannot_keep
from labelloop.models.runs import Runs, manifest_path, sides_path
from labelloop.models.store import Store
from labelloop.models.versions import VersionRecord
from labelloop.run.context import Context, read_json, sides_of
from labelloop.run.scoring import Rename, truth_of
from labelloop.run.verdict import Refits
from labelloop.train.intervals import FEW
from labelloop.train.metrics import Indicators
from labelloop.types import Item, Progress, ProjectKey, Side

SMALL = 100
"""Test items from which on they decide alone."""

_FOLDS = 5

_MOST = 2000
"""Labels that are trained on anew: where there are more, so are the test items, and a head takes minutes."""


class Refit(Protocol):
    """A label set that can be trained on anew without some of its items.

    Where all about it but the labels is what its run has chosen, a method ``anew`` may give one that has chosen for
    itself: it is asked for that where the other one has, too. What is faster at training without each of several parts
    together has a method ``all_answers``, which takes them all and gives a list of what ``answers`` gives for each.
    """

    def answers(self, held: Sequence[Item]) -> Indicators:
        """Tell what a model that learned from all but the ``held`` items gives these: bool, (items, classes)."""


class Refitting(Protocol):
    """A kind that trains anew; ``refits`` names the recipes whose versions it can."""

    refits: tuple[str, ...]

    def refit(self, context: Context, items: Sequence[Item], others: Sequence[Item]) -> Refit:
        """Take what a version learned from; raises TrainingError, saying why it cannot be trained anew.

        ``others`` are those of the version that it meets: what features depend on is to be the same for both.
        """


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a version's labels are found again: the run of its ``record`` in a project of the store."""

    store: Store
    project: ProjectKey
    record: VersionRecord

    def labels(self, settings: str, beside: Path) -> Manifest:
        """Read the labels, by way of a file in ``beside``; raises TrainingError where that says nothing, StoreError.

        ``settings`` is the fingerprint of those that the version must have been trained with.
        """
        run = Runs(self.store, self.project).find(self.record.run)
        if run is None or run.settings != settings:
            raise TrainingError(f"{self.record.version} was trained with other settings")
        return self.manifest(beside)

    def manifest(self, beside: Path) -> Manifest:
        """Read the labels whatever the settings were; see ``labels``."""
        name, run = self.record.version, Runs(self.store, self.project).find(self.record.run)
        if run is None:
            raise TrainingError(f"the run of {name} is not in the store")
        try:
            beside.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=beside) as folder:
                file = Path(folder) / "manifest.jsonl"
                self.store.download(manifest_path(self.project, run.manifest), file)
                return Manifest.from_file(file)
        except NotFound:
            raise TrainingError(f"the labels of {name} are not in the store") from None
        except Damaged:
            raise TrainingError(f"the labels of {name} are damaged in the store") from None
        except OSError as error:
            raise cannot_keep("the manifest", beside, error) from error

    def named_sides(self) -> Mapping[str, Side]:
        """Read the sides (by sha256) that the tool named then; raises what ``labels`` does."""
        run = Runs(self.store, self.project).find(self.record.run)
        if run is None or not run.sides:
            return {}
        try:
            return sides_of(json.loads(self.store.read(sides_path(self.project, run.sides)).content))[0]
        except (NotFound, ValueError, KeyError, TypeError):
            raise TrainingError(f"the sides of {self.record.version} are not in the store, or damaged") from None


def refitted(kind: Refitting, context: Context, origin: Origin, rename: Rename) -> Refits | str:
    """Let a champion and the run's version meet on items that both learned from; a text says why they cannot.

    That is empty where the kind trains nothing anew. Raises StoreError, and RunCancelled.
    """
    try:
        return _refitted(kind, context, origin, rename) if kind.refits else ""
    except RunCancelled:
        raise
    except TrainingError as error:
        return str(error)


def _refitted(kind: Refitting, context: Context, origin: Origin, rename: Rename) -> Refits:
    own = read_json(context.folder.trained, "train")["recipe"]
    for name, recipe in (("this version", own), (origin.record.version, origin.record.recipe)):
        if recipe not in kind.refits:
            raise TrainingError(f"{name} ({recipe}) is not trained anew")
    older = origin.labels(context.training.fingerprint(), context.settings.directory / "cache" / "labels")
    old, new = _learned(context, older, rename), _learned(context, context.manifest, str)
    both = [item for content, item in new.items() if content in old]
    if len(both) < FEW:
        raise TrainingError(f"both learned from {len(both)} items, of at least {FEW}")
    if max(len(old), len(new)) > _MOST:
        raise TrainingError(f"more than {_MOST} labels are not trained on anew")
    learned = [tuple(one.values()) for one in (old, new)]
    refits = [kind.refit(context, *pair) for pair in (learned, learned[::-1])]
    if None in (anew := [getattr(one, "anew", None) for one in refits]):
        refits = [again() if again else one for one, again in zip(refits, anew, strict=True)]
    return met(both, context.manifest.classes, refits, context.settings.seed, context.progress)


def _learned(context: Context, manifest: Manifest, rename: Rename) -> Mapping[str, Item]:
    """Give the items that a version learned from, by content, labeled with the classes of today."""
    found, classes = {}, set(context.manifest.classes)
    for item in Part(manifest, context.named_sides, ("train", "validation")):
        labels = tuple(sorted(name for label in item.labels if (name := rename(label)) in classes))
        if len(labels) == len(item.labels):
            found[item.content] = replace(item, labels=labels)
    return found


def met(
    items: Sequence[Item], classes: Sequence[str], refits: Sequence[Refit], seed: int, progress: Progress
) -> Refits:
    """Train ``refits`` of champion and challenger without each fold of the ``items`` that count, labeled as today."""
    from labelloop.train.crossvalidation import folds

    truth = truth_of(tuple(items), tuple(classes))
    given = [np.zeros_like(truth) for _ in refits]
    held = [rows for _, rows in folds(truth, _FOLDS, seed)]
    parts = [[items[row] for row in rows] for rows in held]
    for number, (one, refit) in enumerate(zip(given, refits, strict=True)):
        progress("refits", number, len(refits))
        together = getattr(refit, "all_answers", None)
        answers = map(refit.answers, parts) if together is None else together(parts)
        for rows, answered in zip(held, answers, strict=True):
            one[rows] = answered
    progress("refits", len(refits), len(refits))
    return Refits(truth, *given)
