"""What Label Studio's webhooks carry so that we believe them: a secret for each project, and those of before.

Whoever may see a project's webhooks sees its secret, so it speaks for that project alone. It is made of a key that
stays here: ``LABELLOOP_WEBHOOK_SECRET``, else the API key. What earlier releases gave all projects in common is right,
too, until a project's webhook has been seen to carry its own.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass

from labelloop.settings import Settings

_OF_PROJECT = re.compile(r"([1-9]\d{0,17})\.[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Carried:
    """A right secret: of one ``project``, or None for all; ``current`` where it is of today's key."""

    project: int | None
    current: bool


@dataclass(frozen=True, slots=True)
class _Key:
    secret: str
    is_api_key: bool

    @property
    def common(self) -> str:
        """Give what webhooks of all projects carried."""
        return self.derived("labelloop webhook secret") if self.is_api_key else self.secret

    def of(self, project: int) -> str:
        """Give what the webhook of a project carries; the common one tells nothing of it where it is derived."""
        return f"{project}.{self.derived(f'labelloop webhook secret of project {project}')}"

    def derived(self, purpose: str) -> str:
        return hmac.new(self.secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()


class WebhookSecrets:
    """The secrets of one LabelLoop; false where there is no key to make them of."""

    def __init__(self, settings: Settings) -> None:
        own = [settings.webhook_secret, settings.webhook_secret_previous]
        api = [settings.label_studio_api_key, settings.label_studio_api_key_previous]
        current = [_Key(own[0], is_api_key=False)] if own[0] else [_Key(api[0], is_api_key=True)] if api[0] else []
        before = [_Key(own[1], is_api_key=False), _Key(api[1], is_api_key=True)]
        self._current = next(iter(current), None)
        self._previous = [key for key in before if key.secret]

    def __bool__(self) -> bool:
        return self._current is not None

    def of(self, project: int) -> str:
        """Give what the webhook of a project is to carry; empty without a key."""
        return self._current.of(project) if self._current else ""

    @property
    def witness(self) -> str:
        """Give what two processes compare to know whether they have the same key; empty without one."""
        return self._current.derived("labelloop witness of webhooks") if self._current else ""

    def read(self, given: str | None) -> Carried | None:
        """Say whose secret that is; None for any other text. How long it takes does not depend on the text."""
        found = None
        for key in self._keys():
            named = _OF_PROJECT.fullmatch(given or "")
            if named and _same(given, key.of(int(named[1]))):
                found = Carried(int(named[1]), current=key is self._current)
            elif _same(given, key.common):
                found = Carried(None, current=key is self._current)
            if found:
                break
        return found

    def _keys(self) -> Iterator[_Key]:
        if self._current:
            yield self._current
            yield from self._previous


def _same(given: str | None, expected: str) -> bool:
    return hmac.compare_digest((given or "").encode(), expected.encode())
