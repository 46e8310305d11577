"""Who may call: Basic authentication for Label Studio's ML client, a secret header for its webhooks.

Label Studio sends the Basic authentication of an ML backend with ``/setup``, ``/predict`` and START_TRAINING, and never
with annotation webhooks; those carry the header that ``labelloop connect`` gives them (contract, section 1).
"""

import hmac

from flask import Request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from labelloop.errors import SettingsError
from labelloop.studio.backends import SECRET_HEADER

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
