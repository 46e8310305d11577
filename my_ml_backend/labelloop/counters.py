"""What a process counts, in Prometheus' text format; of a server of several processes, all of them together.

Where several processes count together (``count_together``), each does in files of its own in one folder, which is
prometheus_client's multiprocess mode, and whichever is asked adds them up. docs/backend.md lists all that is told.
"""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from flask import Flask, Response, g, request
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.values import MultiProcessValue

from labelloop import __version__
from labelloop.front.protocol import ARRIVED, UNSEEN

# When each counter began would be as many series again.
disable_created_metrics()  # type: ignore[no-untyped-call]

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own variable, which names that folder."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0)
_JOB_SECONDS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 12 * 3600.0)

_ENDPOINTS = 32
"""Endpoints that are told apart; projects may name many."""


class Collector(Protocol):
    """What is looked up when it is asked for, instead of being counted."""

    def collect(self) -> Iterable[Metric]:
        """Give it."""


class Counters:
    """What every server counts, in a registry of its own: two apps in one process never share a number."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "labelloop_requests", "Answered requests.", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "labelloop_request_seconds",
            "From a whole request to its answer.",
            ["route"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._turned_away = Counter(
            "labelloop_connections_refused",
            "Clients that came to no request: unreadable, slow, lost, or more of them than there is room for (full).",
            ["reason"],
            registry=self.registry,
        )

    def watch(self, app: Flask) -> None:
        """Count and time every request of the app, by route; unknown paths are one route."""
        app.extensions[UNSEEN] = self.turned_away
        app.before_request(_start)
        app.after_request(self._count)

    def turned_away(self, reason: str) -> None:
        """Count a client that came to no request; ``reason`` is one of the front's."""
        self._turned_away.labels(reason).inc()

    def page(self, collectors: Sequence[Collector] = ()) -> Response:
        """All numbers as Prometheus reads them, and what is looked up now."""
        return Response(generate_latest(self.all(collectors)), content_type=CONTENT_TYPE_LATEST)

    def all(self, collectors: Sequence[Collector] = ()) -> CollectorRegistry:
        """What this process counts, or all of its server's do, and what is looked up now."""
        registry = CollectorRegistry()
        if os.environ.get(FOLDER):
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry.register(_Counted(self.registry))
        for collector in collectors:
            registry.register(collector)
        return registry

    def _count(self, response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "unknown"
        self._requests.labels(route, str(response.status_code)).inc()
        self._seconds.labels(route).observe(time.perf_counter() - g.started)
        return response


class LoopCounters(Counters):
    """What web and worker count beside requests: predictions, webhooks, calls of endpoints, jobs."""

    def __init__(self) -> None:
        super().__init__()
        self._predictions = Counter(
            "labelloop_predictions", "Tasks answered by /predict.", ["outcome"], registry=self.registry
        )
        self._webhooks = Counter("labelloop_webhooks", "Webhooks by action.", ["action"], registry=self.registry)
        self._failed_logins = Counter(
            "labelloop_failed_logins", "Failed logins.", ["login", "limited"], registry=self.registry
        )
        self._cached = Counter(
            "labelloop_cache_lookups", "Predictions that were there already (hit), or not (miss).", ["outcome"],
            registry=self.registry,
        )  # fmt: skip
        self._calls = Counter(
            "labelloop_endpoint_calls",
            "Times an endpoint was asked: it answered, failed, or was left alone after failures.",
            ["endpoint", "outcome"],
            registry=self.registry,
        )
        self._call_seconds = Histogram(
            "labelloop_endpoint_seconds", "Time until an endpoint has answered or failed.", ["endpoint"],
            registry=self.registry, buckets=_SECONDS,
        )  # fmt: skip
        self._open = Gauge(
            "labelloop_endpoint_circuit_open",
            "1 where the endpoint failed so often that it was left alone, until it answers again.",
            ["endpoint"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._jobs = Counter("labelloop_jobs", "Jobs that ended.", ["function", "outcome"], registry=self.registry)
        self._job_seconds = Histogram(
            "labelloop_job_seconds", "Time that jobs took.", ["function"], registry=self.registry, buckets=_JOB_SECONDS
        )
        self._endpoints: set[str] = set()

    def predicted(self, results: Sequence[object]) -> None:
        """Count the tasks of one ``/predict``: predicted, or skipped."""
        done = sum(1 for item in results if item)
        self._predictions.labels("predicted").inc(done)
        self._predictions.labels("skipped").inc(len(results) - done)

    def heard(self, action: str) -> None:
        """Count one webhook. ``action`` is one of Label Studio's, not any text a caller sends."""
        self._webhooks.labels(action).inc()

    def login_failed(self, login: str, limited: bool) -> None:
        """Count one failed login; ``login`` is one of ours, not any text a caller sends."""
        self._failed_logins.labels(login, "yes" if limited else "no").inc()

    def looked_up(self, hits: int, misses: int) -> None:
        """Count predictions that were found in the cache, and those that were not."""
        self._cached.labels("hit").inc(hits)
        self._cached.labels("miss").inc(misses)

    def called(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count one call of an endpoint by its name: ``answered``, ``failed``, or ``left_alone`` by its breaker."""
        if endpoint not in self._endpoints:
            if len(self._endpoints) >= _ENDPOINTS:
                endpoint = "other"
            self._endpoints.add(endpoint)
        self._calls.labels(endpoint, outcome).inc()
        if outcome == "left_alone":
            self._open.labels(endpoint).set(1)
            return
        self._call_seconds.labels(endpoint).observe(seconds)
        if outcome == "answered":
            self._open.labels(endpoint).set(0)

    def worked(self, job: str, outcome: str, seconds: float) -> None:
        """Count one job by the name of its function; ``outcome`` is RQ's word, or ``killed``."""
        self._jobs.labels(job, outcome).inc()
        self._job_seconds.labels(job).observe(seconds)


class _Counted:
    """A registry as a part of another one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Give all that is in it."""
        return iter(self._registry.collect())


class OfMachine:
    """Which release this is, and how full the disk of a folder is; of a folder that is not there yet nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Look; the file system answers without looking at any file."""
        build = GaugeMetricFamily("labelloop_build_info", "The release.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        try:
            found = shutil.disk_usage(self._folder)
        except OSError:
            return
        yield GaugeMetricFamily("labelloop_disk_size_bytes", "Size of the disk that MODEL_DIR is on.", found.total)
        yield GaugeMetricFamily("labelloop_disk_free_bytes", "What is free of it for this user.", found.free)


def counting_folder(name: str) -> Path:
    """Say in which folder the processes of one server count; ``name`` is the server's.

    It lies where FOLDER says. Else it lies in memory where there is such a place, for what cannot be written to a full
    disk ends the process, or in the folder for temporary files.
    """
    shared = Path("/dev/shm")  # noqa: S108 - the folder in it is this user's alone, which is looked at
    home = shared if os.access(shared, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    return Path(os.environ.get(FOLDER) or home) / f"labelloop-metrics-{os.getuid()}-{name}"


def count_together(folder: Path, identify: Callable[[], object] = os.getpid) -> None:
    """Have this process and those that it forks count in a folder, which is made, or emptied of what lies there.

    Each process writes to files that are called as ``identify`` says in it: no two may be called alike at a time. It
    is for counters that are made from now on. Raises OSError where somebody else has put something there.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise OSError(f"{folder} is not a folder of this user alone: remove it, or name another one by {FOLDER}")
    empty(folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ[FOLDER] = str(folder)
    values.ValueClass = MultiProcessValue(identify)  # type: ignore[no-untyped-call]


def empty(folder: Path) -> None:
    """Take away what was counted in a folder, and the folder, where nothing else lies in it."""
    for file in folder.glob("*.db"):
        file.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _start() -> None:
    g.started = request.environ.get(ARRIVED) or time.perf_counter()
