"""Calls of a Vertex AI endpoint: ``:predict`` and ``:rawPredict`` of its REST interface, version v1."""

import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, urlsplit

from labelloop.endpoints.base import Call, Told
from labelloop.endpoints.failures import (
    Busy,
    Denied,
    Refused,
    Stumbled,
    Unwell,
    credentials_checked,
    of_handler,
    reason_of,
)
from labelloop.endpoints.http import Poster, merged, pause_of
from labelloop.endpoints.requests.format import Body
from labelloop.endpoints.spec import EndpointPlan, EndpointSpec, address_options
from labelloop.errors import SettingsError
from labelloop.sources.credentials import GoogleToken

SHARED_PAYLOAD_BYTES = 1_500_000
DEDICATED_PAYLOAD_BYTES = 10_000_000

_DENIED_SECONDS = 60.0
"""After how long it is asked again where a dedicated endpoint is: a role that was just given takes a while to hold."""

_REMEDIES = {
    401: "the credentials are not accepted: log in again with `gcloud auth application-default login`",
    403: "the credentials lack aiplatform.endpoints.predict (role roles/aiplatform.user), or the API is not enabled",
    404: "there is no such endpoint, or no model is deployed to it: check project, location and endpoint of the "
    "address; a dedicated endpoint is found with aiplatform.endpoints.get, or ?dedicated= with its DNS name",
}


@dataclass(frozen=True, slots=True)
class VertexAddress:
    """``vertex://PROJECT/LOCATION/ENDPOINT?dedicated=DNS``; ``base`` replaces Google's own address.

    ``dedicated`` is the DNS name of a dedicated endpoint, or ``yes`` where Google is asked for it.
    """

    project: str
    location: str
    endpoint: str
    dedicated: str = ""
    base: str = ""

    @property
    def shown(self) -> str:
        """Name it in errors."""
        return f"vertex://{self.project}/{self.location}/{self.endpoint}"

    @property
    def payload(self) -> int:
        """Most bytes of one request."""
        return DEDICATED_PAYLOAD_BYTES if self.dedicated else SHARED_PAYLOAD_BYTES

    @property
    def is_sure(self) -> bool:
        """Whether it says where predictions are asked for: of all other ones Google knows it."""
        return bool(self.base) or self.dedicated not in ("", "yes") or self.location == "global"

    @property
    def url(self) -> str:
        """Where it is, without ``:predict``; where the service is, as long as the DNS name is not known."""
        host = (
            "aiplatform.googleapis.com" if self.location == "global" else f"{self.location}-aiplatform.googleapis.com"
        )
        base = self.base.rstrip("/") or f"https://{self.dedicated if self.is_sure and self.dedicated else host}"
        return f"{base}/v1/projects/{quote(self.project, safe=':')}/locations/{self.location}/endpoints/{self.endpoint}"


class Vertex:
    """Posts with a token; ``token`` is None where nothing may be told: over plain HTTP.

    Where a dedicated endpoint answers, Google is asked before the first call, and it is kept.
    """

    def __init__(
        self,
        address: VertexAddress,
        token: GoogleToken | None,
        headers: Mapping[str, str],
        connections: int,
    ) -> None:
        self._address, self._shown = address, address.shown
        self._token = token
        self._headers = headers
        self._path = urlsplit(address.url).path
        self._service = Poster(address.url, address.shown, connections)
        self._asked = self._service if address.is_sure else None
        self._looking, self._many = threading.Lock(), connections
        self._look_at = 0.0

    def call(self, call: Call) -> Told:
        """Predict once; see Service."""
        headers = merged({"Content-Type": call.body.media_type}, self._headers, self._identity())
        path = self._path + (":predict" if _has_instances(call.body) else ":rawPredict")
        reply = self._asks(call.until).send("POST", path, call.body.content, headers, call.until)
        self._heed(reply)
        return replace(reply, version=reply.headers.get("x-vertex-ai-deployed-model-id", ""))

    def check(self, until: float) -> str:
        """Look for a token and the service; predicting is the only way to ask for the endpoint itself."""
        who = "a token was given" if self._identity() else "no token is sent over plain HTTP"
        start = time.monotonic()
        self._service.send("GET", "/", None, {}, until)
        return (
            f"endpoint {self._shown}: {who}, the service answered in {1000 * (time.monotonic() - start):.0f} ms; "
            "whether the endpoint predicts, `labelloop probe` shows"
        )

    def _asks(self, until: float) -> Poster:
        """Give what is asked for predictions: the service itself, or a dedicated endpoint at its DNS name."""
        with self._looking:
            if self._asked is None:
                dns = self._look(until) if time.monotonic() >= self._look_at else None
                if dns is None:
                    return self._service
                address = replace(self._address, dedicated=dns)
                self._asked = Poster(address.url, self._shown, self._many) if dns else self._service
            return self._asked

    def _look(self, until: float) -> str | None:
        """Ask for the DNS name of the endpoint; empty for a shared one, None where we may only predict."""
        reply = self._service.send("GET", self._path, None, self._identity(), until)
        if reply.status == 403:
            self._look_at = time.monotonic() + _DENIED_SECONDS
            return None
        self._heed(reply)
        try:
            told = json.loads(reply.content)
            dns = str(told.get("dedicatedEndpointDns") or "").removeprefix("https://")
        except (ValueError, AttributeError, RecursionError):
            raise Unwell(f"endpoint {self._shown}: Google does not say in JSON where it is") from None
        if dns and not _GOOGLES.fullmatch(dns):
            raise Unwell(f"endpoint {self._shown} is said to be at {dns[:80]!r}, which is no host of Google's")
        return dns

    def _heed(self, reply: Told) -> None:
        if reply.status == 401 and self._token:
            self._token.forget()
        _judge(reply, self._shown)

    def _identity(self) -> Mapping[str, str]:
        with credentials_checked():
            return self._token.headers() if self._token else {}


def _has_instances(body: Body) -> bool:
    """``:predict`` reads nothing else."""
    return body.media_type == "application/json" and body.content.startswith(b'{"instances":')


def _judge(reply: Told, shown: str) -> None:
    """Raise what an answer that is not 200 means; Google's errors are ``{"error": {"code", "message", "status"}}``."""
    if reply.status == 200:
        return
    said = reason_of(reply.content)
    message = f"endpoint {shown} answered {reply.status}" + (f" {name}" if (name := _name(reply)) else "")
    message += f": {said}" if said else ""
    if reply.status in (429, 503, 504) and not of_handler(reply.content):
        raise Busy(message, pause_of(reply))
    if reply.status >= 500:
        raise Stumbled(message, pause_of(reply), tries=3 if reply.status == 500 else 1)
    if reply.status in _REMEDIES:
        raise Denied(f"{message}; {_REMEDIES[reply.status]}")
    if 400 <= reply.status < 500:
        raise Refused(message, reply.status, said)
    raise Unwell(message)


def _name(reply: Told) -> str:
    """``NOT_FOUND`` and the like."""
    try:
        name = json.loads(reply.content)["error"]["status"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return name if isinstance(name, str) and name.isidentifier() else ""


_EXAMPLE = "vertex://PROJECT/LOCATION/ENDPOINT?dedicated=DNS"
_GOOGLES = re.compile(r"[a-z0-9.-]+\.(goog|googleapis\.com)", re.IGNORECASE)
"""Hosts that a token may go to; any other is named by ``base``, which only the settings say."""
_ADDRESS = re.compile(r"(?P<project>[a-z0-9][\w.:-]*)/(?P<location>[a-z0-9-]+)/(?P<endpoint>[\w-]+)/?")


def vertex_plan(spec: EndpointSpec) -> EndpointPlan:
    """Read the address; raises SettingsError. Over plain HTTP, which only a base of one's own has, no token is sent."""
    address = vertex_address(spec.address, spec.base)

    def service(connections: int) -> Vertex:
        token = None if address.url.startswith("http://") else GoogleToken()
        return Vertex(address, token, dict(spec.headers), connections)

    return EndpointPlan("vertex", address.endpoint, address.shown, address.payload, service)


def vertex_address(text: str, base: str) -> VertexAddress:
    """Take an address apart; raises SettingsError."""
    parts = urlsplit(text)
    options = address_options(text, ("dedicated",), _EXAMPLE)
    named = _ADDRESS.fullmatch(parts.netloc + parts.path)
    dedicated = options.get("dedicated", "")
    if named is None or parts.fragment or (dedicated not in ("", "yes") and not _GOOGLES.fullmatch(dedicated)):
        raise SettingsError(
            f"LABELLOOP_ENDPOINT: expected {_EXAMPLE}: project, location such as europe-west4, the endpoint's "
            "number, and for a dedicated one yes, or its DNS name alone, which ends in .goog"
        )
    if base and not re.fullmatch(r"https?://[\w.:\[\]-]+(/[\w./-]*)?", base):
        raise SettingsError("LABELLOOP_VERTEX_BASE_URL: expected https://host or http://host:port")
    return VertexAddress(**named.groupdict(), dedicated=dedicated, base=base)
