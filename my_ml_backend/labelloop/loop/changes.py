"""The changed labels of a project, in Redis: a sorted set of what changed by the moment of its last change.

A label that changes twice is one changed label, and a repeated webhook changes nothing.
"""

from collections.abc import Iterable

from labelloop.loop import keys
from labelloop.loop.hub import Hub, reach
from labelloop.loop.policy import Pending
from labelloop.types import ProjectKey


def add(hub: Hub, project: ProjectKey, what: Iterable[str], now: float) -> None:
    """Note changed labels, each named by its annotation (``a7``) or its task (``t7``)."""
    members = dict.fromkeys(what, now)
    if members:
        with reach(hub):
            hub.redis.zadd(keys.of(project, "changed"), members)


def replace(hub: Hub, project: ProjectKey, what: Iterable[str], now: float) -> None:
    """Put what a scan found in the place of what was noted before ``now``: Label Studio is the truth."""
    members = dict.fromkeys(what, now)
    key = keys.of(project, "changed")
    with reach(hub), hub.redis.pipeline(transaction=True) as pipe:
        pipe.zremrangebyscore(key, "-inf", now)
        if members:
            pipe.zadd(key, members)
        pipe.execute()


def pending(hub: Hub, project: ProjectKey) -> Pending:
    """Read how much has changed since the last manifest."""
    key = keys.of(project, "changed")
    with reach(hub), hub.redis.pipeline(transaction=True) as pipe:
        pipe.zcard(key)
        pipe.zrange(key, 0, 0, withscores=True)
        pipe.zrange(key, -1, -1, withscores=True)
        count, first, last = pipe.execute()
    return Pending(count, first[0][1], last[0][1]) if count else Pending()


def settle(hub: Hub, project: ProjectKey, until: float) -> None:
    """Drop what changed up to ``until``: a manifest read after that moment holds it."""
    with reach(hub):
        hub.redis.zremrangebyscore(keys.of(project, "changed"), "-inf", until)
