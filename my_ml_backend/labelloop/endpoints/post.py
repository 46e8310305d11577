"""One HTTP exchange with an endpoint: kept-alive connections, one limit of time, one error for each trouble."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProtocolError, ReadTimeoutError

from labelloop.endpoints.failures import CutOff, TooSlow, Unwell, WrongAnswer
from labelloop.endpoints.timely import timely_pool
from labelloop.errors import EndpointError

MAX_ANSWER_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came: every status is one; header names are found in any case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Poster:
    """Sends requests to one server (``base``: scheme, host, port). Safe to share between threads, not processes.

    ``shown`` names the endpoint in errors.
    """

    def __init__(self, base: str, shown: str, connections: int) -> None:
        parts = urlsplit(base)
        self.shown = shown
        self._pool = timely_pool(parts.scheme, parts.hostname or "", parts.port, connections)

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], until: float) -> Reply:
        """Send one request and read the whole answer; ``until`` is a ``time.monotonic()`` moment. Raises Unwell."""
        try:
            return self._exchange(method, path, body, headers, until)
        except EndpointError:
            raise
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

    def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], until: float) -> Reply:
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
            return Reply(response.status, response.headers, self._read(response))
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


def _kind(error: BaseException) -> str:
    """Name an error without the text that HTTP libraries give it: it repeats addresses and packets."""
    cause = error.__cause__ or error.__context__ or error
    strerror = getattr(cause, "strerror", None)
    return strerror if isinstance(strerror, str) else type(cause).__name__
