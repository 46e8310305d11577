"""One HTTP request to an endpoint: kept-alive connections, one limit of time, one error for each trouble."""

import re
import time
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProtocolError, ReadTimeoutError

from labelloop.endpoints.decode import reason_of
from labelloop.endpoints.failures import CutOff, Refused, TooSlow, Unwell, WrongAnswer
from labelloop.errors import EndpointError, SettingsError

CONNECT_SECONDS = 5.0
LONGEST_PAUSE = 2.0
"""Seconds; what a busy endpoint may ask for by Retry-After before it is asked a second time."""
MAX_ANSWER_BYTES = 64_000_000


class Poster:
    """Sends requests to one base address. Safe to share between threads, not between processes.

    User name and password of the address are sent as Basic authentication and never shown.
    """

    def __init__(self, address: str, connections: int) -> None:
        self._base, self.shown, self._headers = _split(address)
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False)

    def post(self, path: str, body: bytes, headers: Mapping[str, str], until: float) -> bytes:
        """Send ``body`` and return the answer's body; ``until`` is a ``time.monotonic()`` moment.

        A connection that broke, and a 429 or 503, are tried once more. Raises Refused or Unwell.
        """
        try:
            return self._ask("POST", path, body, headers, until)
        except CutOff:
            return self._ask("POST", path, body, headers, until)
        except _Busy as busy:
            if time.monotonic() + busy.pause >= until:
                raise
            time.sleep(busy.pause)
            return self._ask("POST", path, body, headers, until)

    def get(self, path: str, until: float) -> bytes:
        """Read ``path``. Raises Refused or Unwell."""
        return self._ask("GET", path, None, {}, until)

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], until: float) -> bytes:
        try:
            return self._exchange(method, path, body, headers, until)
        except EndpointError:
            raise
        except NewConnectionError as error:  # a ConnectTimeoutError by name only
            raise Unwell(f"endpoint {self.shown} cannot be reached: {_kind(error)}") from None
        except (ReadTimeoutError, ConnectTimeoutError, TimeoutError):
            raise TooSlow(f"endpoint {self.shown} did not answer in time") from None
        except ProtocolError as error:
            raise CutOff(f"endpoint {self.shown} broke the connection off: {_kind(error)}") from None
        except (HTTPError, OSError) as error:
            raise Unwell(f"endpoint {self.shown} cannot be reached: {_kind(error)}") from None
        except ValueError as error:
            raise WrongAnswer(f"endpoint {self.shown}: this request cannot be made or read: {_kind(error)}") from None

    def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], until: float) -> bytes:
        left = until - time.monotonic()
        if left <= 0:
            raise TooSlow(f"endpoint {self.shown} was given no time")
        response = self._pool.request(
            method,
            self._base + path,
            body=body,
            headers={**self._headers, **headers},
            timeout=urllib3.Timeout(connect=min(left, CONNECT_SECONDS), read=left),
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            content = self._read(response, until)
        except BaseException:
            response.close()
            raise
        self._judge(response, content)
        return content

    def _read(self, response: urllib3.BaseHTTPResponse, until: float) -> bytes:
        pieces, size = [], 0
        # read1 returns with every packet, so that an endpoint that dribbles is noticed between two of them.
        while piece := response.read1(1 << 18):
            pieces.append(piece)
            size += len(piece)
            if time.monotonic() > until:
                raise TooSlow(f"endpoint {self.shown} did not finish its answer in time")
            if size > MAX_ANSWER_BYTES:
                raise WrongAnswer(f"endpoint {self.shown}: the answer has more than {MAX_ANSWER_BYTES} bytes")
        return b"".join(pieces)

    def _judge(self, response: urllib3.BaseHTTPResponse, content: bytes) -> None:
        status = response.status
        if status == 200:
            return
        reason = reason_of(content)
        message = f"endpoint {self.shown} answered {status}" + (f": {reason}" if reason else "")
        if status in (429, 503):
            raise _Busy(message, _pause(response.headers.get("Retry-After", "")))
        if 400 <= status < 500:
            raise Refused(message, status, reason)
        raise Unwell(message)


class _Busy(Unwell):
    """The endpoint asks for another try, after ``pause`` seconds."""

    def __init__(self, message: str, pause: float) -> None:
        super().__init__(message)
        self.pause = pause


def _split(address: str) -> tuple[str, str, dict[str, str]]:
    """Take an address apart: where requests go, how it is shown, and the authentication header."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme.lower() not in ("http", "https") or parts.query or parts.fragment:
        raise SettingsError("LABELLOOP_ENDPOINT: expected http://host:port or https://host, without a query") from None
    where = f"[{host}]" if ":" in host else host
    base = f"{parts.scheme}://{where}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
    if parts.username is None:
        return base, base, {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return base, base, dict(urllib3.make_headers(basic_auth=pair))


def _pause(retry_after: str) -> float:
    """Seconds until the second try: what the endpoint asks for, within reason."""
    wanted = float(retry_after) if re.fullmatch(r"\d{1,6}", retry_after) else 0.25
    return min(wanted, LONGEST_PAUSE)


def _kind(error: BaseException) -> str:
    """Name an error without the text that HTTP libraries give it: it repeats addresses and packets."""
    cause = error.__cause__ or error.__context__ or error
    strerror = getattr(cause, "strerror", None)
    return strerror if isinstance(strerror, str) else type(cause).__name__
