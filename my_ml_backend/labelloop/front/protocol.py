"""Both sides of an app as the front sees it.

What its gate says of a request by the head alone (who answers it, how large its body may be), and how it is called with
a whole request (WSGI, PEP 3333).
"""

import io
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from urllib.parse import unquote_to_bytes
from uuid import uuid4
from wsgiref.types import WSGIApplication, WSGIEnvironment

import h11
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from labelloop.tracing import DOING, HEADER, Doing, trace_in

_log = logging.getLogger(__name__)


INLINE = "inline"
"""The pool of what is answered in the event loop itself: it must neither wait nor compute."""

BODIES = 4
"""Bodies of an app's largest size that may be in memory at a time."""

_MOST = (
    (b"[{", 1_000_000, "lists and objects"),
    (b":", 1_000_000, "names"),
    (b",", 5_000_000, "values"),
)
"""What a body of JSON may hold: Python keeps 70 to 130 bytes for a list or an object that took 2 to 9 to send, some 40
for a number that took 4, takes a second for a million different names, and lets no other thread run meanwhile."""

_EXTENSION = "labelloop.front"
_WARM_UP = "labelloop.warm_up"
UNSEEN = "labelloop.unseen"
"""By which an app's extensions name whom the front tells of clients that came to no request, and why: ``unreadable``,
``slow``, ``lost``, or ``full`` where there are too many."""
_REFUSED = "labelloop.refused"
ARRIVED = "labelloop.arrived"
"""When a request was whole, by ``time.perf_counter``: it may wait for a thread from then on."""
_TRACES = ("HTTP_TRACEPARENT", "HTTP_X_REQUEST_ID")
_UNPREFIXED = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


@dataclass(frozen=True, slots=True)
class Way:
    """How a request is taken: ``pool`` runs it, ``over`` is answered to a body of more than ``max_bytes``."""

    pool: str
    max_bytes: int
    over: HTTPException


class Gate(Protocol):
    """What the front asks of an app. ``client_seconds``: how long a client may be silent or slow."""

    @property
    def pools(self) -> Mapping[str, int]:
        """Threads of each pool."""
        ...

    @property
    def client_seconds(self) -> float:
        """Seconds for a request's head; for a body, and for reading an answer, with a second more for each MB."""
        ...

    @property
    def bodies_bytes(self) -> int:
        """Most memory for the bodies of all requests together."""
        ...

    def way(self, environ: WSGIEnvironment) -> Way:
        """Choose by the head; raises the HTTPException that is to be answered without reading the body."""
        ...


def guard(app: Flask, gate: Gate, warm_up: Callable[[], None] = lambda: None) -> None:
    """Let a gate stand before an app: the front asks it first, and under any other WSGI server the app itself does.

    Each request gets its trace id there (labelloop/tracing.py), which its answer repeats.
    ``warm_up`` makes what the first requests would wait for; the front calls it beside them, others do not.
    """
    app.extensions[_EXTENSION] = gate
    app.extensions[_WARM_UP] = warm_up

    def enter() -> None:
        told = [request.environ.get(name, "") for name in _TRACES]
        DOING.set(Doing(trace=(trace_in(*told) if any(told) else "") or uuid4().hex))
        if _REFUSED in request.environ:
            raise request.environ[_REFUSED]
        way = gate.way(request.environ)
        request.max_content_length = way.max_bytes
        if (request.content_length or 0) > way.max_bytes:
            raise way.over

    def leave(answer: Response) -> Response:
        answer.headers[HEADER] = DOING.get().trace
        return answer

    app.before_request(enter)
    app.after_request(leave)


def gate_of(app: WSGIApplication) -> Gate:
    """Find the gate of an app; raises TypeError when it has none."""
    gate = getattr(app, "extensions", {}).get(_EXTENSION)
    if gate is None:
        raise TypeError("labelloop.front serves LabelLoop's own apps only: this one has no gate")
    return gate  # type: ignore[no-any-return]


def warm_up_of(app: WSGIApplication) -> Callable[[], None]:
    """Find what an app's first requests would wait for."""
    return getattr(app, "extensions", {})[_WARM_UP]  # type: ignore[no-any-return]


def unseen_of(app: WSGIApplication) -> Callable[[str], None]:
    """Find whom an app has told of clients that came to no request."""
    return getattr(app, "extensions", {}).get(UNSEEN, lambda _: None)  # type: ignore[no-any-return]


def refuse(environ: WSGIEnvironment, error: HTTPException) -> None:
    """Have the app answer this error, in the form its routes have for errors.

    What led to it is forgotten: the frames of its traceback would keep the body that was refused.
    """
    error.__cause__ = error.__context__ = None
    environ[_REFUSED] = error.with_traceback(None)


def check_json(content: bytes) -> None:
    """Raise ValueError, naming the limit, when JSON would take many times its size in memory.

    Their signs are counted, inside of texts too: that is cheap, and far from what Label Studio sends.
    """
    for signs, most, what in _MOST:
        if sum(content.count(sign) for sign in signs) > most:
            raise ValueError(f"the body holds more than {most} {what}")


def too_large(limit: int, setting: str) -> RequestEntityTooLarge:
    """Make the answer to a body over a limit."""
    return RequestEntityTooLarge(f"the body is larger than {limit} bytes ({setting})")


class HttpAnswer(NamedTuple):
    """A whole answer; ``reason`` is its reason phrase."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @classmethod
    def of_error(cls, status: int, reason: str) -> "HttpAnswer":
        """Answer ``{"error": reason}`` without an app; ``reason`` is plain ASCII."""
        body = b'{"error":"' + reason.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"}\n'
        headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(body))]
        return cls(status, reason.encode(), headers, body)


def environ_of(head: h11.Request, client: str, server: Sequence[object], scheme: str) -> WSGIEnvironment:
    """Write a request's head as WSGI's environment; ``client`` and ``server`` are the addresses of both ends.

    SCRIPT_NAME is empty, whatever a header of that name says. Headers with an underscore are left out: they would read
    like those with a hyphen.
    """
    target = head.target
    if target.startswith((b"http://", b"https://")):  # the form that is meant for proxies
        target = b"/" + target.split(b"//", 1)[1].partition(b"/")[2]
    path, _, query = target.partition(b"?")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": head.method.decode("ascii"),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "RAW_URI": head.target.decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{head.http_version.decode('ascii')}",
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1]),
        "REMOTE_ADDR": client,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in head.headers:
        text = name.decode("ascii")
        if "_" not in text:
            key = _UNPREFIXED.get(text) or "HTTP_" + text.upper().replace("-", "_")
            given = value.decode("latin-1")
            environ[key] = f"{environ[key]},{given}" if key in environ else given
    return environ


def put_body(environ: WSGIEnvironment, body: io.BytesIO) -> None:
    """Give an environment the body that was read for it; how it was sent is no longer to be seen."""
    length = body.tell()
    body.seek(0)
    environ["wsgi.input"] = body
    if environ.pop("HTTP_TRANSFER_ENCODING", None) or "CONTENT_LENGTH" in environ:
        environ["CONTENT_LENGTH"] = str(length)


def call(app: WSGIApplication, environ: WSGIEnvironment) -> HttpAnswer:
    """Run the app to its end; what it raises is logged and answered 500."""
    try:
        # In a context of its own: what is noted of this request is no other's of the same thread.
        return copy_context().run(_called, app, environ)
    except Exception:  # noqa: BLE001 - border: whatever it is, the client is answered
        _log.exception("answered 500")
        return HttpAnswer.of_error(500, "LabelLoop failed; the reason is in its log")


def _called(app: WSGIApplication, environ: WSGIEnvironment) -> HttpAnswer:
    status, headers, written = "", list[tuple[str, str]](), list[bytes]()

    def start_response(given: str, fields: list[tuple[str, str]], _error: object = None) -> object:
        nonlocal status, headers
        status, headers = given, fields
        return written.append

    chunks: Iterable[bytes] = app(environ, start_response)  # type: ignore[arg-type]
    try:
        written.extend(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    number, _, reason = status.partition(" ")
    sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return HttpAnswer(int(number), reason.encode("latin-1"), sent, b"".join(written))
