"""The page on which a person tries a model: it takes a picture, and shows the answer and what it hangs on.

One HTML file without anything from elsewhere. The inference server shows it, and so a Lambda function does; the backend
shows it for the endpoint of a project.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import BadRequest

from labelloop.errors import Unreadable
from labelloop.occlusion import Ask, Occlusion, Room, occlude
from labelloop.types import Failure, Json, Output

PATH = "/try"

MOST_BYTES = 20_000_000
"""Largest picture; the page scales one down before it sends it."""


def page(ask: Callable[[], Ask], room: Room, *, projects: bool) -> Blueprint:
    """Make the routes: GET shows the page, POST takes a picture as its body, and explains with ``?explain=1``.

    ``ask`` says who answers the current request, ``room`` is for pictures that are made smaller. ``projects``: the page
    asks for a project's number, which comes as ``?project=7``.
    """
    shown = Blueprint("page", __name__)

    @shown.get(PATH)
    def show() -> Response:
        html, policy = _written(projects)
        answer = Response(html, content_type="text/html; charset=utf-8")
        answer.headers["Content-Security-Policy"] = policy
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    @shown.post(PATH)
    def answer() -> Response:
        content = request.get_data(cache=False)
        if not content or len(content) > MOST_BYTES:
            raise BadRequest(f"send one picture of at most {MOST_BYTES} bytes as the body")
        try:
            explains = request.args.get("explain") == "1"
            return jsonify(_told(occlude(content, ask(), room) if explains else Occlusion(ask()([content])[0])))
        except Unreadable as error:
            raise BadRequest(str(error)) from None

    return shown


def _told(about: Occlusion) -> Json:
    """Write an answer as the page reads it; raises BadRequest for a picture that the model cannot answer.

    ``found`` lists what the model says, the surest first, ``version`` who said it, ``drops`` is as in Occlusion.
    """
    answer = about.answer
    if isinstance(answer, Failure):
        raise BadRequest(answer.reason)
    found: list[tuple[str, float | None]]
    if isinstance(answer, Output):
        found = list(answer.scores.items())
    else:
        found = [(one.label, one.score) for one in answer.regions]
    found.sort(key=lambda one: one[1] or 0.0, reverse=True)
    listed = [{"label": label, "score": score} for label, score in found]
    return {"version": answer.model_version, "found": listed, "drops": about.drops}


@cache
def _written(projects: bool) -> tuple[str, str]:
    """Give the page, and the policy that lets a browser run its script and style and nothing else."""
    html = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    html = html.replace('data-projects="no"', f'data-projects="{"yes" if projects else "no"}"')
    hashes = {kind: _hash_of(kind, html) for kind in ("script", "style")}
    policy = (
        f"default-src 'none'; script-src '{hashes['script']}'; style-src '{hashes['style']}'; img-src blob: data:; "
        "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    )
    return html, policy


def _hash_of(kind: str, html: str) -> str:
    found = re.search(rf"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
    content = found[1] if found else ""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
