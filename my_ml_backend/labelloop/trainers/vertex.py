"""What is the same for both trainings in Vertex AI, a custom job of ours and a pipeline of somebody else's.

    vertex-job://PROJECT/LOCATION?machine=n1-standard-8      trainers/vertex_own.py
    vertex-pipeline://PROJECT/LOCATION?template=gs://...     trainers/vertex_foreign.py

A run is one job. It has the label of the run's key: by that it is looked up before one is begun, so that there are
never two.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, urlsplit

from labelloop.cloud.google.client import Google
from labelloop.cloud.google.jobs import Job, Jobs
from labelloop.cloud.google.objects import Folder, location_of
from labelloop.errors import (
    CloudMissing,
    SettingsError,
    TrainingError,
)
from labelloop.settings import Settings
from labelloop.trainers.base import Training, looked_at, waited_for
from labelloop.types import Answer, Failure, Input, Json

if TYPE_CHECKING:
    from labelloop.run.context import Context

PARAMETER = "parameter."


@dataclass(frozen=True, slots=True)
class VertexAddress:
    """An address taken apart: project, location, options, and ``parameters`` that each job is given."""

    scheme: str
    project: str
    location: str
    options: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, options: Sequence[str], example: str) -> Self:
        """Read an address; raises SettingsError. ``options`` are those that there are, ``parameter.`` among them."""
        parts = urlsplit(text)
        place = re.fullmatch(r"([a-z0-9][\w.:-]*)/([a-z]+(-[a-z]+\d+)?)/?", parts.netloc + parts.path, re.ASCII)
        if place is None or parts.fragment:
            raise SettingsError(f"LABELLOOP_TRAINER: expected a project and a location: {example}")
        given = parse_qsl(parts.query, keep_blank_values=True)
        told = dict(given)
        if len(told) != len(given):
            raise SettingsError(f"LABELLOOP_TRAINER: an option of {example} is given twice")
        parameters = {
            name.removeprefix(PARAMETER): told.pop(name)
            for name in list(told)
            if name.startswith(PARAMETER) and PARAMETER in options
        }
        if strange := [name for name in told if name not in options]:
            possible = ", ".join(f"{name}NAME" if name == PARAMETER else name for name in options)
            raise SettingsError(
                f"LABELLOOP_TRAINER: {parts.scheme}:// knows no option {strange[0][:40]!r}. Possible are {possible}"
            )
        if empty := [name for name, value in told.items() if not value]:
            raise SettingsError(f"LABELLOOP_TRAINER: the option {empty[0]} of {example} needs a value")
        return cls(parts.scheme, place[1], place[2], told, parameters)


class VertexTrainer(ABC):
    """One job of Vertex AI for a key, how it stands, and its end."""

    elsewhere, predicts, ours = True, False, False
    sort = ""
    """What Google calls such jobs."""

    def __init__(self, address: VertexAddress, settings: Settings) -> None:
        self._address, self._settings = address, settings
        self.name = f"{address.scheme}://{address.project}/{address.location}"

    @cached_property
    def google(self) -> Google:
        """The project and the location."""
        return Google(self._address.project, self._address.location)

    @property
    def jobs(self) -> Jobs:
        """The jobs there."""
        return Jobs(self.google, self.sort)

    @property
    def folder(self) -> Folder:
        """The folder where files are handed over; raises SettingsError where the settings name none."""
        return Folder(self.google, location_of(self._settings)).below(self._address.scheme)

    def check(self, *, thorough: bool) -> None:
        """Look at the address; and whether who we are may look at jobs there, and write where files are handed over."""
        location_of(self._settings)
        if not thorough:
            return
        with looked_at(self.name):
            self._look_there()

    def _look_there(self) -> None:
        """Raise CloudError where something is not there, or may not be done."""
        self.jobs.check()
        self.folder.check()

    @abstractmethod
    def _hand_over(self, context: "Context", key: str) -> Json:
        """Bring the labels of a run to where the job finds them; gives what the job is made of."""

    @abstractmethod
    def _is_there(self, job: Job) -> bool:
        """Whether what a job that is done has left is still there: a bucket may forget what is old."""

    @abstractmethod
    def _running(self, job: Job) -> Training:
        """Say how far a job is that has a machine."""

    @abstractmethod
    def _why(self, job: Job) -> str:
        """Say why a job failed, and what to do."""

    @abstractmethod
    def collect(self, handle: str, context: "Context") -> Json:
        """Take over what the job has made; see Trainer."""

    def start(self, context: "Context", key: str) -> str:
        """Begin the job of a key, unless it goes on or is done; one that failed is begun anew. See Trainer."""
        before = self.jobs.of(key)
        if before and (before[0].stands == "running" or (before[0].stands == "done" and self._is_there(before[0]))):
            return before[0].name
        title = f"labelloop {context.manifest.project} {key}"[:128]
        return self.jobs.begin(key, {"displayName": title, **self._hand_over(context, key)}, before).name

    def find(self, key: str) -> str:
        """Give the name of the newest job of a key."""
        with waited_for():
            found = self.jobs.of(key)
        return found[0].name if found else ""

    def poll(self, handle: str) -> Training:
        """Say how the job stands."""
        try:
            with waited_for():
                job = self.jobs.look(handle)
                if job.stands == "failed":
                    return Training("failed", reason=self._why(job))
                if job.stands == "done":
                    return Training("done")
                if job.state == "CANCELLING":
                    return Training("running", "stopping")
                return Training("running", "waits for a machine of Vertex AI") if job.waits else self._running(job)
        except CloudMissing as error:
            return Training("failed", reason=str(error))

    def cancel(self, handle: str) -> None:
        """End the job."""
        with waited_for():
            try:
                self.jobs.cancel(handle)
            except CloudMissing:
                return

    def predict(self, model: str, inputs: Sequence[Input], classes: tuple[str, ...] = ()) -> list[Answer | Failure]:
        """What is trained there answers by its bundle, or has answered."""
        raise TrainingError(
            f"{model} cannot be asked for {len(inputs)} answers ({len(classes)} classes) by {self.name}"
        )

    @property
    def _account(self) -> Json:
        """Say whom a job runs as; nothing where that is left to Google."""
        account = self._settings.google_service_account
        return {"serviceAccount": account} if account else {}
