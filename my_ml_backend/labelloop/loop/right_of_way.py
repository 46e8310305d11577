"""Who asks the tool first: files that nobody waits for are read slowly while a run that people wait for is near.

Label Studio gives files, imports predictions and lists tasks in one process, so that each file it gives is time that a
run of any of its projects lacks.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from rq.exceptions import DeserializationError
from rq.job import Job
from rq.serializers import JSONSerializer

from labelloop.errors import QueueError
from labelloop.loop.moments import planned
from labelloop.loop.queue import LONG, SHORT, queue
from labelloop.loop.redis_client import RedisClient
from labelloop.loop.retrain_policy import PAUSE

_FIRST = ("consider", "deploy", "resume", "retrain")
"""The jobs that annotators wait for. New tasks are pre-annotated by the features that are taken meanwhile."""

_ALONE = ("preprocess", "train", "evaluate", "register", "done")
"""The stages in which a run asks the tool for nothing, but as its training begins (loop/waiting_tasks.py); long ones
among them."""

_LOOK_SECONDS, _NEAR_SECONDS = 0.25, 0.5
"""How often Redis is asked, and how long before its moment a job is near."""

_LINGERING_SECONDS = 1.0
"""How long the last such job counts: between two of them there is a moment, and a head trains in less."""

_AT_ONCE = 4
"""Files that the tool is asked for at a time: more make it no faster, and who labels waits behind each of them."""

Found = TypeVar("Found")


class RightOfWay:
    """Reads files through the tool, so that what people wait for comes first. Safe to share between threads.

    While that is at work or near, one file is read at a time, and then none for nine times as long as that took: a
    tenth of the tool's time is left to them, however closely runs follow each other. ``check`` is called while one
    waits, and raises where the reading is to end; ``told`` is called whenever ``gives_way`` changes.
    """

    def __init__(self, redis: RedisClient, check: Callable[[], None], told: Callable[[], None]) -> None:
        self._redis, self._check, self._told = redis, check, told
        self._places, self._turn = threading.BoundedSemaphore(_AT_ONCE), threading.Lock()
        self._looked = self._met = self._rests_until = float("-inf")
        self.gives_way = False

    def read(self, read: Callable[[], Found]) -> Found:
        """Read a file when it is its turn. Raises what ``read`` and ``check`` raise."""
        with self._places:
            with self._turn:
                if self._is_to_rest():
                    began = time.monotonic()
                    try:
                        return read()
                    finally:
                        ended = time.monotonic()
                        self._rests_until = ended + PAUSE * (ended - began)
            return read()

    def _is_to_rest(self) -> bool:
        """Wait for the turn, and say whether there is to be a pause after it."""
        while self._others_first():
            left = self._rests_until - time.monotonic()
            if left <= 0:
                return True
            self._check()
            time.sleep(min(left, _LOOK_SECONDS))
        return False

    def _others_first(self) -> bool:
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            # While Redis is away nothing new begins; that it stays away, whoever has this job hears otherwise.
            with suppress(QueueError):
                if people_wait(self._redis):
                    self._met = now
                others = now - self._met < _LINGERING_SECONDS
                if others != self.gives_way:
                    self.gives_way = others
                    # A note that is lost comes with the next part.
                    self._told()
        return self.gives_way


def people_wait(redis: RedisClient) -> bool:
    """Whether a job that annotators wait for is about to ask the tool, of whichever project. Raises QueueError."""
    if any(job.name in _FIRST for job in planned(redis, by=time.time() + _NEAR_SECONDS)):
        return True
    registries = (queue(redis, name).started_job_registry for name in (SHORT, LONG))
    begun = [job for registry in registries for job in registry.get_job_ids(cleanup=False)]
    found = Job.fetch_many(begun, connection=redis, serializer=JSONSerializer) if begun else []
    return any(job is not None and _comes_first(job) for job in found)


def _comes_first(job: Job) -> bool:
    try:
        name = (job.func_name or "").rpartition(".")[2]
    except DeserializationError:
        return False
    return name in _FIRST and job.meta.get("progress", {}).get("stage") not in _ALONE
