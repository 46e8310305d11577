"""One worker per project at a time, and what it is doing: kept in Redis, in the RQ job, and said in the log.

The lease saves work; the store's fence keeps old workers from winning.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import TracebackType
from typing import Self

import redis
from rq import get_current_job

from labelloop.errors import LeaseLost, QueueError, WorkerEnds
from labelloop.loop.hub import Hub
from labelloop.loop.progress import StageProgress
from labelloop.loop.project_registry import tell
from labelloop.loop.redis_client import key_of, may_be_lost, of_run
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

# KEYS[1] the lease, ARGV[1] our token, ARGV[2] milliseconds. Renews our lease, or takes it anew where Redis lost it.
_RENEW = """
local holder = redis.call('get', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
return 1
"""

# KEYS[1] the lease, ARGV[1] our token. Gives up the lease if it is ours.
_RELEASE = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
return 0
"""

LEASE_SECONDS = 15.0
"""How long a lease outlives a killed worker."""

_EVERY_SECONDS = 0.5

_ending = threading.Event()
"""Of the whole process, as its signals are."""


_when_asked: list[Callable[[], object]] = []


def give_back() -> None:
    """Have this process give its project back where its job reports next: it was asked to end."""
    _ending.set()
    for do in tuple(_when_asked):
        try:
            do()
        except OSError as error:
            # This runs within a signal's handler: raised, it would end whichever line the process is at.
            _log.warning("this process was asked to end, and could not keep that: %s", error)


@contextmanager
def when_asked_to_end(do: Callable[[], object]) -> Iterator[None]:
    """Do something at once where this process is asked to end inside the block, which may be killed soon after."""
    _when_asked.append(do)
    try:
        yield
    finally:
        _when_asked.remove(do)


class Lease:
    """Holds a project while the ``with`` block runs, renewing itself; raises LeaseLost when another worker holds it.

    ``seconds`` is how long the lease outlives a killed worker. That of its ``challenger`` is another one, and so are
    that of whoever takes ``features`` of its tasks before they are labeled, and that of who writes ``reports``.
    """

    def __init__(
        self,
        hub: Hub,
        project: ProjectKey,
        seconds: float = LEASE_SECONDS,
        *,
        challenger: bool = False,
        features: bool = False,
        reports: bool = False,
    ) -> None:
        self._hub, self._project = hub, project
        self._key = key_of(
            project, "features" if features else "reports" if reports else of_run("lease", challenger=challenger)
        )
        self._token = uuid.uuid4().hex
        self._milliseconds = int(seconds * 1000)
        self._stop, self._lost = threading.Event(), threading.Event()
        self._renewing = threading.Thread(target=self._renew_until_stopped, name=f"lease {project}", daemon=True)

    def __enter__(self) -> Self:
        """Take the lease or raise LeaseLost."""
        taken = self._hub.redis.set(self._key, self._token, nx=True, px=self._milliseconds)
        if not taken:
            raise LeaseLost(
                f"project {self._project} is held by another worker: a job waits for it, a command is to be started "
                f"again when it is done (the lease of a killed one runs out after {self._milliseconds / 1000:g} s)"
            )
        self._renewing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lease back; one that Redis does not hear of runs out by itself."""
        self._stop.set()
        self._renewing.join()
        with may_be_lost(f"the end of the lease of {self._project}, which will run out,"):
            self._hub.redis.eval(_RELEASE, 1, self._key, self._token)

    def check(self) -> None:
        """Raise LeaseLost if another worker has taken the project meanwhile, WorkerEnds if this one is to end."""
        if self._lost.is_set():
            raise LeaseLost(f"another worker has taken project {self._project}; this run stops here")
        if _ending.is_set():
            raise WorkerEnds(
                f"this worker was asked to end: project {self._project} is given back, and goes on where it stopped"
            )

    def _renew_until_stopped(self) -> None:
        while not self._stop.wait(self._milliseconds / 3000):
            try:
                if not self._hub.redis.eval(_RENEW, 1, self._key, self._token, self._milliseconds):
                    self._lost.set()
                    return
            except QueueError as error:
                _log.warning("lease of %s could not be renewed, trying again: %s", self._project, error)
            except Exception:  # noqa: BLE001 - border: a lease that is not renewed lets another worker in
                _log.exception("lease of %s could not be renewed, trying again", self._project)


class ProgressReporter:
    """Takes the progress of one run. Every call is also where a run whose lease is lost stops (raises LeaseLost).

    ``challenger`` says that it is a challenger's, as its lease is.
    """

    def __init__(self, hub: Hub, project: ProjectKey, lease: Lease, *, challenger: bool = False) -> None:
        self._hub, self._project, self._lease, self._challenger = hub, project, lease, challenger
        self._progress = hub.state(project).progress(challenger=challenger)
        self._stage, self._since, self._told = "", time.time(), 0.0
        self.seconds: dict[str, float] = {}

    def stage(self, name: str) -> None:
        """Begin a stage; the seconds of the one before are booked."""
        self._book()
        self._stage, self._since, self._told = name, time.time(), 0.0
        _log.info("project %s: %s%s", self._project, "challenger: " if self._challenger else "", name)
        self(name, 0, 0)

    def check(self) -> None:
        """Raise LeaseLost if another worker has taken the project meanwhile."""
        self._lease.check()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Report within a stage; told at most every half second, and at the end."""
        self.check()
        now = time.time()
        if now - self._told < _EVERY_SECONDS and not (total and done >= total):
            return
        self._told = now
        self._tell(StageProgress(self._stage, what, done, total, self._since, now))

    def close(self) -> None:
        """Book the last stage and take the progress away."""
        self._book()
        self._stage = ""
        self._progress.tell(None)

    def _book(self) -> None:
        if self._stage:
            spent = self.seconds.get(self._stage, 0.0) + time.time() - self._since
            self.seconds[self._stage] = round(spent, 3)

    def _tell(self, step: StageProgress) -> None:
        _log.debug("project %s: %s: %s %d/%d", self._project, step.stage, step.what, step.done, step.total)
        if self._challenger:
            self._progress.tell(step)
        else:
            tell(self._hub, self._project, step)
        try:
            if job := get_current_job():
                job.meta["progress"] = asdict(step)
                job.save_meta()  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            _log.warning("progress of %s is not noted in its job: %s", self._project, error)
