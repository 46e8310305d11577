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

from labelloop.errors import (
    Fenced,
    LabelLoopError,
    LeaseLost,
    MediaError,
    NotEnoughLabels,
    OptionsError,
    Outage,
    ProjectMoved,
    ProjectPaused,
    RunCancelled,
    SettingsError,
)
from labelloop.loop.redis_client import STARTED, RedisClient, as_text
from labelloop.settings import Settings

_LEAST_SECONDS = 1.0
_MOST_SECONDS = 3600.0
_MOST_AWAY_SECONDS = 600.0
_DOUBLINGS = 20
_KEPT_SECONDS = 24 * 3600

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LEAST_SPACE = 1 << 20
"""Bytes; on a disk with less than this whatever failed has failed for want of space."""

NO_FAILURE = (LeaseLost, Fenced, NotEnoughLabels, ProjectMoved, ProjectPaused, RunCancelled)
"""How a job may end without its result although nothing is wrong: another worker goes on, labels are to come, the
project is paused or lies elsewhere, or it was ended on purpose."""


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


class Backoff:
    """The failures of one project, under one key; found at ``ProjectState.backoff``."""

    def __init__(self, redis: RedisClient, key: str, settings: Settings) -> None:
        self._redis, self._key, self._settings = redis, key, settings

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note a failure of the block, and forget earlier ones when it succeeds."""
        try:
            yield
        except NO_FAILURE:
            raise
        except Exception as error:
            self.note(away(error, self._settings.directory), settings=_at_fault(error))
            raise
        self._redis.delete(self._key)

    def note(self, what: str = "", *, settings: bool = False) -> float:
        """Leave the project alone after a failure and say until when.

        ``what`` is away, or ``settings`` are at fault.
        """
        now = time.time()
        count = int(self._redis.hincrby(self._key, "count", 1))
        until = now + _pause(count, self._settings.retry_seconds, what, settings=settings)
        before = self._redis.hget(self._key, "away")
        with self._redis.pipeline() as pipe:
            if before is None or as_text(before) != what:
                pipe.hset(self._key, "since", repr(now))
            pipe.hset(self._key, mapping={"until": repr(until), "away": what, "settings": int(settings)})
            if what:
                pipe.hset(self._key, "outage", 1)
            else:
                pipe.hdel(self._key, "outage")
            pipe.expire(self._key, _KEPT_SECONDS)
            pipe.execute()
        return until

    def wait(self) -> Wait | None:
        """Say why and until when the project is left alone; None when it need not be."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(self._key)
            pipe.get(STARTED)
            failures, started = pipe.execute()
        found = {as_text(name): as_text(value) for name, value in failures.items()}
        until = float(found.get("until", 0.0))
        if until <= time.time():
            return None
        wait = Wait(float(found.get("since", until)), until, found.get("away", ""), found.get("settings") == "1")
        mended = wait.settings and started is not None and float(started) > wait.since
        return None if mended else wait

    def met_outage(self) -> bool:
        """Say, once, whether the last attempt ended because something was away; the store may have been it."""
        return bool(self._redis.hdel(self._key, "outage"))


def reason_of(error: Exception) -> str:
    """Say why something failed; of what nobody foresaw only its type, for its message may say anything."""
    if isinstance(error, LabelLoopError):
        return str(error)
    return f"{type(error).__name__}; the worker's log has the traceback"


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


def _at_fault(error: BaseException) -> bool:
    """Whether the settings of this worker are at fault, which no wait mends."""
    return isinstance(error, SettingsError) and not isinstance(error, OptionsError)


def growing(first: float, before: int) -> float:
    """Seconds to wait after a failure with so many ``before`` it: ``first``, doubled by each, an hour at most."""
    return min(first * 2.0 ** min(before, _DOUBLINGS), _MOST_SECONDS)


def _pause(count: int, first: float, what: str = "", *, settings: bool = False) -> float:
    """Seconds to leave a project alone after its ``count``-th failure in a row: ``first``, doubled by each.

    An hour at most, while ``what`` is away ten minutes; ``settings`` at fault are mended by no wait, so that it is an
    hour at once.
    """
    wait = _MOST_SECONDS if settings else growing(first, count - 1)
    return min(max(wait, _LEAST_SECONDS), _MOST_AWAY_SECONDS if what else _MOST_SECONDS)
