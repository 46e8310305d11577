"""What the work in hand belongs to: one id from the request that led to it, through jobs, to the version, in all logs.

A request has an id of its own, or takes the one that it carries; jobs carry it in Redis, records of runs and versions
keep it, and our own inference server is told. It says what belongs together, and proves nothing: anybody may send one.
"""

import re
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

HEADER = "X-Request-ID"
"""By which an id comes in, is answered, and goes to our own inference server."""

_ID = re.compile(r"[A-Za-z0-9][\w.-]{7,63}", re.ASCII)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, section 3.2: version, trace id, id of the caller's span, flags."""


@dataclass(frozen=True, slots=True)
class Doing:
    """What is being done: the ``trace`` it belongs to, RQ's ``job``, its ``project`` and ``version``, where known."""

    trace: str = ""
    job: str = ""
    project: str = ""
    version: str = ""


DOING: ContextVar[Doing] = ContextVar("labelloop.doing", default=Doing())  # noqa: B039 - it is frozen
"""Of this request or job; threads begin without, so that pools are told (``initializer``, ``copy_context``)."""


def note_doing(**known: Any) -> None:
    """From here on, in this request or job, more is known of what is done; what is empty changes nothing."""
    DOING.set(replace(DOING.get(), **{name: value for name, value in known.items() if value}))


def trace_in_hand() -> str:
    """Give the id of what is being done; a new one, 32 hex digits, where it has none, as in a command."""
    return DOING.get().trace or uuid4().hex


def trace_in(traceparent: str, request_id: str) -> str:
    """Take the id that two headers carry, W3C's before the other; empty where neither is well-formed."""
    if found := _TRACEPARENT.fullmatch(traceparent.strip()):
        return found[1]
    return request_id if is_trace(request_id) else ""


def is_trace(text: str) -> bool:
    """Whether that may be an id, 8 to 64 letters, digits, ``_.-``: nothing else is for logs and records."""
    return _ID.fullmatch(text) is not None
