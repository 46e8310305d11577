"""The tasks of Label Studio's exports, JSON, JSON_MIN, CSV and TSV alike: their data, and what annotators answered.

An element of JSON_MIN and a row of a table say what one annotation answers, beside the task's data and without telling
the two apart: whose fields they are is found when all of them have been seen.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from labelloop.data.formats.entries import Entry, array_objects, first_line, object_lines, table_rows
from labelloop.data.formats.label_studio_regions import Drawn, drawn_in
from labelloop.kinds.majority import changed_later, chosen, regions_of
from labelloop.types import Json

_NOTHING: Mapping[str, tuple[Drawn, ...]] = MappingProxyType({})

ALWAYS = frozenset(("annotator", "annotation_id"))
"""Columns that every table of Label Studio has."""

ABOUT = ALWAYS | {"id", "created_at", "updated_at", "lead_time", "agreement", "completed_by"}
"""What an element of JSON_MIN and a row say of an annotation itself."""

_DATA = "_data_"
"""How a table's columns of data begin that are called like a control tag."""


class Annotation(NamedTuple):
    """What one annotator answered: the labels by control tag, and what the other results mark, likewise.

    ``open`` says that the names are fields of which some are no control tags, but the task's data; ``told`` are those
    whose values say themselves that they are choices, ``answers`` those that stand where answers do; None where the
    order says nothing. Data that are called like a control tag stand elsewhere, and say what was answered. ``about``
    are the object tags that something was chosen for.
    """

    labels: Mapping[str, tuple[str, ...]]
    drawn: Mapping[str, tuple[Drawn, ...]] = _NOTHING
    skipped: bool = False
    ground_truth: bool = False
    confirmed: bool = False
    open: bool = False
    told: frozenset[str] = frozenset()
    answers: frozenset[str] | None = None
    about: frozenset[str] = frozenset()

    @property
    def kinds(self) -> frozenset[str]:
        """Of which kinds the other results are."""
        return frozenset(one.kind for found in self.drawn.values() for one in found)


class Task(NamedTuple):
    """One task: its id where it has one, its data, its annotations, and where it stands.

    ``predicted`` says that models answered it, ``open`` that its data are not told from what was answered.
    """

    id: int | None
    data: Json
    annotations: tuple[Annotation, ...]
    entry: Entry
    predicted: bool = False
    open: bool = False


def tasks_in(path: Path, *, scattered: bool = False) -> Iterator[Task]:
    """Give the tasks of an export; raises ManifestError for what is none.

    JSON_MIN has an element for each annotation, a table a row. Those of one task stand side by side, unless they are
    ``scattered``, which all of them are held in memory for.
    """
    entries = entries_in(path)
    for group in _together(entries) if scattered else (list(found) for _, found in groupby(entries, key=_group)):
        first = group[0]
        task = first.task("id")
        if _is_whole(first.values):
            annotations = tuple(map(_whole, _annotations(first)))
            yield Task(task, _object(first, "data"), annotations, first, bool(first.values.get("predictions")))
            continue
        for entry in group:
            if "annotator" not in entry.values:
                raise entry.wrong(
                    "it is neither a task of a JSON export (data, annotations) nor one of JSON_MIN. "
                    f"Its keys are {', '.join(entry.values)[:100]!r}; a list that no tool wrote is best a table with a "
                    "header (docs/manifests.md)"
                )
        annotations = tuple(_row(entry.values) for entry in group if _is_annotated(entry.values))
        yield Task(task, first.values, annotations, first, open=True)


def entries_in(path: Path) -> Iterator[Entry]:
    """Give an export's objects, those of a table with the values that its cells spell; raises ManifestError."""
    begin = first_line(path)[:1]
    if begin == "[":
        return array_objects(path)
    if begin == "{":
        return object_lines(path)
    return map(_decoded, table_rows(path))


def _decoded(entry: Entry) -> Entry:
    """Read the cells of a row: empty ones are nothing, what was no text is spelled as JSON."""
    values: Json = {}
    for name, cell in entry.values.items():
        if not cell.strip() and name != "annotator":
            continue
        values[name] = cell
        if name == "id" and cell.strip().isascii() and cell.strip().isdigit():
            values[name] = int(cell)
        elif cell[:1] in ("[", "{"):
            try:
                values[name] = json.loads(cell)
            except (ValueError, RecursionError):
                continue
    return Entry(entry.source, entry.number, values, entry.unit)


def _whole(annotation: Json) -> Annotation:
    """Read an annotation of a JSON export, or a completion, as they were called before."""
    labels: dict[str, tuple[str, ...]] = {}
    drawn: dict[str, tuple[Drawn, ...]] = {}
    about: set[str] = set()
    for region in regions_of(annotation):
        name, value = region.get("from_name"), region.get("value")
        if not isinstance(value, dict):
            continue
        if marked := drawn_in(value, region):
            key = name if isinstance(name, str) else ""
            drawn[key] = (*drawn.get(key, ()), marked)
        elif (found := _chosen(value)) and isinstance(name, str):
            labels[name] = (*labels.get(name, ()), *found)
            about |= {tag} if isinstance(tag := region.get("to_name"), str) else set()
    skipped = annotation.get("was_cancelled") is True or annotation.get("skipped") is True
    ground_truth = annotation.get("ground_truth") is True
    confirmed = ground_truth and changed_later(annotation)
    return Annotation(labels, drawn, skipped, ground_truth, confirmed, about=frozenset(about))


def _row(values: Json) -> Annotation:
    """Read an element of JSON_MIN or a row: a single choice is a text, all else an object or a list of them."""
    names = [name for name in values if name not in ABOUT and not name.startswith(_DATA)]
    answers = _answers(list(values))
    labels = {name: found for name in names if (found := tuple(_labels(values[name])))}
    told = frozenset(name for name in names if any(map(_is_choice, _parts(values[name]))))
    marks = {name: tuple(_drawn(values[name])) for name in names if name in (answers or names)}
    drawn = {name: marked for name, marked in marks.items() if marked}
    return Annotation(labels, drawn, open=True, told=told, answers=answers)


def _drawn(value: object) -> Iterator[Drawn]:
    """Give what a field of JSON_MIN or a cell marks."""
    for part in _parts(value):
        if isinstance(part, dict) and (found := drawn_in(part, part)):
            yield found


def _answers(keys: list[str]) -> frozenset[str] | None:
    """Give the names of answers where keys stand in Label Studio's order: data, id, answers, annotator; else None."""
    if "id" not in keys or keys[keys.index("annotator") + 1 :][:1] != ["annotation_id"]:
        return None
    return frozenset(keys[keys.index("id") + 1 : keys.index("annotator")])


def _labels(value: object) -> Iterator[str]:
    """Give the labels that a field of JSON_MIN or a cell chooses."""
    for part in _parts(value):
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict) and drawn_in(part, part) is None:
            yield from _chosen(part)


def _chosen(value: Json) -> tuple[str, ...]:
    """Give the labels that one result chooses; one of a taxonomy is its path with slashes."""
    choices, paths = tuple(chosen((value,))), value.get("taxonomy")
    return choices if paths is None else choices + tuple(_joined(paths))


def _joined(paths: object) -> Iterator[str]:
    for path in paths if isinstance(paths, list) else ():
        if isinstance(path, list) and path and all(isinstance(step, str) for step in path):
            yield "/".join(path)


def _is_choice(value: object) -> bool:
    return isinstance(value, dict) and ("choices" in value or "taxonomy" in value)


def _parts(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _is_annotated(values: Json) -> bool:
    """Tell a task that nobody has annotated: it is exported, too, where all tasks are asked for."""
    return values.get("annotation_id") not in (None, "") if "annotation_id" in values else bool(values.get("annotator"))


def _together(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    groups: dict[tuple[object, int], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_group(entry), []).append(entry)
    yield from groups.values()


def _group(entry: Entry) -> tuple[object, int]:
    """Keep elements apart, but for those of JSON_MIN and tables that are about one task."""
    if _is_whole(entry.values) or not isinstance(task := entry.values.get("id"), int):
        return None, entry.number
    return task, 0


def _is_whole(values: Json) -> bool:
    return "annotator" not in values and "data" in values


def _object(entry: Entry, key: str) -> Json:
    value = entry.values.get(key)
    if not isinstance(value, dict):
        raise entry.wrong(f"{key!r} must be an object")
    return value


def _annotations(entry: Entry) -> list[Json]:
    key = "completions" if entry.values.get("annotations") is None else "annotations"
    value = entry.values.get(key) or []
    if not isinstance(value, list):
        raise entry.wrong(f"{key!r} must be a list")
    return [one for one in value if isinstance(one, dict)]
