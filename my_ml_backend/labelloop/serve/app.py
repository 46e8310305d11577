"""The inference container's routes, for SageMaker and Vertex AI alike (docs/inference.md)."""

import logging

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from labelloop.errors import LabelLoopError, NotFound, StoreError
from labelloop.serve.admission import Admission
from labelloop.serve.catalog import Catalog, Choice
from labelloop.serve.errors import BadRequest, NotReady
from labelloop.serve.wire import (
    PROJECT_HEADER,
    VERSION_HEADER,
    is_json,
    read_instances,
    read_target,
    write_predictions,
)
from labelloop.types import Failure, Output

log = logging.getLogger(__name__)

_MEBIBYTE = 1 << 20


def create_app(
    catalog: Catalog,
    admission: Admission,
    *,
    body_max_bytes: int,
    health_route: str = "/ping",
    predict_route: str = "/invocations",
) -> Flask:
    """Make the WSGI application; each route is served besides SageMaker's."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = body_max_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]

    def ping() -> Response:
        return jsonify(catalog.state())

    def invoke() -> Response:
        with admission.present():
            return jsonify(write_predictions(_answers(catalog, admission)))

    def execution_parameters() -> Response:
        payload = max(1, min(body_max_bytes // _MEBIBYTE, 100 // admission.working))
        return jsonify(MaxConcurrentTransforms=admission.working, BatchStrategy="SINGLE_RECORD", MaxPayloadInMB=payload)

    for route in dict.fromkeys(("/ping", health_route)):
        app.add_url_rule(route, f"ping {route}", ping)
    for route in dict.fromkeys(("/invocations", predict_route)):
        app.add_url_rule(route, f"invoke {route}", invoke, methods=["POST"])
    app.add_url_rule("/execution-parameters", "execution-parameters", execution_parameters)
    app.register_error_handler(Exception, _refuse)
    return app


def _answers(catalog: Catalog, admission: Admission) -> list[Output | Failure]:
    target = read_target(request.headers.get(PROJECT_HEADER), request.headers.get(VERSION_HEADER))
    body = _read_body()
    if not is_json(request.mimetype, body):
        return [_answer_one(body, catalog.choose(target), admission)]
    instances = read_instances(body)
    choice = catalog.choose(target)
    results = iter(_predict([item for item in instances if isinstance(item, bytes)], choice, admission))
    return [item if isinstance(item, Failure) else next(results) for item in instances]


def _read_body() -> bytes:
    body = request.get_data(cache=False)
    if request.content_length is None and len(body) >= (request.max_content_length or 0):
        # A body sent in chunks is cut off at the limit without a word.
        raise RequestEntityTooLarge
    return body


def _answer_one(body: bytes, choice: Choice, admission: Admission) -> Output:
    """Answer for a request that is one picture: if that fails, the request does."""
    if not body:
        raise BadRequest("the body is empty: send a picture")
    answer = _predict([body], choice, admission)[0]
    if isinstance(answer, Failure):
        raise BadRequest(answer.reason)
    return answer


def _predict(contents: list[bytes], choice: Choice, admission: Admission) -> list[Output | Failure]:
    with admission.at_work():
        return choice.engine.predict(contents, choice.version)


def _refuse(error: Exception) -> tuple[Response, int]:
    """Turn whatever went wrong into a status and a reason; what nobody foresaw is logged and not shown."""
    status = _status(error)
    if status == 500:
        log.error("a request failed", exc_info=error)
    answer = jsonify(error=_reason(error, status))
    if status == 503:
        answer.headers["Retry-After"] = "1"
    return answer, status


def _reason(error: Exception, status: int) -> str:
    if status == 413:
        return f"the body is larger than {request.max_content_length} bytes (LABELLOOP_BODY_MAX_BYTES)"
    if isinstance(error, HTTPException):
        return error.description or error.name
    if isinstance(error, LabelLoopError):
        return str(error)
    return "the server failed; its log says why"


def _status(error: Exception) -> int:
    match error:
        case HTTPException():
            return error.code or 500
        case BadRequest():
            return 400
        case NotFound():
            return 404
        case NotReady() | StoreError():
            return 503
    return 500
