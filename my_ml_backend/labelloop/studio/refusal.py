"""What Label Studio's failures become: one sentence that says what failed, why, and what to do next."""

import html
import json
import re
from dataclasses import dataclass

from labelloop.errors import NotAllowed, StudioAway, StudioError
from labelloop.sources.urls import shown

_REMEDIES = {
    401: "LABEL_STUDIO_API_KEY is dead or of another Label Studio: copy a new one from Account & Settings > Personal "
    "Access Token (legacy tokens work only where the organization allows them).",
    403: "The user of LABEL_STUDIO_API_KEY may not do this: use the key of a member of the project's organization.",
    404: "Check the number of the project, and that the user of LABEL_STUDIO_API_KEY belongs to its organization.",
}

_BLOCKED = "reserved network address"

ADDRESS_SWITCHES = (
    "Label Studio calls no private address (localhost and compose services too) unless it is started with a shorter "
    "list of those it refuses: USE_DEFAULT_BANNED_SUBNETS=false and "
    "USER_ADDITIONAL_BANNED_SUBNETS=169.254.0.0/16,fe80::/10,fd00:ec2::/32,::ffff:0:0/96."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and text of an answer."""

    status: int
    text: str


def unreachable(url: str, error: Exception) -> StudioAway:
    """Explain a connection that failed, or an answer that did not come."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return StudioAway(
        f"Label Studio at {shown(url)} could not be reached or did not answer in time ({what}). "
        "Start it, or correct LABEL_STUDIO_URL."
    )


def refused(url: str, method: str, path: str, answer: Answer) -> StudioError:
    """Explain an answer that is no 2xx: NotAllowed for 401 and 403, StudioAway for 429 and 5xx."""
    said = f"Label Studio at {shown(url)} answered {answer.status} to {method} /{path.partition('?')[0]}"
    if 300 <= answer.status < 400:
        return StudioError(f"{said}, a redirect. Set LABEL_STUDIO_URL to the address it redirects to.")
    reason = _reason(answer.text)
    if _BLOCKED in reason:
        return StudioError(f"{said}: {reason}. {ADDRESS_SWITCHES}")
    remedy = _REMEDIES.get(answer.status, "Label Studio's own log says more." if answer.status >= 500 else "")
    return _kind(answer.status)(f"{said}: {reason}. {remedy}".rstrip())


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
