"""Whether Label Studio's webhooks carry the right secret: what web has seen of it, and what the sweep puts right.

A secret that is changed would otherwise be missed by nobody: Label Studio ignores what its webhooks are answered.
"""

import logging
import time

from labelloop.errors import NoSuchProject, StudioError
from labelloop.loop.hub import Hub
from labelloop.loop.project_registry import site_of
from labelloop.loop.redis_client import HOOKED, WITNESS, as_text, key_of, may_be_lost
from labelloop.types import ProjectKey
from labelloop.webhook_secrets import Carried, WebhookSecrets

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 300
_SAID_SECONDS = 60.0
_WITNESS_SECONDS = 24 * 3600
_GRACE_SECONDS = 60.0
"""Webhooks that Label Studio began to send before its secret was changed may come so much later."""


class HeardSecrets:
    """What one web process takes from webhooks, and what it tells others of that."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._secrets = WebhookSecrets(hub.settings)
        self._own: dict[int, float] = {}
        self._said = float("-inf")

    def refusal(self, carried: Carried, project: int) -> str:
        """Say why a right secret is none for an event of this project, empty where it is; raises QueueError.

        From its first webhook with a secret of its own, a project is told of by no common one.
        """
        if carried.project is not None:
            if carried.project != project:
                return f"the webhook carries the secret of project {carried.project}, and tells of project {project}"
            self._note_own(project)
            return ""
        since = self._own.get(project) or float(self._hub.redis.hget(HOOKED, str(project)) or "inf")
        if time.time() - since < _GRACE_SECONDS:
            return ""
        return f"project {project} has a secret of its own, and the webhook carries another one"

    def say(self) -> None:
        """Let the sweep know which key this process has; now and then is enough."""
        if time.monotonic() - self._said > _SAID_SECONDS:
            with may_be_lost("the key of webhooks"):
                self._hub.redis.set(WITNESS, self._secrets.witness, ex=_WITNESS_SECONDS)
                self._said = time.monotonic()

    def _note_own(self, project: int) -> None:
        if project not in self._own:
            with may_be_lost(f"the secret of project {project}"):
                now = time.time()
                self._hub.redis.hsetnx(HOOKED, str(project), repr(now))
                self._own[project] = now


def web_agrees(hub: Hub) -> bool | None:
    """Say whether web makes webhooks' secrets of the same key; None where that is not known. Raises QueueError."""
    told = as_text(hub.redis.get(WITNESS) or "")
    return told == WebhookSecrets(hub.settings).witness if told else None


def tend_webhook(hub: Hub, project: ProjectKey) -> None:
    """Have a project's webhook carry the secret of today, and note what is wrong with it; every few minutes.

    At once where the key has changed. What Label Studio refuses takes nothing from the rest of a sweep.
    """
    witness, key = WebhookSecrets(hub.settings).witness, key_of(project, "webhook")
    if not witness or as_text(hub.redis.get(key) or "") == witness:
        return
    hub.redis.set(key, witness, ex=_LOOK_SECONDS)
    try:
        hub.state(project).note("webhook", site_of(hub, project.id).mend_webhook(lambda: web_agrees(hub) is True))
    except NoSuchProject:
        raise
    except StudioError as error:
        _log.warning("project %s: its webhook is not looked at: %s", project, error)
