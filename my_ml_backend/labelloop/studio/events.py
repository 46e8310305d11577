"""Label Studio's webhooks as domain events (contract, section 3). A webhook is a hint, never the truth."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from labelloop.types import Json

_MAX_ID = 10**18


@dataclass(frozen=True, slots=True)
class LabelsChanged:
    """Annotations were submitted, edited or deleted.

    Actions: ``ANNOTATION_CREATED``, ``ANNOTATION_UPDATED``, ``ANNOTATIONS_CREATED``, ``ANNOTATIONS_DELETED``. A task
    that is skipped at once is no changed label; an annotation that becomes a skip, or stops being one, is. Deletions
    do not name their tasks: ``task_ids`` is empty.
    """

    project_id: int
    annotation_ids: tuple[int, ...]
    task_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TasksCreated:
    """Tasks were imported (``TASKS_CREATED``); a large import comes as several of these."""

    project_id: int
    task_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TrainingRequested:
    """Somebody pressed Start Training (``START_TRAINING``)."""

    project_id: int


@dataclass(frozen=True, slots=True)
class LabelConfigChanged:
    """The project's settings were saved (``PROJECT_UPDATED``), the label config perhaps among them."""

    project_id: int


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing to do, and why: another action, a skip, an empty list, or a webhook that carries no payload."""

    action: str
    reason: str


Event = LabelsChanged | TasksCreated | TrainingRequested | LabelConfigChanged | Ignored


def parse_event(body: object) -> Event:
    """Read the JSON body of one webhook. Raises ValueError with the reason when its shape is wrong, nothing else."""
    if not isinstance(body, dict):
        raise ValueError(f"a webhook's body must be a JSON object, not {_shown(body)}")  # noqa: TRY004 - all wrong shapes
    if "action" not in body:
        raise ValueError("a webhook's body must name its action")
    return event_of(body["action"], {key: value for key, value in body.items() if key != "action"})


def event_of(action: object, data: object) -> Event:
    """Read an event as ``fit(event, data)`` is given it: the action beside its payload. Raises ValueError."""
    if not isinstance(action, str) or not action:
        raise ValueError(f"a webhook's action must be a name, not {_shown(action)}")
    if data is not None and not isinstance(data, dict):
        raise ValueError(f"{_name(action)}: the payload must be a JSON object, not {_shown(data)}")
    payload = {key: value for key, value in (data or {}).items() if key != "action"}
    if action == "START_TRAINING":
        return TrainingRequested(_project(action, payload))
    if action not in _READERS:
        return Ignored(_name(action), "LabelLoop has no use for this action")
    if not payload:
        return Ignored(action, "it carries no payload (send_payload is off): the sweep will find what changed")
    return _READERS[action](action, payload)


def project_id(value: object) -> int:
    """Read a project's id as Label Studio writes it: ``7``, ``"7"``, ``"7.1795187630"`` or an object with ``id``.

    Raises ValueError for anything else.
    """
    if isinstance(value, dict):
        value = value.get("id")
    if isinstance(value, str):
        value = value.partition(".")[0]
    return _id("project", value)


def _project(action: str, payload: Json) -> int:
    if payload.get("project") is not None:
        return project_id(payload["project"])
    # Without its project an event still names it inside the annotation and the task.
    for key in ("annotation", "annotations", "task", "tasks"):
        for entry in _entries(action, key, payload.get(key)):
            if entry.get("project") is not None:
                return project_id(entry["project"])
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
    return LabelsChanged(_project(action, payload), _ids("annotation", changed), task_ids)


def _tasks_created(action: str, payload: Json) -> Event:
    if "tasks" not in payload:
        raise ValueError(f"{action} names no tasks")
    tasks = _ids("task", _entries(action, "tasks", payload["tasks"]))
    return TasksCreated(_project(action, payload), tasks) if tasks else Ignored(action, "it names no task")


def _label_config_changed(action: str, payload: Json) -> Event:
    return LabelConfigChanged(_project(action, payload))


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
