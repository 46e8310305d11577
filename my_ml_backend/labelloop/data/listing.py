"""Labeled inputs by their addresses, before any is fetched: what every format is read to and written from."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

from labelloop.data.classes import Find, class_finder, twin_names
from labelloop.errors import ManifestError
from labelloop.kinds.majority import listed
from labelloop.regions import read_regions, write_regions
from labelloop.types import BOXES, IMAGES, SPANS, TEXTS, Choice, LeftOut, Side

OF_REGIONS = frozenset({SPANS, BOXES})
"""The kinds whose truth is regions (regions.py): labels are those that occur, and none at all is an answer."""

OF_TEXTS = frozenset({TEXTS, SPANS})
"""The kinds whose inputs are texts: one that is not in its list lies in a file."""

_MOST_REMARKS, _SHOWN = 5, 60


@dataclass(frozen=True, slots=True)
class Record:
    """One labeled input: its address, labels (sorted) and task; its side if the source names one.

    Local files have the form ``file:///folder/name``. ``content`` is the sha256 of the bytes (hex) where it is known.
    ``text`` is the input itself where it stands in the task; it has no address then. ``result`` is all that its truth
    says, where labels alone do not say it, ``confirmed`` that somebody has looked at it again (see ``Item``). ``size``
    is the upright picture's width and height in pixels, where the source says so.
    """

    uri: str
    labels: tuple[str, ...]
    task: int
    side: Side | None = None
    content: str = ""
    text: str = ""
    result: str = ""
    confirmed: bool = False
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source says: records in its order, and the tasks it names whose labels cannot be used.

    All labels of records are among the classes. ``remarks`` say what was made of a source that could be meant
    otherwise.
    """

    choice: Choice
    classes: tuple[str, ...]
    records: tuple[Record, ...]
    left_out: tuple[LeftOut, ...] = ()
    kind: str = IMAGES
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        records: Iterable[Record],
        left_out: Iterable[LeftOut] = (),
        choice: Choice | None = None,
        classes: Iterable[str] | None = None,
        find: Find | None = None,
        kind: str = IMAGES,
    ) -> Self:
        """Make a listing; where the source does not say, the records tell choice and classes (in alphabetical order).

        The choice is ``multiple`` when one of them has several labels, and wherever regions are learned. With
        ``single`` a record that has not exactly one label is left out. Where there are ``classes``, labels become those
        they mean, which ``find`` says, by default names in any letter case, and regions that mean none go; a record all
        of whose labels mean none is left out, too.
        """
        found, outs = list(records), list(left_out)
        known = None if classes is None else tuple(dict.fromkeys(classes))
        find = None if known is None else find or class_finder(known)
        meant = _Meanings(find)
        choice = (
            "multiple"
            if kind in OF_REGIONS
            else choice or ("multiple" if any(meant.count(record.labels) > 1 for record in found) else "single")
        )
        kept: list[Record] = []
        for record in found:
            labels, reason = meant.of(record.labels, choice)
            if reason:
                outs.append(LeftOut(record.task, reason))
            else:
                kept.append(_relabelled(record, labels, find if kind in OF_REGIONS else None))
        if known is None:
            known = tuple(sorted({label for record in kept for label in record.labels}))
        return cls(choice, known, tuple(kept), tuple(outs), kind, meant.remarks())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should look at before anything is learned: the remarks, and classes that are nearly alike."""
        return (*self.remarks, *twin_names(self.classes))

    def on(self, side: Side) -> Self:
        """Give the same listing with every record on one side."""
        return replace(self, records=tuple(replace(record, side=side) for record in self.records))

    def joined(self, other: Self) -> Self:
        """Put another listing behind this one; its tasks are numbered on where both have the same.

        Raises ManifestError where the two are of different kinds.
        """
        if self.kind != other.kind and not (self.records and other.records):
            # What has no record does not say what it is for.
            kind = self.kind if self.records else other.kind
            return replace(self, kind=kind).joined(replace(other, kind=kind))
        if self.kind != other.kind:
            raise ManifestError(f"one list is for {self.kind}, another for {other.kind}: a run learns one of them")
        mine = set(self.tasks())
        shift = max(mine, default=0) if not mine.isdisjoint(other.tasks()) else 0
        return replace(
            self,
            choice="multiple" if "multiple" in (self.choice, other.choice) else "single",
            classes=tuple(dict.fromkeys((*self.classes, *other.classes))),
            records=self.records + tuple(replace(one, task=one.task + shift) for one in other.records),
            left_out=self.left_out + tuple(replace(one, task=one.task + shift) for one in other.left_out),
            remarks=tuple(dict.fromkeys((*self.remarks, *other.remarks))),
        )

    def tasks(self) -> Iterator[int]:
        """Give the ids of all tasks, of those left out too."""
        yield from (record.task for record in self.records)
        yield from (out.task for out in self.left_out)


def _relabelled(record: Record, labels: tuple[str, ...], find: Find | None) -> Record:
    """Give a record its classes; with ``find`` its regions, too."""
    if find is None or all(find(name) == name for name in record.labels):
        return record if labels == record.labels else replace(record, labels=labels)
    named = [replace(one, label=name) for one in read_regions(record.result) if (name := find(one.label)) is not None]
    return replace(record, labels=labels, result=write_regions(named))


class _Meanings:
    """The classes that records' labels mean; without a finder, every label is a class. Records share what is equal."""

    def __init__(self, find: Find | None) -> None:
        self._find = find
        self._found: dict[tuple[str, ...], tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._dropped: Counter[str] = Counter()

    def count(self, labels: tuple[str, ...]) -> int:
        """Say how many different things labels mean, those that are no class too."""
        return sum(map(len, self._meaning(labels)))

    def of(self, labels: tuple[str, ...], choice: Choice) -> tuple[tuple[str, ...], str]:
        """Give the classes of a record, or why it has none; labels beside them that are no classes are dropped."""
        known, strange = self._meaning(labels)
        count = len(known) + len(strange)
        if choice == "single" and count != 1:
            return (), f"{count} labels where exactly one is expected" if count else "it has no label"
        if strange and not known:
            return (), f"labeled {listed(*strange)}, which is none of the classes"
        self._dropped.update(strange)
        return known, ""

    def remarks(self) -> tuple[str, ...]:
        """Say which labels were dropped from records that have others."""
        return tuple(
            f"{name[:_SHOWN]!a} is none of the classes: {count} records that have it were taken without it"
            for name, count in self._dropped.most_common(_MOST_REMARKS)
        )

    def _meaning(self, labels: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if self._find is None:
            return labels, ()
        if labels not in self._found:
            self._found[labels] = meaning(labels, self._find)
        return self._found[labels]


def meaning(labels: Iterable[str], find: Find) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the classes that labels mean, and the labels that mean none; both sorted, each once."""
    found = {label: find(label) for label in labels}
    known = sorted({name for name in found.values() if name is not None})
    return tuple(known), tuple(sorted(label for label, name in found.items() if name is None))
