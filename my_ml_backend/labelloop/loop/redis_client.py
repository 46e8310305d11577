"""The Redis client of one process, and the one rule for a Redis that is missing: its commands end in QueueError.

What decides something raises it; what is only told may be lost, which is logged (``may_be_lost``).

The names of everything LabelLoop keeps in Redis; all of it may be wiped at any time (docs/loop.md):

labelloop:projects:<instance>      hash     project id -> address under which Label Studio calls this backend
labelloop:<project>:changed        sorted   annotation or task -> moment its label last changed
labelloop:<project>:trace          string   moment and trace id of the last webhook that told of a changed label
labelloop:<project>:again          string   JSON: the run wanted after the one in progress
labelloop:<project>:begun          string   JSON: the run in progress, left behind by a killed worker
labelloop:<project>:failures       hash     how many there were in a row, since and until when nothing is started, why
labelloop:<project>:died           string   how a job's process ended, until the run it made notes it
labelloop:<project>:gone           string   set while a project that Label Studio does not have is not asked for again
labelloop:<project>:job            string   id of the last retrain job
labelloop:<project>:compare        string   id of the last job that compared versions
labelloop:<project>:resume         string   id of the last job that went on with an open run
labelloop:<project>:deploy         string   id of the last deploy job
labelloop:<project>:consider       string   id of the last look at the policy
labelloop:<project>:prelabel       string   id of the last prelabel job
labelloop:<project>:outdated       string   id of the last job that removed predictions of old versions
labelloop:<project>:taken          string   id of the last job that took features of tasks as they come
labelloop:<project>:drifting       string   id of the last job that looked for drift
labelloop:<project>:adding         string   held for as long as one of these jobs is added
labelloop:<project>:lease          string   token of the worker that has the project
labelloop:<project>:features       string   token of the worker that takes features of tasks as they come
labelloop:<project>:new_head       string   set until a run may be begun again because an endpoint's features are others
labelloop:<project>:reports        string   token of the worker that writes reports of its versions
labelloop:<project>:report:<id>    string   id of the last job that wrote them on the machine of that id
labelloop:<project>:announced      string   cached answer of /setup
labelloop:<project>:served         hash     endpoint with a model of its own -> version it answered with last
labelloop:<project>:deployed       string   JSON: cached, what the endpoint serves that versions are brought to
labelloop:<project>:progress       string   JSON: what the worker is doing now, or how training elsewhere stands
labelloop:<project>:note           hash     missing, trouble, sweep, ...: what status shows; unpredicted: tasks may be
labelloop:<project>:seen           string   JSON: Label Studio's counters at the last look
labelloop:<project>:read           string   the last run's manifest, and when the run began to read its labels
labelloop:<project>:reading        string   how these labels were read, and how many annotations each task had then
labelloop:<project>:touched        sorted   task -> moment at which a webhook named it, since labels were read last
labelloop:<project>:looked         string   JSON: where the next look at what changed begins
labelloop:<project>:swept          string   moment at which a sweep last looked at it, whole
labelloop:<project>:storages       string   JSON: cached, where its labels are written to and its data come from
labelloop:<project>:arrived        hash     storage -> how often events told of new data there, and what is taken in
labelloop:<project>:postponed      string   set while a prelabel job is to follow the run in progress
labelloop:<project>:agreement      hash     announced version; by task, how many annotations kept it, how it was served
labelloop:<project>:compared       string   set until versions may be compared again
labelloop:<project>:counted        hash     endpoint errors, and how the run ended that figures told of last
labelloop:<project>:policy         string   the worker's rule for a run: changed labels, seconds of quiet and of waiting
labelloop:<project>:ran            hash     run that has ended -> when it began, for how many seconds it trained
labelloop:<project>:challenging    string   id of the challenger's job, which may be over
labelloop:<project>:challenger-lease, challenger-progress, challenger-died: as without, of its challenger
labelloop:<project>:room           string   set until the room that the project takes is to be looked after again
labelloop:<project>:room_rests     string   set while nobody is to look after it, whoever asks
labelloop:<project>:watched        sorted   picture -> its rank, of the predictions since the last look at drift
labelloop:<project>:predicted      hash     picture -> JSON: what was predicted of it, by which version, when
labelloop:<project>:judged         string   set until drift may be judged again
labelloop:values:<instance>:<id>   hash     what LabelLoop.get and LabelLoop.set keep of a project
labelloop:<project>:webhook        string   set until its webhook is to be looked at again
labelloop:webhooks                 hash     project -> since when its webhook carries a secret of its own
labelloop:webhooks:witness         string   by which processes know whether they have the same key of webhooks
labelloop:<project>:telling:<id>   string   set until a message may be asked for again
labelloop:moments                  sorted   JSON: function, project and what else a job is given -> when it is due
labelloop:moments:traces           hash     the same -> trace id of what led to it
labelloop:pushed                   channel  tells workers that something was planned which comes before all else
labelloop:sweep                    string   set until the next sweep may be asked for
labelloop:sweep:job                string   id of the last sweep
labelloop:gauges                   hash     project -> JSON: how it stands, as the last sweep found it
labelloop:metered                  string   set until figures may be sent again
labelloop:disk                     hash     project -> JSON: bytes that it takes, when counted; machine: what is free
labelloop:disk:pictures            string   set until pictures that nobody needs may be removed again
labelloop:loading                  string   moment at which a worker began to load what jobs need, until it has
labelloop:started                  string   moment at which a worker started last
labelloop:clock                    string   moment by the clock of the worker that looked at it last
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import ConnectionPool, Redis, RedisError
from redis.client import Pipeline
from redis.exceptions import NoScriptError, WatchError
from redis.exceptions import TimeoutError as RedisTimeout

from labelloop.errors import QueueError, SettingsError
from labelloop.loop.redis_server import embedded_url
from labelloop.settings import Settings
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

SWEEP = "labelloop:sweep"
SWEEP_JOB = "labelloop:sweep:job"
METERED = "labelloop:metered"
GAUGES = "labelloop:gauges"
LOADING = "labelloop:loading"
STARTED = "labelloop:started"
CLOCK = "labelloop:clock"
HOOKED = "labelloop:webhooks"
WITNESS = "labelloop:webhooks:witness"
DISK = "labelloop:disk"

_TIMEOUT = 2.0
"""Seconds after which Redis counts as gone; /webhook and /setup must not hang on it."""

_REST = 1.0


class Reach:
    """Turns the failures of Redis inside a block into QueueError with the remedy.

    A Redis that did not answer in time is left alone for a second: one request would wait for it again and again.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rests_until = float("-inf")

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Refuse while Redis rests; else translate, all but what redis-py and RQ ask for and answer themselves."""
        if time.monotonic() < self._rests_until:
            raise QueueError(f"Redis did not answer in time a moment ago. {self._remedy}")
        try:
            yield
        except (NoScriptError, WatchError):
            raise
        except (RedisError, ConnectionError, TimeoutError) as error:
            if isinstance(error, TimeoutError | RedisTimeout):
                self._rests_until = time.monotonic() + _REST
            raise QueueError(f"Redis cannot be reached ({error}). {self._remedy}") from error

    @property
    def _remedy(self) -> str:
        if self._settings.redis_url == "embedded":
            return (
                f"The embedded Redis of {self._settings.directory} is not running: start everything with "
                "`labelloop start`, or set LABELLOOP_REDIS_URL to a running Redis."
            )
        return "Start it, or correct LABELLOOP_REDIS_URL."


class RedisClient(Redis):
    """A client with short timeouts whose every command, alone or in a pipeline, raises QueueError without Redis."""

    def __init__(self, settings: Settings) -> None:
        """Make one for ``LABELLOOP_REDIS_URL``; nothing is sent yet. Raises SettingsError."""
        super().__init__(connection_pool=_pool(settings, _TIMEOUT))
        self.auto_close_connection_pool = True
        self.reach = Reach(settings)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command."""
        with self.reach():
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Make a pipeline by the same rule."""
        pipeline = _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipeline.reach = self.reach
        return pipeline


class _Pipeline(Pipeline):
    reach: Reach

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        with self.reach():
            return super().execute(raise_on_error)

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        with self.reach():
            return super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]


def connect_patiently(settings: Settings) -> Redis:
    """Make redis-py's own client, which waits for an answer for ever: RQ's worker has rules of its own for failures."""
    return Redis.from_pool(_pool(settings, None))


def _pool(settings: Settings, timeout: float | None) -> ConnectionPool:
    url = embedded_url(settings) if settings.redis_url == "embedded" else settings.redis_url
    try:
        return ConnectionPool.from_url(url, socket_timeout=timeout, socket_connect_timeout=_TIMEOUT)
    except ValueError:
        # What redis-py says may repeat part of the password.
        raise SettingsError("LABELLOOP_REDIS_URL is neither embedded nor of the form redis://host:port/db") from None


@contextmanager
def may_be_lost(what: str) -> Iterator[None]:
    """Log a missing Redis inside the block instead of raising QueueError: for what is only told, named by ``what``."""
    try:
        yield
    except QueueError as error:
        _log.warning("%s is not noted: %s", what, error)


def as_text(value: bytes | str) -> str:
    """Read what Redis answered as text."""
    return value if isinstance(value, str) else value.decode()


def key_of(project: ProjectKey, name: str) -> str:
    """Name one of a project's keys."""
    return f"labelloop:{project}:{name}"


def of_run(name: str, *, challenger: bool) -> str:
    """Name what is kept of a project's runs as it is called, or as it is called of its challengers."""
    return f"challenger-{name}" if challenger else name


def projects_key(instance: str) -> str:
    """Name the hash of an instance's projects."""
    return f"labelloop:projects:{instance}"
