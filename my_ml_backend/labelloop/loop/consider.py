"""Decides what a project needs next, from its state alone: may be asked at any time, as often as anyone likes."""

import logging
import time
from datetime import datetime

from labelloop.errors import UnknownKind
from labelloop.kinds.base import find
from labelloop.loop import deploy as deploying
from labelloop.loop.backoff import growing
from labelloop.loop.batch import goes_on
from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import learns
from labelloop.loop.state import Wish
from labelloop.loop.training import look_at_training, open_elsewhere
from labelloop.models.open_run import OpenRun
from labelloop.models.runs import RunRecord
from labelloop.run.parameters import improvement
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)


def consider(hub: Hub, project: ProjectKey) -> str:
    """Enqueue or schedule what the project needs, and say what that was.

    While a worker holds the project nothing is done: it asks again when it is finished.
    """
    state, queue = hub.state(project), hub.queue(project)
    queue.begin_consider()
    if state.is_held():
        return "a run is in progress"
    queue.resume_prelabel()
    if opened := open_elsewhere(hub, project):
        return _follow(hub, project, opened)
    # What is decided by, for whoever asks how the project stands and has other settings.
    state.note_policy()
    if not learns(hub, project):
        # Nobody else will: should the project be trained one day, a scan finds them.
        state.changes.settle(time.time())
        return "its endpoint has a model of its own: nothing is trained"
    wait = state.backoff.wait()
    if wish := state.wish(waits=wait is not None):
        enqueued = _retrain(hub, project, wish.trigger, force=wish.force)
        # Not before the job is there: a worker killed in between would lose it.
        state.granted(wish)
        return enqueued
    if wait is not None:
        queue.consider(wait.until)
        return "the last attempt failed; it is left alone for a while"
    # While labels are missing no run can be made: the next change of one starts it.
    last = None if "missing" in state.notes() else hub.runs(project).latest()
    unfinished = last if last is not None and _is_unfinished(hub, last) else None
    return (
        _resume(hub, project, unfinished)
        or (_due(hub, project) if deploying.has_failed(hub, project) else "")
        or _announce(hub, project)
        or _retry(hub, project, unfinished)
        or _improve(hub, project, last)
        or _follow_policy(hub, project)
    )


def _follow(hub: Hub, project: ProjectKey, opened: OpenRun) -> str:
    """Look how the open run stands that is trained elsewhere; whatever else is wanted, another run comes after it."""
    state, queue = hub.state(project), hub.queue(project)
    # The store remembers it; what a killed worker has left here would be one run too many.
    state.granted(Wish("", force=False, kind="begun"))
    if (wait := state.backoff.wait()) is not None:
        queue.consider(wait.until)
        return "the last attempt failed; it is left alone for a while"
    told = look_at_training(hub, project, opened)
    return _announce(hub, project) or told


def _retrain(hub: Hub, project: ProjectKey, trigger: str, *, force: bool = False) -> str:
    hub.queue(project).retrain(trigger, force=force)
    return f"run enqueued: {trigger}"


def _is_unfinished(hub: Hub, record: RunRecord) -> bool:
    """Whether a run is to go on."""
    return record.state in ("running", "failed") and not record.given_up(hub.settings.run_attempts)


def _resume(hub: Hub, project: ProjectKey, record: RunRecord | None) -> str:
    """Take up a run whose worker was killed, or a failed one, that has waited long enough."""
    if record is None or retry_at(hub, record) > time.time():
        return ""
    return _retrain(hub, project, record.trigger, force=record.forced)


def _retry(hub: Hub, project: ProjectKey, record: RunRecord | None) -> str:
    """Come back when the run is to be tried again."""
    if record is None:
        return ""
    hub.queue(project).consider(retry_at(hub, record))
    return "a failed run is tried again later" if record.state == "failed" else "a run that was cut off waits"


def retry_at(hub: Hub, record: RunRecord) -> float:
    """Say when a run is tried again (Unix seconds); the wait doubles with each failure, and ends at an hour.

    A run that was cut off goes on at once, and so it does a second time; who is cut off at the same place for the third
    time waits too.
    """
    before = record.own_failures - 1 if record.state == "failed" else record.interruptions - 2
    if before < 0:
        return 0.0
    return datetime.fromisoformat(record.updated).timestamp() + growing(hub.settings.retry_seconds, before)


def _announce(hub: Hub, project: ProjectKey) -> str:
    pointers = hub.pointer(project).read()
    if not deploying.is_behind(hub, project, pointers):
        return ""
    if (at := deploying.looked_at_again(hub, project, pointers.champion)) > time.time():
        hub.queue(project).consider(at)
        return f"{pointers.champion} is on its way to its endpoint"
    if told := goes_on(hub, project, pointers.champion or ""):
        hub.queue(project).consider(time.time() + hub.settings.poll_seconds)
        return told
    hub.queue(project).deploy()
    return f"{pointers.champion} is to be announced"


def _improve(hub: Hub, project: ProjectKey, last: RunRecord | None) -> str:
    """Train anew, once, where a recipe or the gate has improved since the last run."""
    if last is None:
        return ""
    try:
        kind = find(last.kind)
    except UnknownKind:
        # Made by a newer release; whatever the labels ask for now, what comes next is decided without it.
        return ""
    trigger = improvement(last, kind.competing(hub.settings), kind.recipes)
    return _retrain(hub, project, trigger) if trigger else ""


def _due(hub: Hub, project: ProjectKey) -> str:
    """Train where the changed labels call for it now."""
    state = hub.state(project)
    due = state.due()
    if due is None or due > time.time():
        return ""
    return _retrain(hub, project, f"{state.changes.pending().changed} changed labels")


def _follow_policy(hub: Hub, project: ProjectKey) -> str:
    if enqueued := _due(hub, project):
        return enqueued
    state = hub.state(project)
    if (due := state.due()) is None:
        return "nothing has changed"
    hub.queue(project).consider(due)
    return f"{state.changes.pending().changed} changed labels wait for their moment"
