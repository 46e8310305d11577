"""A request of Labelbox's SDK as it comes over the wire: which operation, with what, and answers in Labelbox's words.

All goes to one address: ``{"query", "variables"}``, or, with a file, the multipart form of GraphQL. Only what a query
selects is answered, and a field that there is not is refused, as GraphQL does.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from werkzeug import Request, Response

from labelloop.types import Json

Selection = dict[str, "Selection | None"]
"""What a query selects: fields, and of each that has fields what of those."""

_OPERATION = re.compile(r"\s*(query|mutation)\s+(\w+)\s*(\(([^)]*)\))?\s*")
_VARIABLE = re.compile(r"\$(\w+)\s*:\s*([\w\[\]!]+)")
_TOKEN = re.compile(r'"[^"]*"|\w+|[{}()]')


class Refused(Exception):
    """Labelbox says no: by a code of its errors; ``status`` is HTTP's."""

    def __init__(self, code: str, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status

    @property
    def answer(self) -> Response:
        """What a request gets that ended so."""
        told = {"errors": [{"message": self.message, "extensions": {"code": self.code}}], "data": None}
        return answer(told, self.status)


def malformed(message: str) -> Refused:
    """Say no to what is asked for, whatever the state of things."""
    return Refused("MALFORMED_REQUEST", message)


def missing(what: str, name: object) -> Refused:
    """Say that there is no such thing."""
    return Refused("RESOURCE_NOT_FOUND", f"{what} {name} was not found")


def invalid(message: str) -> Refused:
    """Say no to a query that the schema does not have."""
    return Refused("GRAPHQL_VALIDATION_FAILED", message, 400)


def answer(content: Any, status: int = 200) -> Response:
    """Answer in JSON."""
    return Response(json.dumps(content), status, content_type="application/json; charset=utf-8")


def moment(at: float) -> str:
    """Write a moment as Labelbox does."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@dataclass(frozen=True)
class Call:
    """One operation. ``experimental``: sent to ``/_gql``; ``file``: the content that came with it."""

    name: str
    variables: Json
    selection: Selection
    experimental: bool
    key: str
    declared: dict[str, str] = field(default_factory=dict)
    file: bytes | None = None

    def __getitem__(self, name: str) -> Any:
        return self.variables[name]


def read_call(request: Request, *, experimental: bool) -> Call:
    """Find out what a request asks. Raises Refused for what is no operation."""
    asked, file = _content(request)
    query = str(asked.get("query"))
    found = _OPERATION.match(query)
    if found is None:
        raise Refused("GRAPHQL_PARSE_FAILED", "Syntax Error: expected a named query or mutation", 400)
    tokens = iter(_TOKEN.findall(query, found.end()))
    if next(tokens, "") != "{":
        raise Refused("GRAPHQL_PARSE_FAILED", "Syntax Error: expected {", 400)
    key = request.headers.get("Authorization", "").removeprefix("Bearer ")
    declared = dict(_VARIABLE.findall(found[4] or ""))
    variables = asked.get("variables") or {}
    for name, kind in declared.items():
        if kind.endswith("!") and variables.get(name) is None and name != "file":
            raise Refused("BAD_USER_INPUT", f'Variable "${name}" of required type "{kind}" was not provided.', 400)
    return Call(found[2], variables, _selection(tokens), experimental, key, declared, file)


def selected(data: Any, selection: Selection) -> Any:
    """Give what of ``data`` was selected. Raises Refused for a field that there is not."""
    if isinstance(data, list):
        return [selected(one, selection) for one in data]
    if data is None:
        return None
    chosen: Json = {}
    for name, below in selection.items():
        if name not in data:
            raise invalid(f'Cannot query field "{name}".')
        chosen[name] = data[name] if below is None else selected(data[name], below)
    return chosen


def _selection(tokens: Iterator[str]) -> Selection:
    """Read fields up to the brace that closes them; arguments are in the variables, too, and are left out."""
    found: Selection = {}
    last, depth = "", 0
    for token in tokens:
        if token in "()":
            depth += 1 if token == "(" else -1
        elif depth:
            continue
        elif token == "{":
            found[last] = _selection(tokens)
        elif token == "}":
            return found
        else:
            last = token
            found.setdefault(token, None)
    raise Refused("GRAPHQL_PARSE_FAILED", "Syntax Error: expected }, found the end", 400)


def _content(request: Request) -> tuple[Json, bytes | None]:
    """Give the JSON of a request, and the file that its ``map`` puts into the variable ``file``."""
    if request.mimetype != "multipart/form-data":
        return _json(request.get_data(as_text=True)), None
    asked = _json(request.form.get("operations", ""))
    places = _json(request.form.get("map", ""))
    if list(places.values()) != [["variables.file"]] or list(request.files) != list(places):
        raise malformed("map has to put the one file into variables.file")
    (sent,) = request.files.values()
    if sent.mimetype != "application/x-ndjson":
        raise malformed(f"a file of predictions is application/x-ndjson, not {sent.mimetype}")
    return asked, sent.read()


def _json(text: str) -> Json:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refused("GRAPHQL_PARSE_FAILED", "the body is no JSON object", 400)
    return found
