"""Reading ``http://`` and ``https://`` addresses."""

from base64 import b64encode
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import LocationParseError

from labelloop.endpoints.headers import merged
from labelloop.endpoints.http import Http
from labelloop.endpoints.plan import Plan
from labelloop.endpoints.post import Poster
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import SettingsError

PAYLOAD_BYTES = 60_000_000


def http_plan(spec: EndpointSpec) -> Plan:
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
        return Plan("loop", name, shown, PAYLOAD_BYTES, service, batch=16, concurrency=4)
    return Plan("http", name, shown, PAYLOAD_BYTES, service)


def _basic(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}  # in UTF-8 (RFC 7617, section 2.1)
