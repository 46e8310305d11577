"""The changed labels of a project, in Redis: a sorted set of what changed by the moment of its last change.

A label that changes twice is one changed label, and a repeated webhook changes nothing.
"""

from collections.abc import Iterable

from labelloop.loop import keys
from labelloop.loop.hub import Hub, reach, text
from labelloop.loop.notes import read_notes
from labelloop.loop.policy import Pending, Policy
from labelloop.types import ProjectKey


def add(hub: Hub, project: ProjectKey, what: Iterable[str], now: float) -> None:
    """Note changed labels, each named by its annotation (``a7``) or its task (``t7``)."""
    members = dict.fromkeys(what, now)
    if members:
        with reach(hub):
            hub.redis.zadd(keys.of(project, "changed"), members)


def replace(hub: Hub, project: ProjectKey, what: Iterable[str], now: float) -> None:
    """Put what a scan found in the place of what was noted before ``now``: Label Studio is the truth.

    What an earlier scan found already keeps its moment, or the longest wait would never be over.
    """
    members = dict.fromkeys(what, now)
    key = keys.of(project, "changed")
    with reach(hub):
        noted = {text(name) for name in hub.redis.zrangebyscore(key, "-inf", now) if isinstance(name, (bytes, str))}
        with hub.redis.pipeline(transaction=True) as pipe:
            if gone := noted - members.keys():
                pipe.zrem(key, *gone)
            if members:
                pipe.zadd(key, members, nx=True)
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


def due(hub: Hub, project: ProjectKey) -> float | None:
    """Say when the project is due for a run (Unix seconds), None while nothing has changed."""
    lacking = "missing" in read_notes(hub, project)
    return Policy.of(hub.settings, lacking=lacking).due(pending(hub, project))


def settle(hub: Hub, project: ProjectKey, until: float) -> None:
    """Drop what changed up to ``until``: a manifest read after that moment holds it."""
    with reach(hub):
        hub.redis.zremrangebyscore(keys.of(project, "changed"), "-inf", until)
