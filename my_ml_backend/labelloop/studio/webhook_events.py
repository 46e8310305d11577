"""Label Studio's webhooks as domain events (contract, "Webhooks"). A webhook is a hint, never the truth."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from labelloop.data.site_events import (
    Event,
    Ignored,
    LabelConfigChanged,
    LabelsChanged,
    TasksCreated,
    TrainingRequested,
)
from labelloop.types import Identity, Json

_MAX_ID = 10**18


def event_of(action: object, data: object) -> Event:
    """Read an event as ``fit(event, data)`` is given it: the action beside its payload. Raises ValueError."""
    if not isinstance(action, str) or not action:
        raise ValueError(f"a webhook's action must be a name, not {_shown(action)}")
    if data is not None and not isinstance(data, dict):
        raise ValueError(f"{_name(action)}: the payload must be a JSON object, not {_shown(data)}")
    payload = {key: value for key, value in (data or {}).items() if key != "action"}
    if action == "START_TRAINING":
        project = _project(action, payload)
        return TrainingRequested(project.id, created=project.created)
    if action not in _READERS:
        return Ignored(_name(action), "LabelLoop has no use for this action")
    if not payload:
        return Ignored(action, "it carries no payload (send_payload is off): the sweep will find what changed")
    return _READERS[action](action, payload)


def named_project(action: str, data: Json) -> int | None:
    """Say which project the event would be of that ``event_of`` reads; None where it would be of none."""
    try:
        return _project(action, data).id
    except ValueError:
        return None


def project_id(value: object) -> int:
    """Read a project's id as Label Studio writes it: ``7``, ``"7"``, ``"7.1795187630"`` or an object with ``id``.

    Raises ValueError for anything else.
    """
    if isinstance(value, dict):
        value = value.get("id")
    return Identity.parse(value).id if isinstance(value, str) else _id("project", value)


def identity(value: object) -> Identity:
    """Read which project is meant, in any form that ``project_id`` reads, with its creation time where that is told.

    ``"7.1795187630"`` tells it, as does an object with ``created_at``. One that cannot be read counts as not told.
    Raises ValueError for what names no project.
    """
    if isinstance(value, str):
        return Identity.parse(value)
    return Identity(project_id(value), created_second(value.get("created_at")) if isinstance(value, dict) else None)


def created_second(created_at: object) -> int | None:
    """Read a creation time of Label Studio's API as it stands in ``/setup``: whole Unix seconds; None for no time."""
    try:
        moment = datetime.fromisoformat(created_at) if isinstance(created_at, str) else None
        told = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() if moment else 0.0
    except (ValueError, OverflowError):
        return None
    return int(told) if told >= 1 else None


def _project(action: str, payload: Json) -> Identity:
    if payload.get("project") is not None:
        return identity(payload["project"])
    # Without its project an event still names it inside the annotation and the task.
    for key in ("annotation", "annotations", "task", "tasks"):
        for entry in _entries(action, key, payload.get(key)):
            if entry.get("project") is not None:
                return identity(entry["project"])
    raise ValueError(f"{action} names no project")


def _labels_changed(action: str, payload: Json) -> Event:
    key = "annotation" if "annotation" in payload else "annotations"
    if key not in payload:
        raise ValueError(f"{action} names no annotation")
    given = _entries(action, key, payload[key])
    changed = [entry for entry in given if not (action.endswith("_CREATED") and entry.get("was_cancelled") is True)]
    if not changed:
        return Ignored(action, "the task was skipped" if given else "it names no annotation")
    tasks = [entry["task"] for entry in changed if entry.get("task") is not None]
    task_ids = _ids("task", tasks or _entries(action, "task", payload.get("task")))
    project = _project(action, payload)
    return LabelsChanged(project.id, _ids("annotation", changed), task_ids, created=project.created)


def _tasks_created(action: str, payload: Json) -> Event:
    if "tasks" not in payload:
        raise ValueError(f"{action} names no tasks")
    tasks = _ids("task", _entries(action, "tasks", payload["tasks"]))
    if not tasks:
        return Ignored(action, "it names no task")
    project = _project(action, payload)
    return TasksCreated(project.id, tasks, created=project.created)


def _label_config_changed(action: str, payload: Json) -> Event:
    project = _project(action, payload)
    return LabelConfigChanged(project.id, created=project.created)


_READERS = {
    "ANNOTATION_CREATED": _labels_changed,
    "ANNOTATION_UPDATED": _labels_changed,
    "ANNOTATIONS_CREATED": _labels_changed,
    "ANNOTATIONS_DELETED": _labels_changed,
    "TASKS_CREATED": _tasks_created,
    "PROJECT_UPDATED": _label_config_changed,
}


def _entries(action: str, key: str, value: Any) -> list[Json]:
    """Read one object or a list of them, as a list; absent is empty."""
    entries: list[Any] = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{action}: {key!r} must be an object or a list of objects")
    return entries


def _ids(what: str, entries: Iterable[object]) -> tuple[int, ...]:
    found = (_id(what, entry.get("id") if isinstance(entry, dict) else entry) for entry in entries)
    return tuple(dict.fromkeys(found))


def _id(what: str, value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MAX_ID:
        return value
    raise ValueError(f"the id of {what} must be a whole number from 1, not {_shown(value)}")


def _shown(value: object) -> str:
    """Name a wrong value without repeating it: bodies carry secrets."""
    return {dict: "an object", list: "a list", str: "text", bool: "a truth value", type(None): "null"}.get(
        type(value), "this number" if isinstance(value, int | float) else type(value).__name__
    )


def _name(action: str) -> str:
    return ascii(action)[1:-1][:64]
