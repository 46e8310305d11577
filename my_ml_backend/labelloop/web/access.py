"""Credentials before bodies: who may call, who may send how much to which route, and which threads answer it.

Label Studio sends the Basic authentication of an ML backend with ``/setup``, ``/predict`` and START_TRAINING, and never
with annotation webhooks; those carry the header that ``labelloop connect`` gives them (contract, "Calls").
"""

import hmac
from dataclasses import dataclass
from typing import NamedTuple, Self
from wsgiref.types import WSGIEnvironment

from flask import Request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from labelloop.errors import SettingsError
from labelloop.front.protocol import BODIES, INLINE, Way, too_large
from labelloop.serve.page import PATH as PAGE
from labelloop.settings import Settings
from labelloop.web import labelbox
from labelloop.web.attempts import Attempts, Client
from labelloop.web.dashboard import PATH as DASHBOARD
from labelloop.web.webhook_secret import REALM, WebhookSecret, webhook_refusal
from labelloop.webhook_secrets import WebhookSecrets


class Whose(NamedTuple):
    """Whose login it is: its two settings, the name under which browsers keep it, what to do where it is refused."""

    user: str
    password: str
    realm: str
    remedy: str


LABEL_STUDIO = Whose(
    "BASIC_AUTH_USER",
    "BASIC_AUTH_PASS",
    REALM,
    "enter this backend's user and password in Label Studio's settings of the ML backend",
)
OPERATORS = Whose(
    "LABELLOOP_ADMIN_USER",
    "LABELLOOP_ADMIN_PASS",
    "LabelLoop operators",
    "this is an operator's route, so log in as LABELLOOP_ADMIN_USER; Label Studio's login does not open it",
)


class BasicAuth:
    """Asks for one user and password, or a previous one; for nothing when user and password are empty."""

    def __init__(
        self,
        user: str,
        password: str,
        whose: Whose = LABEL_STUDIO,
        previous: str = "",
        attempts: Attempts | None = None,
    ) -> None:
        if bool(user) != bool(password):
            missing = whose.password if user else whose.user
            raise SettingsError(
                f"{missing} is empty, and Basic authentication needs both a user and a password: set both "
                f"{whose.user} and {whose.password}, or neither"
            )
        self._user = user.encode()
        self._passwords = [one.encode() for one in (password, previous) if one]
        self._whose = whose
        self._attempts = attempts or Attempts(0)

    def check(self, request: Request) -> None:
        """Raise Unauthorized unless the request carries the user and a password, or none are asked for.

        Raises TooManyRequests, and looks at nothing, where somebody at this address has failed too often.
        """
        if not self._user:
            return
        client = Client.of(self._whose.user if request.authorization else "nobody", request)
        if request.authorization:
            self._attempts.allow(client)
        if self.shown(request):
            self._attempts.succeed(client)
            return
        refusal = Unauthorized(
            f"Basic authentication failed: {self._whose.remedy}",
            www_authenticate=WWWAuthenticate("basic", {"realm": self._whose.realm}),
        )
        raise self._attempts.fail(client, refusal)

    def shown(self, request: Request) -> bool:
        """Whether the request carries the user and a password; False where there are none."""
        if not self._user:
            return False
        given = request.authorization
        user = (given.username if given else None) or ""
        password = ((given.password if given else None) or "").encode()
        right_user = same(user.encode(), self._user)
        right = [same(password, one) for one in self._passwords]
        return right_user and any(right)


def same(given: bytes, expected: bytes) -> bool:
    """Compare in a time that does not depend on where the first difference is."""
    return hmac.compare_digest(given, expected)


@dataclass(frozen=True, slots=True)
class Logins:
    """All that one web process asks for."""

    label_studio: BasicAuth
    operators: BasicAuth
    webhook: WebhookSecret

    @classmethod
    def of(cls, settings: Settings, attempts: Attempts | None = None) -> Self:
        """Read them from the settings; operators without a login of their own have Label Studio's.

        Raises SettingsError for half a login.
        """
        label_studio = BasicAuth(
            settings.basic_auth_user,
            settings.basic_auth_pass,
            previous=settings.basic_auth_pass_previous,
            attempts=attempts,
        )
        operators = BasicAuth(
            settings.admin_user, settings.admin_pass, OPERATORS, settings.admin_pass_previous, attempts
        )
        webhook = WebhookSecret(WebhookSecrets(settings), attempts)
        return cls(label_studio, operators if settings.admin_user else label_studio, webhook)


OPEN_BYTES = 1_000_000
"""Largest body of somebody who shows no credentials to a route that asks for none, or not of everybody."""

_HEALTH = ("/", "/health")

OPERATORS_PATHS = frozenset({"/delete", DASHBOARD, "/metrics", "/status", "/versions", PAGE})
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
        if self._logins.webhook.shown(request):
            return whole
        return Way("prompt", OPEN_BYTES, webhook_refusal(self._logins.webhook.why_not(request)))

    def _limited(self, pool: str, limit: int) -> Way:
        limit = min(limit, self._body)
        return Way(pool, limit, too_large(limit, "LABELLOOP_BODY_MAX_BYTES"))


def _first(path: str) -> str:
    """Give a path's first step: ``/dashboard`` of ``/dashboard/7``."""
    return "/" + path.removeprefix("/").partition("/")[0]
