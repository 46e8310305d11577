"""HTTP/1.1 over kept-alive connections, for all that reads pictures and asks endpoints.

One deadline holds for a whole exchange: connecting, TLS, the request, and every read of the answer. A timeout per read
would let a server that sends a byte now and then hold a thread for ever. httpcore speaks the protocol, over sockets
whose every step gets what is left of the time.
"""

import math
import select
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpcore

from labelloop.sources.egress import proxy_parts

Connect = Callable[[str, int, float], socket.socket]
"""Opens a socket to a host and port within so many seconds; raises OSError, or what refuses the address."""

TRANSIENT = frozenset({429, 500, 502, 503, 504})
"""Answers of servers that may be another one a moment later."""

_KEPT_SECONDS = 15.0
_TOGETHER = 1_000_000
"""Bytes of a request that go out as one."""
_TOLERANCE = 0.05
"""Seconds by which an exchange may last longer."""


class TooLong(Exception):
    """The body of an answer has more bytes than it may have."""


def whole_body(response: httpcore.Response, most: int) -> bytes:
    """Read the body of an answer; raises TooLong beyond ``most`` bytes, and as ``Connections.exchange`` does."""
    pieces, size = [], 0
    for piece in response.iter_stream():
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise TooLong(f"it has more than {most} bytes")
    return b"".join(pieces)


def open_socket(host: str, port: int, seconds: float) -> socket.socket:
    """Connect to a host, one of its addresses after the other; raises OSError."""
    return socket.create_connection((host, port), seconds)


class Connections:
    """Connections to any host, each kept alive for one exchange after the other. Safe between threads, not processes.

    At most ``most`` are open, unless more are used at a time. ``connect`` makes the sockets; ``connect_seconds`` bounds
    that, and TLS by itself. HTTPS goes through ``proxy`` (``http://user:password@host:port``), in a tunnel that hides
    all but the host's name; plain HTTP never does.
    """

    def __init__(
        self,
        most: int,
        trust: ssl.SSLContext,
        *,
        proxy: str = "",
        connect: Connect = open_socket,
        connect_seconds: float = math.inf,
    ) -> None:
        self._most = most
        self._trust = trust
        self._proxy = proxy
        self._connect = connect
        self._connect_seconds = connect_seconds
        self._lock = threading.Lock()
        self._used = 0
        self._idle: list[_Connection] = []
        # An endpoint is dropped, not closed, when its settings change.
        weakref.finalize(self, _close, self._idle)

    @contextmanager
    def exchange(self, request: httpcore.Request, until: float) -> Iterator[httpcore.Response]:
        """Send a request and give the answer, whose body is still to be read; over at a ``time.monotonic()`` moment.

        A connection whose exchange is not read to its end is closed. Raises what httpcore raises: TimeoutException,
        ProxyError (where a proxy cannot be reached, too), NetworkError, ProtocolError; and what ``connect`` raises.
        """
        connection = self._take(request.url.origin)
        try:
            connection.limit.until = until
            response = connection.http.handle_request(request)
            try:
                yield response
            finally:
                response.close()
        except BaseException:
            connection.http.close()
            raise
        finally:
            self._put(connection)

    def close(self) -> None:
        """Close those that no exchange is using."""
        with self._lock:
            _close(self._idle)

    def _take(self, origin: httpcore.Origin) -> "_Connection":
        """Give the connection to a host that was used last, if it still stands, else a new one."""
        with self._lock:
            self._used += 1
        # Whether it stands is asked outside of the lock: for a system call, all threads would stand in line.
        while (kept := self._kept(origin)) is not None:
            if not kept.http.has_expired():
                return kept
            kept.http.close()
        with self._lock:
            surplus = max(0, len(self._idle) + self._used - self._most)
            gone, self._idle[:surplus] = self._idle[:surplus], []
        _close(gone)
        return self._new(origin)

    def _kept(self, origin: httpcore.Origin) -> "_Connection | None":
        with self._lock:
            for at in range(len(self._idle) - 1, -1, -1):
                if self._idle[at].origin == origin:
                    return self._idle.pop(at)
        return None

    def _put(self, connection: "_Connection") -> None:
        idle = connection.http.is_idle()
        with self._lock:
            self._used -= 1
            if idle and len(self._idle) + self._used < self._most:
                self._idle.append(connection)
                return
        connection.http.close()

    def _new(self, origin: httpcore.Origin) -> "_Connection":
        limit = _Limit()
        proxied = bool(self._proxy) and origin.scheme == b"https"
        backend = _Backend(limit, self._connect, self._connect_seconds, proxied=proxied)
        if not proxied:
            http: httpcore.ConnectionInterface = httpcore.HTTPConnection(
                origin, self._trust, keepalive_expiry=_KEPT_SECONDS, network_backend=backend
            )
        else:
            url, who = proxy_parts(self._proxy)
            http = httpcore.HTTPProxy(
                url, who, ssl_context=self._trust, keepalive_expiry=_KEPT_SECONDS, network_backend=backend
            ).create_connection(origin)
        return _Connection(origin, http, limit)


def _close(connections: "list[_Connection]") -> None:
    while connections:
        connections.pop().http.close()


class _Limit:
    """When the exchange that a connection is used for is over (``time.monotonic()``)."""

    until = 0.0

    def left(self) -> float:
        """Give the seconds left; raises TimeoutError when there are none."""
        seconds = self.until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the time is over")
        return seconds


@dataclass(frozen=True, slots=True, eq=False)
class _Connection:
    origin: httpcore.Origin
    http: httpcore.ConnectionInterface
    limit: _Limit


class _Backend(httpcore.NetworkBackend):
    """Makes the socket of one connection. What httpcore proposes as timeouts is left unused: the limit knows better."""

    def __init__(self, limit: _Limit, connect: Connect, seconds: float, *, proxied: bool) -> None:
        self._limit, self._connect, self._seconds, self._proxied = limit, connect, seconds, proxied

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        try:
            connection = self._connect(host, port, min(self._limit.left(), self._seconds))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except (OSError, UnicodeError) as error:
            kind = httpcore.ProxyError if self._proxied else httpcore.ConnectError
            raise kind(str(error)) from error
        return _Stream(connection, self._limit, self._seconds)


class _Stream(httpcore.NetworkStream):
    """Reads and writes a socket while its connection's time lasts.

    Every system call hands the interpreter to another thread, of which dozens do this at a time. So head and body of a
    request go out as one, with the first read, and the socket's timeout is set anew only where it is off by more than
    ``_TOLERANCE``.
    """

    def __init__(self, connection: socket.socket, limit: _Limit, connect_seconds: float) -> None:
        self._socket, self._limit, self._connect_seconds = connection, limit, connect_seconds
        self._unsent: list[bytes] = []
        self._timeout = -1.0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        if self._unsent:
            self._send()
        try:
            self._bound()
            return self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        if buffer:
            self._unsent.append(buffer)

    def _send(self) -> None:
        """Send what was written; what breaks here, reading tells, or it gives an answer that came before the end."""
        pieces, self._unsent = self._unsent, []
        if sum(map(len, pieces)) <= _TOGETHER:
            pieces = [b"".join(pieces)]
        try:
            for piece in pieces:
                self._bound()
                self._socket.sendall(piece)  # its timeout is that of the whole piece
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError:
            pass

    def _bound(self) -> None:
        left = self._limit.left()
        if not left <= self._timeout <= left + _TOLERANCE:
            self._socket.settimeout(left)
            self._timeout = left

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        try:
            self._socket.settimeout(min(self._limit.left(), self._connect_seconds))
            wrapped = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except TimeoutError as error:
            self.close()
            raise httpcore.ConnectTimeout(str(error)) from error
        except (OSError, ValueError) as error:
            self.close()
            raise httpcore.ConnectError(str(error)) from error
        return _Stream(wrapped, self._limit, self._connect_seconds)

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        return self._is_readable() if info == "is_readable" else None

    def _is_readable(self) -> bool:
        """Whether something is there unasked; where nothing is to be expected, it is the connection's end."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))
