"""One HTTP exchange with an endpoint: kept-alive connections, one limit of time, one error for each trouble."""

import time
from collections.abc import Mapping
from http.client import HTTPException
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
)

from labelloop.endpoints.base import Told
from labelloop.endpoints.failures import CutOff, TooSlow, Unwell, WrongAnswer, one_line
from labelloop.endpoints.timely import timely_pool
from labelloop.errors import EndpointError

MAX_ANSWER_BYTES = 64_000_000


class Poster:
    """Sends requests to one server (``base``: scheme, host, port). Safe to share between threads, not processes.

    ``shown`` names the endpoint in errors; ``bundle`` is a file of certificates to trust, if not the usual ones.
    """

    def __init__(self, base: str, shown: str, connections: int, bundle: str = "") -> None:
        parts = urlsplit(base)
        self.shown = shown
        self._pool = timely_pool(parts.scheme, parts.hostname or "", parts.port, connections, bundle)

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], until: float) -> Told:
        """Send one request and read the whole answer; ``until`` is a ``time.monotonic()`` moment. Raises Unwell."""
        try:
            return self._exchange(method, path, body, headers, until)
        except EndpointError:
            raise
        except ProxyError as error:
            raise self._behind_proxy(error.original_error) from None
        except NewConnectionError as error:  # a ConnectTimeoutError by name only
            raise Unwell(f"endpoint {self.shown} cannot be reached: {_kind(error)}") from None
        except (ReadTimeoutError, ConnectTimeoutError, TimeoutError):
            raise TooSlow(f"endpoint {self.shown} did not answer in time") from None
        except ProtocolError as error:
            if isinstance(error.args[-1], TimeoutError):
                raise TooSlow(f"endpoint {self.shown} did not take the request in time") from None
            raise CutOff(f"endpoint {self.shown} broke the connection off: {_kind(error)}") from None
        except (HTTPError, OSError) as error:
            raise Unwell(f"endpoint {self.shown} cannot be reached: {_kind(error)}") from None
        except ValueError as error:
            raise WrongAnswer(f"endpoint {self.shown}: this request cannot be made or read: {_kind(error)}") from None

    def _behind_proxy(self, error: Exception) -> Unwell:
        """Tell whose fault it is; urllib3 says "proxy" also when a tunnel breaks that has stood for long."""
        if isinstance(error, HTTPException | ConnectionError):
            return CutOff(f"endpoint {self.shown} broke the connection off: {_kind(error)}")
        if isinstance(error, ConnectTimeoutError | TimeoutError) and not isinstance(error, NewConnectionError):
            return TooSlow(f"endpoint {self.shown} did not answer in time, nor did the proxy of HTTPS_PROXY")
        return Unwell(f"endpoint {self.shown} cannot be reached through the proxy of HTTPS_PROXY: {_refusal(error)}")

    def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], until: float) -> Told:
        left = until - time.monotonic()
        if left <= 0:
            raise TooSlow(f"endpoint {self.shown} was given no time")
        response = self._pool.urlopen(
            method,
            path,
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(connect=left, read=left),
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            media_type = response.headers.get("Content-Type", "")
            return Told(self._read(response), response.status, response.headers, media_type)
        except BaseException:
            response.close()
            raise

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        pieces, size = [], 0
        while piece := response.read1(1 << 18):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_ANSWER_BYTES:
                raise WrongAnswer(f"endpoint {self.shown}: the answer has more than {MAX_ANSWER_BYTES} bytes")
        return b"".join(pieces)


def _refusal(error: Exception) -> str:
    """Say why a proxy opened no tunnel: http.client puts the proxy's own words into a plain OSError."""
    return one_line(str(error)) if type(error) is OSError and error.errno is None else _kind(error)


def _kind(error: BaseException) -> str:
    """Name an error without the text that HTTP libraries give it: it repeats addresses and packets."""
    cause = error.__cause__ or error.__context__ or error
    strerror = getattr(cause, "strerror", None)
    return strerror if isinstance(strerror, str) else type(cause).__name__


def merged(*parts: Mapping[str, str]) -> dict[str, str]:
    """Merge headers; of two that have one name, the later one is sent."""
    named = {name.lower(): (name, text) for part in parts for name, text in part.items()}
    return dict(named.values())
