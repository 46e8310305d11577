"""The webhook through which Label Studio tells of annotations: how it should be, and what is wrong with one."""

import hashlib
import hmac
from collections.abc import Sequence

from labelloop.settings import Settings
from labelloop.sources.urls import same_address
from labelloop.studio.backends import ACTIONS, SECRET_HEADER, MLBackend, Webhook, WebhookSpec


def webhook_secret(settings: Settings) -> str:
    """Give what webhooks must carry: the setting, else one derived from the API key; empty without either."""
    if settings.webhook_secret or not settings.label_studio_api_key:
        return settings.webhook_secret
    key = settings.label_studio_api_key.encode()
    return hmac.new(key, b"labelloop webhook secret", hashlib.sha256).hexdigest()


def own_webhooks(webhooks: Sequence[Webhook], url: str) -> list[Webhook]:
    """Pick the webhooks of the backend at ``url``, oldest first."""
    return [webhook for webhook in webhooks if same_address(webhook.spec.url, webhook_url(url))]


def orphan_webhooks(webhooks: Sequence[Webhook], backends: Sequence[MLBackend]) -> list[Webhook]:
    """Pick the webhooks of ML backends that are no more: Label Studio leaves them behind (contract, section 1)."""
    alive = [webhook_url(backend.url) for backend in backends]
    return [
        webhook
        for webhook in webhooks
        if (is_ours(webhook) or webhook.spec.url.rstrip("/").endswith("/webhook"))
        and not any(same_address(webhook.spec.url, url) for url in alive)
    ]


def wanted_webhook(url: str, secret: str, found: WebhookSpec | None = None) -> WebhookSpec:
    """Describe the webhook as it should be; other headers of the one that was found are kept."""
    headers = found.headers if found else {}
    kept = {name: value for name, value in headers.items() if name.lower() != SECRET_HEADER.lower()}
    return WebhookSpec(webhook_url(url), {**kept, SECRET_HEADER: secret}, actions=tuple(sorted(ACTIONS)))


def webhook_url(url: str) -> str:
    """Give the address of the webhook that Label Studio makes for an ML backend."""
    return url.rstrip("/") + "/webhook"


def is_ours(webhook: Webhook) -> bool:
    """Whether a webhook carries our secret header, of whatever value."""
    return secret_of(webhook.spec) is not None


def secret_of(spec: WebhookSpec) -> str | None:
    """Read the value of the secret header, None without one; Label Studio keeps names as they were typed."""
    return next((value for name, value in spec.headers.items() if name.lower() == SECRET_HEADER.lower()), None)


def differences(found: WebhookSpec, wanted: WebhookSpec) -> list[str]:
    """Name what of a webhook is wrong, in words."""
    wrong = {
        "secret header": secret_of(found) != secret_of(wanted),
        "actions": found.all_actions or set(found.actions) != set(wanted.actions),
        "switched on": not found.active,
        "payload sent": not found.payload,
        "address": found.url != wanted.url,
    }
    return [name for name, differs in wrong.items() if differs]
