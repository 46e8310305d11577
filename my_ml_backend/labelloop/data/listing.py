"""Labeled inputs by their addresses, before any is fetched: what every format is read to and written from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

from labelloop.errors import ManifestError
from labelloop.types import IMAGES, Choice, LeftOut, Side


@dataclass(frozen=True, slots=True)
class Record:
    """One labeled input: its address, labels (sorted) and task; its side if the source names one.

    Local files have the form ``file:///folder/name``. ``content`` is the sha256 of the bytes (hex) where it is known.
    ``text`` is the input itself where it stands in the task; it has no address then. ``result`` is all that its truth
    says, where labels alone do not say it (see ``Item``).
    """

    uri: str
    labels: tuple[str, ...]
    task: int
    side: Side | None = None
    content: str = ""
    text: str = ""
    result: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source says: records in its order, and the tasks it names whose labels cannot be used."""

    choice: Choice
    classes: tuple[str, ...]
    records: tuple[Record, ...]
    left_out: tuple[LeftOut, ...] = ()
    kind: str = IMAGES

    @classmethod
    def of(
        cls,
        records: Iterable[Record],
        left_out: Iterable[LeftOut] = (),
        choice: Choice | None = None,
        classes: Iterable[str] | None = None,
    ) -> Self:
        """Make a listing; where the source does not say, the records tell kind and classes (in alphabetical order).

        The choice is ``multiple`` when one of them has several labels. With ``single`` a record that has not exactly
        one label is left out.
        """
        found, outs = list(records), list(left_out)
        choice = choice or ("multiple" if any(len(record.labels) > 1 for record in found) else "single")
        if choice == "single":
            outs += [LeftOut(record.task, _not_one(record)) for record in found if len(record.labels) != 1]
            found = [record for record in found if len(record.labels) == 1]
        if classes is None:
            classes = sorted({label for record in found for label in record.labels})
        return cls(choice, tuple(dict.fromkeys(classes)), tuple(found), tuple(outs))

    def on(self, side: Side) -> Self:
        """Give the same listing with every record on one side."""
        return replace(self, records=tuple(replace(record, side=side) for record in self.records))

    def joined(self, other: Self) -> Self:
        """Put another listing behind this one; its tasks are numbered on where both have the same.

        Raises ManifestError where the two are of different kinds.
        """
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
        )

    def tasks(self) -> Iterator[int]:
        """Give the ids of all tasks, of those left out too."""
        yield from (record.task for record in self.records)
        yield from (out.task for out in self.left_out)


def _not_one(record: Record) -> str:
    return f"{len(record.labels)} labels where exactly one is expected" if record.labels else "it has no label"
