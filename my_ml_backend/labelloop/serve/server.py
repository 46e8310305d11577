"""The inference server: the routes of docs/inference.md, and gunicorn with the front's worker around them."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIEnvironment

from flask import Flask, Response, jsonify
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from labelloop.counters import Collector, OfMachine
from labelloop.front.protocol import BODIES, INLINE, Way, guard, too_large
from labelloop.front.redaction import hide_folders
from labelloop.models.archive import bundle_folder
from labelloop.models.bundle import check_bundle, served_by
from labelloop.models.opening import open_store
from labelloop.serve.answering import Admission, Answering
from labelloop.serve.cloud_shapes import sagemaker_shape, vertex_shape
from labelloop.serve.counters import OfCatalog, ServeCounters
from labelloop.serve.engines.base import check_engine, open_engine, require_model
from labelloop.serve.options import ServeOptions, ServePlan
from labelloop.serve.page import page
from labelloop.serve.pinned import PinnedCatalog, download, version_of
from labelloop.serve.references import References
from labelloop.serve.refusal import Refusal
from labelloop.serve.registry import Catalog
from labelloop.serve.stored import StoreCatalog
from labelloop.serve.wire import requested, write_predictions
from labelloop.settings import Settings

_MEBIBYTE = 1 << 20

_TRANSFORMS = 16
"""Most requests at a time in Batch Transform, which holds 100 MB of them: leaves 6 MB for each."""


def inference_app(
    catalog: Catalog,
    admission: Admission,
    references: References,
    *,
    body_max_bytes: int,
    folders: Sequence[Path] = (),
    health_route: str = "/ping",
    predict_route: str = "/invocations",
    figures: Sequence[Collector] = (),
) -> Flask:
    """Make the WSGI application; each route is served besides SageMaker's. ``folders`` are hidden in errors.

    ``figures`` are told at ``/metrics`` beside what is counted.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = body_max_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    hide_folders(app, folders)
    counters, told = ServeCounters(), [*figures, OfCatalog(catalog)]
    counters.watch(app)
    answering = Answering(catalog, admission, references, counters)

    def ping() -> Response:
        return jsonify(catalog.state())

    def invoke() -> Response:
        answered = answering.answer(requested())
        return jsonify(write_predictions(answered.answers, answered.features_of))

    def execution_parameters() -> Response:
        transforms = min(admission.working, _TRANSFORMS)
        payload = max(1, min(body_max_bytes // _MEBIBYTE, 100 // transforms))
        return jsonify(MaxConcurrentTransforms=transforms, BatchStrategy="SINGLE_RECORD", MaxPayloadInMB=payload)

    app.add_url_rule("/metrics", "metrics", lambda: counters.page(told))
    for route in dict.fromkeys(("/ping", health_route)):
        app.add_url_rule(route, f"ping {route}", ping)
    for route in dict.fromkeys(("/invocations", predict_route)):
        app.add_url_rule(route, f"invoke {route}", invoke, methods=["POST"])
    app.add_url_rule("/execution-parameters", "execution-parameters", execution_parameters)
    if isinstance(catalog, PinnedCatalog):
        # Of a store's many projects the backend shows each with its own endpoint.
        app.register_blueprint(page(lambda: answering.about, admission.decoding, projects=False))
    app.register_blueprint(sagemaker_shape(answering))
    app.register_blueprint(vertex_shape(answering))
    app.register_error_handler(Exception, _refuse)
    return app


def _refuse(error: Exception) -> Response:
    refusal = Refusal.of(error)
    return refusal.written({"error": refusal.reason})


THREADS = 32
SPARE_THREADS = 4
"""Threads that predictions never take, so that who comes to a full house is told so at once."""
_PER_CORE = 4
"""Predictions at work for each core: while some wait for Python's lock or the next step, others have the cores."""
GRACE_SECONDS = 25
"""How long requests in flight may take after SIGTERM; SageMaker kills after 30."""


def serve(options: ServeOptions, settings: Settings, environment: Mapping[str, str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight. ``environment``: where a cloud puts its variables.

    Raises SettingsError, StoreError or BundleError before it listens, when there is nothing it could ever serve.
    """
    plan = ServePlan.of(options, os.environ if environment is None else environment)
    _Server(plan, settings, prepare(plan, settings)).run()


def prepare(plan: ServePlan, settings: Settings) -> Callable[[], Catalog]:
    """Check what there is to serve; the model itself is loaded in the process that runs it.

    Raises SettingsError, StoreError or BundleError where nothing could ever be served.
    """
    check_engine(settings.engine)
    wanted = served_by(settings.engine)
    bundle = plan.bundle
    if plan.storage:
        bundle = download(plan.storage, settings.directory / "pinned", wanted)
    if bundle is None:
        open_store(settings.store_address)  # an impossible address is refused here, before anything listens
        return lambda: _of_store(settings)
    bundle = bundle_folder(bundle, settings.directory / "pinned")
    require_model(check_bundle(bundle, wanted), bundle)
    return lambda: _pinned(bundle, plan.version or version_of(bundle), settings.engine)


def _of_store(settings: Settings) -> Catalog:
    cache = settings.directory / "cache" / "bundles"
    return StoreCatalog(open_store(settings.store_address), cache, settings.loaded_models, settings.engine)


def _pinned(bundle: Path, version: str, engine: str) -> Catalog:
    catalog = PinnedCatalog(version, lambda: open_engine(bundle, engine))
    catalog.start()
    return catalog


def planned_app(plan: ServePlan, settings: Settings, catalog: Catalog) -> Flask:
    """Make the application that a plan asks for."""
    return inference_app(
        catalog,
        Admission(min(_PER_CORE * (os.cpu_count() or 1), THREADS - SPARE_THREADS), THREADS - SPARE_THREADS),
        References(settings),
        body_max_bytes=settings.body_max_bytes,
        folders=(*settings.folders, *([plan.bundle] if plan.bundle else [])),
        health_route=plan.health_route,
        predict_route=plan.predict_route,
        figures=[OfMachine(settings.directory)],
    )


class ServeGate:
    """Which threads answer which route, and how large its body may be; ``inline`` are answered beside all threads."""

    def __init__(self, settings: Settings, threads: int, inline: frozenset[str]) -> None:
        self._inline = inline
        self._limit = settings.body_max_bytes
        self.pools = {"predict": threads}
        self.client_seconds = settings.client_seconds
        self.bodies_bytes = BODIES * settings.body_max_bytes

    def way(self, environ: WSGIEnvironment) -> Way:
        """Choose by path; nobody is asked who they are."""
        pool = INLINE if environ["PATH_INFO"] in self._inline else "predict"
        return Way(pool, self._limit, too_large(self._limit, "LABELLOOP_BODY_MAX_BYTES"))


class _Server(BaseApplication):  # type: ignore[misc]
    """One worker process: threads share the loaded models, and the network runs outside Python's lock."""

    def __init__(self, plan: ServePlan, settings: Settings, make_catalog: Callable[[], Catalog]) -> None:
        self._plan = plan
        self._settings = settings
        self._make_catalog = make_catalog
        super().__init__()

    def load_config(self) -> None:
        """Tell gunicorn how to run."""
        wanted: dict[str, Any] = {
            "bind": f"{self._plan.host}:{self._plan.port}",
            "worker_class": "labelloop.front.worker.Worker",
            "logger_class": "labelloop.front.logger.FrontLogger",
            "workers": 1,
            "graceful_timeout": GRACE_SECONDS,
            "loglevel": self._settings.log_level.lower(),
            "proc_name": "labelloop serve",
            "control_socket_disable": True,
        }
        for name in wanted.keys() & self.cfg.settings.keys():
            self.cfg.set(name, wanted[name])

    def load(self) -> Flask:
        """Make the application, in the worker process."""
        app = planned_app(self._plan, self._settings, self._make_catalog())
        beside = frozenset({"/ping", self._plan.health_route, "/execution-parameters", "/metrics"})
        guard(app, ServeGate(self._settings, THREADS, beside))
        return app
