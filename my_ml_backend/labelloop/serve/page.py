"""The page on which a person tries a model: it takes a picture or a text, and shows the answer and what it hangs on.

One HTML file without anything from elsewhere. The inference server shows it, and so a Lambda function does; the backend
shows it for the endpoint of a project.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import BadRequest

from labelloop.errors import Unreadable
from labelloop.occlusion import Occlusion, Room, occlude
from labelloop.regions import shape_json
from labelloop.types import Answer, Box, Failure, Json, Output, Span

PATH = "/try"

AskAny = Callable[[Sequence[bytes | str]], Sequence[Answer | Failure]]
"""Answers pictures (bytes of a file) and texts, one for each, in order."""

MOST_BYTES = 20_000_000
"""Largest picture or text; the page scales a picture down before it sends it."""


def page(ask: Callable[[], AskAny], room: Room, *, projects: bool) -> Blueprint:
    """Make the routes: GET shows the page, POST takes a picture or, as ``text/plain``, a text as its body.

    With ``?explain=1`` it says what of a picture the answer hangs on.

    ``ask`` says who answers the current request, ``room`` is for pictures that are made smaller. ``projects``: the page
    asks for a project's number, which comes as ``?project=7``.
    """
    shown = Blueprint("page", __name__)

    @shown.get(PATH)
    def show() -> Response:
        return html_answer(*_written(projects))

    @shown.post(PATH)
    def answer() -> Response:
        content = request.get_data(cache=False)
        if not content or len(content) > MOST_BYTES:
            raise BadRequest(f"send one picture, or a text as text/plain, of at most {MOST_BYTES} bytes as the body")
        try:
            if request.mimetype == "text/plain":
                return jsonify(_told(Occlusion(ask()([content.decode()])[0])))
            explains = request.args.get("explain") == "1"
            return jsonify(_told(occlude(content, ask(), room) if explains else Occlusion(ask()([content])[0])))
        except UnicodeDecodeError:
            raise BadRequest("that text is no UTF-8") from None
        except Unreadable as error:
            raise BadRequest(str(error)) from None

    return shown


def _told(about: Occlusion) -> Json:
    """Write an answer as the page reads it; raises BadRequest for an input that the model cannot answer.

    ``found`` lists what the model says, the surest first: ``label`` and ``score``, and of a region its ``span`` or its
    ``box`` as docs/formats.md has them. ``version`` is who said it, ``drops`` is as in Occlusion.
    """
    answer = about.answer
    if isinstance(answer, Failure):
        raise BadRequest(answer.reason)
    found: list[Json]
    if isinstance(answer, Output):
        found = [{"label": label, "score": score} for label, score in answer.scores.items()]
    else:
        drawn = (Span, Box)
        found = [
            {"label": one.label, "score": one.score} | (shape_json(one.shape) if isinstance(one.shape, drawn) else {})
            for one in answer.regions
        ]
    found.sort(key=lambda one: one["score"] or 0.0, reverse=True)
    return {"version": answer.model_version, "found": found, "drops": about.drops}


@cache
def _written(projects: bool) -> tuple[str, str]:
    """Give the page, and the policy that lets a browser run its script and style and nothing else."""
    html = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    html = html.replace('data-projects="no"', f'data-projects="{"yes" if projects else "no"}"')
    return html, content_policy(html)


def html_answer(content: str | bytes, policy: str) -> Response:
    """Answer with a page, and tell the browser what it may do with it."""
    answer = Response(content, content_type="text/html; charset=utf-8")
    answer.headers["Content-Security-Policy"] = policy
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def content_policy(html: str) -> str:
    """Give the policy that lets a browser run a page's one script and style, and load nothing from elsewhere."""
    hashes = {kind: _hash_of(kind, html) for kind in ("script", "style")}
    return (
        f"default-src 'none'; script-src '{hashes['script']}'; style-src '{hashes['style']}'; img-src blob: data:; "
        "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    )


def _hash_of(kind: str, html: str) -> str:
    found = re.search(rf"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
    content = found[1] if found else ""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
