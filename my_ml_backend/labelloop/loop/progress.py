"""What a worker is doing for a project right now: kept in Redis, in the RQ job, and said in the log."""

import logging
import time
from dataclasses import asdict

import redis
from rq import get_current_job

from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.state import Step
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 0.5


class Reporter:
    """Takes the progress of one run. Every call is also where a run whose lease is lost stops (raises LeaseLost)."""

    def __init__(self, hub: Hub, project: ProjectKey, lease: Lease) -> None:
        self._state, self._project, self._lease = hub.state(project), project, lease
        self._stage, self._since, self._told = "", time.time(), 0.0
        self.seconds: dict[str, float] = {}

    def stage(self, name: str) -> None:
        """Begin a stage; the seconds of the one before are booked."""
        self._book()
        self._stage, self._since, self._told = name, time.time(), 0.0
        _log.info("project %s: %s", self._project, name)
        self(name, 0, 0)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Report within a stage; told at most every half second, and at the end."""
        self._lease.check()
        now = time.time()
        if now - self._told < _EVERY_SECONDS and not (total and done >= total):
            return
        self._told = now
        self._tell(Step(self._stage, what, done, total, self._since, now))

    def close(self) -> None:
        """Book the last stage and take the progress away."""
        self._book()
        self._stage = ""
        self._state.tell(None)

    def _book(self) -> None:
        if self._stage:
            spent = self.seconds.get(self._stage, 0.0) + time.time() - self._since
            self.seconds[self._stage] = round(spent, 3)

    def _tell(self, step: Step) -> None:
        _log.debug("project %s: %s: %s %d/%d", self._project, step.stage, step.what, step.done, step.total)
        self._state.tell(step)
        try:
            if job := get_current_job():
                job.meta["progress"] = asdict(step)
                job.save_meta()  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            _log.warning("progress of %s is not noted in its job: %s", self._project, error)
