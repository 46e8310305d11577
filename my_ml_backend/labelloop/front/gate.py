"""What an app says of a request by its head alone: who answers it, and how large its body may be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from wsgiref.types import WSGIApplication, WSGIEnvironment

from flask import Flask, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

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
_REFUSED = "labelloop.refused"


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


def guard(app: Flask, gate: Gate) -> None:
    """Let a gate stand before an app: the front asks it first, and under any other WSGI server the app itself does."""
    app.extensions[_EXTENSION] = gate

    def enter() -> None:
        if _REFUSED in request.environ:
            raise request.environ[_REFUSED]
        way = gate.way(request.environ)
        request.max_content_length = way.max_bytes
        if (request.content_length or 0) > way.max_bytes:
            raise way.over

    app.before_request(enter)


def gate_of(app: WSGIApplication) -> Gate:
    """Find the gate of an app; raises TypeError when it has none."""
    gate = getattr(app, "extensions", {}).get(_EXTENSION)
    if gate is None:
        raise TypeError("labelloop.front serves LabelLoop's own apps only: this one has no gate")
    return gate  # type: ignore[no-any-return]


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
