"""Credentials before bodies: who may call, who may send how much to which route, and which threads answer it.

Label Studio sends the Basic authentication of an ML backend with ``/setup``, ``/predict`` and START_TRAINING, and never
with annotation webhooks; those carry the header that ``labelloop connect`` gives them (contract, "Calls").
"""

import hmac
from wsgiref.types import WSGIEnvironment

from flask import Request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from labelloop.errors import SettingsError
from labelloop.front.protocol import BODIES, INLINE, Way, too_large
from labelloop.serve.page import PATH as PAGE
from labelloop.settings import Settings
from labelloop.studio.backends import SECRET_HEADER
from labelloop.web import labelbox

_REALM = "LabelLoop ML backend"


class BasicAuth:
    """Asks for one user and password; for nothing when both are empty."""

    def __init__(self, user: str, password: str) -> None:
        if bool(user) != bool(password):
            missing = "BASIC_AUTH_PASS" if user else "BASIC_AUTH_USER"
            raise SettingsError(
                f"{missing} is empty, and Label Studio sends Basic authentication only when it has both a user and a "
                "password: set both BASIC_AUTH_USER and BASIC_AUTH_PASS, or neither"
            )
        self._expected = (user.encode(), password.encode()) if user else None

    def check(self, request: Request) -> None:
        """Raise Unauthorized unless the request carries the user and the password, or none are asked for."""
        if self._expected is not None and not self.shown(request):
            raise Unauthorized(
                "Basic authentication failed: enter this backend's user and password in Label Studio's settings of "
                "the ML backend",
                www_authenticate=WWWAuthenticate("basic", {"realm": _REALM}),
            )

    def shown(self, request: Request) -> bool:
        """Whether the request carries the user and the password; False where there are none."""
        if self._expected is None:
            return False
        given = request.authorization
        user = (given.username if given else None) or ""
        password = (given.password if given else None) or ""
        right_user = same(user.encode(), self._expected[0])
        right_password = same(password.encode(), self._expected[1])
        return right_user and right_password


class WebhookSecret:
    """Asks for the secret header; refuses everybody while there is no secret."""

    def __init__(self, secret: str) -> None:
        self._expected = secret.encode()

    def check(self, request: Request) -> None:
        """Raise Unauthorized, saying why and what to do, unless the request carries the secret."""
        if not self._expected:
            raise self._refusal("this backend has no secret: set LABELLOOP_WEBHOOK_SECRET or LABEL_STUDIO_API_KEY")
        given = request.headers.get(SECRET_HEADER, "")
        if not given:
            raise self._refusal(f"the webhook carries no {SECRET_HEADER} header: run `labelloop connect`")
        if not same(given.encode(), self._expected):
            raise self._refusal(f"the webhook's {SECRET_HEADER} header is another one: run `labelloop connect`")

    @staticmethod
    def _refusal(reason: str) -> Unauthorized:
        return Unauthorized(reason, www_authenticate=WWWAuthenticate("labelloop-secret", {"realm": _REALM}))


def same(given: bytes, expected: bytes) -> bool:
    """Compare in a time that does not depend on where the first difference is."""
    return hmac.compare_digest(given, expected)


OPEN_BYTES = 1_000_000
"""Largest body of somebody who shows no credentials to a route that asks for none, or not of everybody."""

_HEALTH = ("/", "/health")


class WebGate:
    """The gate of the web app. Health is answered beside all threads; predictions have threads of their own.

    So have ``/setup`` and ``/webhook``, for which Label Studio waits three seconds and one; ``/ready`` goes with them.
    Labelbox's routes do, too. So has the page that explains an answer, which asks an endpoint fifty times.
    """

    def __init__(self, settings: Settings, basic: BasicAuth, secret: WebhookSecret) -> None:
        self._basic = basic
        self._secret = secret
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
        self._basic.check(Request(environ))
        return self._limited({"/predict": "predict", "/setup": "prompt", PAGE: "page"}.get(path, "rest"), self._body)

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
