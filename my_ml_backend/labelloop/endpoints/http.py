"""Calls over plain HTTP: the inference container, or any server that takes a POST (docs/endpoints.md)."""

import re
import time
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import httpcore

from labelloop.endpoints.base import Call, Told
from labelloop.endpoints.failures import (
    Busy,
    CutOff,
    Denied,
    Refused,
    Stumbled,
    TooSlow,
    Unwell,
    WrongAnswer,
    of_handler,
    one_line,
    reason_of,
)
from labelloop.endpoints.spec import EndpointPlan, EndpointSpec
from labelloop.errors import MediaError, SettingsError
from labelloop.sources.egress import https_proxy, named_bundle, trusted
from labelloop.sources.transport import Connections, TooLong, whole_body
from labelloop.sources.urls import parse
from labelloop.tracing import DOING, HEADER

LONGEST_PAUSE = 2.0
"""Seconds; what a busy endpoint may ask for by Retry-After before it is asked again."""


MAX_ANSWER_BYTES = 64_000_000
CONNECT_SECONDS = 5.0
"""What connecting may take, and TLS."""


class Poster:
    """Sends requests to one server (``base``: scheme, host, port). Safe to share between threads, not processes.

    HTTPS goes by the way out that the environment names to all programs: proxy and certificates. ``shown`` names the
    endpoint in errors; ``bundle`` is a file of certificates to trust instead. Raises Denied where there is no way out.
    """

    def __init__(self, base: str, shown: str, connections: int, bundle: str = "") -> None:
        self.shown = shown
        try:
            where = parse(base)
            encrypted = where.scheme == "https"
            trust = trusted(bundle or named_bundle()) if encrypted else trusted()
            self._proxy = https_proxy(where.host, where.port or 443) if encrypted else ""
        except (MediaError, SettingsError) as error:
            raise Denied(str(error)) from None
        self._origin = httpcore.Origin(where.raw_scheme, where.raw_host, where.port or (443 if encrypted else 80))
        self._headers = {b"host": where.netloc, b"accept-encoding": b"identity", b"user-agent": b"labelloop"}
        self._connections = Connections(connections, trust, proxy=self._proxy, connect_seconds=CONNECT_SECONDS)

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], until: float) -> Told:
        """Send one request and read the whole answer; ``until`` is a ``time.monotonic()`` moment. Raises Unwell."""
        try:
            with self._connections.exchange(self._request(method, path, body, headers), until) as response:
                said = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in response.headers}
                return Told(whole_body(response, MAX_ANSWER_BYTES), response.status, said, said.get("content-type", ""))
        except TooLong:
            raise WrongAnswer(f"endpoint {self.shown}: the answer has more than {MAX_ANSWER_BYTES} bytes") from None
        except httpcore.WriteTimeout:
            raise TooSlow(f"endpoint {self.shown} did not take the request in time") from None
        except httpcore.TimeoutException as error:
            more = ", nor did the proxy of HTTPS_PROXY" if self._proxy and isinstance(error, _CONNECTING) else ""
            raise TooSlow(f"endpoint {self.shown} did not answer in time{more}") from None
        except httpcore.ProxyError as error:
            why = _kind(error) if error.__cause__ else one_line(str(error))
            raise Unwell(f"endpoint {self.shown} cannot be reached through the proxy of HTTPS_PROXY: {why}") from None
        except httpcore.ConnectError as error:
            raise Unwell(f"endpoint {self.shown} cannot be reached: {_kind(error)}") from None
        except (httpcore.LocalProtocolError, ValueError) as error:
            raise WrongAnswer(f"endpoint {self.shown}: this request cannot be made or read: {_kind(error)}") from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise CutOff(f"endpoint {self.shown} broke the connection off: {_kind(error)}") from None

    def _request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> httpcore.Request:
        """Write a request; raises ValueError for what cannot be written."""
        sent = self._headers | {name.lower().encode(): text.encode("latin-1") for name, text in headers.items()}
        if body is not None:
            sent[b"content-length"] = b"%d" % len(body)
        where = self._origin
        url = httpcore.URL(scheme=where.scheme, host=where.host, port=where.port, target=path.encode("ascii"))
        return httpcore.Request(method, url, headers=list(sent.items()), content=body)


_CONNECTING = (httpcore.ConnectTimeout, httpcore.ReadTimeout)
_CLOSED = ("Server disconnected", "peer closed connection")


def _kind(error: BaseException) -> str:
    """Name an error without the text that HTTP libraries give it: it repeats addresses and packets."""
    if isinstance(error, httpcore.RemoteProtocolError) and str(error).startswith(_CLOSED):
        return one_line(str(error)).rstrip(".")
    cause = error.__cause__ or error.__context__ or error
    strerror = getattr(cause, "strerror", None)
    return strerror if isinstance(strerror, str) else type(cause).__name__


def merged(*parts: Mapping[str, str]) -> dict[str, str]:
    """Merge headers; of two that have one name, the later one is sent."""
    named = {name.lower(): (name, text) for part in parts for name, text in part.items()}
    return dict(named.values())


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
    if reply.status in (429, 503) and not of_handler(reply.content):
        raise Busy(message, pause_of(reply))
    if 400 <= reply.status < 500:
        raise Refused(message, reply.status, reason)
    raise (Stumbled if reply.status >= 500 else Unwell)(message)


def pause_of(reply: Told) -> float | None:
    """Seconds until the next try, as the endpoint asks for by Retry-After, within reason."""
    asked = reply.headers.get("retry-after", "")
    return min(float(asked), LONGEST_PAUSE) if re.fullmatch(r"\d{1,6}", asked) else None


def _target(call: Call) -> dict[str, str]:
    headers = {}
    if call.target.project is not None:
        headers["X-LabelLoop-Project"] = str(call.target.project)
    if call.target.version is not None:
        headers["X-LabelLoop-Version"] = call.target.version
    if call.target.features:
        headers["X-LabelLoop-Features"] = "true"
    if trace := DOING.get().trace:
        headers[HEADER] = trace
    return headers


PAYLOAD_BYTES = 60_000_000
_HOST = re.compile(rb"[\w.~:-]+", re.ASCII)


def http_plan(spec: EndpointSpec) -> EndpointPlan:
    """A bare or slash-ending address is an inference container; one with a path is the complete URL of any server.

    Raises SettingsError. User name and password become Basic authentication; a complete URL may have a query.
    """
    try:
        parts = urlsplit(spec.address)
        host, port = parts.hostname, parts.port
        url = parse(spec.address)
    except (ValueError, MediaError):
        host = None
    if not host or not _HOST.fullmatch(url.raw_host) or parts.fragment:
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
    headers = merged(_basic(parts.username, parts.password), dict(spec.headers))

    def service(connections: int) -> Http:
        return Http(Poster(base, shown, connections), url.raw_path.decode("ascii"), headers, follows=follows)

    name = where + parts.path.rstrip("/")
    if follows:
        return EndpointPlan("loop", name, shown, PAYLOAD_BYTES, service, batch=16, concurrency=4)
    return EndpointPlan("http", name, shown, PAYLOAD_BYTES, service)


def _basic(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}  # in UTF-8 (RFC 7617, section 2.1)
