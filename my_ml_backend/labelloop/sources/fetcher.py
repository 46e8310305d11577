"""Reads one address over HTTP: whole, but only so large and so long."""

import base64
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import httpcore

from labelloop.errors import MediaError, Transient
from labelloop.sources.transport import Connect, Connections, open_socket, trusted
from labelloop.sources.urls import parse

TRANSIENT = frozenset({429, 500, 502, 503, 504})
"""Answers of servers that may be another one a moment later."""

_TOO_SLOW = "it took too long (LABELLOOP_MEDIA_TIMEOUT)"


class Broken(Transient):
    """The connection could not be made or broke."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. ``location`` is where a redirect leads, else empty; ``content`` is empty unless the status is 200."""

    status: int
    location: str
    content: bytes


class Fetcher:
    """GETs with kept-alive connections, following no redirect. Safe to share between threads.

    ``max_bytes`` bounds the content, ``connections`` how many are open at once; ``connect`` may guard where they lead.
    """

    def __init__(self, max_bytes: int, connections: int, connect: Connect = open_socket) -> None:
        self._max_bytes = max_bytes
        self._places = threading.BoundedSemaphore(connections)
        self._connections = Connections(connections, trusted(), connect=connect)

    def get(self, url: str, headers: Mapping[str, str], deadline: float) -> Reply:
        """GET one address until ``deadline`` (``time.monotonic()``).

        Raises Transient when that is over, Broken, AddressRefused, or MediaError for an impossible address or too large
        a content.
        """
        target = parse(url)
        raw = httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path)
        sent: dict[bytes | str, bytes | str] = {
            "Host": target.netloc.decode("ascii"),
            "Accept": "image/*,*/*",
            "Accept-Encoding": "identity",
            "User-Agent": "labelloop",
        }
        if target.userinfo:
            sent["Authorization"] = b"Basic " + base64.b64encode(unquote_to_bytes(target.userinfo))
        sent.update(headers)
        request = httpcore.Request("GET", raw, headers=sent)
        with self._place(deadline), _translated(), self._connections.exchange(request, deadline) as response:
            said = {name.lower(): value for name, value in response.headers}
            content = self._read(response, said) if response.status == 200 else b""
            location = said.get(b"location", b"") if 300 <= response.status < 400 else b""
            return Reply(response.status, location.decode("latin-1"), content)

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    @contextmanager
    def _place(self, deadline: float) -> Iterator[None]:
        if not self._places.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise Transient(_TOO_SLOW)
        try:
            yield
        finally:
            self._places.release()

    def _read(self, response: httpcore.Response, said: Mapping[bytes, bytes]) -> bytes:
        length = said.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._max_bytes:
            raise MediaError(f"it has {int(length)} bytes; {self._limit}")
        content = bytearray()
        for chunk in response.iter_stream():
            content += chunk
            if len(content) > self._max_bytes:
                raise MediaError(f"it has more than {self._max_bytes} bytes; {self._limit}")
        return bytes(content)

    @property
    def _limit(self) -> str:
        return f"at most {self._max_bytes} are read (LABELLOOP_MEDIA_MAX_BYTES)"


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what httpcore raises into errors of this project."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise Transient(_TOO_SLOW) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise Broken(f"its server could not be reached or broke off ({error or type(error).__name__})") from error
