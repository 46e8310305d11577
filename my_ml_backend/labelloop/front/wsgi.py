"""Calling a WSGI app (PEP 3333) with a whole request, and taking its whole answer."""

import io
import logging
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication, WSGIEnvironment

import h11

_log = logging.getLogger(__name__)

_UNPREFIXED = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


class Answer(NamedTuple):
    """A whole answer; ``reason`` is its reason phrase."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @classmethod
    def of_error(cls, status: int, reason: str) -> "Answer":
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


def call(app: WSGIApplication, environ: WSGIEnvironment) -> Answer:
    """Run the app to its end; what it raises is logged and answered 500."""
    try:
        return _called(app, environ)
    except Exception:  # noqa: BLE001 - border: whatever it is, the client is answered
        _log.exception("answered 500")
        return Answer.of_error(500, "LabelLoop failed; the reason is in its log")


def _called(app: WSGIApplication, environ: WSGIEnvironment) -> Answer:
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
    return Answer(int(number), reason.encode("latin-1"), sent, b"".join(written))
