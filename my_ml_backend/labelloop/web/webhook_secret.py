"""The header by which webhooks log in: Label Studio sends them without Basic authentication (contract, "Webhooks")."""

from flask import Request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import HTTPException, Unauthorized

from labelloop.studio.backends import SECRET_HEADER
from labelloop.web.attempts import Attempts, Client
from labelloop.webhook_secrets import Carried, WebhookSecrets

REALM = "LabelLoop ML backend"


class WebhookSecret:
    """Asks for a project's secret in the header; refuses everybody while there is no key to make it of.

    No secret that is made of a key can be guessed, so each is looked at, however many have failed.
    """

    def __init__(self, secrets: WebhookSecrets, attempts: Attempts | None = None) -> None:
        self._secrets = secrets
        self._attempts = attempts or Attempts(0)

    def check(self, request: Request) -> Carried:
        """Say for whom the request speaks; raises Unauthorized, saying why and what to do, or TooManyRequests."""
        if carried := self.shown(request):
            return carried
        raise self.refuse(request, self.why_not(request))

    def shown(self, request: Request) -> Carried | None:
        """Say for whom the request speaks, None for nobody."""
        return self._secrets.read(request.headers.get(SECRET_HEADER, ""))

    def why_not(self, request: Request) -> str:
        """Say why a request speaks for nobody, and what to do."""
        if not self._secrets:
            return "this backend has no secret: set LABELLOOP_WEBHOOK_SECRET or LABEL_STUDIO_API_KEY"
        if not request.headers.get(SECRET_HEADER):
            return f"the webhook carries no {SECRET_HEADER} header: run `labelloop connect`"
        return f"the webhook's {SECRET_HEADER} header is another one: run `labelloop connect`"

    def refuse(self, request: Request, reason: str) -> HTTPException:
        """Count a refusal; give what is answered."""
        return self._attempts.fail(Client.of(SECRET_HEADER, request), webhook_refusal(reason))


def webhook_refusal(reason: str) -> Unauthorized:
    """Make what a webhook is answered that is not taken."""
    return Unauthorized(reason, www_authenticate=WWWAuthenticate("labelloop-secret", {"realm": REALM}))
