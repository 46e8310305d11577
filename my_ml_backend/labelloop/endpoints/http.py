"""Calls over plain HTTP: the inference container, or any server that takes a POST (docs/endpoints.md)."""

import re
import time
from collections.abc import Mapping

from labelloop.endpoints.failures import Busy, Refused, Unwell
from labelloop.endpoints.headers import merged
from labelloop.endpoints.post import Poster, Reply
from labelloop.endpoints.reason import reason_of
from labelloop.endpoints.service import Call, Told

LONGEST_PAUSE = 2.0
"""Seconds; what a busy endpoint may ask for by Retry-After before it is asked again."""


class Http:
    """Posts to one path of one server; ``follows`` makes it an inference container, which is told project and version.

    ``headers`` go with every request, in place of ours where the names meet, and are never shown.
    """

    def __init__(self, poster: Poster, path: str, headers: Mapping[str, str], *, follows: bool) -> None:
        self._poster = poster
        self._path = path
        self._headers = headers
        self._follows = follows

    def call(self, call: Call) -> Told:
        """Post once; see Service."""
        path = f"{self._path}invocations" if self._follows else self._path
        headers = merged({"Content-Type": call.body.media_type}, self._headers, _target(call) if self._follows else {})
        reply = self._poster.send("POST", path, call.body.content, headers, call.until)
        judge(reply, self._poster.shown)
        return Told(reply.content, reply.headers.get("Content-Type", ""))

    def check(self, until: float) -> str:
        """Ask ``/ping`` of an inference container; of another server only whether it answers at all."""
        start = time.monotonic()
        shown = self._poster.shown
        reply = self._poster.send(
            "GET", f"{self._path}ping" if self._follows else self._path, None, self._headers, until
        )
        took = f"{1000 * (time.monotonic() - start):.0f} ms"
        # 501: it answers no GET, as a server that only takes POST may say.
        if self._follows or reply.status in (401, 403, 429) or (reply.status >= 500 and reply.status != 501):
            judge(reply, shown)
        if self._follows:
            return f"endpoint {shown} answered in {took}"
        return (
            f"a server answers at endpoint {shown} ({reply.status} to a GET, in {took}); "
            "whether it predicts, `labelloop probe` shows"
        )


def judge(reply: Reply, shown: str) -> None:
    """Raise what an answer that is not 200 means."""
    if reply.status == 200:
        return
    reason = reason_of(reply.content)
    message = f"endpoint {shown} answered {reply.status}" + (f": {reason}" if reason else "")
    if reply.status in (429, 503):
        raise Busy(message, pause_of(reply))
    if 400 <= reply.status < 500:
        raise Refused(message, reply.status, reason)
    raise Unwell(message)


def pause_of(reply: Reply) -> float | None:
    """Seconds until the next try, as the endpoint asks for by Retry-After, within reason."""
    asked = reply.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_PAUSE) if re.fullmatch(r"\d{1,6}", asked) else None


def _target(call: Call) -> dict[str, str]:
    headers = {}
    if call.target.project is not None:
        headers["X-LabelLoop-Project"] = str(call.target.project)
    if call.target.version is not None:
        headers["X-LabelLoop-Version"] = call.target.version
    return headers
