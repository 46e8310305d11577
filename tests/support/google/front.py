"""The door of the stand-in: every request passes here, is noted, may be refused, and goes to the room that answers it.

A room gives ``routes()``: what it answers, by shape, with the permission that a caller needs. Whoever adds a route adds
it to its room, and the message of its body to ``messages``.
"""

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from werkzeug import Request, Response

from labelloop.types import Json
from support.google.messages import checked
from support.google.names import only_query
from support.google.wire import Call, Refused, answer, invalid, read_call
from support.plans import Plans
from support.serving import HungUp

OUR_OWN = "stand-in-itself"
"""What stands in the user agent of the stand-in's own requests: they are neither noted nor refused."""

Handler = Callable[[Call], Json | Response]

_NOT_FOUND = (
    "<!DOCTYPE html>\n<html lang=en>\n<title>Error 404 (Not Found)!!1</title>\n"
    "<p><b>404.</b> <ins>That's an error.</ins>\n<p>The requested URL <code>{}</code> was not found on this server.\n"
)
"""What is answered where no service is: Google's front has no JSON for that."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of a service: ``name`` as in ``calls``, and ``permission`` as IAM has it, without the service.

    ``message`` is that of its body, which is checked; ``at`` is its field in the request where it is not all of it.
    ``query``: the parameters that it takes; None where its handler looks at them.
    """

    name: str
    permission: str
    answer: Handler
    message: str = "Empty"
    at: str = ""
    query: tuple[str, ...] | None = ()


@dataclass
class Front:
    """A WSGI app. ``routes`` by their names; ``storage`` answers what Cloud Storage is asked."""

    routes: dict[str, Route] = field(default_factory=dict)
    storage: Handler | None = None
    plans: Plans[Call] = field(default_factory=Plans)
    locations: set[str] | None = None
    """Where there is a Vertex AI; None: wherever one is looked for."""
    lacking: dict[str, str] = field(default_factory=dict)
    """What a location has not: ``europe-west9`` to the beginning of a shape, such as ``trainingPipelines``."""
    denied: set[str] = field(default_factory=set)
    """Permissions that the caller lacks, such as ``aiplatform.customJobs.create``."""
    revoked: bool = False
    """Whether the caller's account is nobody's any more."""

    def add(self, routes: Iterable[Route]) -> None:
        """Answer these too."""
        self.routes |= {route.name: route for route in routes}

    def forget(self) -> None:
        """Forget all calls and plans, and let everything be there and allowed."""
        self.plans.forget()
        self.locations, self.revoked = None, False
        self.lacking.clear()
        self.denied.clear()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        try:
            call = read_call(request)
            told = self._answer(call) if call else None
        except Refused as refused:
            told = refused.answer
        if told is None:
            told = Response(_NOT_FOUND.format(request.path), 404, content_type="text/html; charset=UTF-8")
        return told(environ, start_response)

    def _answer(self, call: Call) -> Response | None:
        """Answer a call; None where there is nobody to."""
        ours = OUR_OWN in call.request.headers.get("User-Agent", "")
        try:
            if not ours:
                self._happen(call, after=False)
                self._know()
            given = self._given(call, ours=ours)
            told = given if given is None or isinstance(given, Response) else answer(given)
            if not ours:
                self._happen(call, after=True)
        except (Refused, HungUp):
            raise
        except Exception as error:  # noqa: BLE001 - border: as a service of Google's does, but telling why
            traceback.print_exc()
            raise Refused("INTERNAL", f"{call.name}: {type(error).__name__}: {error}") from None
        return told

    def _given(self, call: Call, *, ours: bool) -> Json | Response | None:
        if call.service == "storage":
            return self.storage(call) if self.storage else None
        if call.location and self.locations is not None and call.location not in self.locations:
            return None
        route = self.routes.get(call.name)
        if route is None:
            return None
        lacking = self.lacking.get(call.location)
        if lacking is not None and call.shape.startswith(lacking):
            raise failed_in(call)
        if not ours:
            self._allow(call, route)
        if route.query is not None:
            only_query(call, *route.query)
        if call.request.method == "GET" and call.request.get_data():
            raise invalid("A GET request has no body.")
        if not call.shape.endswith(":rawPredict"):
            call.body.update(_checked(call, route))
        return route.answer(call)

    def _know(self) -> None:
        if self.revoked:
            raise Refused("UNAUTHENTICATED", "Request had invalid authentication credentials.")

    def _allow(self, call: Call, route: Route) -> None:
        permission = f"{call.service}.{route.permission}"
        if permission not in self.denied:
            return
        resource = f"//{call.service}.googleapis.com/{call.resource}"
        more = {"resource": resource, "permission": permission}
        raise Refused(
            "PERMISSION_DENIED",
            f"Permission '{permission}' denied on resource '{resource}' (or it may not exist).",
            error_info("IAM_PERMISSION_DENIED", call.service, more),
        )

    def _happen(self, call: Call, *, after: bool) -> None:
        self.plans.happen(call, call.name, call.operation, call.service, after=after)


def _checked(call: Call, route: Route) -> Json:
    found = checked(route.message, dict(call.body), route.at)
    call.body.clear()
    return found


def failed_in(call: Call) -> Refused:
    """Say that a location has not what is asked for."""
    return Refused("FAILED_PRECONDITION", f"{call.shape.partition('/')[0]} is not supported in {call.location}.")


def error_info(reason: str, service: str, metadata: Json) -> Json:
    """Write google.rpc.ErrorInfo."""
    domain = f"{service}.googleapis.com"
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": domain,
        "metadata": {**metadata, "service": domain},
    }
