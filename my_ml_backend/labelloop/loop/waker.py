"""Makes jobs of what is due, at its moment: a thread in each worker, which sleeps until then, or until it is pushed.

One transaction takes what is due out of the plan and puts it into the queue: of several workers one does it, and who is
killed in between has done nothing. What Redis has lost is planned anew by the next sweep.
"""

import json
import logging
import threading
import time
from contextlib import closing, suppress
from typing import Any

from redis import RedisError, WatchError
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from labelloop.errors import QueueError
from labelloop.loop import moments
from labelloop.loop.queue import SHORT, enqueue_due, queue
from labelloop.loop.redis_client import RedisClient, as_text

_log = logging.getLogger(__name__)

_LONGEST_SECONDS = 15.0
"""A push may be lost with its connection, and a clock may be set: then nothing is late by more than this."""

_SCHEDULED = frozenset(f"labelloop.loop.jobs.{name}" for name in ("consider", "notify", "prelabel"))
"""What earlier releases left to RQ's scheduler."""

_AGAIN_SECONDS = 1.0
"""Between two tries while Redis is away."""


def keep_waking(redis: RedisClient, stop: threading.Event) -> None:
    """Make jobs of what is due, for ever; Redis may be away, and come back empty."""
    away = False
    while not stop.is_set():
        try:
            with closing(moments.subscribe(redis)) as pushes:
                while not stop.is_set():
                    following = make_due(redis)
                    away = False
                    left = _LONGEST_SECONDS if following is None else following - time.time()
                    pushes.get_message(timeout=min(max(left, 0.0), _LONGEST_SECONDS))
        except (QueueError, RedisError, OSError) as error:
            if not away:
                away = True
                _log.warning("nothing that is due can be begun while Redis is away: %s", error)
            stop.wait(_AGAIN_SECONDS)
        except Exception:  # noqa: BLE001 - border: without this thread, labels wait for the next sweep
            _log.exception("what is due is not begun; it is looked at again in %g s", _LONGEST_SECONDS)
            stop.wait(_LONGEST_SECONDS)


def make_due(redis: RedisClient) -> float | None:
    """Make jobs of what is due by now, and say when something is due next (Unix seconds; None: nothing is planned)."""
    while (following := moments.first(redis)) is not None and following <= (now := time.time()):
        with redis.pipeline() as pipe, suppress(WatchError):
            enqueue_due(redis, moments.take_due(pipe, now), pipe)
            pipe.execute()
    return following


def take_over_scheduled(redis: RedisClient) -> None:
    """Plan what an earlier release has scheduled: RQ's scheduler, which did that, is not run any more.

    Killed in between, it plans the same once more. Jobs of others stay where they are. Raises QueueError.
    """
    scheduled = queue(redis, SHORT).scheduled_job_registry
    found: Any = redis.zrange(scheduled.key, 0, -1, withscores=True)
    for member, at in found:
        try:
            job = Job.fetch(as_text(member), connection=redis, serializer=JSONSerializer)
            if job.func_name not in _SCHEDULED:
                continue
            due = moments.Planned.read(json.dumps([job.func_name.rpartition(".")[2], *job.args]).encode(), None)
        except (NoSuchJobError, DeserializationError, ValueError):  # ValueError: no name that a job can have
            continue
        if due is not None:
            moments.plan(redis, due, at)
        scheduled.remove(job.id)
        job.delete()
