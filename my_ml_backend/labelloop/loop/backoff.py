"""Leaves a project alone after a failure: what fails at once would otherwise be started again at once, for ever.

It holds back only what the loop starts by itself; Start Training, ``retrain`` and ``rollback`` are not asked to wait.
"""

import errno
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import RedisError

from labelloop.errors import Fenced, LeaseLost, MediaError, NotEnoughLabels, OptionsError, Outage, SettingsError
from labelloop.loop import keys
from labelloop.loop.hub import Hub
from labelloop.loop.redis_client import text
from labelloop.types import ProjectKey

_LEAST_SECONDS = 1.0
_MOST_SECONDS = 3600.0
_MOST_AWAY_SECONDS = 600.0
_DOUBLINGS = 20
_KEPT_SECONDS = 24 * 3600

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LEAST_SPACE = 1 << 20
"""Bytes; on a disk with less than this whatever failed has failed for want of space."""

NO_FAILURE = (LeaseLost, Fenced, NotEnoughLabels)
"""How a job may end without its result although nothing is wrong: another worker goes on, or labels are to come."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Why and until when a project is left alone (Unix seconds).

    ``away`` names what it waits for, since the moment ``since``; empty after a failure of its own. ``settings`` is true
    where settings are at fault: then it waits for a worker that starts with others.
    """

    since: float
    until: float
    away: str = ""
    settings: bool = False


def away(error: BaseException, folder: Path) -> str:
    """Name what an error says is away for a while, like the store; empty for an error that waiting does not heal.

    ``folder`` is where this machine works: a full disk shows in all sorts of errors.
    """
    if isinstance(error, Outage):
        return error.away
    if isinstance(error, MediaError):
        return "the pictures' server"
    if isinstance(error, RedisError):
        return "Redis"
    return "space on the disk" if _is_full(error, folder) else ""


def _is_full(error: BaseException, folder: Path) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return True
        cause = cause.__cause__ or cause.__context__
    try:
        return shutil.disk_usage(folder).free < _LEAST_SPACE
    except OSError:
        return False


@contextmanager
def backing_off(hub: Hub, project: ProjectKey) -> Iterator[None]:
    """Note a failure of the block, and forget earlier ones when it succeeds."""
    try:
        yield
    except NO_FAILURE:
        raise
    except Exception as error:
        at_fault = isinstance(error, SettingsError) and not isinstance(error, OptionsError)
        back_off(hub, project, away(error, hub.settings.directory), settings=at_fault)
        raise
    hub.redis.delete(keys.of(project, "failures"))


def growing(first: float, before: int) -> float:
    """Seconds to wait after a failure with so many ``before`` it: ``first``, doubled by each, an hour at most."""
    return min(first * 2.0 ** min(before, _DOUBLINGS), _MOST_SECONDS)


def back_off(hub: Hub, project: ProjectKey, what: str = "", *, settings: bool = False) -> float:
    """Wait ``LABELLOOP_RETRY_SECONDS`` after a failure, twice as long after each one that follows, an hour at most.

    While ``what`` is away it is ten minutes at most; ``settings`` at fault are mended by no wait, so that it is an hour
    at once. Says until when.
    """
    key, now = keys.of(project, "failures"), time.time()
    count = int(hub.redis.hincrby(key, "count", 1))
    wait = _MOST_SECONDS if settings else growing(hub.settings.retry_seconds, count - 1)
    until = now + min(max(wait, _LEAST_SECONDS), _MOST_AWAY_SECONDS if what else _MOST_SECONDS)
    before = hub.redis.hget(key, "away")
    if before is None or text(before) != what:
        hub.redis.hset(key, "since", repr(now))
    hub.redis.hset(key, mapping={"until": repr(until), "away": what, "settings": int(settings)})
    if what:
        hub.redis.hset(key, "outage", 1)
    else:
        hub.redis.hdel(key, "outage")
    hub.redis.expire(key, _KEPT_SECONDS)
    return until


def read_wait(hub: Hub, project: ProjectKey) -> Wait | None:
    """Say why and until when the project is left alone; None when it need not be."""
    found = {text(name): text(value) for name, value in hub.redis.hgetall(keys.of(project, "failures")).items()}
    started = hub.redis.get(keys.STARTED)
    until = float(found.get("until", 0.0))
    if until <= time.time():
        return None
    wait = Wait(float(found.get("since", until)), until, found.get("away", ""), found.get("settings") == "1")
    mended = wait.settings and started is not None and float(started) > wait.since
    return None if mended else wait


def waits_until(hub: Hub, project: ProjectKey) -> float | None:
    """Say until when the project is left alone (Unix seconds); None when it need not be."""
    wait = read_wait(hub, project)
    return wait.until if wait else None


def met_outage(hub: Hub, project: ProjectKey) -> bool:
    """Say, once, whether the last attempt ended because something was away; the store may have been it."""
    return bool(hub.redis.hdel(keys.of(project, "failures"), "outage"))


def note_start(hub: Hub) -> None:
    """Note that a worker starts: what was left alone for its settings is looked at again."""
    hub.redis.set(keys.STARTED, repr(time.time()))
