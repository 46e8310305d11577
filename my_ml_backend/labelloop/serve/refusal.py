"""What went wrong, as a status and a reason; each shape of URL writes them its own way."""

import logging
from typing import NamedTuple

from flask import Response, jsonify, request
from werkzeug.exceptions import HTTPException

from labelloop.errors import LabelLoopError, NotFound, StoreError
from labelloop.front.redaction import redact
from labelloop.types import Json

log = logging.getLogger(__name__)


class BadRequest(LabelLoopError):
    """400: the request is not what was agreed; the message says how."""


class NotReady(LabelLoopError):
    """503: nothing can be served now; asking again later helps."""


class Refusal(NamedTuple):
    """A status of HTTP, and a reason that may be shown."""

    status: int
    reason: str

    @classmethod
    def of(cls, error: Exception) -> "Refusal":
        """Read an error; what nobody foresaw is logged and not shown, paths of this machine neither."""
        status = _status(error)
        if status == 500:
            log.error("a request failed", exc_info=error)
        reason = _reason(error, status)
        shown = redact(reason)
        if shown != reason and status != 500:
            log.warning("answered %s: %s", status, reason)
        return cls(status, shown)

    def written(self, body: Json, status: int | None = None) -> Response:
        """Write an answer with this body, under the refusal's status or another."""
        answer = jsonify(body)
        answer.status_code = self.status if status is None else status
        if self.status == 503:
            answer.headers["Retry-After"] = "1"
        return answer


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
