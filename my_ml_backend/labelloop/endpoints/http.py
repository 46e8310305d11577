"""Calls over plain HTTP: the inference container, or any server that takes a POST (docs/endpoints.md)."""

import re
import time
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import LocationParseError

from labelloop.endpoints.base import Call, Told
from labelloop.endpoints.failures import Busy, Refused, Unwell, reason_of
from labelloop.endpoints.post import Poster, merged
from labelloop.endpoints.spec import EndpointPlan, EndpointSpec
from labelloop.errors import SettingsError

LONGEST_PAUSE = 2.0
"""Seconds; what a busy endpoint may ask for by Retry-After before it is asked again."""


class Http:
    """Posts to one path of one server; ``follows`` makes it an inference container, which is told project and version.

    ``headers`` go with every request, in place of ours where the names meet, and are never shown.
    """

    def __init__(self, poster: Poster, path: str, headers: Mapping[str, str], *, follows: bool) -> None:
        self._poster = poster
        self._path = path
        self._headers = headers
        self._follows = follows

    def call(self, call: Call) -> Told:
        """Post once; see Service."""
        path = f"{self._path}invocations" if self._follows else self._path
        headers = merged({"Content-Type": call.body.media_type}, self._headers, _target(call) if self._follows else {})
        reply = self._poster.send("POST", path, call.body.content, headers, call.until)
        raise_for_status(reply, self._poster.shown)
        return reply

    def check(self, until: float) -> str:
        """Ask ``/ping`` of an inference container; of another server only whether it answers at all."""
        start = time.monotonic()
        shown = self._poster.shown
        reply = self._poster.send(
            "GET", f"{self._path}ping" if self._follows else self._path, None, self._headers, until
        )
        took = f"{1000 * (time.monotonic() - start):.0f} ms"
        # 501: it answers no GET, as a server that only takes POST may say.
        if self._follows or reply.status in (401, 403, 429) or (reply.status >= 500 and reply.status != 501):
            raise_for_status(reply, shown)
        if self._follows:
            return f"endpoint {shown} answered in {took}"
        return (
            f"a server answers at endpoint {shown} ({reply.status} to a GET, in {took}); "
            "whether it predicts, `labelloop probe` shows"
        )


def raise_for_status(reply: Told, shown: str) -> None:
    """Raise what an answer that is not 200 means."""
    if reply.status == 200:
        return
    reason = reason_of(reply.content)
    message = f"endpoint {shown} answered {reply.status}" + (f": {reason}" if reason else "")
    if reply.status in (429, 503):
        raise Busy(message, pause_of(reply))
    if 400 <= reply.status < 500:
        raise Refused(message, reply.status, reason)
    raise Unwell(message)


def pause_of(reply: Told) -> float | None:
    """Seconds until the next try, as the endpoint asks for by Retry-After, within reason."""
    asked = reply.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_PAUSE) if re.fullmatch(r"\d{1,6}", asked) else None


def _target(call: Call) -> dict[str, str]:
    headers = {}
    if call.target.project is not None:
        headers["X-LabelLoop-Project"] = str(call.target.project)
    if call.target.version is not None:
        headers["X-LabelLoop-Version"] = call.target.version
    return headers


PAYLOAD_BYTES = 60_000_000


def http_plan(spec: EndpointSpec) -> EndpointPlan:
    """A bare or slash-ending address is an inference container; one with a path is the complete URL of any server.

    Raises SettingsError. User name and password become Basic authentication; a complete URL may have a query.
    """
    try:
        parts = urlsplit(spec.address)
        host, port = parts.hostname, parts.port
        urllib3.util.parse_url(spec.address)  # it knows better what cannot be a host's name
    except (ValueError, LocationParseError):
        host, port = None, None
    if not host or parts.fragment:
        raise SettingsError("LABELLOOP_ENDPOINT: expected http://host:port, https://host or http://host/path")
    follows = parts.path == "" or parts.path.endswith("/")
    if follows and parts.query:
        raise SettingsError(
            "LABELLOOP_ENDPOINT: an inference container is addressed as http://host:port, without a query; the "
            "complete URL of another server, http://host/path?query, does not end its path in a slash"
        )
    where = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    base = f"{parts.scheme}://{where}"
    shown = base + parts.path.rstrip("/")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = merged(_basic(parts.username, parts.password), dict(spec.headers))

    def service(connections: int) -> Http:
        return Http(Poster(base, shown, connections), path, headers, follows=follows)

    name = where + parts.path.rstrip("/")
    if follows:
        return EndpointPlan("loop", name, shown, PAYLOAD_BYTES, service, batch=16, concurrency=4)
    return EndpointPlan("http", name, shown, PAYLOAD_BYTES, service)


def _basic(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}  # in UTF-8 (RFC 7617, section 2.1)
