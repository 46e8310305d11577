"""The stand-in of Google Cloud as a test holds it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from labelloop.types import Json
from support.google.automl import Trainings
from support.google.batches import Batches
from support.google.buckets import Buckets
from support.google.datasets import Datasets
from support.google.endpoints import Endpoints
from support.google.front import OUR_OWN, Front
from support.google.gcs import Objects
from support.google.jobs import Jobs, over_quota
from support.google.models import Models
from support.google.monitoring import Monitoring
from support.google.operations import Operations
from support.google.pipelines import Pipelines
from support.google.programs import Runs
from support.google.pubsub import PubSub
from support.google.runtime import Runtime
from support.google.served import Served
from support.google.storage import Storage
from support.google.wire import Call, Refused
from support.serving import HungUp, serving

PROJECT, LOCATION = "shop-1", "europe-west4"
"""A project and a location for tests; the stand-in has all of them."""


class StandIn:
    """Google Cloud on this machine: an address, the variables by which programs find it, and what a test does to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.front = Front()
        self.storage = Storage(Buckets(self.front.denied))
        self.front.storage = lambda call: self.storage.answer(call.request)
        self.objects = Objects(self.storage)
        self._own = requests.Session()
        self._own.headers["User-Agent"], self._own.trust_env = OUR_OWN, False
        self.operations = Operations()
        self.runs = Runs(folder / "jobs", self.objects, lambda: self.environment)
        self.jobs = Jobs(self.runs, self.operations)
        self.models = Models(self.operations, self.objects, self._where)
        self.served = Served(folder / "models", self.objects)
        self.endpoints = Endpoints(self.operations, self.models, self.served.check)
        self.runtime = Runtime(self.endpoints, self.served)
        self.datasets = Datasets(self.operations, self.objects)
        self.trainings = Trainings(self.operations, self.objects, self.datasets, self.models, self.served)
        self.batches = Batches(self.operations, self.objects, self.models, self.served)
        self.pipelines = Pipelines(self.runs, self.operations)
        self.monitoring = Monitoring(self.operations)
        self.pubsub = PubSub(self.operations)
        self.storage.buckets.changed = self.pubsub.object_changed
        self.rooms = (
            self.operations,
            self.jobs,
            self.models,
            self.endpoints,
            self.runtime,
            self.datasets,
            self.trainings,
            self.batches,
            self.pipelines,
            self.monitoring,
            self.pubsub,
        )
        for room in self.rooms:
            self.front.add(room.routes())
        self.calls = self.front.plans.calls
        """What was asked, such as ``aiplatform:POST customJobs``; ``*`` for names, also for an operation's parent."""

    def _where(self, model: str, version: str) -> list[Json]:
        return self.endpoints.where(model, version)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a child process finds this stand-in, and nobody's own account."""
        return {
            "LABELLOOP_VERTEX_BASE_URL": self.url,
            "STORAGE_EMULATOR_HOST": self.url,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_MONITORING": f"{self.url}/",
            "PUBSUB_EMULATOR_HOST": self.url.removeprefix("http://"),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent",
            "NO_GCE_CHECK": "true",
        }

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process find the stand-in."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def ask(self, method: str, path: str, body: Json | None = None, **query: str) -> Any:
        """Ask Vertex AI below the project and location of tests; neither counted in ``calls`` nor refused.

        Raises AssertionError for an answer that is an error.
        """
        url = f"{self.url}/v1/projects/{PROJECT}/locations/{LOCATION}/{path}"
        told = self._own.request(method, url, params=query, json=body)
        assert told.ok, f"{method} {path}: {told.status_code} {told.text}"
        return told.json()

    def bucket(self, name: str) -> str:
        """Make a bucket; gives its address."""
        self.storage.buckets.make(name, LOCATION)
        return f"gs://{name}"

    def fail(
        self,
        operation: str,
        status: str = "UNAVAILABLE",
        message: str = "",
        times: int | None = 1,
        *,
        after: bool = False,
    ) -> None:
        """Let the next calls be refused by a name of google.rpc.Code; None: all of them.

        ``operation`` is that of ``calls``, with or without its service, or the service alone. With ``after``, what was
        asked is done all the same, and only its answer is an error.
        """

        def refuse(call: Call) -> None:
            raise Refused(status, message or f"{call.name}: the stand-in was told so")

        self.front.plans.plan(operation, refuse, times, after=after)

    def exhaust(self, operation: str, metric: str, times: int | None = 1) -> None:
        """Let the next calls be refused for a quota, such as aiplatform.googleapis.com/custom_model_training_cpus."""

        def refuse(_: Call) -> None:
            raise over_quota(metric)

        self.front.plans.plan(operation, refuse, times)

    def deny(self, permission: str) -> None:
        """Let the caller lack a permission, such as ``aiplatform.customJobs.create``, until it is mended."""
        self.front.denied.add(permission)

    def revoke(self) -> None:
        """Let the caller's account be nobody's any more, until it is mended."""
        self.front.revoked = True

    def before(self, operation: str, function: Callable[[Call], None], times: int | None = 1) -> None:
        """Call a function before the next calls are answered. It runs beside the test, in a thread of the server.

        It may raise Refused, which is answered, or HungUp, which ends the connection without an answer.
        """
        self.front.plans.plan(operation, function, times)

    def after(self, operation: str, function: Callable[[Call], None], times: int | None = 1) -> None:
        """Call a function when the next calls are done, and not yet answered; else as ``before``."""
        self.front.plans.plan(operation, function, times, after=True)

    def hang_up(self, operation: str, times: int | None = 1, *, after: bool = False) -> None:
        """Give the next calls no answer; with ``after``, what was asked is done all the same."""

        def hang_up(call: Call) -> None:
            raise HungUp(call.name)

        self.front.plans.plan(operation, hang_up, times, after=after)

    def mend(self) -> None:
        """Let nothing fail any more of what a test has asked to, and keep the calls."""
        calls = list(self.calls)
        self.front.forget()
        self.calls.extend(calls)

    def reset(self) -> None:
        """Forget everything: a project on its first day."""
        self.front.forget()
        self.storage.reset()
        for room in self.rooms:
            room.forget()
        self.served.forget()


@contextmanager
def google_stand_in(folder: Path, port: int = 0) -> Iterator[StandIn]:
    """Run the stand-in; jobs and models lie below ``folder``."""
    google = StandIn(folder)
    with serving(google.front, port) as google.url:
        try:
            yield google
        finally:
            google.reset()
