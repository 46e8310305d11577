"""A run's labels as a data set of AutoML: refused where it could not learn of them, imported, what that left out."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labelloop.cloud.base import Folder
from labelloop.cloud.google.automl import AutoMl, Imported
from labelloop.cloud.google.automl_terms import LEARNED_BYTES, LEAST_PICTURES, MODELS, Wish, taken
from labelloop.cloud.google.jobs import run_label
from labelloop.cloud.places import source
from labelloop.data.split import splits
from labelloop.errors import CloudError, TrainingError
from labelloop.trainers.base import over_time
from labelloop.trainers.cloud_labels import CloudLabels
from labelloop.types import SPANS, TEXTS, Item

if TYPE_CHECKING:
    from labelloop.run.context import Context

_log = logging.getLogger(__name__)

_TOLD = "import.json"
"""What the import has left out, beside the list that it read."""

_SHOWN = 3
"""Complaints of an import that are told."""


def require_learnable(context: "Context", wish: Wish) -> Wish:
    """Refuse what AutoML would refuse after a while, and spell out what is asked of it; raises TrainingError."""
    manifest = context.manifest
    if manifest.kind in (TEXTS, SPANS):
        raise TrainingError(
            "AutoML for texts is gone from Vertex AI: let LABELLOOP_TRAINER be vertex-job://, which trains as this "
            "machine would, or command: with a program of yours"
        )
    if manifest.kind not in MODELS:
        raise TrainingError(
            "AutoML learns classes of pictures, and boxes: name the control tag with the boxes by learn in "
            "extra_params (docs/label-configs.md). Now it would be given annotations as they stand"
        )
    try:
        spelled = wish.of(manifest.kind)
    except CloudError as error:
        raise TrainingError(f"AutoML cannot train this: {error}") from error
    counts = Counter(label for item in _learned(context) for label in item.labels)
    few = [f"{name} ({count})" for name, count in sorted(counts.items()) if count < LEAST_PICTURES]
    if few or not counts:
        raise TrainingError(
            f"AutoML wants at least {LEAST_PICTURES} pictures of each label, beside those of the test side, and there "
            f"are fewer of {', '.join(few)[:300] or 'any'}: label more, or take the label away. Nothing was begun"
        )
    return spelled


@dataclass(frozen=True)
class LabelsInAutoMl:
    """Brings labels through a ``folder`` into data sets, one for a run.

    It is looked ``every`` so many seconds how an import stands, for at most ``seconds``.
    """

    automl: AutoMl
    folder: Folder
    every: float
    seconds: float
    wait: Callable[[float], None] = time.sleep

    def bring(self, context: "Context", key: str, title: str) -> str:
        """Give the data set with a run's labels: what was begun before is gone on with. Raises CloudError."""
        automl, manifest = self.automl, context.manifest
        made = automl.datasets(run_label(key))
        dataset = made[0] if made else automl.make_dataset(key, title, self.seconds, self.every)
        operation = automl.importing(dataset)
        if not operation:
            address = self._labels.hand_over(context, run_label(key), {"train": "list"})["list"]
            operation = automl.begin_import(dataset, address, manifest.kind, manifest.choice)
        late = time.monotonic() + self.seconds
        while (found := automl.imported(dataset, operation)) is None:
            if time.monotonic() > late:
                raise over_time("AutoML", f"has not imported its labels after {self.seconds:g} s")
            context.progress("import into AutoML", 0, 0)
            self.wait(self.every)
        self._keep(key, dataset, found, list(_learned(context)))
        return dataset

    def told(self, run: str) -> list[str]:
        """Say what of the labels was not learned from, by the label of their run."""
        lost = [f"Vertex AI's import file does not carry {what}" for what in self._labels.lost(run)]
        return [*map(str, json.loads(self.folder.below(source(run)).read(_TOLD))), *lost]

    @property
    def _labels(self) -> CloudLabels:
        return CloudLabels(self.folder, "vertex", fit=lambda content: taken(content, LEARNED_BYTES)[0])

    def _keep(self, key: str, dataset: str, found: Imported, items: Sequence[Item]) -> None:
        """Keep what is not learned from, for the report; raises CloudError where the import left all of it out."""
        sent = len(items)
        if not found.held and found.complaints:
            # Another try imports anew: whoever may not read pictures may be let to by then.
            self.automl.remove_dataset(dataset)
            raise CloudError(f"AutoML imported none of {sent} pictures: {_some(found.complaints)}")
        count = max(len(found.complaints), sent - found.held) if found.held else 0
        notes = [f"AutoML left out {count} of {sent} pictures: {_some(found.complaints)}"] if count else []
        if bare := sum(not item.labels for item in items):
            notes.append(f"AutoML learns from pictures with a label: {bare} of {sent} have none, and say nothing to it")
        for note in notes:
            _log.warning("run %s: %s", key, note)
        self.folder.below(source(run_label(key))).put(_TOLD, json.dumps(notes).encode())


def _learned(context: "Context") -> Iterator[Item]:
    """Give the items that AutoML learns from."""
    sides = splits(context.manifest, context.named_sides)
    return (item for side in ("train", "validation") for item in sides[side] if context.pictures.has(item.content))


def _some(complaints: Sequence[str]) -> str:
    more = len(complaints) - _SHOWN
    told = "; ".join((*complaints[:_SHOWN], *([f"and {more} more"] if more > 0 else [])))
    return told or "Google does not say why"
