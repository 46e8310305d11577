"""Connections on which a whole answer has one limit of time, however slowly it dribbles in."""

import io
import socket
import time
from functools import partial
from http.client import HTTPResponse
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from labelloop.endpoints.egress import https_proxy, proxy_headers, trusted

CONNECT_SECONDS = 5.0
_LEAST = 0.001
"""Seconds; a socket takes a timeout of 0 for: do not wait at all."""


class _Stream(io.RawIOBase):
    """Reads a socket until a moment; what is not there then is a TimeoutError."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection = connection
        self._stream = connection.makefile("rb", buffering=0)
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time is over")
        self._connection.settimeout(left)
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, connection: socket.socket, until: float, method: str | None = None) -> None:
        super().__init__(connection, method=method)
        self.fp.close()
        self.fp = io.BufferedReader(_Stream(connection, until))


class _Timely:
    """Mixed into urllib3's connections: the read timeout holds for all of request and answer, not for each packet."""

    timeout: Any
    sock: Any

    def connect(self) -> None:
        until = self._limit()
        self.timeout = min(self.timeout, CONNECT_SECONDS)
        try:
            super().connect()  # type: ignore[misc]
        finally:
            self.timeout = max(until - time.monotonic(), _LEAST)
        self.sock.settimeout(self.timeout)

    def request(self, *arguments: Any, **options: Any) -> None:
        self._limit()
        super().request(*arguments, **options)  # type: ignore[misc]

    def _limit(self) -> float:
        """Let what is read from now on, a proxy's answer too, be there when the timeout is over; gives that moment."""
        until = time.monotonic() + self.timeout
        # http.client calls this with the socket before it reads.
        setattr(self, "response_class", partial(_Response, until=until))  # noqa: B010 - declared as a class
        return float(until)


class _Plain(_Timely, HTTPConnection):
    pass


class _Encrypted(_Timely, HTTPSConnection):
    pass


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _EncryptedPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Encrypted


def timely_pool(
    scheme: str, host: str, port: int | None, connections: int, bundle: str = ""
) -> urllib3.HTTPConnectionPool:
    """Make a pool of kept-alive connections to one host; nothing is tried twice.

    HTTPS goes by the environment's proxy, in a tunnel that hides all but the host's name; plain HTTP, which is for this
    machine and its neighbours, never does. ``bundle``: a file of certificates to trust. Raises Denied.
    """
    options: dict[str, Any] = {"maxsize": connections, "block": False, "retries": False}
    if scheme != "https":
        return _PlainPool(host, port, **options)
    options |= trusted(bundle)
    proxy = https_proxy(host, port or 443)
    if not proxy:
        return _EncryptedPool(host, port, **options)
    manager = urllib3.ProxyManager(proxy, proxy_headers=proxy_headers(proxy), **options)
    manager.pool_classes_by_scheme = {"https": _EncryptedPool}
    return manager.connection_from_host(host, port, scheme)
