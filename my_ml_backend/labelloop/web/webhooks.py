"""``/webhook``: who may tell what, and what is made of it."""

from flask import Request
from werkzeug.exceptions import BadRequest

from labelloop.studio.backends import ACTIONS
from labelloop.types import Json
from labelloop.web.gate import BasicAuth, WebhookSecret
from labelloop.web.metrics import Metrics
from labelloop.web.model_class import Model
from labelloop.web.reading import text

TRAIN = "START_TRAINING"


class Webhooks:
    """Takes in webhooks. START_TRAINING comes from Label Studio's ML client, all else from its webhooks."""

    def __init__(self, basic: BasicAuth, secret: WebhookSecret, metrics: Metrics) -> None:
        self._basic = basic
        self._secret = secret
        self._metrics = metrics

    def take(self, request: Request, body: Json, model: Model) -> tuple[Json, int]:
        """Authenticate and note one webhook; returns an answer and its status. Raises Unauthorized and BadRequest.

        An action LabelLoop has no use for is answered 200 to anybody: nothing is done about it.
        """
        action = text(body, "action")
        if action == TRAIN:
            self._basic.check(request)
        elif action in ACTIONS:
            self._secret.check(request)
        else:
            self._metrics.heard("other")
            return {"status": "ignored"}, 200
        self._metrics.heard(action)
        return note(model, action, body)


def note(model: Model, action: str, body: Json) -> tuple[Json, int]:
    """Hand an event to the model: 201 with ``{"job": id}`` when it started a job, 200 otherwise. Raises BadRequest."""
    try:
        job = model.fit(action, body)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    return ({**job, "status": "started"}, 201) if job else ({"status": "noted"}, 200)
