"""Label Studio's exports, JSON, JSON_MIN, CSV and TSV: tasks with the annotations of one annotator or several.

Read twice: the control tag and the kind are known only when every annotation has been seen.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from labelloop.data.classes import Find
from labelloop.data.formats.base import Collector, Format, Hints, written
from labelloop.data.formats.entries import side_named, table_header, write_parts
from labelloop.data.formats.label_studio_tasks import ALWAYS, Annotation, Task, tasks_in
from labelloop.data.formats.other_labels import CLASSES_OF_TEXTS, WORDS, Other, of_address, of_words, refused
from labelloop.data.formats.table_columns import LABELS
from labelloop.data.listing import Listing, Record, meaning
from labelloop.errors import ManifestError
from labelloop.kinds.majority import Truth, Vote, listed, settle
from labelloop.types import IMAGES, Choice, Json, value_at

_FIELD, _SIDE, _CONTROL = "image", "split", "label"

_FIELDS = ("image", "img", "picture", "photo", "url", "image_url", "uri", "path")
"""Usual names of the field that has the picture's address; looked for in this order."""

_ADDRESS = re.compile(
    r"\s*([A-Za-z][A-Za-z0-9+.-]*://|data:image/|/)|.*\.(jpe?g|png|webp|gif|bmp|tiff?|avif)\s*$", re.IGNORECASE
)

_MOST_VALUES = 10_000
"""Different values of a field, none of which comes twice, by which it is known to hold no labels."""


def is_table_of_label_studio(header: str) -> bool:
    """Tell a CSV or TSV export by its first line."""
    try:
        return set(table_header(header)[1]) >= ALWAYS
    except ManifestError:
        return False


def read_label_studio(path: Path, hints: Hints, base: str) -> Listing:
    """Read an export: the majority's labels; ties, skipped and unlabeled tasks are left out. Raises ManifestError."""
    seen = survey(path, hints)
    choice: Choice = hints.choice or ("multiple" if seen.several else "single")
    found, find = Collector(path, hints), hints.finder()
    for task in tasks_in(path, scattered=seen.scattered):
        truth = _truth(task, seen.control, choice, find)
        address = value_at(task.data, seen.picture_field)
        if truth.reason:
            found.leave_out(truth.reason, task.id)
        elif not isinstance(address, str) or not address:
            found.leave_out(f"no {seen.picture_field!r} in its data", task.id)
        else:
            side = task.data.get(_SIDE)
            named = side_named(side) if isinstance(side, str) else None
            found.take(task.entry.address(address, base), truth.labels, task.id, named, confirmed=truth.confirmed)
    return found.listing(choice)


def _truth(task: Task, control: str, choice: Choice, find: Find | None) -> Truth:
    if task.predicted and not task.annotations:
        return Truth(reason="not annotated: only models have answered it")
    return settle([_vote(annotation, control, choice, find) for annotation in task.annotations], choice)


def _vote(annotation: Annotation, control: str, choice: Choice, find: Find | None) -> Vote:
    if annotation.skipped:
        return Vote(skipped=True)
    said = annotation.labels.get(control, ())
    names, gone = (tuple(sorted(set(said))), ()) if find is None else meaning(said, find)
    reason = ""
    if gone and not names:
        reason = f"labeled {listed(*gone)}, which is none of the classes"
    elif choice == "single" and len(names) + len(gone) > 1:
        reason = f"annotated with several labels ({listed(*names, *gone)}), of which one is allowed"
    elif choice == "single" and not names:
        reason = f"annotated with {' and '.join(sorted(annotation.kinds))}, and without a label of the picture"
        reason = reason if annotation.kinds else "annotated without a label"
    return Vote(frozenset(names), reason, ground_truth=annotation.ground_truth, confirmed=annotation.confirmed)


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


@dataclass(frozen=True, slots=True)
class Survey:
    """What an export's tasks show: the control tag, the field with the address, whether several labels are chosen.

    ``scattered`` says that a table's rows of one task do not stand side by side.
    """

    control: str
    picture_field: str
    several: bool
    scattered: bool = False


@dataclass(slots=True)
class _Answers:
    """What is seen of one control tag, or of a field that may be one."""

    several: bool = False
    told: bool = False
    repeated: bool = False
    values: set[str] = field(default_factory=set)

    def add(self, name: str, labels: tuple[str, ...], annotation: Annotation) -> None:
        """Take the labels that one annotation has of that name."""
        self.several = self.several or len(set(labels)) > 1
        self.told = self.told or not annotation.open or name in annotation.told
        if not self.told and not self.repeated and len(self.values) < _MOST_VALUES:
            self.repeated = not self.values.isdisjoint(labels)
            self.values.update(labels)

    @property
    def are_words(self) -> bool:
        """Whether these are no labels, but sentences, no two of them the same."""
        return not (self.told or self.repeated) and bool(of_words(self.values, self.values))


class _Survey:
    """Gathers what an export's tasks show."""

    def __init__(self, path: Path, hints: Hints) -> None:
        self._path, self._named, self._picture_field = path, hints.label_attribute, hints.picture_field
        self._answers: dict[str, _Answers] = {}
        self._kinds: dict[str, None] = {}
        self._placed: set[str] | None = set()
        self._alone: set[str] = set()
        self._addresses: Counter[str] = Counter()
        self._others: dict[str, str] = {}
        self._tasks = 0
        self._texts = False
        self._seen: set[int] = set()
        self._scattered = False

    def add(self, task: Task) -> None:
        """Look at a task."""
        self._add_data(task.data)
        if task.open and task.id is not None:
            self._scattered = self._scattered or task.id in self._seen
            self._seen.add(task.id)
        for annotation in task.annotations:
            if annotation.kinds:
                self._kinds |= dict.fromkeys(sorted(annotation.kinds))
            if annotation.open:
                known = self._placed is not None and annotation.answers is not None
                self._placed = (self._placed or set()) | (annotation.answers or set()) if known else None
            for name, labels in annotation.labels.items():
                if not annotation.kinds:
                    self._alone.add(name)
                if not annotation.open or not _ADDRESS.match(labels[0]):
                    self._answers.setdefault(name, _Answers()).add(name, labels, annotation)

    def _add_data(self, data: Json) -> None:
        found: list[str] = []
        for key, value in data.items():
            if not isinstance(value, str):
                continue
            self._texts = True
            if _ADDRESS.match(value):
                found.append(key)
                self._addresses[key] += 1
                if other := of_address(value):
                    self._others[key] = other
        self._tasks += bool(found)
        self._picture_field = self._picture_field or next((key for key in _FIELDS if key in found), "")

    def result(self) -> Survey:
        """Say what was found; raises ManifestError as ``survey``."""
        control, picture_field = self._control(), self._field()
        if other := self._others.get(picture_field):
            raise refused(self._path, Other(other, f"by the addresses in its field {picture_field[:60]!r}"))
        several = control in self._answers and self._answers[control].several
        return Survey(control, picture_field, several, self._scattered)

    def _field(self) -> str:
        """Give the usual field, else the only one that has addresses, or that always has one."""
        if self._picture_field:
            return self._picture_field
        always = [key for key, count in self._addresses.items() if count == self._tasks]
        names = always if len(always) == 1 else list(self._addresses)
        if len(names) > 1:
            raise self._wrong(
                f"several fields of its tasks hold addresses: {listed(*names)}. Name the picture's (--picture-field)"
            )
        if names:
            return names[0]
        raise self._nowhere()

    def _control(self) -> str:
        told = sorted(name for name, answers in self._answers.items() if answers.told)
        names = sorted(self._answers)
        if self._named:
            if names and self._named not in names:
                raise self._wrong(
                    f"no annotation is of the control tag {self._named[:60]!r}; there are {listed(*names)}"
                )
            return self._named
        if len(told) > 1:
            raise self._wrong(f"several control tags have choices: {listed(*told)}. Name one (--label-attribute)")
        return self._likely(told)

    def _likely(self, told: list[str]) -> str:
        """Give the control tag where nobody names it; of fields, the one whose values come again, as labels do."""
        fields = sorted(name for name, answers in self._answers.items() if not answers.told and name != _SIDE)
        # Where none of the fields is an answer by its place, the data have one of its name.
        fields = [name for name in fields if name in (self._placed or fields)] or fields
        words = [name for name in fields if self._answers[name].are_words]
        labels = [name for name in fields if name not in words]
        again = [name for name in labels if self._answers[name].repeated]
        # What was chosen without a region beside it was chosen for the picture; in a table it may be the task's data.
        of_picture = [name for name in labels if name in self._alone and self._placed]
        if self._kinds and not told and len(of_picture) != 1:
            kinds = Other(" and ".join(self._kinds), "in its annotations")
            raise refused(self._path, kinds, f"Name the field of classes (--label-attribute) {_if_one(fields)}")
        if words == fields != [] and not told:
            named = f"no two are the same in its field {fields[0][:60]!r}"
            raise refused(self._path, Other(WORDS, named), f"Name it (--label-attribute) {_if_one(fields)}")
        found = (
            told
            or (self._kinds and of_picture)
            or again
            or [name for name in labels if name.lower() in LABELS]
            or labels
        )
        if len(found) > 1 or (words and not told and found[0].lower() not in LABELS):
            if not self._addresses and not self._picture_field:
                raise self._nowhere()
            raise self._wrong(
                f"which of its fields holds what was chosen is not plain: {listed(*dict.fromkeys([*found, *words]))}. "
                "Name it (--label-attribute)"
            )
        return "".join(found)

    def _nowhere(self) -> ManifestError:
        none = "no field of its tasks holds a picture's address"
        if self._texts:
            return refused(self._path, Other(CLASSES_OF_TEXTS, none), "Name it (--picture-field) if one does")
        return self._wrong(f"{none}. Name it (--picture-field)")

    def _wrong(self, what: str) -> ManifestError:
        return ManifestError(f"{self._path}: {what}")


def _if_one(fields: list[str]) -> str:
    return f"if one of {listed(*fields)} is" if fields else "if there is one"


def survey(path: Path, hints: Hints) -> Survey:
    """Look through an export; raises ManifestError where a name is needed and several would do, or none."""
    found = _Survey(path, hints)
    for task in tasks_in(path):
        found.add(task)
    return found.result()


LABEL_STUDIO = Format(
    "label-studio",
    "Label Studio's export (JSON, JSON_MIN, CSV or TSV)",
    frozenset({IMAGES}),
    frozenset({"sides", "names", "several labels", "task ids"}),
    read_label_studio,
    write_label_studio,
    ".json",
)
