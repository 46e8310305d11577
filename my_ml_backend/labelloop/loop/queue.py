"""The RQ queues and the only ways into them. Jobs are named by their functions in ``labelloop.loop.jobs``.

Every enqueue is idempotent: a project has at most one scheduled look at its policy, one waiting retrain job and one
waiting prelabel job.
"""

import time
from datetime import UTC, datetime

from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from labelloop.loop import keys
from labelloop.loop.hub import Hub, reach, text
from labelloop.types import ProjectKey

SHORT, LONG = "labelloop", "labelloop-runs"
"""Workers take short jobs first, so that a waiting run never delays them."""

_RUN_SECONDS = 24 * 3600
_SHORT_SECONDS = 3600
_KEPT_SECONDS = 24 * 3600


def queue(hub: Hub, name: str) -> Queue:
    """Open one of the two queues."""
    return Queue(name, connection=hub.redis, serializer=JSONSerializer)


def enqueue_retrain(hub: Hub, project: ProjectKey, trigger: str, *, force: bool = False) -> str:
    """Ask for a run and return the job's id; a job still waiting for this project is returned instead of a second one.

    ``trigger`` says why, for the run's record.
    """
    key = keys.of(project, "job")
    with reach(hub):
        waiting = hub.redis.get(key)
        if waiting and not force and _status(hub, text(waiting)) is JobStatus.QUEUED:
            return text(waiting)
        job = queue(hub, LONG).enqueue_call(
            "labelloop.loop.jobs.retrain",
            args=(str(project), trigger, force),
            timeout=_RUN_SECONDS,
            result_ttl=_KEPT_SECONDS,
            failure_ttl=_KEPT_SECONDS,
        )
        hub.redis.set(key, job.id, ex=_RUN_SECONDS)
    return job.id


def enqueue_deploy(hub: Hub, project: ProjectKey, version: str | None = None) -> str:
    """Ask for ``version`` (None: the champion) to be made champion, pre-annotated with and announced."""
    with reach(hub):
        job = queue(hub, SHORT).enqueue_call(
            "labelloop.loop.jobs.deploy",
            args=(str(project), version),
            timeout=_RUN_SECONDS,
            result_ttl=_KEPT_SECONDS,
            failure_ttl=_KEPT_SECONDS,
        )
    return job.id


def schedule_consider(hub: Hub, project: ProjectKey, at: float) -> None:
    """Look at the project's policy at the moment ``at`` (Unix seconds), unless a look is scheduled before that."""
    key, now = keys.of(project, "wake"), time.time()
    with reach(hub):
        planned = hub.redis.get(key)
        if planned is not None and now <= float(planned) <= at:
            return
        hub.redis.set(key, repr(at), ex=max(1, int(at - now) + 60))
        _schedule(hub, at, "labelloop.loop.jobs.consider", str(project))


def schedule_prelabel(hub: Hub, project: ProjectKey, seconds: float) -> None:
    """Pre-annotate the project's new tasks in ``seconds``, unless that is already planned."""
    with reach(hub):
        if hub.redis.set(keys.of(project, "prelabel"), "1", nx=True, ex=int(seconds) + 300):
            _schedule(hub, time.time() + seconds, "labelloop.loop.jobs.prelabel", str(project))


def enqueue_sweep(hub: Hub, every: float) -> None:
    """Ask for one sweep, at most one in ``every`` seconds however many workers ask."""
    with reach(hub):
        if hub.redis.set("labelloop:sweep", "1", nx=True, px=max(1, int(every * 900))):
            queue(hub, SHORT).enqueue_call("labelloop.loop.jobs.sweep", timeout=_SHORT_SECONDS, result_ttl=60)


def _schedule(hub: Hub, at: float, function: str, project: str) -> None:
    if at <= time.time():
        queue(hub, SHORT).enqueue_call(function, args=(project,), timeout=_SHORT_SECONDS, result_ttl=60)
        return
    moment = datetime.fromtimestamp(at, UTC)
    queue(hub, SHORT).enqueue_at(moment, function, project, job_timeout=_SHORT_SECONDS, result_ttl=60)


def _status(hub: Hub, job_id: str) -> JobStatus | None:
    try:
        return Job.fetch(job_id, connection=hub.redis, serializer=JSONSerializer).get_status()
    except (NoSuchJobError, ValueError):  # ValueError: no name that a job can have
        return None


def job_status(hub: Hub, job_id: str) -> str | None:
    """Say how a job stands in RQ's words (queued, started, finished, failed, ...); None when it is gone."""
    with reach(hub):
        status = _status(hub, job_id)
    return None if status is None else status.value


def forget(hub: Hub, project: ProjectKey) -> None:
    """Delete a project's state in Redis; tasks, manifests, runs and versions stay where they are."""
    with reach(hub):
        hub.redis.delete(*(keys.of(project, name) for name in keys.STATE))
        hub.redis.hdel(keys.projects(project.instance), str(project.id))
