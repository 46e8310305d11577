"""A batch job that predicts a project's waiting tasks: begun, looked at, taken in; none of it holds a worker.

The intent is in the store before the job is begun, and a cloud looks a key up before it begins: so a job is found again
by whatever worker comes next, and is paid for once. Its answers are those of an endpoint that has answered before:
what becomes of them, and of the tasks that it has not answered, is what loop/prelabel.py makes of any endpoint's.
"""

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain, count

from labelloop.cloud.base import Batch, BatchStands
from labelloop.data.site import Site
from labelloop.deployers.opening import has_batch, open_batch
from labelloop.errors import CloudError, DeployError, Outage
from labelloop.loop.batch_requests import Answered, requests_of
from labelloop.loop.hub import Hub
from labelloop.loop.progress import StageProgress
from labelloop.loop.project_endpoint import ProjectEndpoint, project_endpoint
from labelloop.loop.serving import PredictionPlan
from labelloop.models.open_batch import OpenBatch, OpenBatches
from labelloop.run.report.numbers import duration
from labelloop.tracing import note_doing, trace_in_hand
from labelloop.types import Progress, ProjectKey

_log = logging.getLogger(__name__)

_LONGEST = 24 * 3600
"""Seconds after which a job is given up."""


@dataclass(frozen=True, slots=True)
class Route:
    """How waiting tasks are predicted: by a ``batch`` job, of which ``held`` is kept; None: by the endpoint alone."""

    batch: Batch | None
    held: OpenBatch

    def told(self, version: str, total: int) -> str:
        """Say it before anything begins: how many tasks, on what, and how long that takes where it is known."""
        if self.batch is None:
            return f"{total} tasks wait: the endpoint is asked for {version}"
        if self.held.open and not self.held.taken:
            return f"{self.batch.name} job {self.held.key} for {self.held.tasks} tasks was begun: it is gone on with"
        pace = self.held.pace if self.held.on == self.batch.machine else 0.0
        takes = f"about {duration(total / pace)} at the pace of the last job" if pace else "nobody knows yet how long"
        return (
            f"{total} tasks wait: {self.batch.name} predicts them with {version} on {self.batch.machine}, which is "
            f"billed until the job ends: {takes}"
        )


def route(
    hub: Hub, project: ProjectKey, by: ProjectEndpoint, version: str, total: int, wanted: bool | None = None
) -> Route:
    """Say how so many waiting tasks are predicted: by the settings, or as it is ``wanted``. Raises StoreError.

    Raises DeployError where a job is wanted and there can be none.
    """
    batch = _batch_of(hub, project, by)
    if batch is None:
        if wanted:
            raise DeployError(
                f"no batch job can predict for project {project.id}: there are such jobs where LABELLOOP_DEPLOYER "
                "brings versions to SageMaker (sagemaker://NAME) or Vertex AI (vertex://PROJECT/LOCATION/NAME)"
            )
        return Route(None, OpenBatch())
    held = OpenBatches(hub.store, project).read()
    if _is_of(held, by, version) and wanted is not False:
        return Route(batch, held)
    known = held.version == version
    least = hub.settings.batch_from
    due = 0 < least <= total - (held.left if known else 0) and not (known and held.failed)
    return Route(batch if total and (due if wanted is None else wanted) else None, held)


def goes_on(hub: Hub, project: ProjectKey, version: str) -> str:
    """Say that a job of that version goes on elsewhere; empty where a worker has something to do. Raises StoreError."""
    by = project_endpoint(hub, project)
    can = by.serves == "deployed" and has_batch(by.options.deployer)
    held = OpenBatches(hub.store, project).read() if can else OpenBatch()
    if not _is_of(held, by, version) or not held.handle or _is_late(held):
        return ""
    # Not before: what the deployer lacks, the deployment says.
    batch = _batch_of(hub, project, by)
    if batch is None:
        return ""
    try:
        if batch.poll(held.handle).state != "running":
            return ""
    except Outage as error:
        return f"how {_named(batch, held)} stands cannot be asked for now: {error}"
    except CloudError:
        # A worker asks the same, and says what comes of it.
        return ""
    return _tell(hub, project, batch, held)


@dataclass(slots=True)
class Job:
    """The job that predicts waiting tasks, and how it stands: it has failed, too, where its answers answer nothing."""

    batch: Batch
    held: OpenBatch
    stands: BatchStands


def take_up(
    plan: PredictionPlan, site: Site, total: int, report: Progress, wanted: bool | None = None
) -> Job | str | None:
    """Begin a job, or see how it stands: one that is over, what is said of one that goes on, None for none.

    What cannot be begun is said, and the endpoint is asked instead. Raises an Outage where it helps to wait.
    """
    hub, project = plan.hub, plan.project
    found = route(hub, project, plan, plan.version, total, wanted)
    held = found.held
    if held.open and (found.batch is None or not _is_of(held, plan, plan.version)):
        # One that is taken in, too: whoever did that was killed before all of it was removed.
        held = _give_up(hub, project, plan, held)
    if found.batch is None:
        return None
    if held.open:
        note_doing(trace=held.trace)
    else:
        _log.info("project %s: %s", project, found.told(plan.version, total))
        # Whoever begins it may be killed: the sweep asks for its answers then.
        hub.state(project).note("unpredicted", "tasks may be without a prediction")
        held = OpenBatches(hub.store, project).begin(_opened(plan, held, total))
    job = _seen(found.batch, held, plan, site, report)
    if job is None or job.stands.state == "done":
        return job
    if job.stands.state == "running":
        return _tell(hub, project, job.batch, job.held)
    _log.warning("project %s: %s: the endpoint is asked instead", project, _failure(job))
    return job


def _seen(batch: Batch, held: OpenBatch, plan: PredictionPlan, site: Site, report: Progress) -> Job | None:
    """See how a job stands; what is not begun yet, is. None where nothing of it could be sent."""
    try:
        if not held.handle:
            started = _start(batch, held, plan, site, report)
            if started is None:
                return None
            held = started
        stands = batch.poll(held.handle)
    except Outage as error:
        # A quota that is used up is waited for, too, and may stay so.
        if not _is_late(held):
            raise
        stands = BatchStands("failed", f"it could not be begun or asked for in {duration(_LONGEST)}: {error}")
    except CloudError as error:
        stands = BatchStands("failed", str(error))
    if stands.state == "running" and _is_late(held):
        stands = BatchStands("failed", f"it was not over after {duration(_LONGEST)}")
    return Job(batch, held, stands)


@contextmanager
def answered(plan: PredictionPlan, job: Job | None) -> Iterator[PredictionPlan]:
    """Give a plan whose endpoint is asked only for what a job has not answered."""
    if job is None or not job.held.handle:
        yield plan
        return
    with job.batch.answers(job.held.handle) as find:
        endpoint = Answered(plan, find)
        yield replace(plan, endpoint=endpoint)
    _log.info(
        "project %s: %s has answered %d of %d tasks",
        *(plan.project, _named(job.batch, job.held), endpoint.answered, endpoint.answered + endpoint.left),
    )
    # Not of the few that are left where somebody was killed.
    if job.stands.state == "done" and not endpoint.answered and endpoint.left * 2 > job.held.tasks:
        job.stands = BatchStands("failed", "it is over, and none of its answers can be found")


def close(hub: Hub, project: ProjectKey, job: Job, left: int) -> None:
    """The answers are taken in, or the endpoint's instead, but for ``left`` tasks: nothing of the job stays."""
    failed = _failure(job) if job.stands.state == "failed" else ""
    pace = job.held.sent / job.stands.seconds if job.stands.seconds and not failed else 0.0
    records = OpenBatches(hub.store, project)
    records.take(job.held.key, failed=failed, left=left, pace=pace, on=job.batch.machine)
    _end(project, job.batch, job.held)
    records.close(job.held.key)
    hub.state(project).note("batch", failed and f"{failed}: the endpoint was asked instead")


def _start(batch: Batch, held: OpenBatch, plan: PredictionPlan, site: Site, report: Progress) -> OpenBatch | None:
    """Send what waits and begin the job; None where nothing of it could be sent."""
    records = OpenBatches(plan.hub.store, plan.project)
    requests, sent = requests_of(plan, site, batch.most_bytes, held.tasks, report), count()
    first = next(requests, None)
    if first is None:
        records.take(held.key, left=held.tasks)
        # Whoever was killed may have begun it, before what waited was gone.
        _end(plan.project, batch, held)
        records.close(held.key)
        return None
    counted = (request for request, _ in zip(chain([first], requests), sent, strict=False))
    handle = batch.start(held.key, plan.version, counted)
    return records.note(held.key, handle, next(sent))


def _opened(plan: PredictionPlan, last: OpenBatch, total: int) -> OpenBatch:
    now = time.time()
    named = hashlib.sha256(f"{plan.project}\n{plan.version}\n{now!r}".encode()).hexdigest()[:16]
    return OpenBatch(
        key=f"labelloop-batch-{named}",
        version=plan.version,
        place=plan.options.endpoint.place,
        begun=now,
        tasks=total,
        open=True,
        pace=last.pace,
        on=last.on,
        trace=trace_in_hand(),
    )


def _batch_of(hub: Hub, project: ProjectKey, by: ProjectEndpoint) -> Batch | None:
    return open_batch(by.options.deployer, project, hub.settings) if by.serves == "deployed" else None


def _is_of(held: OpenBatch, by: ProjectEndpoint, version: str) -> bool:
    return held.open and not held.taken and (held.version, held.place) == (version, by.options.endpoint.place)


def _is_late(held: OpenBatch) -> bool:
    return time.time() > held.begun + _LONGEST


def _give_up(hub: Hub, project: ProjectKey, by: ProjectEndpoint, held: OpenBatch) -> OpenBatch:
    """End a job of another version, or one that is not wanted any more."""
    batch = _batch_of(hub, project, by) if held.place == by.options.endpoint.place else None
    _log.info("project %s: batch job %s of %s is ended", project, held.key, held.version)
    _end(project, batch, held)
    return OpenBatches(hub.store, project).close(held.key)


def _end(project: ProjectKey, batch: Batch | None, held: OpenBatch) -> None:
    told: object = "its endpoint is another one now"
    if batch is not None:
        try:
            batch.end(held.key)
        except Outage:
            raise
        except CloudError as error:
            told = error
        else:
            return
    _log.warning(
        "project %s: batch job %s may still go on, and what it was sent still be there: end it there. %s",
        project,
        held.handle or held.key,
        told,
    )


def _tell(hub: Hub, project: ProjectKey, batch: Batch, held: OpenBatch) -> str:
    told, now = f"{_named(batch, held)} predicts {held.tasks} tasks", time.time()
    with suppress(Outage):
        hub.state(project).progress().tell(
            StageProgress("prelabel", told, 0, held.tasks, held.begun, now, elsewhere=True)
        )
    return f"{told} on {batch.machine}: a worker takes the answers in when it is over"


def _named(batch: Batch, held: OpenBatch) -> str:
    return f"{batch.name} job {held.key} with {held.version}"


def _failure(job: Job) -> str:
    return f"{_named(job.batch, job.held)} failed: {job.stands.reason}"
