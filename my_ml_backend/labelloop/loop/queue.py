"""The RQ queues and the only ways into them. Jobs are named by their functions in ``labelloop.loop.jobs``.

Every enqueue is idempotent: a project has at most one scheduled look at its policy, one waiting retrain job, one
waiting deploy job and one waiting prelabel job, and there is at most one waiting sweep.
"""

import time
from datetime import UTC, datetime

from rq import Queue, Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from labelloop.loop import keys
from labelloop.loop.hub import Hub
from labelloop.loop.redis_client import text
from labelloop.types import ProjectKey

SHORT, LONG = "labelloop", "labelloop-runs"
"""Workers take short jobs first, so that a waiting run never delays them."""

_RUN_SECONDS = 24 * 3600
_SHORT_SECONDS = 3600
_KEPT_SECONDS = 24 * 3600
_ADDING_SECONDS = 5.0


def queue(hub: Hub, name: str) -> Queue:
    """Open one of the two queues."""
    return Queue(name, connection=hub.redis, serializer=JSONSerializer)


def enqueue_retrain(hub: Hub, project: ProjectKey, trigger: str, *, force: bool = False) -> str:
    """Ask for a run and return the job's id; a job still waiting for this project is returned instead of a second one.

    ``trigger`` says why, for the run's record.
    """
    return _enqueue(hub, project, LONG, "job", "labelloop.loop.jobs.retrain", (trigger, force), anew=force)


def enqueue_deploy(hub: Hub, project: ProjectKey, version: str | None = None) -> str:
    """Ask for ``version`` (None: the champion) to be made champion, pre-annotated with and announced."""
    anew = version is not None
    return _enqueue(hub, project, SHORT, "deploy", "labelloop.loop.jobs.deploy", (version,), anew=anew)


def schedule_consider(hub: Hub, project: ProjectKey, at: float) -> None:
    """Look at the project's policy at the moment ``at`` (Unix seconds), unless a look is scheduled before that."""
    key, now = keys.of(project, "wake"), time.time()
    planned = hub.redis.get(key)
    if planned is not None and now <= float(planned) <= at:
        return
    hub.redis.set(key, repr(at), ex=max(1, int(at - now) + 60))
    _schedule(hub, at, "labelloop.loop.jobs.consider", str(project))


def schedule_prelabel(hub: Hub, project: ProjectKey, seconds: float) -> None:
    """Pre-annotate the project's new tasks in ``seconds``, unless that is already planned."""
    if hub.redis.set(keys.of(project, "prelabel"), "1", nx=True, ex=int(seconds) + 300):
        _schedule(hub, time.time() + seconds, "labelloop.loop.jobs.prelabel", str(project))


def postpone_prelabel(hub: Hub, project: ProjectKey) -> None:
    """Have the project's new tasks pre-annotated when the run that is in progress is over."""
    hub.redis.set(keys.of(project, "postponed"), "1", ex=_RUN_SECONDS)


def resume_prelabel(hub: Hub, project: ProjectKey) -> None:
    """Schedule what was postponed, once. The caller knows that nobody holds the project."""
    if hub.redis.delete(keys.of(project, "postponed")):
        schedule_prelabel(hub, project, 0.0)


def enqueue_sweep(hub: Hub, every: float) -> None:
    """Ask for one sweep, at most one in ``every`` seconds however many workers ask."""
    if not hub.redis.set(keys.SWEEP, "1", nx=True, px=max(1, int(every * 900))):
        return
    # While the only worker is busy with a long run, sweeps would pile up behind it.
    if not _waits(hub, keys.SWEEP_JOB):
        job = queue(hub, SHORT).enqueue_call("labelloop.loop.jobs.sweep", timeout=_SHORT_SECONDS, result_ttl=60)
        hub.redis.set(keys.SWEEP_JOB, job.id, ex=_KEPT_SECONDS)


def _enqueue(
    hub: Hub, project: ProjectKey, name: str, key: str, function: str, args: tuple[object, ...], *, anew: bool
) -> str:
    """Add a job that may take long, unless its like is waiting and ``anew`` is false; ``key`` keeps its id."""
    key = keys.of(project, key)
    # Held for too long it is another's by now, which takes nothing from the job that is added.
    lock = hub.redis.lock(keys.of(project, "adding"), _ADDING_SECONDS, sleep=0.02, raise_on_release_error=False)
    with lock:
        waiting = None if anew else _waits(hub, key)
        if waiting:
            return waiting
        job = queue(hub, name).enqueue_call(
            function,
            args=(str(project), *args),
            timeout=_RUN_SECONDS,
            result_ttl=_KEPT_SECONDS,
            failure_ttl=_KEPT_SECONDS,
        )
        hub.redis.set(key, job.id, ex=_RUN_SECONDS)
    return job.id


def _waits(hub: Hub, key: str) -> str | None:
    """Give the id kept under a key if that job is still waiting in its queue."""
    kept = hub.redis.get(key)
    return text(kept) if kept and _status(hub, text(kept)) is JobStatus.QUEUED else None


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
    status = _status(hub, job_id)
    return None if status is None else status.value


def job_result(hub: Hub, job_id: str) -> str:
    """Give the sentence that a finished job ended with; empty for any other."""
    try:
        found = Job.fetch(job_id, connection=hub.redis, serializer=JSONSerializer).return_value()
    except (NoSuchJobError, ValueError):
        return ""
    return found if isinstance(found, str) else ""


def count_workers(hub: Hub) -> int:
    """Say how many workers Redis has heard of lately."""
    return int(Worker.count(connection=hub.redis))


def forget(hub: Hub, project: ProjectKey) -> None:
    """Delete a project's state in Redis; tasks, manifests, runs and versions stay where they are."""
    hub.redis.delete(*(keys.of(project, name) for name in keys.STATE))
    for address in hub.addresses:
        hub.redis.hdel(keys.projects(address), str(project.id))
