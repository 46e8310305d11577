"""HTTP/1.1 over kept-alive connections, for all that reads pictures and asks endpoints.

One deadline holds for a whole exchange: connecting, TLS, the request, and every read of the answer. A timeout per read
would let a server that sends a byte now and then hold a thread for ever. h11 speaks the protocol, over sockets whose
every step gets what is left of the time. Requests, answers and errors are httpcore's. Its own connections take 122 µs
of processor time for a small exchange, these 93.
"""

import base64
import math
import select
import socket
import ssl
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import h11
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
_READ, _HEAD_BYTES = 1 << 16, 100 * 1024


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
        trust.set_alpn_protocols(["http/1.1"])
        # An endpoint is dropped, not closed, when its settings change.
        weakref.finalize(self, _close, self._idle)

    @contextmanager
    def exchange(self, request: httpcore.Request, until: float) -> Iterator[httpcore.Response]:
        """Send a request and give the answer, whose body is still to be read; over at a ``time.monotonic()`` moment.

        A connection whose exchange is not read to its end is closed. Raises what httpcore raises: TimeoutException,
        ProxyError (where a proxy cannot be reached, too), NetworkError, ProtocolError; and what ``connect`` raises.
        """
        with self._lock:
            self._used += 1
        connection = None
        try:
            connection = self._take(request.url.origin) or self._new(request.url.origin, until)
            yield connection.ask(request, until)
            connection.end()
        finally:
            self._put(connection)

    def close(self) -> None:
        """Close those that no exchange is using."""
        with self._lock:
            _close(self._idle)

    def _take(self, origin: httpcore.Origin) -> "_Connection | None":
        """Give the connection to a host that was used last, if one still stands; else make room for a new one."""
        # Whether it stands is asked outside of the lock: for a system call, all threads would stand in line.
        while (kept := self._kept(origin)) is not None:
            if kept.stands:
                return kept
            kept.close()
        with self._lock:
            surplus = max(0, len(self._idle) + self._used - self._most)
            gone, self._idle[:surplus] = self._idle[:surplus], []
        _close(gone)
        return None

    def _kept(self, origin: httpcore.Origin) -> "_Connection | None":
        with self._lock:
            for at in range(len(self._idle) - 1, -1, -1):
                if self._idle[at].origin == origin:
                    return self._idle.pop(at)
        return None

    def _put(self, connection: "_Connection | None") -> None:
        with self._lock:
            self._used -= 1
            if connection is not None and connection.is_idle and len(self._idle) + self._used < self._most:
                self._idle.append(connection)
                return
        if connection is not None:
            connection.close()

    def _new(self, origin: httpcore.Origin, until: float) -> "_Connection":
        """Connect to a host: through the proxy, if there is one, and with TLS, as far as its scheme asks for them."""
        encrypted = origin.scheme == b"https"
        url, who = proxy_parts(self._proxy) if self._proxy and encrypted else (None, None)
        opened = self._open(origin if url is None else url.origin, until, proxied=url is not None)
        try:
            if url is not None:
                _tunnel(_Connection(url.origin, opened), origin, who, until)
            return _Connection(origin, self._wrapped(opened, origin, until) if encrypted else opened)
        except BaseException:
            opened.close()
            raise

    def _open(self, at: httpcore.Origin, until: float, *, proxied: bool) -> socket.socket:
        try:
            opened = self._connect(at.host.decode("ascii"), at.port, min(_left(until), self._connect_seconds))
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except (OSError, UnicodeError) as error:
            kind = httpcore.ProxyError if proxied else httpcore.ConnectError
            raise kind(str(error)) from error
        return opened

    def _wrapped(self, opened: socket.socket, origin: httpcore.Origin, until: float) -> ssl.SSLSocket:
        try:
            opened.settimeout(min(_left(until), self._connect_seconds))
            return self._trust.wrap_socket(opened, server_hostname=origin.host.decode("ascii"))
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except (OSError, ValueError) as error:
            raise httpcore.ConnectError(str(error)) from error


def _tunnel(proxy: "_Connection", origin: httpcore.Origin, who: tuple[bytes, bytes] | None, until: float) -> None:
    """Have a proxy connect to a host; raises ProxyError with the status where it does not."""
    target = b"%b:%d" % (origin.host, origin.port)
    headers = [(b"Host", target), (b"Accept", b"*/*")]
    if who is not None:
        headers.append((b"Proxy-Authorization", b"Basic " + base64.b64encode(b":".join(who))))
    url = httpcore.URL(scheme=proxy.origin.scheme, host=proxy.origin.host, port=proxy.origin.port, target=target)
    response = proxy.ask(httpcore.Request(b"CONNECT", url, headers=headers), until)
    if not 200 <= response.status < 300:
        raise httpcore.ProxyError(f"{response.status} {response.extensions['reason_phrase'].decode('ascii', 'ignore')}")


def _close(connections: "list[_Connection]") -> None:
    while connections:
        connections.pop().close()


def _left(until: float) -> float:
    """Give the seconds left; raises TimeoutError when there are none."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the time is over")
    return seconds


class _Connection:
    """One socket, and what h11 knows of what went over it.

    Every system call that may wait hands the interpreter to another thread, of which dozens do this at a time. So head
    and body of a request go out as one, and where there is no TLS the kernel minds the time: else each step would wait
    for the socket first, and then be taken.
    """

    def __init__(self, origin: httpcore.Origin, opened: socket.socket) -> None:
        self.origin = origin
        self.is_idle = False
        """Whether it may be used again: the exchange before was read to its end."""
        self._socket = opened
        self._encrypted = isinstance(opened, ssl.SSLSocket)
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        self._until = self._kept_until = 0.0
        self._timeout = -1.0
        if not self._encrypted:
            opened.settimeout(None)

    @property
    def stands(self) -> bool:
        """Whether it can be used: it was so lately, and nothing is there unasked, which could only be its end."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return time.monotonic() <= self._kept_until and not poll.poll(0)

    def ask(self, request: httpcore.Request, until: float) -> httpcore.Response:
        """Send a request and read the head of its answer, whose body is read from then on."""
        self._until, self.is_idle = until, False
        try:
            asked = h11.Request(method=request.method, target=request.url.target, headers=request.headers)
            pieces = [self._http.send(asked)]
            pieces += [self._http.send(h11.Data(data=piece)) for piece in request.stream]  # type: ignore[union-attr]
            pieces.append(self._http.send(h11.EndOfMessage()))
        except h11.LocalProtocolError as error:
            raise httpcore.LocalProtocolError(str(error)) from error
        self._send([piece for piece in pieces if piece])
        while isinstance(head := self._next(), h11.InformationalResponse):
            pass
        if not isinstance(head, h11.Response):
            raise httpcore.RemoteProtocolError("it is no answer")
        return httpcore.Response(
            head.status_code,
            headers=head.headers.raw_items(),
            content=self._body(),
            extensions={"reason_phrase": head.reason},
        )

    def end(self) -> None:
        """Make it ready for the next exchange, if this one was read to its end."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._kept_until = time.monotonic() + _KEPT_SECONDS
            self.is_idle = True

    def close(self) -> None:
        self.is_idle = False
        self._socket.close()

    def _body(self) -> Iterator[bytes]:
        while isinstance(event := self._next(), h11.Data):
            yield bytes(event.data)

    def _next(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                content = self._receive()
                if not content and self._http.their_state is h11.SEND_RESPONSE:
                    raise httpcore.RemoteProtocolError("Server disconnected without sending a response.")
                self._http.receive_data(content)
        except h11.RemoteProtocolError as error:
            raise httpcore.RemoteProtocolError(str(error)) from error
        return event

    def _receive(self) -> bytes:
        try:
            self._bound()
            return self._socket.recv(_READ)
        except (TimeoutError, BlockingIOError) as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def _bound(self) -> None:
        """Let the next read take what is left of the time, where its bound is off by more than ``_TOLERANCE``."""
        left = _left(self._until)
        if left <= self._timeout <= left + _TOLERANCE:
            return
        self._timeout = left
        if self._encrypted:
            self._socket.settimeout(left)
        else:  # a timeval; a zero would be no bound at all
            micros = max(1, math.ceil(1e6 * left))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", *divmod(micros, 10**6)))

    def _send(self, pieces: list[bytes]) -> None:
        """Send a request; what breaks here, reading tells, or it gives an answer that came before the end."""
        if sum(map(len, pieces)) <= _TOGETHER:
            pieces = [b"".join(pieces)]
        try:
            for piece in pieces:
                self._send_one(piece)
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError:
            pass

    def _send_one(self, piece: bytes) -> None:
        sent = 0
        if not self._encrypted:
            with suppress(BlockingIOError):
                sent = self._socket.send(piece, socket.MSG_DONTWAIT)
            if sent == len(piece):
                return
        self._socket.settimeout(_left(self._until))  # that of the whole piece
        self._socket.sendall(memoryview(piece)[sent:])
        self._timeout = -1.0
        if not self._encrypted:
            self._socket.settimeout(None)
