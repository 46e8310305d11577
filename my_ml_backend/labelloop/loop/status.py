"""How a project stands: for ``labelloop status``, ``/status`` and the demo. Asks the store and Redis only."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Self

from labelloop.deployers.base import Deployed
from labelloop.errors import Damaged, LabelLoopError, QueueError, SettingsError, StoreError
from labelloop.loop import later_predictions
from labelloop.loop.attempts import summarize_run
from labelloop.loop.backoff import Wait
from labelloop.loop.challenger_outlook import ChallengerOutlook, decide_challenger
from labelloop.loop.housekeeping import read_disk
from labelloop.loop.hub import Hub
from labelloop.loop.order import read_order
from labelloop.loop.outlook import Outlook, decide, situation
from labelloop.loop.progress import StageProgress
from labelloop.loop.project_endpoint import project_endpoint
from labelloop.loop.project_registry import why_gone
from labelloop.loop.queue import count_workers
from labelloop.loop.redis_client import LOADING
from labelloop.loop.retrain_policy import Pending, RetrainPolicy
from labelloop.loop.serving import announced_version, fallback
from labelloop.loop.state import UNLEARNED
from labelloop.loop.training import open_elsewhere
from labelloop.models.champion import Pointers
from labelloop.models.deployments import Deployments
from labelloop.models.model_runs import ModelRunJob, ModelRunJobs
from labelloop.models.open_run import OpenRun
from labelloop.models.pauses import Pause
from labelloop.models.projects import LeftOver, format_moment
from labelloop.models.runs import RunRecord
from labelloop.types import FIRST_LABELS, Json, ProjectKey
from labelloop.watch.agreement import Agreed, kept_agreements, saved_by
from labelloop.watch.comparison import WORSE
from labelloop.watch.timing import Saved

_TROUBLES = (
    "trouble",
    "challenger",
    "training",
    "pictures",
    "unseen",
    "asked",
    "sweep",
    "events",
    "storages",
    "webhook",
    "deployer",
    "batch",
    "registry",
    "metrics",
    "notify",
    "disk",
    "head",
)
"""Notes of what went wrong."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A project's bootstrap endpoint, its version, and whether it ``predicts`` now, not only where its own is down."""

    endpoint: str
    version: str
    predicts: bool


@dataclass(frozen=True, slots=True)
class FirstLabels:
    """How many tasks have been ``compared`` to be ordered before the first version, of how many there were last."""

    compared: int
    tasks: int


@dataclass(frozen=True, slots=True)
class ChallengerStatus:
    """How it stands with a project's challenger: what is next, what is being done, and its last ``run``, summarized."""

    outlook: ChallengerOutlook
    step: StageProgress | None = None
    run: Json | None = None


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """One project at one moment. ``outlook`` says what is next, when and why; None where that cannot be known.

    It goes by the settings of the worker that looks after the project, not by those of who asks.
    ``missing`` says what the first version lacks, or the next one by the last look at labels; ``trouble`` what went
    wrong last; ``queue`` whether Redis answers.
    ``endpoint`` is the name of one with a model of its own: ``announced`` is its version, and nothing is trained.
    ``wait`` says why and until when the loop leaves it alone; ``store`` whether the project's objects could be read.
    ``opened`` is the open run whose training goes on elsewhere: its key, what kind of trainer has it, the handle it is
    known by there, its time limit (Unix seconds), and why it is to end.
    ``workers`` is how many workers there are, ``loading`` says that one is starting. ``deployed`` is what was last seen
    at an endpoint that versions are brought to, and why the last one could not be. ``waiting`` are those that a person
    is to approve, the oldest first. ``drift`` says how predictions differ from those that the champion made at first;
    empty where they do not. ``learning`` says what more labels would bring. ``agreement`` is how annotators agree with
    the announced version, None before they have said. ``saved`` is what time pre-annotations saved, None where none are
    withheld to know it. ``first_labels`` is how many tasks have a place in the order that holds until a version is
    announced, None where there is no such order. ``learns`` says which control tag is learned, as what, and how to
    choose another; empty before the first look at the labels. ``rollback`` says why the champion was rolled back to,
    that a person went back to it, or that the announced version is worse than its predecessor and why it stays; else
    empty. ``job`` is what was asked for a model run (models/model_runs.py). ``pause`` says who has paused the project,
    why and since when. ``disk`` is what the project takes (bytes) as a worker noted it last (loop/housekeeping.py).
    ``features`` says how far the features of its tasks are taken; empty where they are, or none are. ``predictions``
    says when those of the announced version follow that are not there yet; empty where none are left for later.
    ``challenger`` is None where runs leave nothing to one.
    """

    project: str
    champion: str | None
    announced: str | None
    missing: str = ""
    trouble: str = ""
    changed: int = 0
    outlook: Outlook | None = None
    step: StageProgress | None = None
    run: Json | None = None
    queue: bool = True
    endpoint: str | None = None
    bootstrap: Bootstrap | None = None
    wait: Wait | None = None
    store: bool = True
    workers: int | None = None
    loading: bool = False
    opened: Json | None = None
    deployed: Deployed | None = None
    waiting: tuple[str, ...] = ()
    drift: str = ""
    agreement: Agreed | None = None
    learning: str = ""
    saved: Saved | None = None
    first_labels: FirstLabels | None = None
    learns: str = ""
    rollback: str = ""
    job: Json | None = None
    pause: Pause | None = None
    disk: Json | None = None
    features: str = ""
    predictions: str = ""
    challenger: ChallengerStatus | None = None

    def to_json(self) -> Json:
        """Turn into plain values."""
        return asdict(self) | {"agreement": self.agreement.to_json() if self.agreement else None}


@dataclass(frozen=True, slots=True)
class _Noted:
    """What Redis knows of a project; nothing but the reason (``failure``) when it cannot be asked."""

    policy: RetrainPolicy
    notes: Mapping[str, str] = field(default_factory=dict)
    pending: Pending = field(default_factory=Pending)
    step: StageProgress | None = None
    wait: Wait | None = None
    gone: str = ""
    workers: int | None = None
    loading: bool = False
    agreement: Agreed | None = None
    tasks: int = 0
    disk: Json | None = None
    failure: str = ""

    @classmethod
    def read(cls, hub: Hub, project: ProjectKey) -> Self:
        """Ask Redis."""
        state = hub.state(project)
        try:
            return cls(
                state.policy(),
                state.notes(),
                pending=state.changes.pending(),
                step=state.progress().step(),
                wait=state.backoff.wait(),
                gone=why_gone(hub, project),
                workers=count_workers(hub.redis),
                loading=bool(hub.redis.exists(LOADING)),
                agreement=state.agreement.read(),
                tasks=state.seen().tasks,
                disk=read_disk(hub.redis, project),
            )
        except QueueError as error:
            return cls(RetrainPolicy.of(hub.settings), failure=str(error))

    @property
    def trouble(self) -> str:
        """Say what went wrong last, or why nothing is known of that."""
        told = "; ".join(dict.fromkeys(self.notes[name] for name in _TROUBLES if name in self.notes))
        return self.failure or self.gone or told


def project_status(hub: Hub, project: ProjectKey) -> ProjectStatus:
    """Say how the project stands; without Redis what the store knows, without the store what Redis knows."""
    noted = _Noted.read(hub, project)
    stands = ProjectStatus(
        str(project),
        None,
        None,
        trouble=noted.trouble,
        step=noted.step,
        wait=noted.wait,
        queue=not noted.failure,
        drift=noted.notes.get("drift", ""),
        agreement=noted.agreement,
        learns=noted.notes.get("learns", ""),
        disk=noted.disk,
        features=noted.notes.get("features", ""),
        predictions=later_predictions.told(noted.notes.get(later_predictions.NOTE, "")),
        rollback=noted.notes.get(WORSE, ""),
    )
    try:
        if project.model_run:
            return _of_model_run(hub, project, stands, noted)
        stands = replace(stands, saved=saved_by(list(kept_agreements(hub.store, project).values())))
        return _served(hub, project, stands, noted)
    except StoreError as error:
        return replace(_with(stands, error), store=False, changed=noted.pending.changed)


def _of_model_run(hub: Hub, project: ProjectKey, stands: ProjectStatus, noted: _Noted) -> ProjectStatus:
    """Say what was asked for it, and of which versions it has; nobody waits for labels there."""
    job = ModelRunJobs(hub.store).read(project)
    stands = replace(_trained(hub, project, stands, noted), missing="", outlook=None)
    return replace(stands, job=_summed_up(job) if job else None)


def _summed_up(job: ModelRunJob) -> Json:
    names = ("model_run", "entry", "state", "stage", "attempts", "asked", "updated", "version", "reason")
    return {name: getattr(job, name) for name in names}


def all_statuses(hub: Hub, projects: Iterable[ProjectKey]) -> list[ProjectStatus]:
    """Say how these projects stand, and the model runs that are open or ended last, as far as the store tells."""
    found = [project_status(hub, project) for project in projects]
    with suppress(LabelLoopError):
        found += [project_status(hub, project) for project in ModelRunJobs(hub.store).known()]
    return found


def left_over(hub: Hub) -> dict[str, str]:
    """Say what else the store holds: for each folder that is no project's of today, whose it was and what is in it.

    What a project has taken over is not told. Raises StoreError.
    """
    return {str(one.key): _left(hub, one) for one in hub.projects.left_over() if not one.copied_to}


def _left(hub: Hub, one: LeftOver) -> str:
    try:
        champion = hub.pointer(one.key).read().champion or "none"
    except Damaged:
        champion = "damaged"
    run = hub.runs(one.key).latest()
    created = f"created {format_moment(one.created)}" if one.created else "created at a time that is not known"
    return (
        f"project {one.key.id} of {', '.join(one.addresses)}, {created}, champion {champion}, last run "
        f"{run.updated.partition('.')[0] if run else 'none'}"
    )


def _served(hub: Hub, project: ProjectKey, stands: ProjectStatus, noted: _Noted) -> ProjectStatus:
    try:
        found = project_endpoint(hub, project)
    except SettingsError as error:
        return _with(_trained(hub, project, stands, noted), error)
    if found.serves == "alone":
        return replace(stands, announced=announced_version(hub, project), endpoint=found.endpoint.name)
    stands = _trained(hub, project, stands, noted)
    first = stands.announced is None
    if found.serves == "deployed":
        seen = Deployments(hub.store, project).read(found.options.endpoint.place)
        stands = replace(stands, deployed=Deployed(seen.version, seen.since, seen.between, seen.reason))
        first = first or not seen.brought
    other = fallback(hub, project, found)
    if other is None:
        return replace(stands, first_labels=_first_labels(hub, project, noted))
    return replace(stands, bootstrap=Bootstrap(other.endpoint.name, other.version, first))


def _first_labels(hub: Hub, project: ProjectKey, noted: _Noted) -> FirstLabels | None:
    if announced_version(hub, project) != FIRST_LABELS:
        return None
    order = read_order(hub.store, project, FIRST_LABELS)
    compared = len(order.scores) if order else 0
    return FirstLabels(compared, max(compared, noted.tasks))


def _with(stands: ProjectStatus, error: Exception) -> ProjectStatus:
    """Say what is wrong besides what went wrong last, which may be the same."""
    return replace(stands, trouble="; ".join(dict.fromkeys(filter(None, (str(error), stands.trouble)))))


def _trained(hub: Hub, project: ProjectKey, stands: ProjectStatus, noted: _Noted) -> ProjectStatus:
    pointers = hub.pointer(project).read()
    record = hub.runs(project).latest()
    run = summarize_run(record, hub.settings.run_attempts) if record else None
    opened = open_elsewhere(hub, project)
    stands = replace(
        stands,
        champion=pointers.champion,
        announced=pointers.announced,
        waiting=tuple(one.version for one in hub.versions(project).waiting(pointers)),
        run=run,
        rollback=_rolled_back(pointers) or stands.rollback or _gone_back(pointers),
        learning=((record.metrics.get("learning") or {}).get("sentence") or "") if record else "",
        opened=_opened(opened) if opened else None,
        pause=hub.pauses(project).read(),
    )
    if noted.failure:
        return stands
    stands = _next(hub, project, stands, noted.policy)
    changed = noted.pending.changed
    lacking = noted.notes.get(UNLEARNED) or noted.notes.get("missing", "")
    if not pointers.champion:
        lacking = lacking or _missing(record, noted.policy.min_labels, changed)
    return replace(stands, workers=noted.workers, loading=noted.loading, changed=changed, missing=lacking)


def _next(hub: Hub, project: ProjectKey, stands: ProjectStatus, policy: RetrainPolicy) -> ProjectStatus:
    """Say what is next; nothing where the settings that are at fault, or Redis, keep that from being known."""
    try:
        found = situation(hub, project, policy, time.time())
        challenger = decide_challenger(policy, found)
        step = hub.state(project).progress(challenger=True).step() if challenger else None
    except (SettingsError, QueueError):
        return stands
    last = summarize_run(found.challenger, hub.settings.run_attempts) if found.challenger else None
    told = ChallengerStatus(challenger, step, last) if challenger else None
    return replace(stands, outlook=decide(policy, found), challenger=told)


def _rolled_back(pointers: Pointers) -> str:
    """Say why the champion was rolled back to by itself; empty where it became champion otherwise."""
    last = pointers.rollbacks()[-1:]
    return "".join(why for _, reign, why in last if reign == pointers.history[-1])


def _gone_back(pointers: Pointers) -> str:
    """Say that a person went back to the champion; empty where it became champion otherwise."""
    *earlier, last = pointers.history or (None,)
    if last is None or not earlier or pointers.reason(last).by != "person":
        return ""
    before = earlier[-1].version
    back = before != last.version and any(one.version == last.version for one in earlier)
    return f"a person went back from {before} to {last.version}" if back else ""


def _opened(opened: OpenRun) -> Json:
    """Say of an open run what may be shown: a trainer's address may hold more than its kind."""
    kind = opened.trainer.partition(":")[0]
    return {
        "key": opened.key,
        "trainer": kind,
        "handle": opened.handle,
        "until": opened.until,
        "cancelled": opened.cancelled,
    }


def _missing(record: RunRecord | None, needed: int, labels: int) -> str:
    """Say what the first version lacks as long as no run has found labels missing."""
    if record is not None:
        if record.state == "waiting":
            return "a person's approval"
        return f"a version that passes the gate; the last run is {record.state}"
    if labels < needed:
        return f"{needed - labels} more label{'' if needed - labels == 1 else 's'}"
    return "nothing; the first run is about to begin"
