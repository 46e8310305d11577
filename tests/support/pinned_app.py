"""The inference server in this process: its WSGI application on one bundle, as a container has it."""

from collections.abc import Mapping
from pathlib import Path

from flask import Flask

from labelloop.models.bundle import bundle_files
from labelloop.serve.answering import Admission
from labelloop.serve.engines.base import open_engine
from labelloop.serve.options import ServeOptions, ServePlan
from labelloop.serve.pinned import PinnedCatalog
from labelloop.serve.references import References
from labelloop.serve.server import inference_app
from labelloop.settings import Settings


def app_of(bundle: Path, version: str, environment: Mapping[str, str] | None = None) -> Flask:
    """Serve one bundle under a version's name, at the routes that a cloud's variables name."""
    assert bundle_files(bundle)
    catalog = PinnedCatalog(version, lambda: open_engine(bundle, "onnx"))
    catalog.start()
    assert catalog.settled.wait(30)
    settings, plan = Settings(), ServePlan.of(ServeOptions(bundle=bundle), environment or {})
    return inference_app(
        catalog,
        Admission(4, 28),
        References(settings),
        body_max_bytes=settings.body_max_bytes,
        health_route=plan.health_route,
        predict_route=plan.predict_route,
    )
