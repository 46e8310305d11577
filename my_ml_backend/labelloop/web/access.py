"""Credentials before bodies: who may call, who may send how much to which route, and which threads answer it."""

from wsgiref.types import WSGIEnvironment

from flask import Request
from werkzeug.exceptions import Unauthorized

from labelloop.front.protocol import BODIES, INLINE, Way, too_large
from labelloop.serve.page import PATH as PAGE
from labelloop.settings import Settings
from labelloop.web import labelbox
from labelloop.web.logins import Logins

OPEN_BYTES = 1_000_000
"""Largest body of somebody who shows no credentials to a route that asks for none, or not of everybody."""

_HEALTH = ("/", "/health")

OPERATORS_PATHS = frozenset({"/delete", "/metrics", "/status", "/versions", PAGE})
"""Routes of operators, with all below them: Label Studio needs none of these, and no longer opens them where
LABELLOOP_ADMIN_USER is set. It asks for ``/versions`` now and then, and does without."""

ESSENTIAL = (*_HEALTH, "/ready", "/webhook")
"""What is answered while no web worker lives: what Label Studio waits for in an annotator's submit, and loses."""


class WebGate:
    """The gate of the web app. Health is answered beside all threads; predictions have threads of their own.

    So have ``/setup`` and ``/webhook``, for which Label Studio waits three seconds and one; ``/ready`` goes with them.
    Labelbox's routes do, too. So has the page that explains an answer, which asks an endpoint fifty times.
    """

    def __init__(self, settings: Settings, logins: Logins) -> None:
        self._logins = logins
        self._labelbox = labelbox.paths(settings)
        self._body = settings.body_max_bytes
        self._webhook = min(settings.webhook_max_bytes, self._body)
        self.pools = {"predict": settings.threads, "prompt": 4, "page": 2, "rest": 2}
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
        if path in self._labelbox:
            return labelbox.way(self._body)
        login = self._logins.operators if _first(path) in OPERATORS_PATHS else self._logins.label_studio
        login.check(Request(environ))
        return self._limited({"/predict": "predict", "/setup": "prompt", PAGE: "page"}.get(path, "rest"), self._body)

    def _webhook_way(self, request: Request) -> Way:
        """A webhook's action stands in its body: a small one is read of anybody, and the route asks for the rest."""
        whole = Way("prompt", self._webhook, too_large(self._webhook, "LABELLOOP_WEBHOOK_MAX_BYTES"))
        if self._webhook <= OPEN_BYTES or self._logins.label_studio.shown(request):
            return whole
        try:
            self._logins.webhook.check(request)
        except Unauthorized as refusal:
            return Way("prompt", OPEN_BYTES, refusal)
        return whole

    def _limited(self, pool: str, limit: int) -> Way:
        limit = min(limit, self._body)
        return Way(pool, limit, too_large(limit, "LABELLOOP_BODY_MAX_BYTES"))


def _first(path: str) -> str:
    """Give a path's first step: ``/dashboard`` of ``/dashboard/7``."""
    return "/" + path.removeprefix("/").partition("/")[0]
