"""The border where every error becomes a JSON answer: ``{"error": reason}``, never a traceback, never HTML."""

import logging

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from labelloop.errors import LabelConfigError, LabelLoopError, OptionsError
from labelloop.front.redaction import redact

_log = logging.getLogger(__name__)

_LONGEST_PHRASE = 300


def answer_errors(app: Flask) -> None:
    """Make the app answer every exception by ``error_answer``."""
    app.register_error_handler(Exception, error_answer)


def error_answer(error: Exception) -> Response:
    """Turn an exception into an answer; what nobody raised on purpose is logged in full and told in general."""
    if isinstance(error, HTTPException):
        kept = [(name, value) for name, value in error.get_headers() if name.lower() != "content-type"]
        return _answer(error.description or error.name, error.code or 500, kept)
    if isinstance(error, LabelConfigError | OptionsError):
        return _answer(redact(str(error)), 400)
    if isinstance(error, LabelLoopError):
        _log.warning("answered 503: %s", error)
        return _answer(redact(str(error)), 503)
    _log.error("answered 500", exc_info=error)
    return _answer("LabelLoop failed; the reason is in the log of its web process", 500)


def _answer(reason: str, status: int, headers: list[tuple[str, str]] | None = None) -> Response:
    answer = jsonify({"error": reason})
    # Of a /setup that fails Label Studio shows its user the reason phrase, and nothing of the body.
    answer.status = f"{status} {_phrase(reason)}"
    answer.headers.extend(headers or [])
    return answer


def _phrase(reason: str) -> str:
    """Shorten a reason to what may stand in the first line of an answer."""
    return "".join(letter if 31 < ord(letter) < 127 else " " for letter in reason)[:_LONGEST_PHRASE].strip() or "Error"
