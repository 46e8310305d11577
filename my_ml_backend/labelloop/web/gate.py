"""Credentials before bodies: who may send how much to which route, and which threads answer it."""

from wsgiref.types import WSGIEnvironment

from flask import Request
from werkzeug.exceptions import Unauthorized

from labelloop.front.gate import BODIES, INLINE, Way, too_large
from labelloop.settings import Settings
from labelloop.web.auth import BasicAuth, WebhookSecret

OPEN_BYTES = 1_000_000
"""Largest body of somebody who shows no credentials to a route that asks for none, or not of everybody."""

_HEALTH = ("/", "/health")


class WebGate:
    """The gate of the web app. Health is answered beside all threads; predictions have threads of their own.

    So have ``/setup`` and ``/webhook``, for which Label Studio waits three seconds and one; ``/ready`` goes with them.
    """

    def __init__(self, settings: Settings, basic: BasicAuth, secret: WebhookSecret) -> None:
        self._basic = basic
        self._secret = secret
        self._body = settings.body_max_bytes
        self._webhook = min(settings.webhook_max_bytes, self._body)
        self.pools = {"predict": settings.threads, "prompt": 4, "rest": 2}
        self.client_seconds = settings.client_seconds
        self.bodies_bytes = BODIES * self._body

    def way(self, environ: WSGIEnvironment) -> Way:
        """Choose by path and credentials; raises Unauthorized where Basic authentication is asked for and missing."""
        path = environ["PATH_INFO"]
        if path in _HEALTH:
            return self._limited(INLINE, OPEN_BYTES)
        if path == "/ready":
            return self._limited("prompt", OPEN_BYTES)
        if path == "/webhook":
            return self._webhook_way(Request(environ))
        self._basic.check(Request(environ))
        return self._limited({"/predict": "predict", "/setup": "prompt"}.get(path, "rest"), self._body)

    def _webhook_way(self, request: Request) -> Way:
        """A webhook's action stands in its body: a small one is read of anybody, and the route asks for the rest."""
        whole = Way("prompt", self._webhook, too_large(self._webhook, "LABELLOOP_WEBHOOK_MAX_BYTES"))
        if self._webhook <= OPEN_BYTES or self._basic.shown(request):
            return whole
        try:
            self._secret.check(request)
        except Unauthorized as refusal:
            return Way("prompt", OPEN_BYTES, refusal)
        return whole

    def _limited(self, pool: str, limit: int) -> Way:
        limit = min(limit, self._body)
        return Way(pool, limit, too_large(limit, "LABELLOOP_BODY_MAX_BYTES"))
