"""The door of the stand-in: every request passes here, is noted, may be refused, and goes to the room that answers it.

A room gives ``operations()``: what it answers, by the name of the operation, with the variables that the SDK sends.
"""

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from werkzeug import Request, Response

from labelloop.types import Json
from support.labelbox.wire import Call, Refused, answer, invalid, read_call, selected
from support.plans import Plans
from support.serving import HungUp

KEY = "labelbox-key-of-the-tests"
"""The one API key that the stand-in knows."""

Handler = Callable[[Call], Json]


@dataclass(frozen=True, slots=True)
class Operation:
    """What one operation of the SDK does: ``variables`` are all that it sends, ``experimental`` where it is sent to."""

    name: str
    variables: frozenset[str]
    answer: Handler
    experimental: bool = False


def operation(name: str, variables: str, answer: Handler, *, experimental: bool = False) -> Operation:
    """Give an operation by the names of its variables, such as ``"modelRunId data"``."""
    return Operation(name, frozenset(variables.split()), answer, experimental)


@dataclass(frozen=True, slots=True)
class Fetch:
    """A file that is asked for, as plans see it: what it is, and its path."""

    name: str
    path: str


class Answered(Exception):
    """A plan answers by itself, instead of Labelbox."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


@dataclass
class Front:
    """A WSGI app. ``operations`` by their names; ``files`` and ``page`` answer GET."""

    files: Callable[[Request], Response]
    page: Callable[[str], Response]
    operations: dict[str, Operation] = field(default_factory=dict)
    plans: Plans[Call | Fetch] = field(default_factory=Plans)
    denied: set[str] = field(default_factory=set)
    """Operations that the key has no right to."""
    revoked: bool = False
    """Whether the key is nobody's any more."""

    def add(self, operations: Iterable[Operation]) -> None:
        """Answer these too."""
        self.operations |= {one.name: one for one in operations}

    def forget(self) -> None:
        """Forget all calls and plans, and let everything be allowed."""
        self.plans.forget()
        self.denied.clear()
        self.revoked = False

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with Request(environ) as request:
            try:
                told = self._answer(request)
            except Refused as refused:
                told = refused.answer
            except Answered as answered:
                told = answered.response
        return told(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if request.method == "POST" and request.path in ("/graphql", "/_gql"):
            return self._execute(read_call(request, experimental=request.path == "/_gql"))
        if request.method not in ("GET", "HEAD"):
            return Response("not here", 404)
        if not request.path.startswith("/files/"):
            return self.page(request.path)
        fetch = Fetch(f"GET {request.path.split('/')[2]}", request.path)
        self.plans.happen(fetch, fetch.name, "GET", after=False)
        return self.files(request)

    def _execute(self, call: Call) -> Response:
        try:
            self.plans.happen(call, call.name, "graphql", after=False)
            told = answer({"data": selected(self._given(call), call.selection)})
            self.plans.happen(call, call.name, "graphql", after=True)
        except (Refused, HungUp, Answered):
            raise
        except Exception as error:  # noqa: BLE001 - border: as Labelbox does, but telling why
            traceback.print_exc()
            raise Refused("INTERNAL_SERVER_ERROR", f"{call.name}: {type(error).__name__}: {error}") from None
        return told

    def _given(self, call: Call) -> Json:
        if call.key != KEY or self.revoked:
            raise Refused("AUTHENTICATION_ERROR", "Invalid API key", 401)
        found = self.operations.get(call.name)
        if found is None:
            raise invalid(f"the stand-in knows no operation {call.name}")
        if found.experimental != call.experimental:
            raise invalid(f"{call.name} is sent to {'/_gql' if found.experimental else '/graphql'}")
        if set(call.variables) != found.variables or set(call.declared) != found.variables:
            raise invalid(f"{call.name} has the variables {', '.join(sorted(found.variables))}")
        if call.name in self.denied:
            raise Refused("AUTHORIZATION_ERROR", "You do not have permission to perform this action")
        return found.answer(call)
