"""What Label Studio knows of a project's ML backends and webhooks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

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
"""What LabelLoop's webhook listens to (contract, section 3)."""


@dataclass(frozen=True, slots=True)
class BasicAuth:
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
    model_version: str
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
            model_version=body.get("model_version") or "",
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
    project: int
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
        return cls(id=int(body["id"]), project=int(body["project"]), spec=spec)
