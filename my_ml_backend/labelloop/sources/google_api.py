"""A service of Google's, asked over REST with this machine's identity, and again where that may help."""

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpcore

from labelloop.errors import CredentialsError, LabelLoopError, SettingsError
from labelloop.retries import retries
from labelloop.sources.credentials import GoogleToken
from labelloop.sources.egress import https_proxy, named_bundle, trusted
from labelloop.sources.transport import TRANSIENT, Connections, whole_body

CONNECT_SECONDS = 5.0
"""What connecting may take, and TLS."""

_TRIES, _THROTTLED_TRIES = 4, 6
"""How often all is asked; and what is throttled, as an object of Cloud Storage written more than once a second is."""

_REFUSED_UNDONE = (429,)
"""Answers that say that nothing was done; 503 does not (google.rpc.Code, UNAVAILABLE)."""

_PERMISSION = re.compile(r"[Pp]ermission '?([a-z]\w+(?:\.\w+)+)'?|does not have ([a-z]+\.\w+\.\w+) access")
_ACTING = re.compile(r"act as service.?account:? *'?([\w.@-]+[\w-])?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GoogleReply:
    """An answer below 400, whole; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class GoogleFailure(LabelLoopError):
    """What a service of Google's refused, by HTTP ``status``: 0 where it gave no answer, 401 where there is no token.

    ``name`` is the kind of the error (``PERMISSION_DENIED``) and ``reason`` a word for what is behind it
    (``retentionPolicyNotMet``), where they are told; ``said`` is its own sentence, without queries of addresses.
    ``unsent``: the service never saw the request. ``passing``: another try may succeed.
    """

    def __init__(self, status: int, said: str, *, name: str = "", reason: str = "", unsent: bool = False) -> None:
        answered = " ".join(filter(None, ("Google answered", str(status), name or reason)))
        super().__init__(said if unsent or not status else f"{answered} ({said})" if said else answered)
        self.status, self.said, self.name, self.reason, self.unsent = status, said, name, reason, unsent
        self.passing = not status or status in TRANSIENT or status == 408

    @property
    def remedy(self) -> str:
        """Say what to do about a 401 or a 403; empty where that was said."""
        if self.unsent:
            return ""
        if self.status == 401:
            return (
                "the credentials are not accepted: log in with `gcloud auth application-default login`, renew the key "
                "that GOOGLE_APPLICATION_CREDENTIALS names, or see whether the service account is disabled"
            )
        if "retention" in f"{self.reason} {self.said}".lower():
            return "LabelLoop replaces objects: name a bucket without a retention policy, also of objects"
        if self.reason in ("SERVICE_DISABLED", "accessNotConfigured"):
            return "enable that API in the project: `gcloud services enable`"
        if acting := _ACTING.search(self.said):
            return (
                f"give this machine's identity the role roles/iam.serviceAccountUser on {acting[1] or 'that account'}"
            )
        lacking = _PERMISSION.search(self.said)
        return (
            f"give this machine's identity a role with {(lacking[1] or lacking[2]) if lacking else 'this permission'}"
        )


class GoogleApi:
    """Requests to one server (``base``). Safe to share between threads, and with forked processes.

    HTTPS goes by the way out that the environment names to all programs: proxy and certificates. Over plain HTTP, which
    only a base of one's own has, no token is sent. ``tries`` bounds how often anything is asked. Raises SettingsError
    for a base that is none.
    """

    def __init__(
        self,
        base: str,
        token: GoogleToken | None = None,
        *,
        connections: int = 16,
        tries: int = _THROTTLED_TRIES,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        try:
            parts = urlsplit(base)
            host, port, encrypted = parts.hostname or "", parts.port, parts.scheme == "https"
        except ValueError:
            host, port, encrypted = "", None, False
        if not host or parts.scheme not in ("http", "https") or not base.isascii():
            raise SettingsError(f"the address of Google's service is of no known form: {base[:80]!r}")
        self._token = (token or GoogleToken()) if encrypted else None
        self._origin = httpcore.Origin(parts.scheme.encode(), host.encode(), port or (443 if encrypted else 80))
        self._path = parts.path.rstrip("/")
        self._headers = {
            "host": parts.netloc.rpartition("@")[2],
            "accept-encoding": "identity",
            "user-agent": "labelloop",
        }
        self._tries, self._wait = tries, wait
        trust, proxy = trusted(named_bundle() if encrypted else ""), https_proxy(host, port or 443) if encrypted else ""
        self._connect = partial(Connections, connections, trust, proxy=proxy, connect_seconds=CONNECT_SECONDS)
        self._process, self._connections = os.getpid(), self._connect()

    def send(
        self,
        method: str,
        target: str,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = 60.0,
        most: int = 1 << 31,
        repeatable: bool | None = None,
    ) -> GoogleReply:
        """Send a request to a ``target`` (``/v1/...?query``), and read the whole answer of at most ``most`` bytes.

        One try may take ``seconds``. What may have been done is sent again only where it is ``repeatable``, as all but
        POST is. Raises GoogleFailure, and TooLong.
        """
        again = method != "POST" if repeatable is None else repeatable
        sent = {**self._headers, **(headers or {})}
        if content or method in ("POST", "PUT", "PATCH"):
            sent["content-length"] = str(len(content))
        request = (method, self._path + target, content, sent)
        for left in retries(self._tries, 0.25, 4.0, spread=0.5, wait=self._wait):
            try:
                return self._identified(request, seconds, most)
            except GoogleFailure as failure:
                passes = failure.passing and (again or failure.unsent or failure.status in _REFUSED_UNDONE)
                spent = self._tries - left >= _TRIES and failure.status != 429
                if not passes or spent or not left:
                    raise
        raise AssertionError("there is no try")  # pragma: no cover

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def _identified(self, request: "_Request", seconds: float, most: int) -> GoogleReply:
        """Send once; a token that is not accepted is replaced by a new one, once."""
        try:
            return self._once(request, self._identity(), seconds, most)
        except GoogleFailure as failure:
            if failure.status != 401 or failure.unsent or self._token is None:
                raise
        self._token.forget()
        return self._once(request, self._identity(), seconds, most)

    def _identity(self) -> Mapping[str, str]:
        try:
            return self._token.headers() if self._token else {}
        except CredentialsError as error:
            raise GoogleFailure(0 if error.passing else 401, str(error), unsent=True) from None

    def _once(self, request: "_Request", identity: Mapping[str, str], seconds: float, most: int) -> GoogleReply:
        method, target, content, headers = request
        where = self._origin
        url = httpcore.URL(scheme=where.scheme, host=where.host, port=where.port, target=target.encode("ascii"))
        sent = [(name.encode(), text.encode("latin-1")) for name, text in (*headers.items(), *identity.items())]
        asked = httpcore.Request(method, url, headers=sent, content=content)
        if self._process != os.getpid():  # two processes would read each other's answers
            self._process, self._connections = os.getpid(), self._connect()
        try:
            with self._connections.exchange(asked, time.monotonic() + seconds) as response:
                said = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in response.headers}
                reply = GoogleReply(response.status, said, whole_body(response, most))
        except (httpcore.ConnectTimeout, httpcore.ConnectError, httpcore.ProxyError) as error:
            raise GoogleFailure(0, f"Google could not be reached ({_kind(error)})", unsent=True) from None
        except httpcore.TimeoutException:
            raise GoogleFailure(0, f"Google did not answer within {seconds:.3g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise GoogleFailure(0, f"Google broke the connection off ({_kind(error)})") from None
        if reply.status >= 400:
            raise _refusal(reply)
        return reply


def base_of(named: str, own: str) -> str:
    """Say where a service is that a variable names, or Google's ``own`` where it names none.

    Tools name a host and a port, with a scheme or without.
    """
    return (named if "://" in named else f"http://{named}") if named else own


_Request = tuple[str, str, bytes, Mapping[str, str]]


def _kind(error: Exception) -> str:
    """Name an error without the text that HTTP libraries give it: it repeats addresses."""
    cause = error.__cause__ or error.__context__ or error
    strerror = getattr(cause, "strerror", None)
    return strerror if isinstance(strerror, str) else type(cause).__name__


def _refusal(reply: GoogleReply) -> GoogleFailure:
    """Read ``{"error": {"message", "status", "errors": [{"reason"}], "details": [{"reason"}]}}``, or a plain text."""
    told: Any = {}
    try:
        told = json.loads(reply.content)["error"]
        found = [*(told.get("errors") or ()), *(told.get("details") or ())]
        reason = next((str(one["reason"]) for one in found if one.get("reason")), "")
        name, message = str(told.get("status") or ""), str(told.get("message") or "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        text = reply.content[:500].decode("utf-8", "replace")
        name, reason, message = "", "", "" if "<" in text or "{" in text else text
    return GoogleFailure(reply.status, clean(message), name=name, reason=reason)


def clean(message: str) -> str:
    """Take query strings, which may hold signatures, out of a message, and shorten it to a printable line."""
    line = re.sub(r"\?[^\s\"']*=[^\s\"']*", "", " ".join(message.split()))[:500]
    return "".join(letter for letter in line if letter.isprintable())
