"""Google Cloud as this process sees it: its services over REST, long-running operations, and what refusals mean."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import NamedTuple
from urllib.parse import quote, urlencode

from labelloop.errors import CloudAway, CloudDenied, CloudError, CloudMissing
from labelloop.sources.cloud_storage import PUBLIC
from labelloop.sources.credentials import GoogleToken
from labelloop.sources.google_api import GoogleApi, GoogleFailure, GoogleReply, base_of, clean
from labelloop.types import Json


class _Service(NamedTuple):
    """Where a service is: the variable that names another place, Google's own, and how its paths begin."""

    variable: str
    base: str
    version: str


_SERVICES = {
    "aiplatform": _Service("LABELLOOP_VERTEX_BASE_URL", "https://{location}-aiplatform.googleapis.com", "v1"),
    "storage": _Service("STORAGE_EMULATOR_HOST", PUBLIC, "storage/v1"),
    "monitoring": _Service("CLOUDSDK_API_ENDPOINT_OVERRIDES_MONITORING", "https://monitoring.googleapis.com", "v3"),
    "pubsub": _Service("PUBSUB_EMULATOR_HOST", "https://pubsub.googleapis.com", "v1"),
}

_CODES = {
    3: (400, "INVALID_ARGUMENT"),
    5: (404, "NOT_FOUND"),
    7: (403, "PERMISSION_DENIED"),
    8: (429, "RESOURCE_EXHAUSTED"),
    9: (400, "FAILED_PRECONDITION"),
    13: (400, "INTERNAL"),
    14: (503, "UNAVAILABLE"),
    16: (401, "UNAUTHENTICATED"),
}
"""What HTTP calls a code of google.rpc.Code, with which operations and jobs end. What ended with INTERNAL has cost its
time, and is not begun again unasked."""

_QUOTA = re.compile(r"[\w.-]+\.googleapis\.com/[\w/-]+")


class Google:
    """A project of Google Cloud, and a location in it such as ``europe-west4``. Safe to share between threads.

    Who we are is found as Google's own programs find it: application default credentials. Making one asks nobody. All
    that asks raises CloudDenied naming the permission that lacks, CloudMissing for what is not there, CloudAway where
    another try may succeed (several were made), CloudError for the rest; ``what`` says in them what was asked for.
    ``environment`` says where services are, if not at Google.
    """

    def __init__(
        self,
        project: str,
        location: str = "",
        *,
        environment: Mapping[str, str] | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self.project, self.location = project, location
        self.parent = f"projects/{project}/locations/{location}"
        self._environment = os.environ if environment is None else environment
        self._wait = wait
        self._making = Lock()
        self._token: GoogleToken | None = None
        self._apis: dict[str, GoogleApi] = {}

    def ask(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        service: str = "aiplatform",
        query: Mapping[str, str] | None = None,
        what: str = "",
        seconds: float = 60.0,
    ) -> Json:
        """Ask a service about a resource, by its name: ``projects/P/locations/L/customJobs`` or that of one.

        A POST that may have been done is not sent again: look whether it was.
        """
        version = _SERVICES[service].version
        target = f"/{version}/{quote(path, safe='/:@')}" + (f"?{urlencode(query)}" if query else "")
        content = b"" if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"content-type": "application/json"}
        try:
            reply = self.api(service).send(method, target, content, headers, seconds=seconds)
        except GoogleFailure as failure:
            raise refused(what or path, failure) from None
        return _read(reply, what or path)

    def listing(
        self,
        path: str,
        key: str,
        *,
        service: str = "aiplatform",
        query: Mapping[str, str] | None = None,
        what: str = "",
    ) -> Iterator[Json]:
        """Give what a listing holds under ``key``, one after the other, page by page."""
        page = ""
        while True:
            asked = {**(query or {}), **({"pageToken": page} if page else {})}
            found = self.ask("GET", path, service=service, query=asked, what=what)
            yield from found.get(key, ())
            page = str(found.get("nextPageToken") or "")
            if not page:
                return

    def operation(self, name: str, what: str = "") -> Json:
        """Look how a long-running operation stands: ``{"name", "done", "metadata"}``; ``finished`` reads it."""
        return self.ask("GET", name, what=what)

    def wait(self, operation: Json, seconds: float, what: str = "", every: float = 5.0) -> Json:
        """Wait for an operation to end, looking ``every`` so many seconds, and give its response.

        Raises as ``finished``, and CloudAway where it has not ended after ``seconds``: it goes on then.
        """
        name, until = str(operation["name"]), time.monotonic() + seconds
        while (response := finished(operation, what or name)) is None:
            if time.monotonic() >= until:
                raise CloudAway(f"{what or name}: the operation {name} has not ended after {seconds:.0f} s")
            self._wait(every)
            operation = self.operation(name, what)
        return response

    def place(self, service: str) -> str:
        """Say where a service is, such as ``https://monitoring.googleapis.com``."""
        asked = _SERVICES[service]
        own = asked.base.format(location=self.location).replace("//global-", "//")
        return base_of(self._environment.get(asked.variable, ""), own)

    def api(self, service: str) -> GoogleApi:
        """Give what sends the requests to a service; raises SettingsError for an address that is none."""
        with self._making:  # one token for all of them
            if service not in self._apis:
                base = self.place(service)
                if self._token is None and base.startswith("https://"):
                    self._token = GoogleToken()
                self._apis[service] = GoogleApi(base, self._token, wait=self._wait)
            return self._apis[service]


def finished(operation: Json, what: str) -> Json | None:
    """Give the response of an operation that has ended, None for one that has not; raises as what failed in it."""
    if not operation.get("done"):
        return None
    if error := operation.get("error"):
        raise failed(what, error)
    return dict(operation.get("response") or {})


def failed(what: str, status: Json) -> CloudError:
    """Make the error of a ``google.rpc.Status`` (``{"code", "message"}``), which operations and jobs end with."""
    number = int(status.get("code") or 0)
    code, name = _CODES.get(number, (400, f"code {number}"))
    failure = GoogleFailure(code, clean(str(status.get("message") or "")), name=name)
    return _error(f"{what} failed: {name}" + (f" ({failure.said})" if failure.said else ""), failure)


def refused(what: str, failure: GoogleFailure) -> CloudError:
    """Make the error of a refusal; ``what`` says which object was asked for what."""
    return _error(f"{what}: {failure}", failure)


def _error(said: str, failure: GoogleFailure) -> CloudError:
    if failure.status in (401, 403):
        return CloudDenied(": ".join(filter(None, (said, failure.remedy))))
    if failure.status == 404:
        return CloudMissing(said)
    if failure.status == 429 and (quota := _QUOTA.search(failure.said)):
        return CloudAway(f"{said}: the quota {quota[0]} is used up: ask for more, take another location, or wait")
    return (CloudAway if failure.passing else CloudError)(said)


def _read(reply: GoogleReply, what: str) -> Json:
    try:
        answer = json.loads(reply.content) if reply.content else {}
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise CloudError(f"{what}: Google's answer is no JSON object")
    return answer
