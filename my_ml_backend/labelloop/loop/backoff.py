"""Leaves a project alone after a failure: what fails at once would otherwise be started again at once, for ever.

It holds back only what the loop starts by itself; Start Training, ``retrain`` and ``rollback`` are not asked to wait.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from labelloop.errors import Fenced, LeaseLost, NotEnoughLabels
from labelloop.loop import keys
from labelloop.loop.hub import Hub, reach
from labelloop.types import ProjectKey

_LEAST_SECONDS = 1.0
_MOST_SECONDS = 3600.0
_DOUBLINGS = 20
_KEPT_SECONDS = 24 * 3600

NO_FAILURE = (LeaseLost, Fenced, NotEnoughLabels)
"""How a job may end without its result although nothing is wrong: another worker goes on, or labels are to come."""


@contextmanager
def backing_off(hub: Hub, project: ProjectKey) -> Iterator[None]:
    """Note a failure of the block, and forget earlier ones when it succeeds."""
    try:
        yield
    except NO_FAILURE:
        raise
    except Exception:
        back_off(hub, project)
        raise
    with reach(hub):
        hub.redis.delete(keys.of(project, "failures"))


def back_off(hub: Hub, project: ProjectKey) -> None:
    """Wait ``LABELLOOP_RETRY_SECONDS`` after a failure, twice as long after each one that follows, an hour at most."""
    key = keys.of(project, "failures")
    with reach(hub):
        count = int(hub.redis.hincrby(key, "count", 1))
        wait = hub.settings.retry_seconds * 2 ** min(count - 1, _DOUBLINGS)
        until = time.time() + min(max(wait, _LEAST_SECONDS), _MOST_SECONDS)
        hub.redis.hset(key, "until", repr(until))
        hub.redis.expire(key, _KEPT_SECONDS)


def waits_until(hub: Hub, project: ProjectKey) -> float | None:
    """Say until when the project is left alone (Unix seconds); None when it need not be."""
    with reach(hub):
        found = hub.redis.hget(keys.of(project, "failures"), "until")
    until = float(found) if found else 0.0
    return until if until > time.time() else None
