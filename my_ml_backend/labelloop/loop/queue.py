"""The RQ queues and the only ways into them. Jobs are named by their functions in ``labelloop.loop.jobs``.

Every enqueue is idempotent: a project has at most one planned look at its policy (loop/moments.py) and one that waits,
one planned and one waiting prelabel job, one waiting retrain job and one waiting deploy job, and there is at most one
waiting sweep.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from itertools import chain
from typing import Any

from redis import Redis
from redis.client import Pipeline
from rq import Queue, Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from labelloop.errors import QueueError
from labelloop.loop.moments import MOMENTS, Planned, plan
from labelloop.loop.redis_client import SWEEP, SWEEP_JOB, RedisClient, as_text, key_of
from labelloop.tracing import DOING, Doing, is_trace, trace_in_hand
from labelloop.types import Json, ProjectKey

SHORT, LONG = "labelloop", "labelloop-runs"
"""Workers take short jobs first, so that a waiting run never delays them."""

BACKGROUND, CHALLENGERS = "labelloop-background", "labelloop-challengers"
"""What nobody waits for: a process each beside every worker takes it, one job at a time (loop/background.py)."""

QUEUES = (SHORT, LONG, BACKGROUND, CHALLENGERS)

_RUN_SECONDS = 24 * 3600
_SHORT_SECONDS = 3600
_KEPT_SECONDS = 24 * 3600
_KEPT_OFTEN = 60
"""How long the result is kept of what is done often, and nobody asks for."""

_ADDING_SECONDS = 5.0
_LIKE_SECONDS = 60
"""How long a short job that waits keeps its like out: one that is lost with its worker is not waited for."""

_SENDING_SECONDS, _SENT_SECONDS = 60, 600
AGAIN = (10, 60, 600)
"""Seconds before a message is tried again."""

_TRACE = "trace"
"""By which a job's meta has the id of what led to it (labelloop/tracing.py)."""

_JOBS = "labelloop.loop.jobs."

NAMES = frozenset(
    {
        *("challenge", "compare", "consider", "deploy", "drift", "features", "notify", "prelabel"),
        *("remove_predictions", "report", "resume", "retrain", "sweep"),
    }
)
"""The functions there that are jobs."""


class LoopJob(Job):
    """A job of the loop, and nothing else: RQ runs whatever function Redis names, or calls back.

    Who can write to Redis can ask for these jobs, and for no code of another kind.
    """

    @property
    def func(self) -> Callable[..., Any]:
        """The function that does it; raises QueueError for one that is no job of the loop."""
        name = self.func_name or ""
        if self.instance is not None or not name.startswith(_JOBS) or name.removeprefix(_JOBS) not in NAMES:
            raise QueueError(f"{name[:100]!r} is no job of LabelLoop's: somebody else has put it into this queue")
        found: Callable[..., Any] = getattr(import_module(_JOBS.rstrip(".")), name.removeprefix(_JOBS))
        return found

    def perform(self) -> Any:
        """Do it; what is logged from here on is of its trace, RQ's word on its failure, too: nothing takes it back."""
        known, project = str(self.meta.get(_TRACE)), self.args[0] if self.args else ""
        trace = known if is_trace(known) else trace_in_hand()
        DOING.set(Doing(trace=trace, job=self.id, project=str(project)))
        return super().perform()

    # None is ever called back: what a job's end leads to, the job does itself.
    success_callback = failure_callback = stopped_callback = property(lambda _: None)


def queue(redis: Redis, name: str) -> Queue:
    """Open one of the queues."""
    return Queue(name, connection=redis, serializer=JSONSerializer, job_class=LoopJob)


def machine_queue(machine: str) -> str:
    """Name the queue of what only the background of this machine (by its id) can do, for its files are there."""
    return f"{BACKGROUND}-{machine}"


def awaits_background(redis: RedisClient, machine: str) -> bool:
    """Say whether anything waits for the background of this machine (by its id), or for that of any."""
    with redis.pipeline(transaction=False) as pipe:
        for name in (machine_queue(machine), BACKGROUND):
            pipe.llen(queue(redis, name).key)
        return any(pipe.execute())


def _machine_queues(redis: RedisClient) -> list[str]:
    """Name the queues of all machines that have been asked for anything."""
    prefix, names = machine_queue(""), redis.smembers(Queue.redis_queues_keys)
    found = (as_text(name).removeprefix(Queue.redis_queue_namespace_prefix) for name in names)
    return sorted(name for name in found if name.startswith(prefix))


def drop_lost_queues(redis: RedisClient) -> None:
    """Forget what machines were asked for that have no worker any more; one that comes back finds it in its files."""
    for name in _machine_queues(redis):
        if not count_workers(redis, name):
            lost = queue(redis, name)
            registries = lost.started_job_registry, lost.failed_job_registry, lost.finished_job_registry
            for job_id in chain.from_iterable(one.get_job_ids(cleanup=False) for one in registries):
                if job := lost.fetch_job(job_id):
                    job.delete()
            lost.delete()
            # RQ has the names of a queue's workers for ever, where no other one works on that.
            redis.delete(WORKERS_BY_QUEUE_KEY % name, *(one.key for one in registries))


class ProjectQueue:
    """The jobs of one project; found at ``Hub.queue``. Every method raises QueueError without Redis."""

    def __init__(self, redis: RedisClient, project: ProjectKey) -> None:
        self._redis, self._project = redis, project

    def retrain(self, trigger: str, *, force: bool = False, trace: str = "") -> str:
        """Ask for a run and return the job's id; one that is still waiting is returned instead of a second one.

        ``trigger`` says why, for the run's record; ``trace`` is the id of what led to it, where that is not in hand.
        """
        return self._enqueue(LONG, "job", "labelloop.loop.jobs.retrain", (trigger, force), anew=force, trace=trace)

    def resume(self) -> str:
        """Ask that the open run goes on, whose training is over, to be ended or to be begun elsewhere."""
        return self._enqueue(LONG, "resume", "labelloop.loop.jobs.resume", (), anew=False)

    def challenge(self) -> str:
        """Ask for the project's challenger, to be begun or gone on with in the background."""
        return self._enqueue(CHALLENGERS, "challenging", "labelloop.loop.jobs.challenge", (), anew=False)

    def deploy(self, version: str | None = None) -> str:
        """Ask for ``version`` (None: the champion) to be made champion, pre-annotated with and announced."""
        return self._enqueue(SHORT, "deploy", "labelloop.loop.jobs.deploy", (version,), anew=version is not None)

    def compare(self) -> str:
        """Ask that the announced version is compared with its predecessor on what annotators have said since."""
        return self._enqueue(LONG, "compare", "labelloop.loop.jobs.compare", (), anew=False)

    def features(self) -> str:
        """Ask that the features of the project's tasks are taken, as far as they lack them."""
        return self._enqueue(BACKGROUND, "taken", "labelloop.loop.jobs.features", (), anew=False)

    def remove_predictions(self) -> str:
        """Ask that some of what old versions have predicted is removed, in the background."""
        return self._enqueue(BACKGROUND, "outdated", "labelloop.loop.jobs.remove_predictions", (), anew=False)

    def drift(self) -> str:
        """Ask that it is looked whether what the announced version predicts has changed, in the background."""
        return self._enqueue(BACKGROUND, "drifting", "labelloop.loop.jobs.drift", (), anew=False, kept=_KEPT_OFTEN)

    def report(self, machine: str, *runs: str) -> str:
        """Have a machine write the reports that are due of the runs whose folders it has, in its background.

        ``runs`` are the keys of those that somebody asks for: where a folder is gone, the run's record says so then.
        """
        name, function = machine_queue(machine), "labelloop.loop.jobs.report"
        asked = "".join(f":{run}" for run in runs)
        return self._enqueue(name, f"report:{machine}{asked}", function, runs, anew=False, kept=_KEPT_OFTEN)

    def consider(self, at: float) -> None:
        """Look at the project's policy at the moment ``at`` (Unix seconds), or before that where it is planned so."""
        self._plan(Planned("consider", self._project), at)

    def prelabel(self, seconds: float) -> None:
        """Pre-annotate the project's new tasks in ``seconds``, or before that where it is planned so."""
        self._plan(Planned("prelabel", self._project), time.time() + seconds)

    def postpone_prelabel(self) -> None:
        """Have the project's new tasks pre-annotated when the run that is in progress is over."""
        self._redis.set(self._key("postponed"), "1", ex=_RUN_SECONDS)

    def resume_prelabel(self) -> None:
        """Plan what was postponed, once. The caller knows that nobody holds the project."""
        if self._redis.delete(self._key("postponed")):
            self.prelabel(0.0)

    def notify(self, message: Json) -> None:
        """Ask that a message is sent, unless it waits, is being sent or tried again, or was sent just now."""
        if self._redis.set(self._telling(message), "1", nx=True, ex=_SENT_SECONDS):
            self._plan(Planned("notify", self._project, (message, 0)), time.time())

    def notify_again(self, message: Json, tried: int) -> None:
        """Have a message sent once more, which was tried so many times; after a while."""
        pause = AGAIN[tried - 1]
        # Should it be lost, whoever looks for news asks for it again when this has run out.
        self._redis.set(self._telling(message), "1", ex=pause + _SENT_SECONDS)
        self._plan(Planned("notify", self._project, (message, tried)), time.time() + pause)

    def _enqueue(
        self,
        name: str,
        key: str,
        function: str,
        args: tuple[object, ...],
        *,
        anew: bool,
        trace: str = "",
        kept: int = _KEPT_SECONDS,
    ) -> str:
        """Add a job that may take long, unless its like is waiting and ``anew`` is false; ``key`` keeps its id."""
        key = self._key(key)
        # Held for too long it is another's by now, which takes nothing from the job that is added.
        with self._redis.lock(self._key("adding"), _ADDING_SECONDS, sleep=0.02, raise_on_release_error=False):
            waiting = None if anew else _waits(self._redis, key)
            if waiting:
                return waiting
            job = queue(self._redis, name).enqueue_call(
                function,
                args=(str(self._project), *args),
                timeout=_RUN_SECONDS,
                result_ttl=kept,
                failure_ttl=_KEPT_SECONDS,
                meta=_meta(trace),
            )
            self._redis.set(key, job.id, ex=_RUN_SECONDS)
        return job.id

    def _plan(self, job: Planned, at: float) -> None:
        """Have a short job done at the moment ``at`` (Unix seconds), or before that where it is planned so."""
        plan(self._redis, replace(job, trace=trace_in_hand()), at)

    def _telling(self, message: Json) -> str:
        return self._key(f"telling:{hashlib.sha256(message['id'].encode()).hexdigest()[:32]}")

    def _key(self, name: str) -> str:
        return key_of(self._project, name)


def enqueue_due(redis: RedisClient, due: Sequence[Planned], pipe: Pipeline) -> None:
    """Enqueue short jobs in a transaction, but for those whose like is waiting already."""
    for job in due:
        # A message is one of many.
        key = key_of(job.project, job.name) if not job.more else None
        if key is not None and _waits(redis, key):
            continue
        made = queue(redis, SHORT).enqueue_call(
            _JOBS + job.name,
            args=(str(job.project), *job.more),
            timeout=_SENDING_SECONDS if job.name == "notify" else _SHORT_SECONDS,
            result_ttl=60,
            failure_ttl=_KEPT_SECONDS,
            meta=_meta(job.trace),
            pipeline=pipe,
        )
        if key is not None:
            pipe.set(key, made.id, ex=_LIKE_SECONDS)


def enqueue_sweep(redis: RedisClient, every: float) -> None:
    """Ask for one sweep, at most one in ``every`` seconds however many workers ask."""
    if not redis.set(SWEEP, "1", nx=True, px=max(1, int(every * 900))):
        return
    # While the only worker is busy with a long run, sweeps would pile up behind it.
    if not _waits(redis, SWEEP_JOB):
        job = queue(redis, SHORT).enqueue_call(
            "labelloop.loop.jobs.sweep", timeout=_SHORT_SECONDS, result_ttl=60, meta=_meta()
        )
        redis.set(SWEEP_JOB, job.id, ex=_KEPT_SECONDS)


def end_sweep(redis: RedisClient, every: float) -> None:
    """Let ``every`` seconds pass before the next sweep: one that took longer would be followed by one that waits.

    Short jobs come first, so a single worker would do nothing else. A sweep that is killed ends nothing: the one that
    waits is done.
    """
    redis.set(SWEEP, "1", px=max(1, int(every * 900)))
    if waiting := _waits(redis, SWEEP_JOB):
        with suppress(NoSuchJobError):
            Job.fetch(waiting, connection=redis, serializer=JSONSerializer).delete()


def _meta(trace: str = "") -> dict[str, str]:
    """Say in a job's meta to what it belongs."""
    return {_TRACE: trace or trace_in_hand()}


def _waits(redis: RedisClient, key: str) -> str | None:
    """Give the id kept under a key if that job is still waiting in its queue."""
    kept = redis.get(key)
    return as_text(kept) if kept and _status(redis, as_text(kept)) is JobStatus.QUEUED else None


def _status(redis: RedisClient, job_id: str) -> JobStatus | None:
    try:
        return Job.fetch(job_id, connection=redis, serializer=JSONSerializer).get_status()
    except (NoSuchJobError, ValueError):  # ValueError: no name that a job can have
        return None


def job_status(redis: RedisClient, job_id: str) -> str | None:
    """Say how a job stands in RQ's words (queued, started, finished, failed, ...); None when it is gone."""
    status = _status(redis, job_id)
    return None if status is None else status.value


def job_result(redis: RedisClient, job_id: str) -> str:
    """Give the sentence that a finished job ended with; empty for any other."""
    try:
        found = Job.fetch(job_id, connection=redis, serializer=JSONSerializer).return_value()
    except (NoSuchJobError, ValueError):
        return ""
    return found if isinstance(found, str) else ""


def count_workers(redis: RedisClient, name: str = LONG) -> int:
    """Say how many workers of a queue Redis has heard of lately; one that was killed is named on till its key runs out.

    The processes beside workers, which take no runs, are none of theirs.
    """
    keys = Worker.all_keys(queue=queue(redis, name))
    return int(redis.exists(*keys)) if keys else 0


def count_jobs(redis: RedisClient) -> dict[tuple[str, str], int]:
    """Count the jobs of all queues by their state, those of single machines as the background's, in two round trips."""
    found = []
    with redis.pipeline(transaction=False) as pipe:
        for name in (*QUEUES, *_machine_queues(redis)):
            one, told = queue(redis, name), name if name in QUEUES else BACKGROUND
            pipe.llen(one.key)
            found.append((told, "waiting"))
            for state in ("started", "failed"):
                pipe.zcard(getattr(one, f"{state}_job_registry").key)
                found.append((told, state))
        pipe.zcard(MOMENTS)
        found.append((SHORT, "scheduled"))
        counts = Counter[tuple[str, str]]()
        for kind, count in zip(found, pipe.execute(), strict=True):
            counts[kind] += int(count)
    return dict(counts)
