"""The SDK's client with a way out of our own: each exchange has one deadline, and what passes is asked again by us.

Left to itself the SDK repeats for two minutes what is answered with a 5xx and then raises an error of another library,
gives up at once where a rate limit says to come back, and waits for ever for a server that sends a byte now and then.

This module needs the SDK, which only a worker has: it is imported when something is asked, never before.
"""

import io
import json
import logging
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import httpcore
import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from labelloop.retries import retries
from labelloop.sources.egress import https_proxy, named_bundle, trusted
from labelloop.sources.transport import Connections, TooLong, whole_body
from labelloop.sources.urls import Origin

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a library of Google's warns of what it can do without
    import labelbox
    from labelbox.schema.annotation_import import MALPredictionImport, MEAPredictionImport
    from labelbox.schema.task import Task
    from lbox import exceptions
    from lbox.request_client import RequestClient

__all__ = ["REFUSALS", "Client", "MALPredictionImport", "MEAPredictionImport", "Passing", "Task", "exceptions"]

REFUSALS = (
    exceptions.LabelboxError,
    exceptions.MalformedQueryException,
    exceptions.OperationNotAllowedException,
    exceptions.OperationNotSupportedException,
)
"""What the SDK raises where Labelbox refuses."""

UPLOAD_SECONDS = 600.0
"""What sending a file may take."""

_TRIES, _FIRST, _MOST = 8, 0.5, 16.0
"""Tries of one exchange, and the pauses between them in seconds: 48 in all, within the deadline of the exchange."""

_LEAST = 5.0
"""Seconds that are left for the last try of an exchange."""

_LONGEST = 1 << 28
"""Bytes of an answer."""

_CONNECT_SECONDS = 10.0

_FAILED, _MISTAKES = "INTERNAL_SERVER_ERROR", (400, 422, 426)

for _name in ("labelbox", "lbox"):
    # They log answers, signed links and all, and failures that are told again as errors of ours.
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class Passing(requests.exceptions.RequestException):
    """There was no answer that counts within ``seconds``, and another try may get one.

    ``unsent``: Labelbox has done nothing.
    """

    seconds = 0.0

    def __init__(self, why: str, *, unsent: bool = False) -> None:
        super().__init__(why)
        self.unsent = unsent


class Client(labelbox.Client):  # type: ignore[misc]
    """The SDK's client, every exchange of which ends within ``seconds``. Safe to share between threads.

    An upload has more time, and is sent again only where Labelbox has not got it. ``wait`` pauses between tries.
    """

    def __init__(self, key: str, endpoint: str, seconds: float, wait: Callable[[float], object]) -> None:
        super().__init__(key, endpoint, enable_experimental=True)
        self.unset_sdk_method()
        self._seconds, self._wait = seconds, wait
        way = _Way(endpoint)
        for scheme in ("https://", "http://"):
            self.connection.mount(scheme, way)

    def unset_sdk_method(self) -> None:
        """Name us in its header, too, where its own methods come to an end.

        Without a name it looks through the sources of all that calls it, which takes a third of a call.
        """
        self.set_sdk_method("labelloop")

    def execute(
        self,
        query: str | None = None,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
        timeout: float = 0.0,  # noqa: ARG002 - it would be one per read
        **how: Any,
    ) -> Any:
        """Exchange one operation for its data, as the SDK's own; raises Passing, and what the SDK raises."""
        seconds = UPLOAD_SECONDS if files else self._seconds
        until = time.monotonic() + seconds
        # Without this, an update of what is no more looks as if it had been made.
        how["raise_return_resource_not_found"] = True
        for left in retries(_TRIES, _FIRST, _MOST, spread=0.2, wait=lambda pause: self._pause(pause, until)):
            try:
                return self._once(until - time.monotonic(), query, params, data=data, files=files, **how)
            except Passing as failure:
                if not left or time.monotonic() + _LEAST >= until or (files and not failure.unsent):
                    failure.seconds = seconds
                    raise
                for _, file, *_ in (files or {}).values():
                    # It was read to its end: the SDK's own retries send an empty file, under the length of the whole.
                    file.seek(0)
        raise AssertionError("there is no try")  # pragma: no cover

    def _pause(self, pause: float, until: float) -> None:
        """Wait, but leave time for another try."""
        self._wait(min(pause, max(0.0, until - _LEAST - time.monotonic())))

    def _once(self, seconds: float, *asked: Any, **how: Any) -> Any:
        """Ask without the retries that the SDK decorates this with."""
        try:
            return RequestClient.execute.__wrapped__(self._request_client, *asked, timeout=seconds, **how)
        except exceptions.NetworkError as error:
            raise error.cause if isinstance(error.cause, Passing) else Passing(type(error.cause).__name__) from None
        except exceptions.ApiLimitError:
            raise Passing("it limits how often it is asked", unsent=True) from None
        except exceptions.InternalServerError:
            raise Passing("it says that it failed by itself") from None


class _Way(BaseAdapter):
    """Sends the SDK's requests over the house's own connections, by the proxy and certificates that are named to all.

    Redirects come back as what they are: the key goes nowhere else.
    """

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        origin = Origin.of(endpoint)
        encrypted = origin.scheme == "https"
        self._connections = Connections(
            4,
            trusted(named_bundle() if encrypted else ""),
            proxy=https_proxy(origin.host, origin.port) if encrypted else "",
            connect_seconds=_CONNECT_SECONDS,
        )

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002
        timeout: Any = None,
        verify: Any = True,  # noqa: ARG002
        cert: Any = None,  # noqa: ARG002
        proxies: Any = None,  # noqa: ARG002
    ) -> requests.Response:
        """Send once, within ``timeout`` seconds in all; raises Passing for all but an answer of GraphQL."""
        status, headers, content = self._exchange(request, time.monotonic() + timeout)
        if status == 429:
            raise Passing("it limits how often it is asked", unsent=True)
        if status >= 500:
            raise Passing(f"it answered {status}")
        if fault := _fault(content):
            raise Passing(f"it answered {status} with {fault}")
        answer = requests.Response()
        answer.status_code, answer.headers, answer.encoding = status, CaseInsensitiveDict(headers), "utf-8"
        answer.request, answer.url, answer.raw = request, request.url or "", io.BytesIO(content)
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def _exchange(self, request: requests.PreparedRequest, until: float) -> tuple[int, dict[str, str], bytes]:
        url = httpcore.URL(request.url or "")
        sent = {_text(name).lower(): _text(value) for name, value in request.headers.items()}
        sent |= {"host": url.host.decode() + (f":{url.port}" if url.port else ""), "accept-encoding": "identity"}
        body = request.body.encode() if isinstance(request.body, str) else request.body
        headers = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
        asked = httpcore.Request(request.method or "POST", url, headers=headers, content=body)
        try:
            with self._connections.exchange(asked, until) as response:
                said = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
                return response.status, said, whole_body(response, _LONGEST)
        except (httpcore.ConnectTimeout, httpcore.ConnectError, httpcore.ProxyError) as error:
            raise Passing(f"it could not be reached: {_kind(error)}", unsent=True) from None
        except httpcore.TimeoutException:
            raise Passing("it did not answer in time") from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise Passing(f"it broke the connection off: {_kind(error)}") from None
        except TooLong as error:
            raise Passing(f"its answer is too long: {error}") from None


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _kind(error: Exception) -> str:
    """Name an error without the text that HTTP libraries give it: it repeats addresses."""
    cause = error.__cause__ or error.__context__ or error
    strerror = getattr(cause, "strerror", None)
    return strerror if isinstance(strerror, str) else type(cause).__name__


def _fault(content: bytes) -> str:
    """Say what an answer is that may be another one a moment later; empty for one that counts.

    INTERNAL_SERVER_ERROR is also what some mistakes of those who ask are called: these come with a status of their own.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or not {"data", "errors", "message"} & body.keys():
        return "something other than GraphQL's JSON"
    for error in body.get("errors") or ():
        told = error.get("extensions") or {}
        if told.get("code") == _FAILED and (told.get("exception") or {}).get("status") not in _MISTAKES:
            return f"{_FAILED}: {error.get('message')}"
    return ""
