"""Label Studio's exports, JSON and JSON_MIN: tasks with the annotations of one annotator or several.

Read twice: the control tag and the kind are known only when every annotation has been seen.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from labelloop.data.formats.base import Collector, Format, Hints, written
from labelloop.data.formats.entries import Entry, array_objects, side_named, write_parts
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError
from labelloop.kinds.majority import Truth, Vote, chosen, listed, regions_of, settle, votes_of
from labelloop.types import Choice, Json

_FIELD, _SIDE, _CONTROL = "image", "split", "label"

_FIELDS = ("image", "img", "picture", "photo", "url", "image_url", "uri", "path")
"""Usual names of the field that has the picture's address; looked for in this order."""

_ADDRESS = re.compile(
    r"\s*([A-Za-z][A-Za-z0-9+.-]*://|data:image/|/)|.*\.(jpe?g|png|webp|gif|bmp|tiff?|avif)\s*$", re.IGNORECASE
)


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


def read_label_studio(path: Path, hints: Hints, base: str) -> Listing:
    """Read an export: the majority's labels; ties, skipped and unlabeled tasks are left out. Raises ManifestError."""
    seen = survey(path, hints)
    choice: Choice = hints.choice or ("multiple" if seen.several else "single")
    found = Collector(path, hints)
    for task in tasks_in(path):
        truth = _truth(task, seen, choice)
        address = task.data.get(seen.picture_field)
        if truth.reason:
            found.leave_out(truth.reason, task.id)
        elif not isinstance(address, str) or not address:
            found.leave_out(f"no {seen.picture_field!r} in its data", task.id)
        else:
            side = task.data.get(_SIDE)
            named = side_named(side) if isinstance(side, str) else None
            found.take(task.entry.address(address, base), truth.labels, task.id, named)
    return found.listing(choice)


def _truth(task: Task, seen: Survey, choice: Choice) -> Truth:
    return settle(votes_of(task.annotations, lambda annotation: _vote(annotation, seen.control, choice)), choice)


def _vote(annotation: Json, control: str, choice: Choice) -> Vote:
    regions = regions_of(annotation)
    names = frozenset(chosen(region.get("value") for region in regions if region.get("from_name") == control))
    if not names and choice == "single":
        return Vote(reason="annotated without a label")
    if len(names) > 1 and choice == "single":
        return Vote(reason=f"annotated with several labels ({listed(*sorted(names))}), of which one is allowed")
    return Vote(names)


def write_label_studio(listing: Listing, target: Path, hints: Hints) -> None:
    """Write tasks with one annotation each, as Label Studio imports them; raises ManifestError."""
    write_parts(target, _parts(listing, target.absolute().parent, hints))


def _parts(listing: Listing, folder: Path, hints: Hints) -> Iterator[str]:
    between = "[\n"
    for record in listing.records:
        yield between + json.dumps(_task(record, folder, hints))
        between = ",\n"
    yield "\n]\n" if listing.records else "[]\n"


def _task(record: Record, folder: Path, hints: Hints) -> Json:
    field = hints.picture_field or _FIELD
    data: Json = {field: written(record.uri, folder)}
    if record.side:
        data[_SIDE] = record.side
    region = {
        "from_name": hints.label_attribute or _CONTROL,
        "to_name": field,
        "type": "choices",
        "value": {"choices": record.labels},
    }
    return {"id": record.task, "data": data, "annotations": [{"result": [region] if record.labels else []}]}


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


LABEL_STUDIO = Format(
    "label-studio",
    "Label Studio's export (JSON or JSON_MIN)",
    frozenset({"sides", "names", "several labels", "task ids"}),
    read_label_studio,
    write_label_studio,
    ".json",
)
