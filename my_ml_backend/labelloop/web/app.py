"""The web process as a Flask app: how it is put together, how every error becomes an answer, what is made beforehand.

An error is answered ``{"error": reason}``, never by a traceback, never by HTML.
"""

import logging

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from labelloop.errors import LabelConfigError, LabelLoopError, OptionsError
from labelloop.front.protocol import guard
from labelloop.front.redaction import hide_folders, redact
from labelloop.loop.hub import Hub
from labelloop.loop.menu import menu_of
from labelloop.loop.project_endpoint import open_for
from labelloop.settings import Settings
from labelloop.studio.label_config import parse_label_config
from labelloop.studio.rendering import render
from labelloop.types import Output, Rendering
from labelloop.web.access import Logins, WebGate
from labelloop.web.attempts import Attempts
from labelloop.web.backend import LabelLoop
from labelloop.web.dashboard import Dashboard
from labelloop.web.labelbox import LabelboxRoutes, is_served
from labelloop.web.routes import Routes

_log = logging.getLogger(__name__)

_LONGEST_PHRASE = 300

_CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image"><Choice value="cat"/></Choices>'
    "</View>"
)


def create_app(settings: Settings, hub: Hub, backend: type[LabelLoop]) -> Flask:
    """Make the app that speaks Label Studio's ML backend contract; raises SettingsError for settings that clash.

    A ``backend`` is made for each request that needs one. Where Labelbox is set up, its service is there, too.
    """
    app = Flask("labelloop", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.body_max_bytes
    app.url_map.merge_slashes = False  # the redirect it makes of // is an HTML page
    hub.counters.watch(app)
    answer_errors(app)
    hide_folders(app, settings.folders)
    attempts = Attempts(settings.failed_logins, hub.counters.login_failed)
    logins = Logins.of(settings, attempts)
    guard(app, WebGate(settings, logins), lambda: warm_up(hub))
    Routes(hub, backend, logins).add_to(app)
    LabelboxRoutes(hub, attempts).add_to(app)
    Dashboard(hub).add_to(app)
    return app


def answer_errors(app: Flask) -> None:
    """Make the app answer every exception by ``error_answer``."""
    app.register_error_handler(Exception, error_answer)


def error_answer(error: Exception) -> Response:
    """Turn an exception into an answer; what nobody raised on purpose is logged in full and told in general."""
    if isinstance(error, HTTPException):
        kept = [(name, value) for name, value in error.get_headers() if name.lower() != "content-type"]
        return _answer(error.description or error.name, error.code or 500, kept)
    if isinstance(error, LabelConfigError | OptionsError):
        return _answer(redact(str(error)), 400)
    if isinstance(error, LabelLoopError):
        _log.warning("answered 503: %s", error)
        return _answer(redact(str(error)), 503)
    _log.error("answered 500", exc_info=error)
    return _answer("LabelLoop failed; the reason is in the log of its web process", 500)


def _answer(reason: str, status: int, headers: list[tuple[str, str]] | None = None) -> Response:
    answer = jsonify({"error": reason})
    # Of a /setup that fails Label Studio shows its user the reason phrase, and nothing of the body.
    answer.status = f"{status} {_phrase(reason)}"
    answer.headers.extend(headers or [])
    return answer


def _phrase(reason: str) -> str:
    """Shorten a reason to what may stand in the first line of an answer."""
    return "".join(letter if 31 < ord(letter) < 127 else " " for letter in reason)[:_LONGEST_PHRASE].strip() or "Error"


def warm_up(hub: Hub) -> None:
    """Open the endpoints and render one prediction: botocore and the SDK take seconds to load. What fails is logged."""
    try:
        open_for(hub, None)
        if is_served(hub.settings):
            menu_of(hub)
        render(parse_label_config(_CONFIG), Output("cat", 1.0, {"cat": 1.0}, "warm"), Rendering())
    except LabelLoopError as error:
        _log.warning("%s", error)
    except Exception:  # noqa: BLE001 - border: nothing that only makes the first prediction slower may stop the start
        _log.exception("the first prediction will be a slow one")
