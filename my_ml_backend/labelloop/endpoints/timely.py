"""Connections by this machine's way out, on which a whole answer has one limit of time, however slowly it comes.

Proxy and certificates are those that the environment names to all programs.
"""

import io
import os
import socket
import time
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from labelloop.endpoints.failures import Denied

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def https_proxy(host: str, port: int) -> str:
    """Find the proxy for HTTPS to a host: ``HTTPS_PROXY``, unless ``NO_PROXY`` names the host; empty for none.

    Raises Denied for a proxy that is not reached over HTTP.
    """
    proxy = "" if proxy_bypass(f"{host}:{port}") else getproxies().get("https", "")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    if proxy and not proxy.lower().startswith("http://"):
        raise Denied("HTTPS_PROXY names a proxy of no known kind: expected http://host:port")
    return proxy


def proxy_headers(proxy: str) -> dict[str, str]:
    """Say who we are, where the proxy's address has user name and password."""
    pair = urllib3.util.parse_url(proxy).auth
    return urllib3.make_headers(proxy_basic_auth=unquote(pair)) if pair else {}


def trusted(bundle: str = "") -> dict[str, Any]:
    """Say whom to trust, in urllib3's words: a bundle of certificates, or a folder of them; else what Python trusts.

    Without a ``bundle`` it is that of ``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE``. Raises Denied when it is not there.
    """
    path = bundle or next(filter(None, map(os.environ.get, _BUNDLES)), "")
    if not path:
        return {}
    if not Path(path).exists():
        raise Denied(f"the certificates to trust are not there: {path} (AWS_CA_BUNDLE, {', '.join(_BUNDLES)})")
    return {"ca_cert_dir" if Path(path).is_dir() else "ca_certs": path}


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
