"""What an export of Label Studio is about: which control tag is learned, of which kind, and which field has the input.

Where no label config says so, all annotations do; and where they would allow several, somebody has to.
"""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from labelloop.data.formats.base import Hints
from labelloop.data.formats.imagefolder import is_picture
from labelloop.data.formats.label_studio_tasks import ABOUT, Annotation, Task, tasks_in
from labelloop.data.formats.other_labels import (
    COMPARISONS,
    DATES,
    PARTS_OF_TEXTS,
    PLAIN_BOXES,
    RATINGS,
    TALKS,
    TEXT_NAMES,
    WORDS,
    Other,
    of_address,
    of_words,
    refused,
)
from labelloop.data.formats.table_columns import LABELS
from labelloop.errors import ManifestError
from labelloop.kinds.majority import listed
from labelloop.types import BOXES, IMAGES, SPANS, TEXTS, Json

SIDE = "split"
"""The field of a task's data that may name its side."""

_FIELDS = ("image", "img", "picture", "photo", "url", "image_url", "uri", "path")
"""Usual names of the field that has the picture's address; looked for in this order."""

_ADDRESS = re.compile(
    r"\s*([A-Za-z][A-Za-z0-9+.-]*://|data:image/|/)|.*\.(jpe?g|png|webp|gif|bmp|tiff?|avif)\s*$", re.IGNORECASE
)

_REGIONS = {PARTS_OF_TEXTS: SPANS, PLAIN_BOXES: BOXES}
"""The kinds that what is drawn belongs to."""

_WHOLE = (WORDS, RATINGS, COMPARISONS, DATES, TALKS)
"""What is said of a whole task may stand beside what is drawn."""

_MOST_VALUES = 10_000
"""Different values of a field, none of which comes twice, by which it is known to hold no labels."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What an export's tasks show: the control tag, the data's field with the input, and the kind that is learned.

    ``several`` says that several labels are chosen, ``scattered`` that a table's rows of one task do not stand side by
    side.
    """

    control: str
    field: str
    kind: str
    several: bool
    scattered: bool = False
    remarks: tuple[str, ...] = ()


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


@dataclass(slots=True)
class _Marks:
    """What one control tag has drawn: the kinds of it, and whether any has a label."""

    kinds: dict[str, None] = field(default_factory=dict)
    labeled: bool = False


class _Data:
    """Gathers which fields of the tasks' data hold addresses, and which texts."""

    def __init__(self) -> None:
        self.addresses: Counter[str] = Counter()
        self.others: dict[str, str] = {}
        self._texts: Counter[str] = Counter()
        self._sentences: Counter[str] = Counter()
        self._pictures: Counter[str] = Counter()
        self._usual = ""
        self._tasks = self._addressed = 0

    def add(self, data: Json) -> None:
        found: list[str] = []
        self._tasks += 1
        for key, value in data.items():
            if not isinstance(value, str) or not value.strip():
                continue
            if not _ADDRESS.match(value):
                self._texts[key] += 1
                self._sentences[key] += len(value.split()) > 1
                continue
            found.append(key)
            self.addresses[key] += 1
            self._pictures[key] += is_picture(value.strip()) or value.lstrip().startswith("data:image/")
            if other := of_address(value):
                self.others[key] = other
        self._addressed += bool(found)
        self._usual = self._usual or next((key for key in _FIELDS if key in found), "")

    def is_text(self, key: str) -> bool:
        """Tell a field of texts, of which some may look like an address, from one of addresses."""
        named = key.lower() in TEXT_NAMES and not self._pictures[key] and key not in self.others
        return named or (self._texts[key] > self.addresses[key] and self._sentences[key] > 0)

    def pictures(self) -> list[str]:
        """Give the field of pictures, or all that it may be: the usual one, else what has addresses always or ever."""
        if self._usual:
            return [self._usual]
        held = [key for key in self.addresses if not (key.lower() in TEXT_NAMES and self.is_text(key))]
        always = [key for key in held if self.addresses[key] == self._addressed]
        # What lies beside the list may be named without a suffix.
        relative = [key for key in _FIELDS if key in self._texts and not self._sentences[key]]
        return always if len(always) == 1 else held or relative[:1]

    def sentences(self, but: Collection[str]) -> list[str]:
        """Give the field of texts, or all that it may be; ``but`` are fields that hold something else."""
        held = self._texts + self.addresses
        always = [key for key, count in held.items() if count == self._tasks and key not in but and self.is_text(key)]
        usual = next((key for name in TEXT_NAMES for key in always if key.lower() == name), "")
        return [usual] if usual else always


class _Survey:
    """Gathers what an export's tasks show."""

    def __init__(self, path: Path, hints: Hints) -> None:
        self._path, self._named, self._field_named = path, hints.label_attribute, hints.picture_field
        self._answers: dict[str, _Answers] = {}
        self._marks: dict[str, _Marks] = {}
        self._data = _Data()
        self._placed: set[str] | None = set()
        self._alone: set[str] = set()
        self._about: set[str] = set()
        self._remarks: list[str] = []
        self._seen: set[int] = set()
        self._scattered = False

    def add(self, task: Task) -> None:
        """Look at a task."""
        self._data.add(task.data)
        if task.open and task.id is not None:
            self._scattered = self._scattered or task.id in self._seen
            self._seen.add(task.id)
        for annotation in task.annotations:
            self._about |= annotation.about
            for name, drawn in annotation.drawn.items():
                marks = self._marks.setdefault(name, _Marks())
                marks.kinds |= dict.fromkeys(sorted({one.kind for one in drawn}))
                marks.labeled = marks.labeled or any(one.regions for one in drawn)
            if annotation.open:
                known = self._placed is not None and annotation.answers is not None
                self._placed = (self._placed or set()) | (annotation.answers or set()) if known else None
            for name, labels in annotation.labels.items():
                if not annotation.drawn:
                    self._alone.add(name)
                if not annotation.open or not _ADDRESS.match(labels[0]):
                    self._answers.setdefault(name, _Answers()).add(name, labels, annotation)

    @property
    def _kinds(self) -> dict[str, None]:
        return dict.fromkeys(kind for marks in self._marks.values() for kind in marks.kinds)

    def result(self) -> Survey:
        """Say what was found; raises ManifestError as ``survey``."""
        control, kind = self._control()
        name, is_text = self._input(control, kind)
        if not is_text and (other := self._data.others.get(name)):
            raise refused(self._path, Other(other, f"by the addresses in its field {name[:60]!r}"))
        several = control in self._answers and self._answers[control].several
        drawing = [] if kind or self._named else sorted(name for name, one in self._marks.items() if one.labeled)
        remarks = [f"its control tag {one[:60]!r} draws: name it (--label-attribute) to learn that" for one in drawing]
        remarks += self._remarks
        return Survey(control, name, kind or (TEXTS if is_text else IMAGES), several, self._scattered, tuple(remarks))

    def _input(self, control: str, kind: str) -> tuple[str, bool]:
        """Give the field of the input, and whether that is a text; raises ManifestError where several would do."""
        if name := self._field_named:
            return name, kind == SPANS or (kind != BOXES and self._data.is_text(name))
        asked = sorted(name for name in self._about if self._data.is_text(name))
        pictures = [] if kind == SPANS or (asked and not kind) else self._data.pictures()
        if not pictures and kind != BOXES:
            others = {control, SIDE, *ABOUT, *(self._placed or ())}
            names = asked if len(asked) == 1 else self._data.sentences(others)
            if len(names) > 1:
                raise self._wrong(
                    f"several fields of its tasks hold texts: {listed(*names)}. Name one (--picture-field)"
                )
            if names:
                return names[0], True
        if len(pictures) > 1:
            raise self._wrong(
                f"several fields of its tasks hold addresses: {listed(*pictures)}. Name the picture's (--picture-field)"
            )
        if not pictures:
            raise self._wrong("no field of its tasks holds a text or a picture's address. Name it (--picture-field)")
        return pictures[0], False

    def _control(self) -> tuple[str, str]:
        """Give the control tag, and its kind where it draws; raises ManifestError where several would do, or none."""
        told = sorted(name for name, answers in self._answers.items() if answers.told)
        if self._named:
            names = sorted({*self._answers, *self._marks} - {""})
            if self._named in self._marks and self._named not in self._answers:
                return self._named, self._drawn([self._named])
            if self._answers and self._named not in names:
                raise self._wrong(
                    f"no annotation is of the control tag {self._named[:60]!r}; there are {listed(*names)}"
                )
            return self._named, ""
        if len(told) > 1:
            raise self._wrong(f"several control tags have choices: {listed(*told)}. Name one (--label-attribute)")
        return self._likely(told)

    def _drawn(self, names: list[str], instead: str = "") -> str:
        """Give the kind of what control tags draw; raises ManifestError where it is not learned."""
        kinds = dict.fromkeys(kind for name in names for kind in self._marks[name].kinds)
        shapes = [kind for kind in kinds if kind not in _WHOLE]
        if len(shapes) != 1 or shapes[0] not in _REGIONS or not any(self._marks[name].labeled for name in names):
            raise refused(self._path, Other(" and ".join(kinds), "in its annotations"), instead)
        return _REGIONS[shapes[0]]

    def _likely(self, told: list[str]) -> tuple[str, str]:
        """Give the control tag where nobody names it; of fields, the one whose values come again, as labels do."""
        fields = sorted(name for name, answers in self._answers.items() if not answers.told and name != SIDE)
        # Where none of the fields is an answer by its place, the data have one of its name.
        fields = [name for name in fields if name in (self._placed or fields)] or fields
        words = [name for name in fields if self._answers[name].are_words]
        labels = [name for name in fields if name not in words]
        again = [name for name in labels if self._answers[name].repeated]
        # What was chosen without a region beside it was chosen for the picture; in a table it may be the task's data.
        of_picture = [name for name in labels if name in self._alone & (self._placed or set())]
        if self._kinds and not told and len(of_picture) != 1:
            instead = f"Name the field of classes (--label-attribute) {_if_one(fields)}"
            kind = self._drawn(list(self._marks), instead)
            drawing = sorted(name for name, marks in self._marks.items() if name and marks.labeled)
            if len(drawing) > 1:
                raise self._wrong(f"several control tags draw: {listed(*drawing)}. Name one (--label-attribute)")
            self._remarks += [
                f"its field {one[:60]!r} may be classes: name it (--label-attribute) to learn those" for one in labels
            ]
            return "".join(drawing), kind
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
        pictured = bool(self._data.addresses or self._field_named)
        if len(found) > 1 or (words and pictured and not told and found[0].lower() not in LABELS):
            raise self._wrong(
                f"which of its fields holds what was chosen is not plain: {listed(*dict.fromkeys([*found, *words]))}. "
                "Name it (--label-attribute)"
            )
        return "".join(found), ""

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
