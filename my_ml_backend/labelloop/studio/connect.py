"""Registers this ML backend with a project, or mends its registration (contract, "Connecting")."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from labelloop.errors import MediaError, StudioError
from labelloop.settings import Settings
from labelloop.sources.urls import parse, same_address, shown
from labelloop.studio.backends import (
    MLBackend,
    Webhook,
    differences,
    is_ours,
    orphan_webhooks,
    own_webhooks,
    secret_of,
    wanted_webhook,
)
from labelloop.studio.client import UNCERTAINTY, Studio
from labelloop.studio.diagnosis import too_old
from labelloop.types import FIRST_LABELS, NO_VERSION, Json
from labelloop.webhook_secrets import WebhookSecrets

_SMART = re.compile(r"\bsmart(Only)?\s*=\s*[\"']true[\"']", re.IGNORECASE)
"""What a label config has whose annotators want to draw and be answered."""

_OUR_TITLE = re.compile(rf"v\d+|{re.escape(NO_VERSION)}|{re.escape(FIRST_LABELS)}")


def connect(
    studio: Studio,
    project: int,
    url: str,
    settings: Settings,
    announced: str = NO_VERSION,
    extra_params: Json | None = None,
) -> list[str]:
    """Bring a project's ML backend, webhook and sampling into order; says what it did, a line each.

    ``url`` is this backend's address as Label Studio reaches it, ``announced`` what ``/setup`` answers. With None,
    ``extra_params`` stay as they are. Repeating does nothing and says so. Raises StudioError with the remedy.
    """
    url = _checked(url)
    lines = _Connecting(studio, project, url, WebhookSecrets(settings), announced, extra_params).run() or [
        f"Nothing to do: project {project} calls {shown(url)}, its webhook and sampling are in order."
    ]
    advice = too_old(studio.version())
    return [*lines, advice] if advice else lines


def _checked(url: str) -> str:
    try:
        host = parse(url).host
    except MediaError as error:
        raise StudioError(f"{url!r} cannot be this backend's address: {error}") from error
    if host != "localhost" and not set(host) & set(".:"):
        # Measured on 1.23.2: the backend shows "Connected", its webhook is refused, and nothing ever retrains.
        raise StudioError(
            f"{shown(url)}: Label Studio takes no webhook to a host name without a dot. Give {host} a name with one "
            "(a network alias such as web.labelloop.internal in a compose file), or name its IP address."
        )
    return url.strip().rstrip("/")


class _Connecting:
    def __init__(
        self,
        studio: Studio,
        project: int,
        url: str,
        secrets: WebhookSecrets,
        announced: str,
        extra_params: Json | None,
    ) -> None:
        self._studio, self._project, self._url = studio, project, url
        self._secrets, self._announced, self._extra_params = secrets, announced, extra_params
        self._interactive = False
        self._lines: list[str] = []

    @property
    def _secret(self) -> str:
        return self._secrets.of(self._project)

    def run(self) -> list[str]:
        info = self._studio.project(self._project)
        self._interactive = _SMART.search(info.label_config) is not None
        backend = self._register()
        self._mend_webhook()
        self._remove_orphans()
        if info.sampling != UNCERTAINTY:
            self._studio.set_sampling(self._project)
            self._lines.append(f"Sampling set to {UNCERTAINTY!r}: tasks with the least certain prediction come first.")
        self._order_by(backend.title)
        return self._lines

    def _register(self) -> MLBackend:
        backends = self._studio.ml_backends(self._project)
        found = self._own(backends)
        if found is None:
            backend = self._create()
            self._lines.append(f"ML backend {backend.id} registered at {shown(self._url)}, titled {backend.title}.")
        else:
            backend = self._mend(found)
        self._warn_of_others([other for other in backends if other.id < backend.id])
        return backend

    def _own(self, backends: list[MLBackend]) -> MLBackend | None:
        """Find this backend: by its address, else as the only one that was this LabelLoop under another address."""
        here = [backend for backend in backends if same_address(backend.url, self._url)]
        if here:
            return here[0]
        hooks = self._studio.webhooks(self._project)
        moved = [backend for backend in backends if self._was_here(backend, own_webhooks(hooks, backend.url))]
        return moved[0] if len(moved) == 1 else None

    def _was_here(self, backend: MLBackend, hooks: list[Webhook]) -> bool:
        """Whether a backend's webhook carries our secret; one that is dead needs only to look like LabelLoop's."""
        if any(self._secrets.read(secret_of(hook.spec)) for hook in hooks):
            return True
        looks_so = _OUR_TITLE.fullmatch(backend.title) is not None or any(is_ours(hook) for hook in hooks)
        return looks_so and backend.state != "Connected"

    def _create(self) -> MLBackend:
        # Where only the webhook's address is refused, there is a backend all the same (contract, "Private addresses").
        with _explained():
            return self._studio.create_ml_backend(
                self._project,
                self._url,
                self._announced,
                extra_params=self._extra_params,
                interactive=self._interactive,
            )

    def _mend(self, found: MLBackend) -> MLBackend:
        moved = not same_address(found.url, self._url)
        renamed = found.title != self._announced
        user = found.basic_auth_user != self._studio.auth.user
        told = self._extra_params is not None and found.extra_params != self._extra_params
        wakes = self._interactive and not found.interactive
        # Which password it has, Label Studio does not say.
        login = bool(self._studio.auth.user)
        if not (moved or renamed or user or login or told or wakes or found.state != "Connected"):
            return found
        wanted = replace(found, interactive=found.interactive or wakes)
        with _explained():
            backend = self._studio.update_ml_backend(
                replace(wanted, extra_params=self._extra_params) if told else wanted, self._url, self._announced
            )
        if told:
            self._lines.append(f"ML backend {found.id}: extra_params set.")
        if wakes:
            self._lines.append(
                f"ML backend {found.id} is asked while annotators draw: the label config has smart tags."
            )
        if moved:
            self._lines.append(f"ML backend {found.id} moved from {shown(found.url)} to {shown(self._url)}.")
            self._remove(own_webhooks(self._studio.webhooks(self._project), found.url), "of the address it had")
        if renamed:
            self._lines.append(f"ML backend {found.id} titled {self._announced} (was {found.title}).")
        if user:
            self._lines.append(
                f"ML backend {found.id}: Basic authentication {'set' if self._studio.auth.user else 'off'}."
            )
        elif login:
            self._lines.append(f"ML backend {found.id} was given its user and password again.")
        if found.state != backend.state:
            self._lines.append(f"ML backend {found.id} is {backend.state} (was {found.state}).")
        return backend

    def _warn_of_others(self, earlier: list[MLBackend]) -> None:
        if earlier:
            first = earlier[0]
            self._lines.append(
                f"Label Studio asks only a project's first ML backend for predictions, and that is {first.title} at "
                f"{shown(first.url)}: remove it in Settings > Model if LabelLoop is to answer."
            )

    def _mend_webhook(self) -> None:
        own = own_webhooks(self._studio.webhooks(self._project), self._url)
        if not own:
            webhook = self._studio.create_webhook(self._project, wanted_webhook(self._url, self._secret))
            self._lines.append(f"Webhook {webhook.id} made: {shown(webhook.spec.url)}, with its secret header.")
            return
        kept, *doubles = own
        wanted = wanted_webhook(self._url, self._secret, kept.spec)
        wrong = differences(kept.spec, wanted)
        if wrong:
            self._studio.update_webhook(kept, wanted)
            self._lines.append(f"Webhook {kept.id} mended: {', '.join(wrong)}.")
        self._remove(doubles, "that was there twice")

    def _remove_orphans(self) -> None:
        backends = self._studio.ml_backends(self._project)
        for webhook in orphan_webhooks(self._studio.webhooks(self._project), backends):
            if is_ours(webhook):
                self._remove([webhook], "of an address that no ML backend has any more")
            else:
                self._lines.append(
                    f"Webhook {webhook.id} ({shown(webhook.spec.url)}) belongs to no ML backend: remove it in "
                    "Settings > Webhooks if nothing listens there."
                )

    def _remove(self, webhooks: list[Webhook], why: str) -> None:
        for webhook in webhooks:
            self._studio.delete_webhook(webhook)
            self._lines.append(f"Webhook {webhook.id} ({shown(webhook.spec.url)}) removed, {why}.")

    def _order_by(self, title: str) -> None:
        """Sampling compares the predictions of ``project.model_version`` alone."""
        if title == NO_VERSION or self._studio.project(self._project).model_version == title:
            return
        self._studio.set_model_version(self._project, title)
        self._lines.append(f"Project {self._project} orders tasks by the predictions of {title}.")


@contextmanager
def _explained() -> Iterator[None]:
    """Say what Label Studio's check of a backend needs, when that is what failed."""
    try:
        yield
    except StudioError as error:
        if "answered 400" not in str(error):
            raise
        raise StudioError(
            f"{error} Label Studio calls the backend while it is registered: start it first, and give the address "
            "under which Label Studio (not this machine) reaches it."
        ) from error
