"""Decides what a project needs next, from its state alone: may be asked at any time, as often as anyone likes."""

import logging
import time
from datetime import datetime

from labelloop.loop import changes, keys
from labelloop.loop.hub import Hub, reach, text
from labelloop.loop.lease import is_held
from labelloop.loop.policy import Policy
from labelloop.loop.queue import enqueue_deploy, enqueue_retrain, schedule_consider
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord, Runs
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)


def consider(hub: Hub, project: ProjectKey) -> str:
    """Enqueue or schedule what the project needs, and say what that was.

    While a worker holds the project nothing is done: it asks again when it is finished.
    """
    with reach(hub):
        hub.redis.delete(keys.of(project, "wake"))
    if is_held(hub, project):
        return "a run is in progress"
    with reach(hub):
        again = hub.redis.getdel(keys.of(project, "again"))
    if again is not None:
        return _retrain(hub, project, text(again))
    return _resume(hub, project) or _announce(hub, project) or _follow_policy(hub, project)


def want_again(hub: Hub, project: ProjectKey, trigger: str) -> None:
    """Ask for one more run after the one in progress."""
    with reach(hub):
        hub.redis.set(keys.of(project, "again"), trigger)


def _retrain(hub: Hub, project: ProjectKey, trigger: str) -> str:
    enqueue_retrain(hub, project, trigger)
    return f"run enqueued: {trigger}"


def _resume(hub: Hub, project: ProjectKey) -> str:
    """Take up a run whose worker was killed, or try a failed one again in time."""
    record = Runs(hub.store, project).latest()
    if record is None or record.state not in ("running", "failed"):
        return ""
    if record.attempts >= hub.settings.run_attempts and record.state == "failed":
        return ""
    if record.state == "running":
        return _retrain(hub, project, record.trigger)
    due = retry_at(hub, record)
    if due <= time.time():
        return _retrain(hub, project, record.trigger)
    schedule_consider(hub, project, due)
    return "a failed run is tried again later"


def retry_at(hub: Hub, record: RunRecord) -> float:
    """Say when a failed run is tried again (Unix seconds); the wait doubles with each attempt."""
    updated = datetime.fromisoformat(record.updated).timestamp()
    wait: float = hub.settings.retry_seconds * 2 ** (record.attempts - 1)
    return updated + wait


def _announce(hub: Hub, project: ProjectKey) -> str:
    pointers = ChampionPointer(hub.store, project).read()
    if pointers.champion is None or pointers.champion == pointers.announced:
        return ""
    enqueue_deploy(hub, project)
    return f"{pointers.champion} is to be announced"


def _follow_policy(hub: Hub, project: ProjectKey) -> str:
    pending = changes.pending(hub, project)
    due = Policy.of(hub.settings).due(pending)
    if due is None:
        return "nothing has changed"
    if due <= time.time():
        return _retrain(hub, project, f"{pending.changed} changed labels")
    schedule_consider(hub, project, due)
    return f"{pending.changed} changed labels wait for their moment"
