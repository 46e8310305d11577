"""A project's ML backends and webhooks: what Label Studio knows of them, and how LabelLoop's should be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from labelloop.sources.urls import same_address
from labelloop.types import Json

SECRET_HEADER = "X-LabelLoop-Secret"  # noqa: S105 - the name of a header

ACTIONS = (
    "ANNOTATION_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATIONS_DELETED",
    "TASKS_CREATED",
    "PROJECT_UPDATED",
)
"""What LabelLoop's webhook listens to (contract, "Webhooks")."""


@dataclass(frozen=True, slots=True)
class BackendLogin:
    """User and password that Label Studio sends to an ML backend; without a user, none."""

    user: str = ""
    password: str = ""

    def fields(self) -> Json:
        """Give the fields of ``/api/ml`` that say so.

        Without a user the password is left out: Label Studio refuses an empty one, and sends none without a user.
        """
        if not self.user:
            return {"auth_method": "NONE", "basic_auth_user": ""}
        return {"auth_method": "BASIC_AUTH", "basic_auth_user": self.user, "basic_auth_pass": self.password}


@dataclass(frozen=True, slots=True)
class MLBackend:
    """An ML backend of a project. ``state`` is what Label Studio found when it was asked: Connected, Error, ...

    ``extra_params`` are an object, or the text that a user typed; ``interactive`` ones are asked while annotators draw.
    """

    id: int
    project: int
    url: str
    title: str
    state: str
    error: str
    basic_auth_user: str
    extra_params: object = None
    interactive: bool = False

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Read one item of ``/api/ml``."""
        return cls(
            id=int(body["id"]),
            project=int(body["project"]),
            url=body["url"],
            title=body.get("title") or "",
            state=body.get("readable_state") or "",
            error=body.get("error_message") or "",
            basic_auth_user=(body.get("basic_auth_user") or "") if body.get("auth_method") == "BASIC_AUTH" else "",
            extra_params=body.get("extra_params"),
            interactive=bool(body.get("is_interactive")),
        )


def own_backend(backends: Sequence[MLBackend], address: str | None) -> MLBackend | None:
    """Find this LabelLoop among a project's ML backends: by the address Label Studio calls, or as the only one."""
    for backend in backends:
        if address is not None and backend.url.rstrip("/") == address:
            return backend
    return backends[0] if len(backends) == 1 else None


@dataclass(frozen=True, slots=True)
class WebhookSpec:
    """What a webhook does; with ``all_actions`` it fires for every action, whatever ``actions`` says."""

    url: str
    headers: Mapping[str, str]
    actions: tuple[str, ...] = ACTIONS
    all_actions: bool = False
    active: bool = True
    payload: bool = True

    def fields(self) -> Json:
        """Give the body for ``/api/webhooks``: all of it, because a PATCH without ``actions`` removes them all."""
        return {
            "url": self.url,
            "headers": dict(self.headers),
            "actions": sorted(self.actions),
            "send_for_all_actions": self.all_actions,
            "is_active": self.active,
            "send_payload": self.payload,
        }


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook of a project."""

    id: int
    spec: WebhookSpec

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Read one item of ``/api/webhooks``."""
        spec = WebhookSpec(
            url=body["url"],
            headers=body.get("headers") or {},
            actions=tuple(sorted(body.get("actions") or ())),
            all_actions=bool(body.get("send_for_all_actions", True)),
            active=bool(body.get("is_active", True)),
            payload=bool(body.get("send_payload", True)),
        )
        return cls(id=int(body["id"]), spec=spec)


def own_webhooks(webhooks: Sequence[Webhook], url: str) -> list[Webhook]:
    """Pick the webhooks of the backend at ``url``, oldest first."""
    return [webhook for webhook in webhooks if same_address(webhook.spec.url, _webhook_url(url))]


def orphan_webhooks(webhooks: Sequence[Webhook], backends: Sequence[MLBackend]) -> list[Webhook]:
    """Pick the webhooks of ML backends that are no more: Label Studio leaves them behind (contract, "Connecting")."""
    alive = [_webhook_url(backend.url) for backend in backends]
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
    return WebhookSpec(_webhook_url(url), {**kept, SECRET_HEADER: secret}, actions=tuple(sorted(ACTIONS)))


def _webhook_url(url: str) -> str:
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
