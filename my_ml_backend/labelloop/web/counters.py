"""What this web process counts, in Prometheus' text format."""

import time
from collections.abc import Sequence

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0)


class Metrics:
    """The counters of one app, in a registry of its own: two apps in one process never share a number."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "labelloop_requests", "Answered requests.", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "labelloop_request_seconds", "Time to answer.", ["route"], registry=self.registry, buckets=_SECONDS
        )
        self._predictions = Counter(
            "labelloop_predictions", "Tasks answered by /predict.", ["outcome"], registry=self.registry
        )
        self._webhooks = Counter("labelloop_webhooks", "Webhooks by action.", ["action"], registry=self.registry)
        self._refused = Counter(
            "labelloop_failed_logins", "Failed logins.", ["login", "limited"], registry=self.registry
        )

    def watch(self, app: Flask) -> None:
        """Count and time every request of the app, by route; unknown paths are one route."""
        app.before_request(_start)
        app.after_request(self._count)

    def predicted(self, results: Sequence[object]) -> None:
        """Count the tasks of one ``/predict``: predicted, or skipped."""
        done = sum(1 for item in results if item)
        self._predictions.labels("predicted").inc(done)
        self._predictions.labels("skipped").inc(len(results) - done)

    def heard(self, action: str) -> None:
        """Count one webhook. ``action`` is one of Label Studio's, not any text a caller sends."""
        self._webhooks.labels(action).inc()

    def refused(self, login: str, limited: bool) -> None:
        """Count one failed login; ``login`` is one of ours, not any text a caller sends."""
        self._refused.labels(login, "yes" if limited else "no").inc()

    def page(self) -> Response:
        """All numbers as Prometheus reads them."""
        return Response(generate_latest(self.registry), content_type=CONTENT_TYPE_LATEST)

    def _count(self, response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "unknown"
        self._requests.labels(route, str(response.status_code)).inc()
        self._seconds.labels(route).observe(time.perf_counter() - g.started)
        return response


def _start() -> None:
    g.started = time.perf_counter()
