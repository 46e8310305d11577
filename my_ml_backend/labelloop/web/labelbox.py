"""Labelbox's model-training service: ``GET /models`` is its menu, ``POST /model_run`` is its button.

Labelbox signs what it sends, over the raw bytes. What it asks for is noted and answered at once; a worker does it. The
same request again finds the same job, so that one that was recorded and is sent again does nothing twice.
"""

import json
import logging

from flask import Flask, Response, jsonify, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, Unauthorized

from labelloop.front.protocol import Way, check_json
from labelloop.labelbox.signing import SHA1, refusal
from labelloop.loop.hub import Hub
from labelloop.loop.menu import menu_of
from labelloop.loop.model_runs import request as ask_for
from labelloop.setting_values import labelbox_id
from labelloop.settings import Settings
from labelloop.types import Json, ProjectKey
from labelloop.web.attempts import Attempts, Client

_log = logging.getLogger(__name__)

PREFIX = "/labelbox"

BODY_BYTES = 64_000
"""Largest body; Labelbox's have some two hundred bytes."""

UNSIGNED = (
    "LABELLOOP_LABELBOX_ALLOW_UNSIGNED is set and there is no secret: whoever reaches port {port} can start trainings "
    "and predictions of any model run that LABELBOX_API_KEY may read. Set LABELLOOP_LABELBOX_SECRET, and the same in "
    "Labelbox"
)

_IDS = ("modelRunId", "modelId", "organizationId")
_ROUTES = ("/models", "/model_run")
_LONGEST_KEY = 200


def is_served(settings: Settings) -> bool:
    """Whether Labelbox's routes are there: with a secret, or where a setting allows to do without one."""
    return bool(settings.labelbox_secret) or settings.labelbox_allow_unsigned


def is_set_up(settings: Settings) -> bool:
    """Whether anything of Labelbox is set, for this process or another one."""
    return bool(settings.labelbox_api_key or settings.labelbox_vertex) or is_served(settings)


def is_alone(settings: Settings) -> bool:
    """Whether Labelbox is set up here, and Label Studio is not."""
    return is_set_up(settings) and not settings.label_studio_api_key


def is_unsigned(settings: Settings) -> bool:
    """Whether anybody is answered."""
    return settings.labelbox_allow_unsigned and not settings.labelbox_secret


def paths(settings: Settings) -> frozenset[str]:
    """Name the paths that are Labelbox's; none where it is not served."""
    if not is_served(settings):
        return frozenset()
    prefixes = (PREFIX, "") if settings.labelbox_at_root else (PREFIX,)
    return frozenset(prefix + route for prefix in prefixes for route in _ROUTES)


def way(most: int) -> Way:
    """Say how a request to one of those paths is taken; ``most`` bytes is the limit of all requests.

    Nobody is asked for Basic authentication, for Labelbox has none. Who may ask, the signature of the whole body says:
    what is read of anybody is small.
    """
    limit = min(BODY_BYTES, most)
    over = f"the body is larger than {limit} bytes: no request of Labelbox's is"
    return Way("prompt", limit, RequestEntityTooLarge(over))


class LabelboxRoutes:
    """Labelbox's two routes over one hub; errors are left to the border, ``answer_errors``."""

    def __init__(self, hub: Hub, attempts: Attempts) -> None:
        self._hub = hub
        secrets = (hub.settings.labelbox_secret, hub.settings.labelbox_secret_previous)
        self._secrets = tuple(filter(None, secrets)) if hub.settings.labelbox_secret else ()
        self._attempts = attempts

    def add_to(self, app: Flask) -> None:
        """Give the app its routes, where they are served."""
        settings = self._hub.settings
        if is_unsigned(settings):
            _log.warning("%s", UNSIGNED.format(port=settings.port))
        for path in sorted(paths(settings)):
            view, method = (self.models, "GET") if path.endswith("/models") else (self.model_run, "POST")
            app.add_url_rule(path, endpoint=path, view_func=view, methods=[method])

    def models(self) -> Response:
        """Answer the menu, an empty object for each entry: they have no parameters of their own."""
        self._signed_body()
        # In the menu's order, which jsonify would not keep.
        menu = json.dumps({entry.key: {} for entry in menu_of(self._hub).entries})
        return Response(menu, content_type="application/json")

    def model_run(self) -> Response:
        """Open the job that a person asked for by the button, or find the one that is open."""
        body = _asked(self._signed_body())
        menu = menu_of(self._hub)
        entry = menu.find(body["modelType"])
        if entry is None:
            raise BadRequest(menu.refusal(body["modelType"]))
        job = ask_for(self._hub, body["modelRunId"], entry.entry, body["modelId"], body["organizationId"])
        return jsonify(
            {"modelRunId": body["modelRunId"], "modelType": entry.key, "state": job.state, "attempt": job.attempts}
        )

    def _signed_body(self) -> bytes:
        """Read the request's body; raises Unauthorized where it is not signed as it should be."""
        content = request.get_data(cache=False)
        request.stream.read(1)  # a chunked body is cut at the limit without a word; asking for more raises the 413
        if self._secrets and (reason := refusal(request.headers, content, *self._secrets)):
            login = WWWAuthenticate("x-hub-signature", {"realm": "LabelLoop"})
            raise self._attempts.fail(Client.of(SHA1, request), Unauthorized(reason, www_authenticate=login))
        return content


def _asked(content: bytes) -> dict[str, str]:
    """Read what a button's request says; raises BadRequest naming what is missing or of another form."""
    body = _object(content)
    found = {name: body.get(name) for name in ("modelType", *_IDS)}
    for name, value in found.items():
        if not isinstance(value, str):
            raise BadRequest(f"{name} must be text, as in Labelbox's request")
    told = {name: str(value) for name, value in found.items()}
    if not 0 < len(told["modelType"]) <= _LONGEST_KEY:
        raise BadRequest(f"modelType must be a key of GET /models, of at most {_LONGEST_KEY} letters")
    for name in _IDS:
        if not told[name] or labelbox_id(told[name]):
            raise BadRequest(f"{name} must be an id of Labelbox: 8 to 64 letters, digits and -")
    try:
        ProjectKey.of_model_run(told["modelRunId"], 0)
    except ValueError as error:
        raise BadRequest(f"modelRunId must be an id of Labelbox: {error}") from None
    return told


def _object(content: bytes) -> Json:
    try:
        check_json(content)
        body = json.loads(content)
    except (ValueError, RecursionError):  # no JSON, not UTF-8, thousands of brackets
        raise BadRequest("the body is no JSON that can be read") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body
