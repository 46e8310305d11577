"""A request of Google's as it comes over the wire: what of which service it asks, and answers in Google's words.

Errors are ``{"error": {"code", "message", "status", "details"}}`` (cloud.google.com/apis/design/errors).
"""

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from werkzeug import Request, Response

from labelloop.types import Json, chunks

_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""Names of google.rpc.Code, whose numbers stand in operations and jobs that failed."""

_HTTP = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""What HTTP says of each; all others are 500."""


class Refused(Exception):
    """Google says no: by this name of google.rpc.Code; ``details`` stand in the answer as Google's messages do."""

    def __init__(self, status: str, message: str, *details: Json) -> None:
        super().__init__(message)
        self.status, self.message, self.details = status, message, list(details)

    @property
    def code(self) -> int:
        """The status of HTTP."""
        return _HTTP.get(self.status, 500)

    @property
    def rpc(self) -> Json:
        """The google.rpc.Status of an operation or a job that ended so."""
        more = {"details": self.details} if self.details else {}
        return {"code": _CODES.index(self.status), "message": self.message, **more}

    @property
    def answer(self) -> Response:
        """What a request gets that ended so."""
        more = {"details": self.details} if self.details else {}
        return answer({"error": {"code": self.code, "message": self.message, "status": self.status, **more}}, self.code)


def invalid(message: str) -> Refused:
    """Say no to what is asked for, whatever the state of things."""
    return Refused("INVALID_ARGUMENT", message)


def failed(message: str) -> Refused:
    """Say no to what is asked for as things are."""
    return Refused("FAILED_PRECONDITION", message)


def missing(what: str, name: str) -> Refused:
    """Say that there is no such thing."""
    return Refused("NOT_FOUND", f"{what} {name} is not found.")


def violation(where: str, message: str) -> Refused:
    """Say what of a request's JSON cannot be read, as all of Google's services do."""
    told = {"description": message, **({"field": where} if where else {})}
    return Refused(
        "INVALID_ARGUMENT",
        message,
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [told]},
    )


def answer(content: Any, status: int = 200) -> Response:
    """Answer in JSON."""
    return Response(json.dumps(content, indent=2) + "\n", status, content_type="application/json; charset=UTF-8")


def now(at: float | None = None) -> str:
    """Write a moment as Google does."""
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds(duration: str) -> float:
    """Read a google.protobuf.Duration, which has been checked."""
    return float(duration.removesuffix("s"))


@dataclass(frozen=True, slots=True)
class _Service:
    """A service, known by how its paths begin; ``shape`` tells what of a path are names."""

    name: str
    path: re.Pattern[str]


_SERVICES = (
    _Service("aiplatform", re.compile(r"/v1/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/(?P<rest>.+)")),
    _Service("monitoring", re.compile(r"/v3/projects/(?P<project>[^/]+)/(?P<rest>.+)")),
    _Service("pubsub", re.compile(r"/v1/projects/(?P<project>[^/]+)/(?P<rest>(topics|subscriptions|snapshots)\b.*)")),
    _Service("storage", re.compile(r"/((?:upload|download|resumable/upload)/)?storage/v1/(?P<rest>.*)")),
    _Service("storage", re.compile(r"/(?P<rest>batch/storage/v1)")),
)


@dataclass(frozen=True)
class Call:
    """One request: its service, what it asks for, and whom of."""

    request: Request
    service: str
    project: str
    location: str
    rest: str
    body: Json = field(default_factory=dict)

    @cached_property
    def shape(self) -> str:
        """What is asked for with ``*`` for each name: ``customJobs/*:cancel``; an operation's parent is left out."""
        path, colon, verb = self.rest.partition(":") if self.service != "storage" else (self.rest, "", "")
        parts = path.split("/")
        if self.service == "storage" and parts[2:3] == ["o"] and len(parts) > 3:
            parts[3:] = ["/".join(parts[3:])]
        if self.service == "monitoring":
            parts[1:] = ["/".join(parts[1:])] if len(parts) > 1 else []
        shape = "/".join("*" if number % 2 else part for number, part in enumerate(parts))
        return re.sub(r"^\w+/\*/(?=operations(/|$))", "", shape) + colon + verb

    @property
    def operation(self) -> str:
        """Method and shape, such as ``POST customJobs``."""
        return f"{self.request.method} {self.shape}"

    @property
    def name(self) -> str:
        """The operation with its service: ``aiplatform:POST customJobs``."""
        return f"{self.service}:{self.operation}"

    @property
    def parent(self) -> str:
        """The location, or the project of a service that has none."""
        return f"projects/{self.project}" + (f"/locations/{self.location}" if self.location else "")

    @property
    def resource(self) -> str:
        """The name of the thing that is asked about, without a verb."""
        return f"{self.parent}/{self.rest.partition(':')[0]}"

    @property
    def query(self) -> dict[str, str]:
        return dict(self.request.args.items())


def read_call(request: Request) -> Call | None:
    """Find out what a request asks; None for what no service here answers. Raises Refused for a body that is no JSON.

    Names keep their escapes where those matter: in those of Cloud Storage's objects.
    """
    raw = str(request.environ.get("RAW_URI") or request.path).partition("?")[0]
    for service in _SERVICES:
        found = service.path.fullmatch(raw if service.name == "storage" else unquote(raw))
        if found:
            told = found.groupdict()
            body = {} if service.name == "storage" or told["rest"].endswith(":rawPredict") else _read_json(request)
            return Call(request, service.name, told.get("project", ""), told.get("location", ""), told["rest"], body)
    return None


def _read_json(request: Request) -> Json:
    content = request.get_data()
    if not content:
        return {}
    try:
        found = json.loads(content)
    except ValueError as error:
        raise violation("", f"Invalid JSON payload received. {error}.") from None
    if not isinstance(found, dict):
        raise violation("", "Invalid JSON payload received. Root element must be a message.")
    return found


def page(call: Call, found: Sequence[Json], key: str, most: int = 100, default: int = 50) -> Json:
    """Give one page of a list, and the token of the next one; a list of nothing has no key, as JSON of protos is."""
    text = call.query.get("pageSize") or "0"
    if not re.fullmatch(r"\d+", text):
        raise violation("page_size", f"Invalid value at 'page_size' (TYPE_INT32), \"{text}\"")
    size = min(int(text), most) or default
    token = call.query.get("pageToken", "")
    pages = list(chunks(found, size))
    names = [f"page-{number}" for number in range(len(pages))]
    if token and token not in names[1:]:
        raise invalid("The page token is invalid or has expired.")
    number = names.index(token) if token else 0
    more = {"nextPageToken": names[number + 1]} if number + 1 < len(pages) else {}
    return {**({key: list(pages[number])} if pages else {}), **more}


def without_nothing(pairs: Iterable[tuple[str, Any]]) -> Json:
    """Leave out what has no value, and what is empty, as protos in JSON are."""
    return {name: value for name, value in pairs if value not in (None, "", [], {})}
