"""Takes in what a site tells: notes it and schedules what follows, in milliseconds and without asking back."""

import logging
import time

from labelloop.data.site_events import Event, LabelConfigChanged, LabelsChanged, TasksCreated, TrainingRequested
from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import learns
from labelloop.loop.retrain_policy import LOOK_AHEAD
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

_PRELABEL_AFTER = 2.0
"""Seconds between the first TASKS_CREATED and the pre-annotation: an import comes as several webhooks."""


def note(hub: Hub, event: Event) -> str | None:
    """Note one event; returns the job's id where one was asked for and makes sense. Raises QueueError without Redis."""
    match event:
        case LabelsChanged():
            named = [f"a{annotation}" for annotation in event.annotation_ids]
            _note_changes(hub, hub.project(event.project), named, event.task_ids)
        case TasksCreated():
            queue = hub.queue(hub.project(event.project))
            queue.prelabel(_PRELABEL_AFTER)
            if hub.settings.early_features:
                queue.features()
        case TrainingRequested():
            return _start(hub, hub.project(event.project))
        case LabelConfigChanged():
            queue = hub.queue(hub.project(event.project))
            queue.consider(time.time())
            if hub.settings.early_features:
                # What is learned may be another kind by now.
                queue.features()
    return None


def _start(hub: Hub, project: ProjectKey) -> str | None:
    # An error would do harm: Label Studio asks a backend for no predictions after one.
    if not learns(hub, project):
        _log.warning("project %s: its endpoint has a model of its own, Start Training does nothing", project)
        return None
    return hub.queue(project).retrain("Start Training")


def _note_changes(hub: Hub, project: ProjectKey, what: list[str], tasks: tuple[int, ...]) -> None:
    now = time.time()
    due, planned = hub.state(project).note_changes(what, now, tasks)
    if due is not None and (planned is None or planned > due):
        hub.queue(project).consider(due - LOOK_AHEAD)


def look_when_due(hub: Hub, project: ProjectKey) -> None:
    """Look at the policy when the changed labels make a run due."""
    due = hub.state(project).due()
    if due is not None:
        hub.queue(project).consider(due)
