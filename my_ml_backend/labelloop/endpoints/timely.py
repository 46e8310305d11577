"""Connections on which a whole answer has one limit of time, however slowly it dribbles in."""

import io
import socket
import time
from functools import partial
from http.client import HTTPResponse
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

CONNECT_SECONDS = 5.0


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
        patience = self.timeout
        self.timeout = min(patience, CONNECT_SECONDS)
        try:
            super().connect()  # type: ignore[misc]
        finally:
            self.timeout = patience
        self.sock.settimeout(patience)

    def request(self, *arguments: Any, **options: Any) -> None:
        until = time.monotonic() + self.timeout
        # http.client calls this with the socket when the request is sent.
        setattr(self, "response_class", partial(_Response, until=until))  # noqa: B010 - declared as a class
        super().request(*arguments, **options)  # type: ignore[misc]


class _Plain(_Timely, HTTPConnection):
    pass


class _Encrypted(_Timely, HTTPSConnection):
    pass


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _EncryptedPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Encrypted


def timely_pool(scheme: str, host: str, port: int | None, connections: int) -> urllib3.HTTPConnectionPool:
    """Make a pool of kept-alive connections to one host; nothing is tried twice."""
    kind = _EncryptedPool if scheme == "https" else _PlainPool
    return kind(host, port, maxsize=connections, block=False, retries=False)
