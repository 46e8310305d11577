"""The tasks of a Label Studio export, JSON and JSON_MIN alike, and what they tell without a label config."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from labelloop.data.formats.base import Hints
from labelloop.data.formats.entry import Entry
from labelloop.data.formats.json_array import array_objects
from labelloop.errors import ManifestError
from labelloop.kinds.majority import chosen, listed, regions_of
from labelloop.types import Json

_FIELDS = ("image", "img", "picture", "photo", "url", "image_url", "uri", "path")
"""Usual names of the field that has the picture's address; looked for in this order."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|/|.*\.(jpe?g|png|webp|gif|bmp|tiff?|avif)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Task:
    """One task: its data, all its annotations, and where it stands."""

    id: int
    data: Json
    annotations: list[object]
    entry: Entry


@dataclass(frozen=True, slots=True)
class Survey:
    """What an export's tasks show: the control tag, the field with the address, whether several labels are chosen."""

    control: str
    picture_field: str
    several: bool


def tasks_in(path: Path) -> Iterator[Task]:
    """Give the tasks of an export; raises ManifestError for what is none.

    JSON_MIN has an element for each annotation, those of one task side by side.
    """
    for _, group in groupby(array_objects(path), key=_group):
        entries = list(group)
        first = entries[0]
        task = first.task("id")
        if task is None:
            raise first.wrong("a task must have an 'id'")
        if _is_whole(first.values):
            yield Task(task, _object(first, "data"), _annotations(first), first)
        elif "annotator" in first.values:
            yield Task(task, first.values, [_from_minimal(entry.values) for entry in entries], first)
        else:
            raise first.wrong("it is neither a task of a JSON export (id, data, annotations) nor one of JSON_MIN")


def survey(path: Path, hints: Hints) -> Survey:
    """Look through an export; raises ManifestError where a name is needed and several would do, or none."""
    controls: set[str] = set()
    field, several = hints.picture_field, False
    for task in tasks_in(path):
        field = field or _picture_field(task.data)
        for annotation in task.annotations:
            found = _choices(annotation if isinstance(annotation, dict) else {})
            controls |= found.keys()
            several = several or len(found.get(hints.label_attribute or next(iter(found), ""), ())) > 1
    return Survey(_control(path, controls, hints.label_attribute), _checked(path, field), several)


def _checked(path: Path, field: str) -> str:
    if not field:
        raise ManifestError(f"{path}: no field of its tasks holds a picture's address. Name it (--picture-field)")
    return field


def _control(path: Path, controls: set[str], named: str) -> str:
    names = sorted(controls)
    if named and controls and named not in controls:
        raise ManifestError(f"{path}: no annotation is of the control tag {named[:60]!r}; there are {listed(*names)}")
    if not named and len(names) > 1:
        raise ManifestError(
            f"{path}: several control tags have choices: {listed(*names)}. Name one (--label-attribute)"
        )
    return named or "".join(names)


def _choices(annotation: Json) -> dict[str, set[str]]:
    """Map the control tags of an annotation's regions to what was chosen."""
    found: dict[str, set[str]] = {}
    for region in regions_of(annotation):
        name = region.get("from_name")
        picked = set(chosen([region.get("value")]))
        if isinstance(name, str) and picked:
            found.setdefault(name, set()).update(picked)
    return found


def _picture_field(data: Json) -> str:
    texts = [key for key, value in data.items() if isinstance(value, str) and _ADDRESS.match(value)]
    return next((key for key in _FIELDS if key in texts), texts[0] if len(texts) == 1 else "")


def _group(entry: Entry) -> tuple[object, int]:
    """Keep elements apart, but for those of JSON_MIN that are about one task."""
    task = entry.values.get("id")
    together = not _is_whole(entry.values) and isinstance(task, int)
    return (task, 0) if together else (None, entry.number)


def _is_whole(values: Json) -> bool:
    return "annotations" in values or "data" in values


def _object(entry: Entry, key: str) -> Json:
    value = entry.values.get(key)
    if not isinstance(value, dict):
        raise entry.wrong(f"{key!r} must be an object")
    return value


def _annotations(entry: Entry) -> list[object]:
    value = entry.values.get("annotations") or []
    if not isinstance(value, list):
        raise entry.wrong("'annotations' must be a list")
    return value


def _from_minimal(values: Json) -> Json:
    """Write a JSON_MIN element as an annotation: what stands between ``id`` and ``annotator`` is what was answered.

    A single choice is a text, several are ``{"choices": [...]}``, alone or in a list.
    """
    keys = list(values)
    answered = keys[keys.index("id") + 1 : keys.index("annotator")]
    return {"result": [{"from_name": key, "value": {"choices": _flat(values[key])}} for key in answered]}


def _flat(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = value if isinstance(value, list) else [value]
    return [name for part in parts for name in ([part] if isinstance(part, str) else chosen([part]))]
