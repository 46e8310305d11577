"""AutoML of Vertex AI as a trainer of pictures: classes, one or several of a picture, and boxes.

    data set (by its run's label) > import of the labels > training pipeline > model > batch prediction of the test side

The labels of the test side are in nothing that AutoML is given, nor are its pictures until the model is there.
"""

import hashlib
import logging
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, urlsplit

from labelloop.bundle_info import ForeignInfo
from labelloop.cloud.google.answers import AskedInBatch
from labelloop.cloud.google.automl import AutoMl
from labelloop.cloud.google.automl_terms import Wish
from labelloop.cloud.google.batch import BatchPrediction
from labelloop.cloud.google.client import Google
from labelloop.cloud.google.jobs import run_label
from labelloop.cloud.google.objects import Folder, location_of
from labelloop.data.split import splits
from labelloop.endpoints.answers.labelloop import write_item
from labelloop.errors import (
    CloudAway,
    CloudError,
    CloudMissing,
    SettingsError,
    TrainingError,
)
from labelloop.models.bundle import write_foreign
from labelloop.settings import Settings
from labelloop.trainers.automl_labels import LabelsInAutoMl, require_learnable
from labelloop.trainers.base import Training, looked_at, waited_for
from labelloop.trainers.handover import RunInputs
from labelloop.types import Answer, Failure, Input, Json, NotAsked

if TYPE_CHECKING:
    from labelloop.run.context import Context

_log = logging.getLogger(__name__)

RECIPE = "vertex-automl"
_EXAMPLE = f"{RECIPE}://PROJECT/LOCATION?model=CLOUD&budget=8000"
_OPTIONS = ("model", "budget")

_LONG = 3600.0
"""Seconds for which at least whoever goes on with a run may come back to a training that is over."""


@dataclass(frozen=True, slots=True)
class AutoMlAddress:
    """An address taken apart."""

    project: str
    location: str
    wish: Wish

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address; raises SettingsError."""
        parts = urlsplit(text)
        place = re.fullmatch(r"([a-z0-9][\w.:-]*)/([a-z0-9-]+)/?", parts.netloc + parts.path, re.ASCII)
        if place is None or parts.fragment:
            raise SettingsError(f"LABELLOOP_TRAINER: expected a project and a location: {_EXAMPLE}")
        given = parse_qsl(parts.query, keep_blank_values=True)
        options = dict(given)
        if strange := [name for name, _ in given if name not in _OPTIONS]:
            raise SettingsError(
                f"LABELLOOP_TRAINER: {RECIPE}:// knows no option {strange[0][:40]!r}. Possible are "
                f"{', '.join(_OPTIONS)}"
            )
        if len(options) != len(given):
            raise SettingsError(f"LABELLOOP_TRAINER: an option of {_EXAMPLE} is given twice")
        budget = options.get("budget", "0")
        if not re.fullmatch(r"\d{1,9}", budget, re.ASCII):
            raise SettingsError(f"LABELLOOP_TRAINER: budget={budget[:40]!r} is no number of milli node hours")
        return cls(place[1], place[2], Wish(options.get("model", ""), int(budget)))


class AutoMlTrainer:
    """Has AutoML train a model of pictures, and asks that model what it makes of others."""

    elsewhere, predicts, ours = True, True, False

    def __init__(self, address: AutoMlAddress, settings: Settings, wait: Callable[[float], None] = time.sleep) -> None:
        self._address, self._settings, self._wait = address, settings, wait
        self.name = f"{RECIPE}://{address.project}/{address.location}"

    @cached_property
    def _google(self) -> Google:
        return Google(self._address.project, self._address.location, wait=self._wait)

    @property
    def _automl(self) -> AutoMl:
        return AutoMl(self._google)

    @property
    def _folder(self) -> Folder:
        """Where files are handed over; raises SettingsError where the settings name no such place."""
        return Folder(self._google, location_of(self._settings)).below("automl")

    @property
    def _labels(self) -> LabelsInAutoMl:
        settings = self._settings
        return LabelsInAutoMl(self._automl, self._folder, settings.poll_seconds, settings.training_seconds, self._wait)

    @property
    def _asked(self) -> AskedInBatch:
        settings = self._settings
        jobs = BatchPrediction(self._google, self._folder.below("judged"))
        return AskedInBatch(jobs, settings.poll_seconds, settings.training_seconds, self._wait)

    def check(self, *, thorough: bool) -> None:
        """Look at the address; and whether who we are may look there, and write where files are handed over."""
        location_of(self._settings)
        if not thorough:
            return
        with looked_at(self.name):
            self._automl.check()
            self._folder.check()

    def start(self, context: "Context", key: str) -> str:
        """Import the labels, and begin the training, unless it goes on or is done; gives its resource name.

        The import takes minutes; whoever is killed meanwhile finds data set and import again. See Trainer.
        """
        automl = self._automl
        if before := automl.fitting(key):
            return before
        wish = require_learnable(context, self._address.wish)
        self._remove_forgotten()
        title = f"labelloop {context.manifest.project} {key}"[:128]
        context.progress(f"labels for AutoML, which then may take {wish.hours}", 0, 0)
        dataset = self._labels.bring(context, key, title)
        manifest = context.manifest
        _log.info("run %s: AutoML begins, which Google bills: at most %s, %s", key, wish.hours, wish.model)
        return automl.fit(key, title, dataset, manifest.kind, manifest.choice, wish)

    def find(self, key: str) -> str:
        """Give the newest training of a key; where there is none yet, the data set that was made for it."""
        with waited_for():
            return self._automl.newest(key) or next(iter(self._automl.datasets(run_label(key))), "")

    def poll(self, handle: str) -> Training:
        """Say how the training stands."""
        try:
            with waited_for():
                seen = self._automl.look(handle)
        except CloudMissing as error:
            return Training("failed", reason=str(error))
        if seen.state == "failed":
            return Training("failed", reason=seen.reason + (f"; it took {seen.cost}" if seen.cost else ""))
        what = "waits for AutoML" if seen.waits else "training by AutoML"
        return Training(seen.state, f"{what}, at most {seen.most}")

    def collect(self, handle: str, context: "Context") -> Json:
        """Take the model as the version, with what it answers to the test items; the data set goes. See Trainer."""
        begun, seen = time.monotonic(), self._automl.look(handle)
        if not seen.model:
            raise TrainingError(f"training {handle} names no model that it has made")
        manifest, bundle = context.manifest, context.folder.bundle
        answers = self._answers(seen.model, handle, context)
        info = ForeignInfo(manifest.classes, manifest.choice, RECIPE, kind=manifest.kind, model=seen.model)
        shutil.rmtree(bundle, ignore_errors=True)
        write_foreign(bundle, info, answers)
        self._asked.remove(seen.model, handle)
        self._remove_datasets(seen.run)
        return {
            "recipe": RECIPE,
            "validation": {},
            "seconds": {"collect": round(time.monotonic() - begun, 3)},
            "left_out": {},
            "notes": [
                f"the model lies elsewhere, as {seen.model}: what needs its weights is left out of this report",
                *([f"AutoML took {seen.cost}"] if seen.cost else []),
                *self._labels.told(seen.run),
            ],
            "calibration": {},
            "device": "",
            "policy": "",
        }

    def cancel(self, handle: str) -> None:
        """Stop the training, or the import, and remove the data set; a model that is there already stays."""
        with waited_for():
            try:
                if "/trainingPipelines/" not in handle:
                    self._remove_datasets(self._automl.run_of(handle))
                    return
                self._automl.cancel(handle)
                seen = self._automl.look(handle)
            except CloudMissing:
                return
            if seen.model:
                self._asked.remove(seen.model, handle)
            # While it is being stopped its data set is in use: that goes with the forgotten ones.
            if seen.state != "running":
                self._remove_datasets(seen.run)

    def predict(self, model: str, inputs: Sequence[Input], classes: tuple[str, ...] = ()) -> list[Answer | Failure]:
        """Ask a model for answers; see Trainer."""
        if not re.fullmatch(r"projects/[^/]+/locations/[^/]+/models/[^/]+", model):
            raise TrainingError(f"{model} cannot be asked by {self.name}: it is no model of Vertex AI")
        contents = inputs.contents if isinstance(inputs, RunInputs) else [_sha256(one) for one in inputs]
        purpose = " ".join(contents)
        try:
            answers = self._asked.ask(model, inputs, contents, purpose, classes)
        except CloudAway:
            raise
        except CloudError as error:
            raise TrainingError(f"{model} could not be asked: {error}") from error
        self._asked.remove(model, purpose)
        return answers

    def _answers(self, model: str, handle: str, context: "Context") -> dict[str, Json]:
        """Ask about the test items, for the purpose of this training, by which that is found again."""
        manifest = context.manifest
        items = [one for one in splits(manifest, context.named_sides)["test"] if context.pictures.has(one.content)]
        inputs = RunInputs(context, items)
        found = self._asked.ask(model, inputs, inputs.contents, handle, manifest.classes, context.progress)
        told = zip(items, found, strict=True)
        return {item.content: write_item(one) for item, one in told if not isinstance(one, NotAsked)}

    def _remove_forgotten(self) -> None:
        """Remove the data sets of trainings that are long over: of runs that nobody came back to."""
        before = datetime.now(UTC) - timedelta(seconds=max(self._settings.training_seconds, _LONG))
        for dataset in list(self._automl.forgotten(before)):
            self._remove_dataset(dataset)

    def _remove_datasets(self, run: str) -> None:
        """Remove the data sets of a run, by its label; empty for nobody's."""
        for dataset in self._automl.datasets(run) if run else ():
            self._remove_dataset(dataset)

    def _remove_dataset(self, dataset: str) -> None:
        """Remove a data set; it costs nothing where it stays, so that is only told."""
        try:
            self._automl.remove_dataset(dataset)
        except CloudError as error:
            _log.warning("data set %s is still there: remove it by hand. %s", dataset, error)


def _sha256(one: Input) -> str:
    return hashlib.sha256(one.content).hexdigest()
