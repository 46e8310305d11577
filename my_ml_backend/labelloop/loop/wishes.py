"""Runs that somebody asked for and that must not be lost: wanted during a run, or begun by a worker that was killed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from labelloop.errors import Fenced, LeaseLost
from labelloop.loop import keys
from labelloop.loop.backoff import away
from labelloop.loop.hub import Hub
from labelloop.loop.queue import enqueue_retrain
from labelloop.types import ProjectKey

_BEGUN, _AGAIN = "begun", "again"


def want_again(hub: Hub, project: ProjectKey, trigger: str, *, force: bool = False) -> None:
    """Ask for one more run after the one in progress; a wish for a forced one is not taken back by another."""
    hub.redis.set(keys.of(project, _AGAIN), _wish(trigger, force), nx=not force)


@contextmanager
def begun(hub: Hub, project: ProjectKey, trigger: str, force: bool) -> Iterator[None]:
    """Remember what is begun until the run's record does, which is when the block ends.

    A killed worker leaves it, and so does an outage: what was asked for is begun again.
    """
    hub.redis.set(keys.of(project, _BEGUN), _wish(trigger, force))
    try:
        yield
    except (LeaseLost, Fenced):
        # What is noted there may be the other worker's.
        raise
    except Exception as error:
        if not away(error, hub.settings.directory):
            _forget(hub, project, _BEGUN)
        raise
    _forget(hub, project, _BEGUN)


def grant(hub: Hub, project: ProjectKey, *, waits: bool = False) -> str:
    """Enqueue the run that is wished for and say why it is; empty when there is no wish. Nobody holds the project.

    While the project ``waits`` after a failure, what was begun before that waits with it.
    """
    for name in (_AGAIN,) if waits else (_BEGUN, _AGAIN):
        key = keys.of(project, name)
        found = hub.redis.get(key)
        if found:
            wish = json.loads(found)
            enqueue_retrain(hub, project, wish["trigger"], force=wish["force"])
            # Not before the job is there: a worker killed in between would lose it.
            _forget(hub, project, name)
            return str(wish["trigger"])
    return ""


def _forget(hub: Hub, project: ProjectKey, name: str) -> None:
    hub.redis.delete(keys.of(project, name))


def _wish(trigger: str, force: bool) -> str:
    return json.dumps({"trigger": trigger, "force": force})
