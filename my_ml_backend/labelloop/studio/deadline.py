"""One deadline for all that reading an address takes: resolving, connecting, TLS, and every read from the socket.

A timeout per read would let a server that sends a byte now and then hold a thread for ever.
"""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore

from labelloop.errors import Transient
from labelloop.studio.guard import SocketOptions


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
