"""Who somebody has to be: users with passwords, and what webhooks carry; compared in constant time.

Label Studio sends the Basic authentication of an ML backend with ``/setup``, ``/predict`` and START_TRAINING, and never
with annotation webhooks; those carry the header that ``labelloop connect`` gives them (contract, "Calls").
"""

import hmac
from dataclasses import dataclass
from typing import NamedTuple, Self

from flask import Request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from labelloop.errors import SettingsError
from labelloop.settings import Settings
from labelloop.studio.backends import SECRET_HEADER, webhook_secret

_REALM = "LabelLoop ML backend"


class Whose(NamedTuple):
    """Whose login it is: its two settings, the name under which browsers keep it, what to do where it is refused."""

    user: str
    password: str
    realm: str
    remedy: str


LABEL_STUDIO = Whose(
    "BASIC_AUTH_USER",
    "BASIC_AUTH_PASS",
    _REALM,
    "enter this backend's user and password in Label Studio's settings of the ML backend",
)
OPERATORS = Whose(
    "LABELLOOP_ADMIN_USER",
    "LABELLOOP_ADMIN_PASS",
    "LabelLoop operators",
    "this is an operator's route, so log in as LABELLOOP_ADMIN_USER; Label Studio's login does not open it",
)


class BasicAuth:
    """Asks for one user and password; for nothing when both are empty."""

    def __init__(self, user: str, password: str, whose: Whose = LABEL_STUDIO) -> None:
        if bool(user) != bool(password):
            missing = whose.password if user else whose.user
            raise SettingsError(
                f"{missing} is empty, and Basic authentication needs both a user and a password: set both "
                f"{whose.user} and {whose.password}, or neither"
            )
        self._expected = (user.encode(), password.encode()) if user else None
        self._whose = whose

    def check(self, request: Request) -> None:
        """Raise Unauthorized unless the request carries the user and the password, or none are asked for."""
        if self._expected is not None and not self.shown(request):
            raise Unauthorized(
                f"Basic authentication failed: {self._whose.remedy}",
                www_authenticate=WWWAuthenticate("basic", {"realm": self._whose.realm}),
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


@dataclass(frozen=True, slots=True)
class Logins:
    """All that one web process asks for."""

    label_studio: BasicAuth
    operators: BasicAuth
    webhook: WebhookSecret

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read them from the settings; operators without a login of their own have Label Studio's.

        Raises SettingsError for half a login.
        """
        label_studio = BasicAuth(settings.basic_auth_user, settings.basic_auth_pass)
        own = BasicAuth(settings.admin_user, settings.admin_pass, OPERATORS)
        return cls(label_studio, own if settings.admin_user else label_studio, WebhookSecret(webhook_secret(settings)))
