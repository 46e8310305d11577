"""The inference container's routes: its own, and those of both clouds (docs/inference.md)."""

from collections.abc import Sequence
from pathlib import Path

from flask import Flask, Response, jsonify

from labelloop.front.redaction import hide_folders
from labelloop.serve.admission import Admission
from labelloop.serve.answering import Answering
from labelloop.serve.catalog import Catalog
from labelloop.serve.references import References
from labelloop.serve.refusal import Refusal
from labelloop.serve.shapes.sagemaker import sagemaker_shape
from labelloop.serve.shapes.vertex import vertex_shape
from labelloop.serve.wire import requested, write_predictions

_MEBIBYTE = 1 << 20

_TRANSFORMS = 16
"""Most requests at a time in Batch Transform, which holds 100 MB of them: leaves 6 MB for each."""


def create_app(
    catalog: Catalog,
    admission: Admission,
    references: References,
    *,
    body_max_bytes: int,
    folders: Sequence[Path] = (),
    health_route: str = "/ping",
    predict_route: str = "/invocations",
) -> Flask:
    """Make the WSGI application; each route is served besides SageMaker's. ``folders`` are hidden in errors."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = body_max_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    hide_folders(app, folders)
    answering = Answering(catalog, admission, references)

    def ping() -> Response:
        return jsonify(catalog.state())

    def invoke() -> Response:
        return jsonify(write_predictions(answering.answer(requested()).answers))

    def execution_parameters() -> Response:
        transforms = min(admission.working, _TRANSFORMS)
        payload = max(1, min(body_max_bytes // _MEBIBYTE, 100 // transforms))
        return jsonify(MaxConcurrentTransforms=transforms, BatchStrategy="SINGLE_RECORD", MaxPayloadInMB=payload)

    for route in dict.fromkeys(("/ping", health_route)):
        app.add_url_rule(route, f"ping {route}", ping)
    for route in dict.fromkeys(("/invocations", predict_route)):
        app.add_url_rule(route, f"invoke {route}", invoke, methods=["POST"])
    app.add_url_rule("/execution-parameters", "execution-parameters", execution_parameters)
    app.register_blueprint(sagemaker_shape(answering))
    app.register_blueprint(vertex_shape(answering))
    app.register_error_handler(Exception, _refuse)
    return app


def _refuse(error: Exception) -> Response:
    refusal = Refusal.of(error)
    return refusal.written({"error": refusal.reason})
