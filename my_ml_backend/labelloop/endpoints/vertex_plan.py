"""Reading ``vertex://`` addresses."""

import re
from urllib.parse import urlsplit

from labelloop.endpoints.google_token import GoogleToken
from labelloop.endpoints.options import address_options
from labelloop.endpoints.plan import Plan
from labelloop.endpoints.spec import EndpointSpec
from labelloop.endpoints.vertex import Vertex, VertexAddress
from labelloop.errors import SettingsError

_EXAMPLE = "vertex://PROJECT/LOCATION/ENDPOINT?dedicated=DNS"
_GOOGLES = re.compile(r"[a-z0-9.-]+\.(goog|googleapis\.com)", re.IGNORECASE)
"""Hosts that a token may go to; any other is named by ``base``, which only the settings say."""
_ADDRESS = re.compile(r"(?P<project>[a-z0-9][\w.:-]*)/(?P<location>[a-z0-9-]+)/(?P<endpoint>[\w-]+)/?")


def vertex_plan(spec: EndpointSpec) -> Plan:
    """Read the address; raises SettingsError. Over plain HTTP, which only a base of one's own has, no token is sent."""
    address = vertex_address(spec.address, spec.base)

    def service(connections: int) -> Vertex:
        token = None if address.url.startswith("http://") else GoogleToken()
        return Vertex(address, token, dict(spec.headers), connections)

    return Plan("vertex", address.endpoint, address.shown, address.payload, service)


def vertex_address(text: str, base: str) -> VertexAddress:
    """Take an address apart; raises SettingsError."""
    parts = urlsplit(text)
    options = address_options(text, ("dedicated",), _EXAMPLE)
    named = _ADDRESS.fullmatch(parts.netloc + parts.path)
    dedicated = options.get("dedicated", "")
    if named is None or parts.fragment or (dedicated and not _GOOGLES.fullmatch(dedicated)):
        raise SettingsError(
            f"LABELLOOP_ENDPOINT: expected {_EXAMPLE}: project, location such as europe-west4, the endpoint's "
            "number, and the DNS name alone of a dedicated one, which ends in .goog"
        )
    if base and not re.fullmatch(r"https?://[\w.:\[\]-]+(/[\w./-]*)?", base):
        raise SettingsError("LABELLOOP_VERTEX_BASE_URL: expected https://host or http://host:port")
    return VertexAddress(**named.groupdict(), dedicated=dedicated, base=base)
