"""One Label Studio instance over HTTP: its tokens and retries, and the sentence that each failure becomes.

What is asked is what the SDK's client would send (tests/contract/test_sdk_client.py), but not by it: it repeats POST
and PATCH, keeps a token that is refused, pages by offset, and needs 80 MB more and ten times the CPU for each page.
"""

import html
import json
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from labelloop.data.site import spelled
from labelloop.errors import NotAllowed, StudioAway, StudioError
from labelloop.retries import retries
from labelloop.sources.egress import trusted
from labelloop.sources.urls import shown
from labelloop.studio.tokens import AccessTokens, TokenRefused

_BROKEN = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
"""Failures of the connection itself. A request that was sent and got no answer in time is not among them."""

_TRANSIENT = frozenset({500, 502, 503, 504})
"""500 too: a task deleted between the two queries of ``GET /api/tasks`` is a KeyError there (1.23.2)."""

_REMEDIES = {
    401: "LABEL_STUDIO_API_KEY is dead or of another Label Studio: copy a new one from Account & Settings > Personal "
    "Access Token (legacy tokens work only where the organization allows them).",
    403: "The user of LABEL_STUDIO_API_KEY may not do this: use the key of a member of the project's organization.",
    404: "Check the number of the project, and that the user of LABEL_STUDIO_API_KEY belongs to its organization.",
}

_BLOCKED = "reserved network address"

_IN_PIECES = "WSGIServer"
"""How Django's own server calls itself, which ``label-studio start`` runs. It writes the head of an answer in pieces:
on a kept connection the second waits until the first is acknowledged, 40 ms, and on a new one it does not."""

ADDRESS_SWITCHES = (
    "Label Studio calls no private address (localhost and compose services too) unless it is started with a shorter "
    "list of those it refuses: USE_DEFAULT_BANNED_SUBNETS=false and "
    "USER_ADDITIONAL_BANNED_SUBNETS=169.254.0.0/16,fe80::/10,fd00:ec2::/32,::ffff:0:0/96."
)


class Api:
    """Requests to Label Studio, with a pool of connections. Safe to share between threads.

    GET is tried up to ``attempts`` times while the connection breaks or the answer is a 5xx, with ``pause`` seconds
    (doubling) in between. Nothing else is ever sent twice, except after a 401, which means that nothing was done.
    ``timeout`` in seconds holds for each read of the answer.
    """

    def __init__(self, url: str, key: str, timeout: float = 60.0, attempts: int = 3, pause: float = 0.5) -> None:
        self.url = url.rstrip("/")
        self._attempts = attempts
        self._pause = pause
        self._http = httpx.Client(timeout=timeout, follow_redirects=False, verify=trusted())
        self._tokens = AccessTokens(self.url, key, self._http)

    @property
    def token_kind(self) -> str:
        """What kind of key this is, read off its form."""
        return "personal access token" if self._tokens.are_renewed else "legacy token"

    def get(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        public: bool = False,
        missing: type[StudioError] = StudioError,
    ) -> Any:
        """GET a path below Label Studio's address; gives the JSON of the answer. Raises StudioError, NotAllowed.

        ``public`` asks without the key, and so works with a dead one too. ``missing`` is what Label Studio's own 404
        is raised as.
        """
        return self._json("GET", path, self._attempts, missing, params=params, public=public)

    def get_at(
        self, path: str, params: Mapping[str, Any] | None = None, *, missing: type[StudioError] = StudioError
    ) -> tuple[Any, str]:
        """GET, and say when that was asked by Label Studio's own clock (UTC); empty where the answer has no date."""
        answer = self._answer("GET", path, self._attempts, missing, params=params)
        return self._read("GET", path, answer), _asked_at(answer)

    def post(self, path: str, body: Any, timeout: float | None = None) -> Any:
        """POST a JSON body, once."""
        return self._json("POST", path, 1, body=body, timeout=timeout)

    def patch(self, path: str, body: Any) -> Any:
        """PATCH with a JSON body, once."""
        return self._json("PATCH", path, 1, body=body)

    def delete(self, path: str) -> None:
        """DELETE, once."""
        self._json("DELETE", path, 1)

    def auth_headers(self) -> dict[str, str]:
        """Give the header that authenticates a request of one's own now, good for a minute at least."""
        try:
            return {"Authorization": self._tokens.authorization()}
        except httpx.HTTPError as error:
            raise _unreachable(self.url, error) from error
        except TokenRefused as error:
            raise _refused(self.url, "POST", "api/token/refresh", error.answer) from error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _json(
        self, method: str, path: str, attempts: int, missing: type[StudioError] = StudioError, **request: Any
    ) -> Any:
        return self._read(method, path, self._answer(method, path, attempts, missing, **request))

    def _answer(
        self, method: str, path: str, attempts: int, missing: type[StudioError], **request: Any
    ) -> httpx.Response:
        answer = self._send(method, path, attempts, **request)
        if not 200 <= answer.status_code < 300:
            error = _refused(self.url, method, path, answer)
            # A proxy without a Label Studio behind it answers 404 too, but not in JSON.
            raise missing(str(error)) if answer.status_code == 404 and _is_json(answer.text) else error
        return answer

    def _read(self, method: str, path: str, answer: httpx.Response) -> Any:
        if not answer.text:
            return None
        try:
            return json.loads(answer.text)
        except ValueError:
            raise StudioError(
                f"{shown(self.url)} answered {method} /{path} with something other than JSON. "
                "Is LABEL_STUDIO_URL the address of Label Studio, as this machine reaches it?"
            ) from None

    def _send(self, method: str, path: str, attempts: int, **request: Any) -> httpx.Response:
        for left in retries(attempts, self._pause):
            try:
                answer = self._authorized(method, path, **request)
            except _BROKEN as error:
                if not left:
                    raise _unreachable(self.url, error) from error
            except httpx.HTTPError as error:
                raise _unreachable(self.url, error) from error
            else:
                if not left or answer.status_code not in _TRANSIENT:
                    return answer
        raise AssertionError("at least one attempt is made")

    def _authorized(self, method: str, path: str, public: bool = False, **request: Any) -> httpx.Response:
        if public:
            return self._once(method, path, **request)
        try:
            token = self._tokens.authorization()
            answer = self._once(method, path, token, **request)
            if answer.status_code == 401 and self._tokens.are_renewed:
                answer = self._once(method, path, self._tokens.authorization(dead=token), **request)
        except TokenRefused as refusal:
            return refusal.answer
        return answer

    def _once(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        headers = {} if token is None else {"Authorization": token}
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = self._http.request(
            method,
            f"{self.url}/{path}",
            params=params or None,
            content=None if body is None else json.dumps(body, allow_nan=False).encode(),
            headers=headers,
            timeout=timeout or self._http.timeout,
        )
        if answer.headers.get("Server", "").startswith(_IN_PIECES):
            self._http.headers["Connection"] = "close"
        return answer


def _asked_at(answer: httpx.Response) -> str:
    """Give the moment of an answer's Date, less what the answer took, as Label Studio spells moments."""
    try:
        date = parsedate_to_datetime(answer.headers.get("Date", ""))
    except ValueError:
        return ""
    return spelled(date.replace(tzinfo=date.tzinfo or UTC) - answer.elapsed)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _unreachable(url: str, error: Exception) -> StudioAway:
    """Explain a connection that failed, or an answer that did not come."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return StudioAway(
        f"Label Studio at {shown(url)} could not be reached or did not answer in time ({what}). "
        "Start it, or correct LABEL_STUDIO_URL."
    )


def _refused(url: str, method: str, path: str, answer: httpx.Response) -> StudioError:
    """Explain an answer that is no 2xx: NotAllowed for 401 and 403, StudioAway for 429 and 5xx."""
    said = f"Label Studio at {shown(url)} answered {answer.status_code} to {method} /{path.partition('?')[0]}"
    if 300 <= answer.status_code < 400:
        return StudioError(f"{said}, a redirect. Set LABEL_STUDIO_URL to the address it redirects to.")
    reason = _reason(answer.text)
    if _BLOCKED in reason:
        return StudioError(f"{said}: {reason}. {ADDRESS_SWITCHES}")
    remedy = _REMEDIES.get(answer.status_code, "Label Studio's own log says more." if answer.status_code >= 500 else "")
    return _kind(answer.status_code)(f"{said}: {reason}. {remedy}".rstrip())


def _kind(status: int) -> type[StudioError]:
    if status in (401, 403):
        return NotAllowed
    return StudioAway if status == 429 or status >= 500 else StudioError


def _reason(text: str) -> str:
    """Say in one line what Label Studio says in JSON or HTML."""
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    if isinstance(body, dict):
        body = body.get("validation_errors") or body.get("detail") or body
    plain = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    plain = html.unescape(re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", plain, flags=re.DOTALL))
    plain = " ".join(plain.split()).strip(" .") or "no reason given"
    return plain if len(plain) <= 500 else plain[:499] + "…"
