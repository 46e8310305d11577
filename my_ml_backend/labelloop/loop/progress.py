"""What a worker is doing for a project right now: kept in Redis, in the RQ job, and said in the log."""

import json
import logging
import time
from dataclasses import asdict, dataclass

import redis
from rq import get_current_job

from labelloop.errors import QueueError
from labelloop.loop import keys
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, is_held
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 0.5
_KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Step:
    """One moment of a run: the stage, what in it, how many of how many (0: unknown), since when (Unix seconds)."""

    stage: str
    what: str
    done: int
    total: int
    since: float
    at: float


class Reporter:
    """Takes the progress of one run. Every call is also where a run whose lease is lost stops (raises LeaseLost)."""

    def __init__(self, hub: Hub, project: ProjectKey, lease: Lease) -> None:
        self._hub, self._project, self._lease = hub, project, lease
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
        try:
            self._hub.redis.delete(keys.of(self._project, "progress"))
        except QueueError as error:
            _log.warning("%s", error)

    def _book(self) -> None:
        if self._stage:
            spent = self.seconds.get(self._stage, 0.0) + time.time() - self._since
            self.seconds[self._stage] = round(spent, 3)

    def _tell(self, step: Step) -> None:
        _log.debug("project %s: %s: %s %d/%d", self._project, step.stage, step.what, step.done, step.total)
        try:
            self._hub.redis.set(keys.of(self._project, "progress"), json.dumps(asdict(step)), ex=_KEPT_SECONDS)
            if job := get_current_job():
                job.meta["progress"] = asdict(step)
                job.save_meta()  # type: ignore[no-untyped-call]
        except (QueueError, redis.RedisError) as error:
            _log.warning("progress of %s is not noted: %s", self._project, error)


def current_step(hub: Hub, project: ProjectKey) -> Step | None:
    """Read what a worker is doing for the project; None when no worker has it: a killed one leaves its last step."""
    found = hub.redis.get(keys.of(project, "progress"))
    return Step(**json.loads(found)) if found and is_held(hub, project) else None
