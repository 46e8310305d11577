"""The inference server as a Lambda function: ``python -m awslambdaric labelloop.serve.function.handler``.

Events are those of a function URL and of an HTTP API (payload format 2.0; AWS Lambda Developer Guide, "Request and
response payloads"). The bundle is taken from ``AIP_STORAGE_URI`` into MODEL_DIR, which has to be below /tmp, when the
first request comes.
"""

import base64
import json
import os
from collections.abc import Mapping
from functools import cache
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIEnvironment

from flask import Flask
from werkzeug.test import create_environ
from werkzeug.wrappers import Response

from labelloop.errors import SettingsError
from labelloop.logs import start_logging
from labelloop.serve.options import ServeOptions, ServePlan
from labelloop.serve.pinned import PinnedCatalog
from labelloop.serve.refusal import Refusal
from labelloop.serve.server import planned_app, prepare
from labelloop.settings import Settings
from labelloop.types import Json

LIMIT_BYTES = 6_291_456
"""6 MiB, the most that Lambda takes as a request and as an answer, both as JSON."""

_HEADERS_BYTES = 65_536
"""What is left of that for all but the body."""

BODY_BYTES = (LIMIT_BYTES - _HEADERS_BYTES) // 4 * 3
"""Most bytes of a body: it travels as base64."""


def handler(event: Json, context: object) -> Json:  # noqa: ARG001 - Lambda calls it with both
    """Answer one event; raises ValueError for one that is no request of HTTP."""
    try:
        app = _app()
    except Exception as error:  # noqa: BLE001 - border: whoever asks is told, and the next one may be luckier
        refusal = Refusal.of(error)
        return _refused(refusal.status, refusal.reason)
    return answer(event, app)


def answer(event: Json, app: Flask) -> Json:
    """Have an application answer an event; raises ValueError for one that is no request of HTTP."""
    told = Response.from_app(app, _environ(event), buffered=True)
    headers = {name: value for name, value in told.headers.items() if name.lower() != "content-length"}
    return _written(told.status_code, told.get_data(), told.mimetype or "", headers)


@cache
def _app() -> Flask:
    """Take the bundle and load it, once for all that this instance of the function answers."""
    settings = Settings.from_environment()
    start_logging(settings.log_level, settings.log_format)
    plan = ServePlan.of(ServeOptions(), os.environ)
    if not plan.storage and plan.bundle is None:
        raise SettingsError("this function has no AIP_STORAGE_URI: deploy it by a lambda:// deployer")
    catalog = prepare(plan, settings)()
    if isinstance(catalog, PinnedCatalog):
        catalog.settled.wait()
    return planned_app(plan, settings, catalog)


def _environ(event: Json) -> WSGIEnvironment:
    """Read an event as WSGI has it; a stage of an HTTP API is no part of the path."""
    try:
        context = event["requestContext"]
        stage, path = context.get("stage", "$default"), str(event["rawPath"])
        body = event.get("body") or ""
        content = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
        environ = create_environ(
            query_string=event.get("rawQueryString") or "",
            method=context["http"]["method"],
            headers=event.get("headers") or {},
            data=content,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"this event is no request of a function URL or an HTTP API with payload format 2.0 ({error!r})"
        ) from None
    below = path.removeprefix(f"/{stage}/").lstrip("/")
    return environ | {"PATH_INFO": unquote_to_bytes(f"/{below}").decode("latin-1")}


def _written(status: int, content: bytes, media_type: str, headers: Mapping[str, str]) -> Json:
    """Write an answer as Lambda takes it: text as it is, all else as base64; one that is too large says so."""
    text = media_type.startswith("text/") or media_type == "application/json"
    body = content.decode() if text else base64.b64encode(content).decode()
    if len(json.dumps(body)) - 2 > LIMIT_BYTES - _HEADERS_BYTES:
        size = f"the answer has {len(content)} bytes, and a Lambda function may give {LIMIT_BYTES}"
        return _refused(413, f"{size}: ask for less at a time")
    told = {"Content-Type": media_type} | dict(headers)
    return {"statusCode": status, "headers": told, "body": body, "isBase64Encoded": not text}


def _refused(status: int, reason: str) -> Json:
    return _written(status, json.dumps({"error": reason}).encode(), "application/json", {})
