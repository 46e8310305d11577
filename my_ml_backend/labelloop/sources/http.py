"""Reads one address over HTTP: whole, but only so large and so long.

One deadline holds for all that it takes: resolving, connecting, TLS, and every read from the socket. A timeout per read
would let a server that sends a byte now and then hold a thread for ever.
"""

import base64
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote_to_bytes

import httpcore
import httpx

from labelloop.errors import MediaError, Transient
from labelloop.sources.guard import SocketOptions
from labelloop.sources.urls import parse

TRANSIENT = frozenset({429, 500, 502, 503, 504})
"""Answers of servers that may be another one a moment later."""


@cache
def trusted() -> ssl.SSLContext:
    """Give the authorities that TLS trusts, read once for all connections of a process: each reading takes 35 ms."""
    return httpx.create_ssl_context()


class TooSlow(Transient):
    """The time for one picture is over."""


class Clock:
    """The deadline of what each thread is doing."""

    def __init__(self) -> None:
        self._own = threading.local()

    @contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """Set this thread's deadline (``time.monotonic()``) for what happens inside."""
        self._own.deadline = deadline
        try:
            yield
        finally:
            del self._own.deadline

    def left(self) -> float:
        """Give the seconds left; raises TooSlow when there are none."""
        seconds: float = self._own.deadline - time.monotonic()
        if seconds <= 0:
            raise TooSlow("it took too long (LABELLOOP_MEDIA_TIMEOUT)")
        return seconds


class TimedBackend(httpcore.NetworkBackend):
    """Makes connections whose every step gets what is left of the time, not a timeout of its own."""

    def __init__(self, inner: httpcore.NetworkBackend, clock: Clock) -> None:
        self._inner, self._clock = inner, clock

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.NetworkStream:
        """Connect within what is left of the time."""
        timeout = self._clock.left()
        return _TimedStream(self._inner.connect_tcp(host, port, timeout, local_address, socket_options), self._clock)


class _TimedStream(httpcore.NetworkStream):
    """What httpcore proposes as timeouts is left unused: the clock knows better."""

    def __init__(self, inner: httpcore.NetworkStream, clock: Clock) -> None:
        self._inner, self._clock = inner, clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._inner.read(max_bytes, self._clock.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._inner.write(buffer, self._clock.left())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        return _TimedStream(self._inner.start_tls(ssl_context, server_hostname, self._clock.left()), self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


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

    ``max_bytes`` bounds the content, ``connections`` how many are open at once. The deadline of ``get`` bounds every
    read from the socket, so that a server that sends a byte now and then cannot hold a thread longer.
    """

    def __init__(self, max_bytes: int, connections: int, backend: httpcore.NetworkBackend | None) -> None:
        self._max_bytes = max_bytes
        self._clock = Clock()
        self._pool = httpcore.ConnectionPool(
            ssl_context=trusted(),
            max_connections=connections,
            keepalive_expiry=15.0,
            network_backend=TimedBackend(backend or httpcore.SyncBackend(), self._clock),
        )

    def get(self, url: str, headers: Mapping[str, str], deadline: float) -> Reply:
        """GET one address until ``deadline`` (``time.monotonic()``).

        Raises TooSlow, Broken, AddressRefused, or MediaError for an impossible address or too large a content.
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
        with self._clock.until(deadline), _translated():
            timeouts = {"pool": self._clock.left()}
            with self._pool.stream("GET", raw, headers=sent, extensions={"timeout": timeouts}) as response:
                said = {name.lower(): value for name, value in response.headers}
                content = self._read(response, said) if response.status == 200 else b""
                location = said.get(b"location", b"") if 300 <= response.status < 400 else b""
                return Reply(response.status, location.decode("latin-1"), content)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

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
        raise TooSlow("it took too long (LABELLOOP_MEDIA_TIMEOUT)") from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise Broken(f"its server could not be reached or broke off ({error or type(error).__name__})") from error
