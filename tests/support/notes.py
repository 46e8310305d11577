"""A tiny second tool to annotate in: numbers that a few people call low or high, all of it in memory.

It is what a package of its own beside ``labelloop/studio`` would be, and shows what one has to say.
"""

# ruff: noqa: ARG002 - a site is asked in one way, whatever it needs of that

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar

from labelloop.data.labeling import FIRST, Counters, Example, Labeling, Subject
from labelloop.data.listing import Record
from labelloop.data.site import Begun, Judged, Overview, SiteConnection, Storage, TaskMoments
from labelloop.errors import LabelConfigError, MediaError, NoSuchProject, StudioError
from labelloop.kinds.majority import Vote
from labelloop.sources.media import Media
from labelloop.types import Answer, Assignment, Identity, Input, Json, Output, Prompted, Rendering, Side
from support import numbers_kind

CLASSES = ("low", "high")


@dataclass
class Note:
    """A number, what each person has called it, what was predicted for it, by version, and its side if it has one."""

    number: str
    said: list[str] = field(default_factory=list)
    predicted: dict[str, str] = field(default_factory=dict)
    side: Side | None = None


class NotesInterface:
    """What people see of a note: its number, and two words to choose from."""

    text = " ".join(CLASSES)
    assignment = Assignment()

    def prompts(self, context: object) -> tuple[Prompted, ...]:
        return ()

    def input_of(self, task: Json, deadline: float | None, *, referable: bool) -> Input:
        if not task["note"]:
            raise MediaError("an empty note")
        return Input(text=task["note"])

    def shows(self, task: Json) -> str:
        return ""

    def text_of(self, task: Json) -> str:
        return str(task["note"])

    def render(self, answer: Answer, how: Rendering, asked: Input) -> Json:
        if not isinstance(answer, Output):
            raise LabelConfigError("notes are classified")
        return {"says": answer.label, "score": answer.score, "model_version": answer.model_version}

    def tags_for(self, answer: Answer, how: Rendering) -> frozenset[str]:
        return frozenset({"says"})


@dataclass
class NotesSite:
    """The one pad of notes that there is."""

    notes: dict[int, Note]
    version: str = ""
    extra_params: object = None

    def overview(self) -> Overview:
        return Overview(Identity(1, 1795187589), self._counters(), self.version)

    def connection(self) -> SiteConnection | None:
        return SiteConnection(self.extra_params)

    def interface(self, subject: Subject | None = None) -> NotesInterface:
        return NotesInterface()

    def labeling(self, subject: Subject = FIRST) -> Labeling:
        return Labeling(
            kind=numbers_kind.NAME,
            choice="single",
            classes=CLASSES,
            counters=self._counters(),
            rename=lambda name: name if name in CLASSES else None,
            examples=self._examples,
        )

    def changed(self, since: str, subject: Subject = FIRST, *, annotated: bool = True) -> None:
        """Nobody dates notes."""

    def judged(self, since: str, subject: Subject = FIRST) -> Iterator[Judged]:
        for number, note in sorted(self.notes.items()):
            if note.said:
                told = (Begun(version, word == note.said[-1]) for version, word in note.predicted.items())
                yield Judged(number, since, tuple(told))

    def history(self) -> Iterator[TaskMoments]:
        for number, note in sorted(self.notes.items()):
            if note.said:
                yield TaskMoments(number, tuple(map(float, range(len(note.said)))))

    def read(self, record: Record) -> bytes:
        raise MediaError("notes have no files")

    def waiting(self, version: str) -> Iterator[Json]:
        for number, note in sorted(self.notes.items()):
            if not note.said and version not in note.predicted:
                yield {"id": number, "note": note.number}

    def all_tasks(self, after: int = 0) -> Iterator[Json]:
        yield from ({"id": number} for number in sorted(self.notes) if number > after)

    def some_waiting(self, version: str, places: int, each: int) -> Iterator[Json]:
        """The first ones."""
        return islice(self.waiting(version), places * each)

    def count_waiting(self, version: str) -> int:
        return sum(1 for _ in self.waiting(version))

    def tasks(self, tasks: Sequence[int]) -> Iterator[Json]:
        for number in sorted(set(tasks) & set(self.notes)):
            yield {"id": number, "note": self.notes[number].number}

    def put_predictions(self, predictions: Sequence[Json]) -> None:
        for one in predictions:
            self.notes[one["task"]].predicted[one["model_version"]] = one["says"]

    def outdated(self, versions: Collection[str]) -> Iterator[int]:
        return iter(())

    def remove_prediction(self, prediction: int) -> None:
        raise StudioError("notes keep what was predicted")

    def announce(self, version: str) -> None:
        if not any(version in note.predicted for note in self.notes.values()):
            raise StudioError(f"nothing is predicted by {version}")
        self.version = version

    def show(self, title: str, tasks: Sequence[int]) -> str:
        raise StudioError("notes lie on one pile")

    def storages(self) -> list[Storage]:
        return []

    def label_at(self, address: str) -> str:
        return ""

    def take_in(self, storage: Storage) -> bool:
        raise StudioError("notes are written here alone")

    def mend_webhook(self, agreed: Callable[[], bool]) -> str:
        return ""

    def _counters(self) -> Counters:
        labeled = [note for note in self.notes.values() if note.said]
        return Counters(len(self.notes), len(labeled), sum(len(note.said) for note in labeled), 0)

    def _examples(self) -> Iterator[Example]:
        for number, note in sorted(self.notes.items()):
            if note.said:
                votes = tuple(Vote(frozenset({word})) for word in note.said)
                yield Example(number, "", votes, text=note.number, side=note.side)


@dataclass
class NotesTool:
    """Where notes are written."""

    pad: NotesSite
    needed: ClassVar[tuple[str, ...]] = ()
    addresses: tuple[str, ...] = ("notes",)
    home: None = None

    def site(self, project: int, media: Media, called_at: Callable[[], str | None]) -> NotesSite:
        if project != 1:
            raise NoSuchProject(f"there is one pad of notes, and no {project}")
        return self.pad

    def model_run(self, project: int, media: Media) -> None:
        return None

    def close(self) -> None:
        pass
