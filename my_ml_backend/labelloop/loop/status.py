"""How a project stands: for ``labelloop status``, ``/status`` and the demo. Asks the store and Redis only."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from labelloop.errors import QueueError, SettingsError, StoreError
from labelloop.loop.attempts import describe
from labelloop.loop.backoff import Wait
from labelloop.loop.hub import Hub
from labelloop.loop.policy import Policy
from labelloop.loop.queue import count_workers
from labelloop.loop.registry import known_projects, why_gone
from labelloop.loop.serving import announced_version, project_endpoint
from labelloop.loop.state import Step
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord, Runs
from labelloop.types import Json, ProjectKey

__all__ = ["ProjectStatus", "known_projects", "project_status"]


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """One project at one moment. ``due`` is when the policy calls for a run (Unix seconds), None without changes.

    ``missing`` says what the first version lacks, ``trouble`` what went wrong last; ``queue`` whether Redis answers.
    ``endpoint`` is the name of one with a model of its own: ``announced`` is its version, and nothing is trained.
    ``wait`` says why and until when the loop leaves it alone; ``store`` whether the project's objects could be read.
    ``needed`` is how many changed labels call for a run, or labels for a first version; it and ``due`` are by the
    worker's settings. ``workers`` is how many workers there are.
    """

    project: str
    champion: str | None
    announced: str | None
    missing: str = ""
    trouble: str = ""
    changed: int = 0
    due: float | None = None
    step: Step | None = None
    run: Json | None = None
    queue: bool = True
    endpoint: str | None = None
    wait: Wait | None = None
    store: bool = True
    needed: int = 0
    workers: int | None = None

    def to_json(self) -> Json:
        """Turn into plain values."""
        return asdict(self)


def project_status(hub: Hub, project: ProjectKey) -> ProjectStatus:
    """Say how the project stands; without Redis what the store knows, without the store what Redis knows."""
    try:
        return _status(hub, project)
    except StoreError as error:
        return _unread(hub, project, error)


def _status(hub: Hub, project: ProjectKey) -> ProjectStatus:
    try:
        endpoint = project_endpoint(hub, project).endpoint
    except SettingsError as error:
        stands = _trained(hub, project)
        return replace(stands, trouble="; ".join(filter(None, (str(error), stands.trouble))))
    return _trained(hub, project) if endpoint.follows else _alone(hub, project, endpoint.name)


def _unread(hub: Hub, project: ProjectKey, error: StoreError) -> ProjectStatus:
    """Say what Redis knows of a project whose objects in the store cannot be read, and how to mend damaged ones."""
    stands = ProjectStatus(str(project), champion=None, announced=None, trouble=str(error), store=False)
    state = hub.state(project)
    try:
        notes, step, wait = state.notes(), state.step(), state.wait()
        changed = state.changes.pending().changed
    except QueueError as failure:
        return replace(stands, trouble=f"{error}; {failure}", queue=False)
    troubles = dict.fromkeys([str(error), *filter(None, [_trouble(notes)])])
    return replace(stands, trouble="; ".join(troubles), changed=changed, step=step, wait=wait)


def _alone(hub: Hub, project: ProjectKey, endpoint: str) -> ProjectStatus:
    announced, state = announced_version(hub, project), hub.state(project)
    stands = ProjectStatus(str(project), champion=None, announced=announced, endpoint=endpoint)
    try:
        trouble = why_gone(hub, project) or _trouble(state.notes())
        return replace(stands, trouble=trouble, step=state.step(), wait=state.wait())
    except QueueError as error:
        return replace(stands, trouble=str(error), queue=False)


def _trained(hub: Hub, project: ProjectKey) -> ProjectStatus:
    pointers = ChampionPointer(hub.store, project).read()
    record = Runs(hub.store, project).latest()
    run = describe(record, hub.settings.run_attempts) if record else None
    state = hub.state(project)
    try:
        notes, pending, step = state.notes(), state.changes.pending(), state.step()
        wait, gone, workers = state.wait(), why_gone(hub, project), count_workers(hub.redis)
        noted = state.policy()
    except QueueError as error:
        return ProjectStatus(
            str(project), pointers.champion, pointers.announced, trouble=str(error), run=run, queue=False
        )
    # A worker notes its policy each time it looks; before the first look, the settings here are the best guess.
    policy = noted or Policy.of(hub.settings)
    first = pointers.champion is None and record is None
    return ProjectStatus(
        str(project),
        pointers.champion,
        pointers.announced,
        missing=""
        if pointers.champion
        else notes.get("missing") or _missing(record, policy.min_labels, pending.changed),
        trouble=gone or _trouble(notes),
        changed=pending.changed,
        due=policy.due(pending, lacking="missing" in notes),
        needed=policy.min_labels if first else policy.retrain_after,
        workers=workers,
        step=step,
        run=run,
        wait=wait,
    )


def _trouble(notes: Mapping[str, str]) -> str:
    return "; ".join(notes[name] for name in ("trouble", "pictures", "sweep") if name in notes)


def _missing(record: RunRecord | None, needed: int, labels: int) -> str:
    """Say what the first version lacks as long as no run has found labels missing."""
    if record is not None:
        return f"a version that passes the gate; the last run is {record.state}"
    if labels < needed:
        return f"{needed - labels} more label{'' if needed - labels == 1 else 's'}"
    return "nothing; the first run is about to begin"
